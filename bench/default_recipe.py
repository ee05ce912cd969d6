"""How well the recipe `plain`, the default for any network, does against four other recipes.

Each network is trained for three epochs by `plain` and by each of the four, in low-level
TensorFlow, one training after the other. The best of the four is chosen by its accuracy on the
validation images, and its accuracy on the test images is compared with that of `plain`. The test
images take no part in the choice.

    python bench/default_recipe.py --out /tmp/default-recipe
    python bench/default_recipe.py --out /tmp/default-recipe --only readme tiny
    python bench/default_recipe.py --out /tmp/default-recipe --only article --images 18000
    python bench/default_recipe.py --out /tmp/default-recipe --table    the table of what is there

A line is written to ``results.jsonl`` in the folder after each training. What is there already is
not trained again, so a measurement that was stopped continues where it was.

The colour pictures are those of Fashion-MNIST (Debian's package dataset-fashion-mnist), enlarged to
32×32 pixels: the clothing in one random colour, on a background that changes from one random colour
at the top to another at the bottom. The colours do not depend on the class.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych import Data, Network, Recipe, load_data, machine, train
from diptych.data.idx import write_idx
from diptych.data.idx_folder import IDX_NAMES
from diptych.randomness import generator

EPOCHS = 3
BAR = 0.003
"""How far below the best of the others `plain` may be."""

ONE_CYCLE = {"schedule": "one-cycle", "precision": "auto", "epochs": EPOCHS}
OTHERS: dict[str, Recipe] = {
    "constant": Recipe(name="constant", epochs=EPOCHS, batch_size=50, precision="auto"),
    "small-batches": Recipe.from_dict(
        ONE_CYCLE | {"name": "small-batches", "batch_size": 50, "learning_rate": 0.002}
    ),
    "high-rate": Recipe.from_dict(
        ONE_CYCLE
        | {"name": "high-rate", "batch_size": 128, "learning_rate": 0.01, "dropout_scale": 0.5}
    ),
    "fast": Recipe.load("fast"),
}
"""The article's Adam; one cycle with small batches; one cycle with a high rate, larger batches and
half of the dropout; and the recipe that is tuned to the article's network."""


def conv(filters: int, **options: Any) -> dict[str, Any]:
    """A 3×3 convolution with padding same, unless the options say otherwise."""
    return {"kind": "conv", "filters": filters, "kernel": 3, "padding": "same"} | options


RELU: dict[str, Any] = {"kind": "activation", "activation": "relu"}
NORM: dict[str, Any] = {"kind": "batch_norm"}
POOL: dict[str, Any] = {"kind": "max_pool", "size": 2}
FLATTEN: dict[str, Any] = {"kind": "flatten"}
OUTPUT: dict[str, Any] = {"kind": "dense", "units": 10}


def dense(units: int) -> dict[str, Any]:
    return {"kind": "dense", "units": units, "activation": "relu"}


def dropout(rate: float) -> dict[str, Any]:
    return {"kind": "dropout", "rate": rate}


NETWORKS: dict[str, list[dict[str, Any]]] = {
    "readme": [
        conv(16),
        NORM,
        {"kind": "activation", "activation": "gelu"},
        POOL,
        FLATTEN,
        dropout(0.3),
        OUTPUT,
    ],
    "tiny": [conv(4, kernel=5, stride=2, activation="relu"), POOL, FLATTEN, OUTPUT],
    "strided": [
        conv(32, stride=2, activation="relu"),
        conv(64, stride=2, activation="relu"),
        FLATTEN,
        dense(128),
        dropout(0.4),
        OUTPUT,
    ],
    "batch-norm": [conv(16), NORM, RELU, POOL, conv(32), NORM, RELU, POOL, FLATTEN, OUTPUT],
    "wide": [
        conv(128, activation="relu"),
        {"kind": "max_pool", "size": 4},
        FLATTEN,
        dense(1024),
        dropout(0.5),
        OUTPUT,
    ],
    "colour": [
        conv(32),
        NORM,
        RELU,
        POOL,
        conv(64),
        NORM,
        RELU,
        POOL,
        FLATTEN,
        dropout(0.3),
        OUTPUT,
    ],
}


@dataclass(frozen=True)
class Case:
    """A network and the data that it is trained on."""

    network: str
    """One of `NETWORKS`, or a name in the zoo."""
    data: str = "mnist"
    """``mnist``, ``fashion-mnist`` or ``colour``."""

    @property
    def name(self) -> str:
        return self.network if self.data == "mnist" else f"{self.network}/{self.data}"


