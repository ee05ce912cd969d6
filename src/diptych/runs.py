"""A run's folder: what was run, metrics as they come, the newest checkpoint, weights, the result.

======================== =========================================================================
``run.json``             network, recipe, workflow, data, seed, versions, machine, status, and
                         the SHA-256 of the three files of arrays
``metrics.jsonl``        a line an epoch
``checkpoint/``          ``state.safetensors``: all that a resume needs
``weights.safetensors``  the trained weights, in the layout that all workflows share
``predictions.safetensors`` the logits of the test images, float32 (n, classes), and their labels
``result.json``          accuracy, times, memory
``snapshots/``           the weights after some steps, where they were asked for
``tensorboard/``         event files for TensorBoard, where they were asked for
======================== =========================================================================

Every file is written aside and then renamed, so a run killed at any instant leaves whole files.
"""

import difflib
import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diptych import checksums, machine
from diptych.data import Data
from diptych.data.fingerprint import fingerprint
from diptych.errors import InputError, command
from diptych.folders import new_folder
from diptych.network import Network, Weights
from diptych.reading import MOST_ARRAY_BYTES, MOST_JSON_BYTES, open_regular, read_regular
from diptych.recipe import Recipe
from diptych.schema import DATA, DESCRIPTION, RESULT, SCHEMA, check_keys
from diptych.shown import as_html
from diptych.whole_files import packed, read_json, unpacked, write_json, write_whole
from diptych.workflows import registry
from diptych.workflows.progress import Epoch, Progress, State

logger = logging.getLogger(__name__)

TENSORBOARD = "tensorboard"
CHECKPOINT = "checkpoint/state.safetensors"
LOCK = ".lock"
"""Of a run's folder; it means something on one machine alone."""
WEIGHTS, PREDICTIONS = "weights.safetensors", "predictions.safetensors"
Status = Literal["new", "running", "stopped", "failed", "done"]


