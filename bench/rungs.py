"""The rungs: a network and a recipe of the zoo for each accuracy that is asked for."""

import hashlib
import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych import Network, Recipe, machine
from diptych.worker import Worker
from diptych.workflows import registry

Line = dict[str, Any]
"""The result of one training, as it is kept in a file."""


@dataclass(frozen=True)
class Rung:
    """A training of Diptych with a fixed length."""

    network: str
    recipe: str
    workflow: str
    target: float
    """The mean accuracy on the test set that it is for."""
    goal: float | None = None
    """Seconds that it should take on two cores, where somebody set a goal."""


LADDER = {
    "99.0": Rung("quick", "quick-990", "tensorflow", 0.990, 4),
    "99.3": Rung("quick", "quick-993", "tensorflow", 0.993, 12),
    "fast": Rung("article", "fast", "tensorflow", 0.9931),
    "balanced": Rung("article", "balanced", "tensorflow", 0.996),
}
"""By name, from the cheapest on."""
FEW_PARAMETERS = {
    "under-1000": Rung("under-1000", "frugal", "tensorflow", 0.98),
    "under-5000": Rung("under-5000", "frugal", "tensorflow", 0.9842),
    "under-9000": Rung("under-9000", "frugal-turned", "tensorflow", 0.992),
    "under-20000": Rung("under-20000", "frugal-turned", "tensorflow", 0.9943),
}
"""Networks with fewer parameters than their names say, and the accuracies that others publish:
neural golfing (575 parameters), MNIST-Challenge (4,967 and 8,640), MNIST_99.4 (15,578)."""
RUNGS = LADDER | FEW_PARAMETERS


def machine_line(threads: int | None) -> str:
    """The machine, the threads of the trainings (all cores if None), and the versions."""
    here = machine.describe()
    cores = here["cores"]
    return f"{here['processor']}, {cores} cores, {threads or cores} threads\n{machine.versions()}"


def described(name: str) -> dict[str, Any]:
    """A rung's training as plain data: its workflow, network and recipe."""
    rung = RUNGS[name]
    network, recipe = Network.load(rung.network), Recipe.load(rung.recipe)
    plain = {"network": network.to_dict(), "recipe": recipe.to_dict()}
    return {"workflow": rung.workflow} | plain


def digest(name: str) -> str:
    """Ten hexadecimal digits of a rung's training: another recipe is another training."""
    text = json.dumps(described(name), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def measured(name: str, seed: int, threads: int | None) -> Line:
    """Trains a rung once, in a process of its own, and classifies the test images."""
    parameters = described(name) | {"seed": seed, "test": True}
    environment = registry.environment(parameters["workflow"]) | limited_to(threads)
    with Worker(environment) as worker:
        answer, _ = worker.call("benchmarks.trainings:training_job", parameters)
    return answer | {"epochs": parameters["recipe"]["epochs"]}


def limited_to(threads: int | None) -> dict[str, str]:
    """Environment variables for so many threads; none for as many as there are cores."""
    return machine.thread_variables(threads) if threads else {}


class Kept:
    """Lines of a JSON Lines file by their keys: each is measured once, whatever interrupts."""

    def __init__(self, file: Path, keys: tuple[str, ...]) -> None:
        self.file, self.keys = file, keys
        lines = file.read_text().splitlines() if file.exists() else []
        self._lines = {self._key(line): line for line in map(json.loads, lines)}

    def _key(self, line: Line) -> tuple[Hashable, ...]:
        return tuple(line.get(key) for key in self.keys)

    def get(self, key: Line, measure: Callable[[], Line]) -> Line:
        """The line of that key: from the file, or measured now and appended to it."""
        if self._key(key) not in self._lines:
            line = key | measure()
            with self.file.open("a") as file:
                file.write(json.dumps(line) + "\n")
            self._lines[self._key(key)] = line
        return self._lines[self._key(key)]
