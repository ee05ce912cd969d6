"""The cost of training and inference on this machine, beside each framework's stock code.

Every measurement is a separate process. The sides take turns, so that other load on the machine
affects all of them, and the results are medians and their ratios.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from diptych import extras, machine
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.shown import as_text
from diptych.worker import Worker
from diptych.workflows import registry

STOCK = "stock "
"""Before a framework's name: the code that its users write first, not a workflow of ours."""
STOCK_WAYS = ("tensorflow", "keras", "torch", "jax")
PRECISIONS = ("float32", "bfloat16")
MIN_STEPS = 20
"""Fewer steps than some workflows take in one call cannot be timed."""
ONNX_RUNTIME = "onnxruntime"
"""The side that reads by an exported file, as `diptych serve` does; no workflow."""

Say = Callable[[str], None]
"""Called with what is measured next."""


@dataclass(frozen=True)
class Cost:
    """The cost of one side in microseconds per sample: one number per round, in order."""

    side: str
    """A workflow, or ``stock`` and a framework."""
    what: str
    """The precision of a training step, or the batch size of reading."""
    microseconds: list[float]
    share_of_peak: float | None
    """Arithmetic done, of what the machine's fastest matrix product does in that time."""

    @property
    def median(self) -> float:
        return statistics.median(self.microseconds)


@dataclass(frozen=True, repr=False)
class Benchmark:
    """Costs side by side."""

    title: str
    network: str
    costs: list[Cost]
    peaks: dict[str, float]
    """The machine's fastest matrix product, in GFLOP/s, by precision; empty where not measured."""
    machine: dict[str, Any]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` writes them."""
        return {"schema": 1, **asdict(self)}

    __repr__ = as_text("benchmark:benchmark_table")


def bench_steps(
    names: Sequence[str] | None = None,
    network: Network | str = "article",
    *,
    batch_size: int = 50,
    steps: int = 200,
    rounds: int = 3,
    say: Say = lambda _: None,
) -> Benchmark:
    """A training step of each workflow in float32 and bfloat16, and of each stock way.

    Args:
        names: workflows; by default all that are installed but the NumPy reference.
        network: a network, or its name in the zoo, or a TOML file. The stock ways train the
            article's, and are left out for any other.
        batch_size: images a step.
        steps: steps that are timed, after a warm-up.
        rounds: how often each side has its turn.
        say: called with what is measured next.

    Raises:
        InputError: a workflow that does not exist, or numbers that cannot be.
    """
    network = network if isinstance(network, Network) else Network.load(network)
    numbers = (("batch size", batch_size, 1), ("steps", steps, MIN_STEPS), ("rounds", rounds, 1))
    for name, value, least in numbers:
        if value < least:
            raise InputError(f"{name} {value}: expected {least} or more")
    chosen = registry.chosen(names or [registry.ALL])
    sides = [(name, precision) for name in chosen for precision in PRECISIONS if name != "numpy"]
    sides += [(name, "float64") for name in chosen if name == "numpy"]
    if network.name == "article":
        sides += [(STOCK + name, "float32") for name in STOCK_WAYS if name in chosen]
    peaks = {precision: 0.0 for _, precision in sides if precision in PRECISIONS}
    if extras.missing(["tensorflow"]):  # Which computes the products.
        peaks = {}
    found: dict[tuple[str, str], list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        for precision in peaks:
            say(f"round {number + 1} of {rounds}: the machine's peak, {precision}")
            measured = _measure("peak:peak_job", {"precision": precision})
            peaks[precision] = max(peaks[precision], measured)
        for side, precision in sides:
            say(f"round {number + 1} of {rounds}: {side}, {precision}")
            parameters = {
                "side": side,
                "precision": precision,
                "network": network.to_dict(),
                "batch_size": batch_size,
                "steps": steps,
            }
            found[side, precision].append(_measure("steps:step_job", parameters))
    work = 2 * network.training_multiply_adds
    costs = [
        Cost(side, precision, values, None)
        if precision not in peaks
        else Cost(
            side, precision, values, work / statistics.median(values) / peaks[precision] / 1e3
        )
        for (side, precision), values in found.items()
    ]
    title = f"A training step at batch {batch_size}"
    return Benchmark(title, network.name, costs, peaks, machine.describe(), machine.versions())


def bench_inference(
    names: Sequence[str] | None = None,
    network: Network | str = "article",
    *,
    batch_sizes: Sequence[int] = (1, 256),
    rounds: int = 3,
    seconds: float = 2.0,
    say: Say = lambda _: None,
) -> Benchmark:
    """Reading images: each workflow in float32, and ONNX Runtime where it is installed.

    Args:
        names: workflows, and ``onnxruntime``; by default all that are installed, and with ``all``
            all of them but the NumPy reference.
        network: a network, or its name in the zoo, or a TOML file.
        batch_sizes: images a call.
        rounds: how often each side has its turn.
        seconds: how long a turn is, after two calls that warm up.
        say: called with what is measured next.

    Raises:
        InputError: a side that does not exist or is not installed, or numbers that cannot be.
    """
    network = network if isinstance(network, Network) else Network.load(network)
    if rounds < 1 or not batch_sizes or min(batch_sizes) < 1:
        raise InputError(f"rounds {rounds}, batch sizes {list(batch_sizes)}: expected 1 or more")
    chosen = _readers(names)
    sides = [(name, size) for size in batch_sizes for name in chosen]
    found: dict[tuple[str, int], list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        for side, size in sides:
            say(f"round {number + 1} of {rounds}: {side}, {size} at a time")
            parameters = {"side": side, "network": network.to_dict(), "batch_size": size}
            parameters["seconds"] = seconds
            found[side, size].append(_measure("inference:inference_job", parameters))
    costs = [Cost(side, f"batch {size}", values, None) for (side, size), values in found.items()]
    versions = machine.versions()
    if ONNX_RUNTIME in chosen:
        versions[ONNX_RUNTIME] = version(ONNX_RUNTIME)
    return Benchmark("Reading images", network.name, costs, {}, machine.describe(), versions)


def _readers(names: Sequence[str] | None) -> list[str]:
    """The sides that read images."""
    needed = ("onnx", ONNX_RUNTIME)
    if not names or list(names) == [registry.ALL]:
        chosen = registry.chosen(names) if names else registry.installed()
        return chosen if extras.missing(needed) else [*chosen, ONNX_RUNTIME]
    if ONNX_RUNTIME in names:
        extras.require(f"side {ONNX_RUNTIME}", *needed)
    return [name if name == ONNX_RUNTIME else registry.check(name) for name in names]


def _measure(job: str, parameters: dict[str, Any]) -> float:
    """The result of a job in a separate process."""
    # Stock code promises no bits, so nothing may slow it down for them.
    side = parameters.get("side")
    ours = side in registry.NAMES
    with Worker(registry.environment(side) if ours else {"TF_DETERMINISTIC_OPS": "0"}) as worker:
        return worker.call(f"benchmarks.{job}", parameters)[0]["measured"]


def recipe(precision: str, batch_size: int) -> Recipe:
    """The recipe that steps are measured by: the default one's, but for what is varied, of whole
    images and all layers."""
    changes = {"precision": precision} if precision in PRECISIONS else {}
    return Recipe.load("fast").with_changes(
        batch_size=batch_size, crop=0.0, frozen_after=[], **changes
    )
