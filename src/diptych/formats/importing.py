"""Makes a finished run of a network in a file, which may come from anywhere."""

import hashlib
import os
import re
import resource
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from diptych import machine, training
from diptych.data import load_data
from diptych.errors import InputError
from diptych.folders import new_folder
from diptych.formats import registry
from diptych.formats.archives import LARGEST
from diptych.formats.protocol import StoredNetwork
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.whole_files import write_json
from diptych.worker import Arrays, Report, Worker, WorkerError
from diptych.workflows.progress import Progress
from diptych.workflows.registry import check, installed
from diptych.workflows.registry import load as load_workflow

SECONDS = 120.0
"""The time limit for reading a file."""
MEMORY = 8 * 2**30
"""Bytes of address space that reading a file may take."""
RECIPE = Recipe(name="imported", description="Not known: the weights came from a file")


def import_file(
    file: str | Path,
    workflow: str | None = None,
    data: str = "mnist",
    *,
    network: str | None = None,
    runs: str | Path = "runs",
) -> Run:
    """Makes a run of a ``.keras``, ``.onnx`` or ``.safetensors`` file; no code in it is run.

    Args:
        file: the file. It takes images scaled to [0, 1], or pixels that it scales itself.
        workflow: what the run computes with; by default the one that the file names, else ``keras``
            for Keras' files and ``tensorflow`` for others, else one that is installed.
        data: a data set's name or folder, on whose test images the network is measured.
        network: a name in the zoo or a TOML file, for weights that don't say of what network.
        runs: the folder in which the run gets its folder.

    Returns:
        The run, with the status ``done``.

    Raises:
        InputError: the file is damaged, holds what a network's description doesn't know, or
            does not fit the data.
    """
    path = Path(file)
    form = _format(path)
    if network is not None and form != "safetensors":
        raise InputError(f"--network {network}: {path.name} has its own; only weights need one")
    given = Network.load(network) if network else None
    if workflow is not None:
        check(workflow)
    loaded = load_data(data)
    began = time.perf_counter()
    parameters = {"file": str(path.absolute()), "format": form}
    told, weights = _read(path, parameters | {"network": given.to_dict() if given else None})
    about = told["about"]
    imported = Network.from_dict(told["network"], f"in {path.name}")
    imported.check_data(loaded.image_shape, loaded.classes, loaded.name)
    _check_classes(path, about, loaded.class_names, loaded.name)
    workflow = workflow or _workflow(about, form, installed())
    recipe, seed = _training(about)

    with Worker() as worker:
        parameters = {"network": told["network"], "workflow": workflow, "data": loaded.source}
        measured, logits = worker.call(measure_job, parameters, weights)
    seconds = time.perf_counter() - began
    root = Path(runs)
    try:
        root.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".import.", dir=root))
    except OSError as problem:
        raise InputError(f"runs folder {root}: {problem.strerror or problem}") from None
    try:
        # Made whole before it has its name: a run that were found before would be trained.
        run = Run.create(aside, imported, recipe, workflow, loaded, seed)
        came_from = {"file": path.name, "format": form, "sha256": told["sha256"]}
        run.save_metrics(Progress())
        run.save_weights(weights)
        run.save_predictions(logits["logits"], loaded.test.labels)
        run.save_result(_result(measured, loaded.test.labels, logits["logits"], seconds))
        description = run.description() | {"imported": came_from, "status": "done"}
        write_json(run.folder / "run.json", description)
        name = re.sub(r"[^\w.+-]+", "_", f"{workflow}-{imported.name}-imported")
        folder = new_folder(root, name)
        os.rename(run.folder, folder)  # noqa: PTH104 - onto an empty folder, which it replaces
        return Run(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _format(path: Path) -> str:
    """The format that the file's name says.

    Raises:
        InputError: there is no such file, or its format is not read.
    """
    able = {each.suffix: name for name, each in registry.FORMATS.items() if each.is_imported}
    known = {each.suffix: each.description for each in registry.FORMATS.values()}
    if path.suffix not in able:
        what = f" ({known[path.suffix]})" if path.suffix in known else ""
        raise InputError(f"file {path}{what}: expected a name that ends in {', '.join(able)}")
    if not path.is_file():
        what = "this is a folder, expected a file" if path.is_dir() else "no such file"
        raise InputError(f"file {path}: {what}")
    if path.stat().st_size > LARGEST:
        raise InputError(
            f"file {path}: {path.stat().st_size / 2**20:,.0f} MiB; expected up to "
            f"{LARGEST // 2**20}"
        )
    registry.check_format(able[path.suffix], reading=True)
    return able[path.suffix]


def _read(path: Path, parameters: dict[str, Any]) -> tuple[dict[str, Any], Arrays]:
    """Has a process of its own read the file, whatever that may do to it."""
    try:
        with Worker() as worker:
            return worker.call(read_job, parameters, limit=SECONDS)
    except InputError as problem:
        said = "".join(c if c.isprintable() else "?" for c in str(problem))
        where = "" if said.startswith(path.name) else f"{path.name}: "
        raise InputError(f"file {where}{said}") from None
    except TimeoutError:
        raise InputError(f"file {path}: it could not be read in {SECONDS:g} s") from None
    except WorkerError as problem:
        first = "".join(c for c in str(problem).splitlines()[0] if c.isprintable())
        raise InputError(f"file {path}: it cannot be read ({first[:300]})") from None


def _check_classes(
    path: Path, about: dict[str, Any], class_names: tuple[str, ...], data: str
) -> None:
    said = about.get("class_names")
    if isinstance(said, list) and said != list(class_names):
        raise InputError(
            f"file {path.name} tells {', '.join(map(str, said))} apart, but the classes of data "
            f"{data} are {', '.join(class_names)}: give --data with the data that it is for"
        )


def _workflow(about: dict[str, Any], form: str, available: list[str]) -> str:
    """The workflow that the file names, or the usual one of its format; else any installed one."""
    usual = "keras" if form == "keras" else "tensorflow"
    for name in (about.get("workflow"), usual):
        if isinstance(name, str) and name in available:
            return name
    return available[0]


def _training(about: dict[str, Any]) -> tuple[Recipe, int]:
    """The recipe and the seed that an export of ours says it was trained with."""
    try:
        recipe, seed = Recipe.from_dict(about["recipe"]), about["seed"]
        training.check_seed(seed)
    except (InputError, KeyError, TypeError, AttributeError):
        return RECIPE, 0
    return recipe, seed


def _result(
    measured: dict[str, Any], labels: np.ndarray, logits: np.ndarray, seconds: float
) -> dict[str, Any]:
    """The content of ``result.json`` for a network that was not trained here, without epochs and
    times."""
    correct = int(np.sum(np.argmax(logits, axis=1) == labels))
    return {
        "test_accuracy": correct / len(labels),
        "test_correct": correct,
        "test_images": len(labels),
        "validation_accuracy": measured["validation_accuracy"],
        "epochs": 0,
        "train_seconds": 0.0,
        "start_seconds": seconds,
        "images_per_second": 0.0,
        "peak_memory_mib": measured["peak_memory_mib"],
    }


# What follows happens in the worker's process.


def read_job(
    parameters: dict[str, Any], _: Arrays, __: Report, ___: object
) -> tuple[dict[str, Any], Arrays]:
    """Reads a file into a network and weights."""
    with suppress(OSError, ValueError):  # Not every system has that limit.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path = Path(parameters["file"])
    module = registry.load(parameters["format"])
    try:
        if parameters["network"]:
            stored: StoredNetwork = module.read(path, Network.from_dict(parameters["network"]))
        else:
            stored = module.read(path)
    except MemoryError:
        raise InputError(f"{path.name}: it would take more than {MEMORY // 2**30} GiB") from None
    except RecursionError:
        raise InputError(f"{path.name}: it is nested deeper than any network") from None
    for name, value in stored.weights.items():
        if not np.isfinite(value).all():
            raise InputError(f"{path.name}: weights {name} hold what is no number (NaN, infinity)")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    told = {"network": stored.network.to_dict(), "about": stored.about, "sha256": digest}
    return told, stored.weights


def measure_job(
    parameters: dict[str, Any], weights: Arrays, _: Report, __: object
) -> tuple[dict[str, Any], Arrays]:
    """The logits of the test images, and the accuracy on the validation images."""
    data = load_data(parameters["data"])
    network = Network.from_dict(parameters["network"])
    workflow = load_workflow(parameters["workflow"])(network, RECIPE, seed=0)
    workflow.load(weights)
    logits = workflow.logits(data.test.images)
    validation = workflow.logits(data.validation.images).argmax(axis=1)
    accuracy = float(np.mean(validation == data.validation.labels))
    measured = {"validation_accuracy": accuracy, "peak_memory_mib": machine.peak_memory_mib()}
    return measured, {"logits": logits}