CASES = [
    Case("readme"),
    Case("tiny"),
    Case("dense"),
    Case("readme", "fashion-mnist"),
    Case("strided"),
    Case("batch-norm"),
    Case("colour", "colour"),
    Case("wide"),
    Case("article"),
    Case("article-tensorflow"),
    Case("article-valid"),
    Case("leaky"),
    Case("article", "fashion-mnist"),
]
"""Those that are soon done come first."""


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Square images (n, height, height) at another size, bilinearly: float32 (n, size, size)."""
    length = images.shape[1]
    place = np.linspace(0, length - 1, size)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(length))).astype(np.float32)
    return weights @ images.astype(np.float32) @ weights.T


def coloured(images: np.ndarray, part: str) -> np.ndarray:
    """Grey images uint8 (n, 28, 28) as colour pictures uint8 (n, 32, 32, 3)."""
    made = np.empty((len(images), 32, 32, 3), np.uint8)
    random = generator(0, f"colour/{part}")
    slope = np.linspace(0, 1, 32, dtype=np.float32)[None, :, None, None]
    for start in range(0, len(images), 1000):
        shade = enlarged(images[start : start + 1000], 32)[..., None] / 255
        # One colour for the clothing, and two for the background, from top to bottom.
        ink, top, bottom = random.uniform(0, 255, (3, len(shade), 1, 1, 3)).astype(np.float32)
        ground = top + (bottom - top) * slope
        made[start : start + 1000] = ground + (ink - ground) * shade
    return made


def data_of(case: Case, images: int | None, folder: Path) -> Data:
    """The case's data, with fewer images to train with and to validate on if ``images`` says so.

    What is made is written into ``folder`` unless it is there.
    """
    if case.data != "colour" and images is None:
        return load_data(case.data)
    made = folder / (case.data if images is None else f"{case.data}-{images}")
    if not (made / IDX_NAMES[-1]).exists():
        made.mkdir(parents=True, exist_ok=True)
        source = load_data("fashion-mnist" if case.data == "colour" else case.data)
        training = [source.validation, source.train]
        before = np.concatenate([split.images[..., 0] for split in training])[:images]
        labels = np.concatenate([split.labels for split in training])[:images]
        tests = source.test.images[..., 0]
        if case.data == "colour":
            before, tests = coloured(before, "train"), coloured(tests, "test")
        arrays = [before, labels.astype(np.uint8), tests, source.test.labels.astype(np.uint8)]
        for name, array in zip(IDX_NAMES, arrays, strict=True):
            write_idx(made / name, array)
    return load_data(made)


def network_of(case: Case, data: Data) -> Network:
    """The case's network; one of the zoo takes the data's images as it is."""
    if case.network not in NETWORKS:
        return Network.load(case.network)
    return Network.from_dict(
        {
            "name": case.network,
            "input_shape": list(data.image_shape),
            "layers": NETWORKS[case.network],
        }
    )


Key = tuple[str, str, int]
Results = dict[Key, dict[str, Any]]


def read(file: Path) -> Results:
    """What has been measured, by case, recipe and seed."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    results = [json.loads(line) for line in lines]
    return {(one["case"], one["recipe"], one["seed"]): one for one in results}


def measure(cases: list[Case], seeds: int, images: int | None, folder: Path) -> None:
    """Trains what has not been trained, and adds a line for each."""
    file = folder / "results.jsonl"
    recipes = {"plain": Recipe.load("plain")} | OTHERS
    for seed in range(seeds):
        for case in cases:
            done = read(file)
            missing = [name for name in recipes if (case.name, name, seed) not in done]
            if not missing:
                continue
            data = data_of(case, images, folder)
            for name in missing:
                run = train(
                    "tensorflow",
                    network_of(case, data),
                    recipes[name],
                    data,
                    seed,
                    runs=folder / "runs",
                    report=lambda _: None,
                )
                result = run.result() or {}
                keys = ("validation_accuracy", "test_accuracy", "train_seconds", "epochs")
                line = {"case": case.name, "recipe": name, "seed": seed}
                line |= {key: result[key] for key in keys}
                line |= {"parameters": run.network.parameters, "precision": run.recipe.precision}
                line |= {"images": len(data.train)}
                with file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")
                print(
                    f"{case.name}, {name}, seed {seed}: validation "
                    f"{line['validation_accuracy']:.4f}, test {line['test_accuracy']:.4f}, "
                    f"{line['train_seconds']:.0f} s",
                    flush=True,
                )


def rows(results: Results) -> Iterator[list[str]]:
    """A row of the table for each case that all recipes have been measured on."""
    for case in CASES:
        seeds = sorted({seed for name, _, seed in results if name == case.name})
        complete = [
            seed
            for seed in seeds
            if all((case.name, recipe, seed) in results for recipe in ("plain", *OTHERS))
        ]
        if not complete:
            continue

        def mean(recipe: str, key: str, case: Case = case, seeds: list[int] = complete) -> float:
            return float(np.mean([results[case.name, recipe, seed][key] for seed in seeds]))

        best = max(OTHERS, key=lambda recipe: mean(recipe, "validation_accuracy"))
        gap = mean("plain", "test_accuracy") - mean(best, "test_accuracy")
        facts = results[case.name, "plain", complete[0]]
        yield [
            case.network,
            case.data,
            f"{facts['images']:,}",
            f"{facts['parameters']:,}",
            *(f"{100 * mean(recipe, 'test_accuracy'):.2f}" for recipe in OTHERS),
            best,
            f"{100 * mean('plain', 'test_accuracy'):.2f}",
            f"{100 * gap:+.2f}" if gap >= -BAR else f"**{100 * gap:+.2f}**",
            str(len(complete)),
        ]


def table(results: Results) -> str:
    """The results as Markdown; a gap that is over the bar is bold."""
    head = ["network", "data", "images", "parameters", *OTHERS, "best on validation", "plain"]
    head += ["plain − best", "seeds"]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- |{' ---: |' * (len(head) - 2)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows(results))])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [case.name for case in CASES]
    parser.add_argument("--out", type=Path, required=True, help="a folder for what is measured")
    parser.add_argument("--only", nargs="+", default=names, choices=names)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--images", type=int, help="train with and validate on the first so many alone"
    )
    parser.add_argument("--table", action="store_true", help="train nothing")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.table:
        measure(
            [case for case in CASES if case.name in given.only],
            given.seeds,
            given.images,
            given.out,
        )
    print(table(read(given.out / "results.jsonl")))
    here = machine.describe()
    print(f"\n{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
