"""Trainings that are killed over and over: each ends with the bits of one that was left alone."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from attack import Attack, Tally, repeated
from flips import NETWORK

from diptych import training
from diptych.data import load_data
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.workflows import registry
from support import assert_same_training, children, kill, start, whole_files, write_digits

WORKFLOWS = ("numpy", "tensorflow", "keras", "torch", "jax")


def carry_out(folder: Path, generator: np.random.Generator, seconds: float, bar: int) -> Tally:
    data = str(write_digits(load_data("mnist"), folder / "few", 360, 200))
    network = Network.from_dict(NETWORK)
    names = [name for name in WORKFLOWS if name in registry.installed()]

    def made(workflow: str, name: str) -> Run:
        recipe = Recipe(name="killed", epochs=4, batch_size=10, learning_rate=0.01)
        recipe = recipe.with_changes(shift=2, early_stopping=3)
        runs = folder / name
        return training.create(workflow, network, recipe, data, 3, runs=runs, checkpoint_every=7)

    def lengths(workflow: str) -> tuple[Run, float]:
        """A training that nobody disturbs, and how long the command takes for it."""
        run, began = made(workflow, "reference"), time.monotonic()
        out, err = start("resume", run.folder).communicate()
        assert run.status == "done", err or out
        return run, time.monotonic() - began

    def planned() -> Iterator[tuple[Run, Run, float]]:
        references: dict[str, tuple[Run, float]] = {}
        while True:
            for workflow in names:
                if workflow not in references:
                    references[workflow] = lengths(workflow)
                reference, longest = references[workflow]
                run = made(workflow, "killed")
                while run.status != "done":
                    yield run, reference, float(generator.uniform(0, longest))

    def attempt(_: int) -> str:
        run, reference, after = next(plan)
        outcome = killed(run, after)
        if run.status == "done":
            assert_same_training(run, reference)
        return outcome

    def killed(run: Run, after: float) -> str:
        workflow, process = run.workflow, start("resume", run.folder)
        with suppress(subprocess.TimeoutExpired):
            process.wait(after)
        ended = process.poll() is not None
        workers = [] if ended else children(process.pid)
        whom = ("the parent", "the worker", "both")[int(generator.integers(3))]
        if whom != "the worker":
            process.kill()
        for pid in workers if whom != "the parent" else []:
            kill(pid)
        process.communicate(timeout=120)
        until = time.monotonic() + 30
        while (alive := [pid for pid in workers if _alive(pid)]) and time.monotonic() < until:
            time.sleep(0.01)
        what = f"{workflow}: {whom} killed after {after:.2f} s"
        assert not alive, f"{what} left a worker"
        # A worker that was only just starting was not among those that were killed.
        while run.status_now == "running" and time.monotonic() < until:
            time.sleep(0.01)
        assert run.status_now != "running", f"{what} left it running"
        whole_files(run.folder)
        return f"{workflow} had ended" if ended else f"{workflow} killed"

    plan = planned()
    tally = repeated(ATTACK, attempt, seconds, bar)
    done = sum(count for name, count in tally.outcomes.items() if name.endswith("killed"))
    tally.tries = done + len(tally.failures)  # One that had ended before was not killed.
    return tally


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


ATTACK = Attack(
    "kills",
    "a training, in one workflow after the other, that is killed at a random instant and resumed",
    "whole files; in the end the bits of a training that was left alone",
    1_000,
    6.0,
    carry_out,
)
