"""Where stock Keras' time goes: its training, and the same with one thing taken away each.

Every measurement is a process of its own, and the variants take turns. Batches of 50, float32, the
article's network, 200 steps; printed are microseconds a sample up to the last batch, the difference
to the step as it is, and the seconds that `fit` waits after it (docs/explanation/fast.md says why).

    python bench/stock_keras.py --rounds 3
"""

# Keras' stubs want a word where `fit` takes a number as well.
# pyright: reportArgumentType=false

import argparse
import json
import os
import statistics
import subprocess
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from diptych import load_data, machine

BATCH, WARM_UP, STEPS = 50, 60, 200
VARIANTS = {
    "as it is": "Sequential, compile, fit on a float32 array",
    "no dropout": "its three Dropout layers left out",
    "no metrics": "compile without metrics=['accuracy']",
    "tf.data": "fit on a prefetched tf.data pipeline instead of an array",
    "20 steps a call": "compile with steps_per_execution=20",
    "no relu": "its activations left out: what relu and its gradient cost",
    "low-level": "the workflow tensorflow, as `diptych bench` measures it",
}


def model(variant: str):
    """The article's network, compiled, with what the variant leaves out left out."""
    import keras
    from keras import layers

    relu = None if variant == "no relu" else "relu"
    every = [
        layers.Input((28, 28, 1)),
        layers.Conv2D(64, 3, padding="same", activation=relu),
        layers.Conv2D(64, 3, padding="same", activation=relu),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Conv2D(32, 3, padding="same", activation=relu),
        layers.Conv2D(32, 3, padding="same", activation=relu),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(256, activation=relu),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ]
    if variant == "no dropout":
        every = [layer for layer in every if not isinstance(layer, layers.Dropout)]
    built = keras.Sequential(every)
    built.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=[] if variant == "no metrics" else ["accuracy"],
        steps_per_execution=20 if variant == "20 steps a call" else 1,
    )
    return built


def measure(variant: str) -> tuple[float, float]:
    """Microseconds a sample, after a warm-up, and seconds that `fit` waits at its end."""
    digits = load_data("mnist").train
    first, last = WARM_UP * BATCH, (WARM_UP + STEPS) * BATCH
    if variant == "low-level":
        from diptych.benchmarks.steps import step_job
        from diptych.network import Network

        parameters = {"side": "tensorflow", "precision": "float32", "batch_size": BATCH}
        parameters |= {"steps": STEPS, "network": Network.load("article").to_dict()}
        return step_job(parameters)[0]["measured"], 0.0
    x, y = digits.images[:last].astype("float32") / 255, digits.labels[:last].astype(np.int64)
    built = model(variant)

    def fit(begin: int, end: int) -> tuple[float, float]:
        import tensorflow as tf

        from diptych.benchmarks.stock.keras import timed_fit

        if variant == "tf.data":
            pairs = tf.data.Dataset.from_tensor_slices((x[begin:end], y[begin:end]))
            return timed_fit(built, pairs.shuffle(1000).batch(BATCH).prefetch(8))
        return timed_fit(built, x[begin:end], y[begin:end], batch_size=BATCH)

    fit(0, first)
    seconds, waited = fit(first, last)
    return seconds / (last - first) * 1e6, waited


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.once)))
        return
    found: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(given.rounds):
        for variant in VARIANTS:
            command = [sys.executable, __file__, "--once", variant]
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
            output = subprocess.run(
                command, env=environment, capture_output=True, check=True
            ).stdout
            found[variant].append(json.loads(output.splitlines()[-1]))
    table = Table("variant", "what", "µs a sample, median", "difference", "waits, s", box=None)
    base = statistics.median(sample for sample, _ in found["as it is"])
    for variant, values in found.items():
        median = statistics.median(sample for sample, _ in values)
        waits = ", ".join(f"{wait:.1f}" for _, wait in values)
        table.add_row(variant, VARIANTS[variant], f"{median:.0f}", f"{median - base:+.0f}", waits)
    console = Console(width=120)
    console.print(table)
    here = machine.describe()
    console.print(f"{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