class Run:
    """One training of one network by one workflow with one recipe: a folder on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checksums: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {_in_words(self)}>"

    _repr_html_ = as_html("runs:one_run")

    @classmethod
    def create(
        cls,
        root: Path,
        network: Network,
        recipe: Recipe,
        workflow: str,
        data: Data,
        seed: int,
        checkpoint_every: int | None = None,
    ) -> "Run":
        """A new run's folder below ``root``; nothing is trained yet."""
        description = described(network, recipe, workflow, data, seed, checkpoint_every)
        name = f"{workflow}-{network.name}-{recipe.name}-seed{seed}"
        folder = new_folder(root, re.sub(r"[^\w.+-]+", "_", name))
        try:
            write_json(folder / "run.json", description)
        except OSError:
            folder.rmdir()
            raise
        return cls(folder)

    @classmethod
    def open(cls, path: str | Path, root: str | Path = "runs") -> "Run":
        """The run in that folder, or the one of that name below ``root``.

        Raises:
            InputError: there is no run, or its description cannot be read.
        """
        for folder in (Path(path), Path(root) / path):
            try:
                found = (folder / "run.json").is_file()
            except OSError as problem:
                raise InputError(f"run {path}: {problem.strerror or problem}") from None
            if found:
                run = cls(folder)
                run.check()
                return run
        hint = _did_you_mean(Path(path).name, Path(root))
        raise InputError(
            f"run {path}: no run.json there or below {root}/{hint}; "
            f"{command('runs')} lists the runs"
        )

    def check(self) -> None:
        """Raises InputError unless the run's description is one that this version reads."""
        description = self.description()
        if description.get("schema") != SCHEMA:
            raise InputError(
                f"{self.folder}/run.json: schema {description.get('schema')!r}, expected {SCHEMA}"
            )
        check_keys(self.folder / "run.json", description, DESCRIPTION)
        check_keys(self.folder / "run.json", description["data"], DATA)
        try:
            registry.check_name(description["workflow"])
            _ = self.network, self.recipe
        except InputError as problem:
            raise InputError(f"{self.folder}/run.json: {problem}") from None

    @property
    def name(self) -> str:
        return self.folder.name

    def description(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        return read_json(self.folder / "run.json")

    @property
    def network(self) -> Network:
        return Network.from_dict(self.description()["network"], f"of run {self.name}")

    @property
    def recipe(self) -> Recipe:
        return Recipe.from_dict(self.description()["recipe"], f"of run {self.name}")

    @property
    def workflow(self) -> str:
        return self.description()["workflow"]

    @property
    def seed(self) -> int:
        return self.description()["seed"]

    @property
    def checkpoint_every(self) -> int | None:
        """Steps between checkpoints, or None for one after each epoch."""
        return self.description().get("checkpoint_every")

    @property
    def status(self) -> Status:
        return self.description()["status"]

    @property
    def is_training(self) -> bool:
        """True if a process is training this run right now."""
        try:
            # Opened for reading: a run may lie where nobody can write.
            with os.fdopen(open_regular(self.folder / LOCK)) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except (OSError, InputError):
            return False

    @property
    def status_now(self) -> str:
        """The status, or ``killed`` where the process that trained it is no more."""
        status = self.status
        return "killed" if status == "running" and not self.is_training else status

    def set_status(self, status: Status) -> None:
        write_json(self.folder / "run.json", self.description() | {"status": status})

    def check_data(self, data: Data) -> None:
        """Raises InputError unless these are the data that the run was made for."""
        expected = self.description()["data"]
        if fingerprint(data) != expected["fingerprint"]:
            raise InputError(
                f"run {self.name}: data {expected['source']} changed since the run was started "
                f"(fingerprint {fingerprint(data)}, expected {expected['fingerprint']}): "
                "restore them, or start a new run"
            )

    def metrics(self) -> list[dict[str, Any]]:
        """The measurements of each epoch; grows while the run trains."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            lines = read_regular(path, MOST_JSON_BYTES).decode().splitlines()
            return [asdict(Epoch(**json.loads(line))) for line in lines]
        except InputError:
            raise
        except (TypeError, ValueError, RecursionError):
            raise InputError(f"{path}: expected a line an epoch; the file is damaged") from None

    def save_metrics(self, progress: Progress) -> None:
        lines = [json.dumps(asdict(epoch), allow_nan=False) + "\n" for epoch in progress.history]
        write_whole(self.folder / "metrics.jsonl", "".join(lines).encode())

    def save_checkpoint(self, progress: Progress, state: State) -> None:
        """Replaces the checkpoint by this one."""
        (self.folder / "checkpoint").mkdir(exist_ok=True)
        self._save(CHECKPOINT, state, progress=json.dumps(progress.to_dict()))

    def load_checkpoint(self) -> tuple[Progress, State | None]:
        """The newest checkpoint, or the beginning where there is none."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return Progress(), None
        contents = self._contents(CHECKPOINT)
        state = unpacked(path, contents)
        try:
            header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
            progress = json.loads(header["__metadata__"]["progress"])
            return Progress.from_dict(progress), state
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: its progress is missing or damaged") from None

    def weights(self) -> Weights:
        """The trained weights, checked against the network.

        Raises:
            InputError: the run has not ended, or its weights are damaged.
        """
        path = self.folder / WEIGHTS
        if not path.exists():
            raise InputError(
                f"run {self.name}: no weights yet, its status is {self.status_now}: "
                f"{command('resume', self.folder)} ends it"
            )
        weights = unpacked(path, self._contents(WEIGHTS))
        self.network.check_weights(weights)
        return weights

    def save_weights(self, weights: Weights) -> None:
        self._save(WEIGHTS, weights)

    def predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32 (n, classes) and labels int64 (n,) of the test images."""
        path = self.folder / PREDICTIONS
        arrays = unpacked(path, self._contents(PREDICTIONS))
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes.get("logits") != (*shapes.get("labels", ()), self.network.classes):
            raise InputError(f"{path}: expected the logits of each label's image, found {shapes}")
        return arrays["logits"], arrays["labels"]

    def save_predictions(self, logits: np.ndarray, labels: np.ndarray) -> None:
        self._save(PREDICTIONS, {"logits": logits, "labels": labels.astype(np.int64)})

    def _save(self, name: str, arrays: dict[str, np.ndarray], **metadata: str) -> None:
        """Replaces one of the run's files of arrays, and its checksum in ``run.json``."""
        contents = packed(arrays, metadata)
        new, current = checksums.checksum(contents), self._checksums.get(name)
        description = checksums.announced(self.description(), name, new, current)
        write_json(self.folder / "run.json", description)
        write_whole(self.folder / name, contents)
        self._checksums[name] = new

    def _contents(self, name: str) -> bytes:
        """The contents of one of the run's files of arrays, checked by its checksum."""
        path = self.folder / name
        contents = read_regular(path, MOST_ARRAY_BYTES)
        self._checksums[name] = checksums.check(path, contents, self.description(), name)
        return contents

    def result(self) -> dict[str, Any] | None:
        """The content of ``result.json``; None if the run has not ended."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        result = read_json(path)
        check_keys(path, result, RESULT)
        return result

    def save_result(self, result: dict[str, Any]) -> None:
        write_json(self.folder / "result.json", {"schema": SCHEMA} | result)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process; the lock ends with the process, however that ends.

        Raises:
            InputError: another process is training this run.
        """
        with os.fdopen(open_regular(self.folder / LOCK, os.O_RDWR | os.O_CREAT), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"run {self.name}: another process is training it") from None
            yield

    def remove_leftovers(self) -> None:
        """Removes what a killed process had not finished writing."""
        for leftover in self.folder.rglob(".*.partial"):
            leftover.unlink(missing_ok=True)


def _in_words(run: Run) -> str:
    """A run's status, and its accuracy where it has one."""
    try:
        result, status = run.result(), run.status_now
    except InputError:
        return "it cannot be read"
    return status + (f", {100 * result['test_accuracy']:.2f}% on the test set" if result else "")


def _did_you_mean(name: str, root: Path) -> str:
    """The run below ``root`` whose name is nearest to a name, as a question; empty if none is."""
    names = [file.parent.name for file in root.glob("*/run.json")]
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def described(
    network: Network,
    recipe: Recipe,
    workflow: str,
    data: Data,
    seed: int,
    checkpoint_every: int | None = None,
) -> dict[str, Any]:
    """The description of a new run, as ``run.json`` has it; the arguments are `Run.create`'s."""
    return {
        "schema": SCHEMA,
        "status": "new",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "workflow": workflow,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
        "network": network.to_dict(),
        "recipe": recipe.to_dict(),
        "data": {
            "name": data.name,
            "source": data.source,
            "fingerprint": fingerprint(data),
            "image_shape": list(data.image_shape),
            "class_names": list(data.class_names),
        },
        "machine": machine.describe(),
        "versions": machine.versions(),
        checksums.KEY: {},
    }


def find(root: str | Path) -> list[Run]:
    """All runs directly below that folder, oldest first; damaged ones are named and left out."""
    runs = []
    for path in Path(root).glob("*/run.json"):
        run = Run(path.parent)
        try:
            run.check()
            _ = run.metrics(), run.result()
        except InputError as problem:
            logger.warning("left out: %s", problem)
            continue
        runs.append(run)
    return sorted(runs, key=lambda run: (run.description()["created"], run.name))
