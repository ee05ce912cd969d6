"""Writes a run's network into a file of another tool, which then shows that it is the same."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from diptych import machine
from diptych.data import Data, load_data
from diptych.data.batches import to_float
from diptych.errors import InputError, command, explained
from diptych.evaluation import accuracy_interval
from diptych.formats import registry
from diptych.formats.card import card
from diptych.formats.protocol import Content
from diptych.runs import Run
from diptych.worker import Arrays, Report, Worker

SCHEMA = 1
EXAMPLES = 500
"""Training images that int8 is fitted to."""
CHECKED = 1000
"""The number of test images on which a file is compared with its run by default."""
FULL_BYTES = 2**20
"""With so many bytes or fewer left, a write that failed has failed for that."""
ROUNDING = 1e-4
"""The share of the largest logit by which float32 in another order may move a logit. What is there
is below 1e-6; a slope of 0.001 instead of 0 in one layer of the article's network makes 3e-3."""


class NotTheSame(RuntimeError):
    """The format's own tool computes something else of the file than the run does."""


@dataclass(frozen=True)
class Check:
    """A file's predictions, by its own tool, compared with those of its run on the same test
    images."""

    tool: str
    images: int
    correct: int
    run_correct: int
    different: int
    """Images for which the two predict different classes."""
    logits: float
    """The largest difference of a logit."""
    span: float
    """The largest logit of the run."""


@dataclass(frozen=True)
class Export:
    """The result of an export."""

    run: str
    format: str
    file: str
    """The file, or for SavedModel the folder."""
    files: list[str]
    """All that was written: the file, what belongs beside it, and the model card."""
    bytes: int
    """The size of `file`."""
    int8: bool
    uint8_input: bool
    check: Check | None
    unchecked: str
    """Why there is no check."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` writes them."""
        return {"schema": SCHEMA, **asdict(self)}


def export(
    run: Run | str | Path,
    to: str,
    out: str | Path | None = None,
    *,
    int8: bool = False,
    uint8_input: bool = False,
    check: int = CHECKED,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Export:
    """Writes a run's network to a file for another tool, with a model card.

    The file is written aside, compared with the run by the format's own tool, and then renamed.

    Args:
        run: a finished run or its folder.
        to: one of `diptych.formats.registry.FORMATS`.
        out: the file; by default ``exports/RUN.SUFFIX``.
        int8: compute in 8-bit integers, fitted to training images.
        uint8_input: take pixels from 0 to 255 and scale them inside; else float32 in [0, 1].
        check: how many test images to hold the file against the run on; 0 for none.
        force: replace files that are there.
        report: called with what is being done.

    Raises:
        InputError: the run has not ended, its data are gone, or the format can't do what is asked.
        NotTheSame: the file computes something else; it is not kept.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    form = registry.check_format(to)
    if int8 and not form.int8:
        able = " or ".join(name for name, each in registry.FORMATS.items() if each.int8)
        raise InputError(f"format {to} with int8: there is no such thing here; expected {able}")
    if uint8_input and not form.computes:
        raise InputError(f"format {to} with uint8 input: it holds weights and computes nothing")
    if check < 0:
        raise InputError(f"check {check}: expected a number of test images, or 0 for no check")
    run.weights()
    if run.result() is None:
        raise InputError(f"run {run.name}: no result yet: {command('resume', run.folder)} ends it")
    data, gone = _data(run)
    if int8 and data is None:
        raise InputError(f"{gone}; int8 is fitted to the training images")
    name = run.name + ("-int8" if int8 else "") + ("-uint8" if uint8_input else "")
    out = Path("exports", name + form.suffix) if out is None else Path(out)
    _check_free(out, form.suffix, force)

    about = about_run(run, data, int8, uint8_input, to)
    try:
        with _aside(out) as folder:
            parameters = {
                "run": str(run.folder.absolute()),
                "to": to,
                "file": str(folder / out.name),
                "about": about,
                "data": data.source if data is not None else None,
                "check": check,
            }
            with Worker() as worker:
                answer, _ = worker.call(write_job, parameters, report=_said(report))
            found = Check(**answer["check"]) if answer["check"] else None
            if found is not None and not int8:
                _compare(out, found)
            size = _size(folder / out.name)
            example = answer["example"].format(file=out.name)
            text = card(about, form.description, out.name, size, example, answer["check"])
            (folder / f"{out.name}.md").write_text(text, encoding="utf-8")
            written = _put(folder, out, force)
    except OSError as problem:
        raise explained(problem) or problem from None
    unchecked = (
        "" if found else gone or ("not asked for" if not check else "it holds weights alone")
    )
    return Export(run.name, to, str(out), written, size, int8, uint8_input, found, unchecked)


def about_run(
    run: Run, data: Data | None, int8: bool, uint8_input: bool, to: str
) -> dict[str, Any]:
    """The description that is stored with a network, as plain data."""
    description, result = run.description(), run.result() or {}
    height, width, channels = run.network.input_shape
    first = to == "torch"
    correct, images = result["test_correct"], result["test_images"]
    notice = data.notice if data is not None else ""
    return {
        "schema": SCHEMA,
        "network": run.network.to_dict(),
        "class_names": description["data"]["class_names"],
        "input": {
            "shape": [channels, height, width] if first else [height, width, channels],
            "axes": "channels first" if first else "channels last",
            "type": "uint8" if uint8_input else "float32",
            "values": "pixels from 0 to 255" if uint8_input else "pixels times 1/255, from 0 to 1",
        },
        "output": "logits; softmax makes probabilities of them",
        "arithmetic": "int8" if int8 else "float32",
        "licence": f"Trained on {notice or 'data whose licence is not known here'}.",
        "run": run.name,
        "workflow": run.workflow,
        "recipe": run.recipe.to_dict(),
        "seed": run.seed,
        "data": {key: description["data"][key] for key in ("name", "fingerprint")},
        "test": {
            "correct": correct,
            "images": images,
            "accuracy": result["test_accuracy"],
            "interval": list(accuracy_interval(correct, images)),
        },
        "trained_with": description["versions"],
        "written_with": machine.versions(),
        "writer": f"diptych {version('diptych')}",
    }


def _data(run: Run) -> tuple[Data | None, str]:
    """The run's data, or why they are not there."""
    try:
        data = load_data(run.description()["data"]["source"])
        run.check_data(data)
    except InputError as problem:
        return None, f"run {run.name}: its data cannot be read ({problem})"
    return data, ""


def _check_free(out: Path, suffix: str, force: bool) -> None:
    """Says before the work that the file could not be written after it."""
    if out.suffix != suffix:
        raise InputError(f"file {out}: expected a name that ends in {suffix}")
    if out.exists() and not force:
        raise InputError(f"file {out}: it is there already; --force replaces it")
    if out.exists() and out.is_dir() != (suffix == ".savedmodel"):
        what = "folder" if out.is_dir() else "file"
        raise InputError(f"file {out}: a {what} of that name is there, which is not replaced")
    if out.is_dir() and not (out / "saved_model.pb").is_file() and any(out.iterdir()):
        raise InputError(f"folder {out}: it holds no SavedModel and is not replaced")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"file {out}: {problem.strerror or problem}") from None
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"file {out}: nothing can be written in {out.parent}")


class _aside(tempfile.TemporaryDirectory):
    """A folder beside the file that is to be, which goes with all that was not put in place."""

    def __init__(self, out: Path) -> None:
        super().__init__(prefix=f".{out.name}.", suffix=".partial", dir=out.parent)

    def __enter__(self) -> Path:
        return Path(super().__enter__())


def _put(folder: Path, out: Path, force: bool) -> list[str]:
    """Renames what was written into its place, the file itself last; returns its paths."""
    made = sorted(folder.iterdir(), key=lambda path: path.name == out.name)
    if not force:
        for path in made:
            if (out.parent / path.name).exists():
                raise InputError(
                    f"file {out.parent / path.name}: it is there already; --force replaces it"
                )
    for path in made:
        place = out.parent / path.name
        if place.is_dir():  # A folder can't be replaced in one go: the old one makes room first.
            old = folder.with_name(f"{folder.name}.old")
            place.rename(old)
            try:
                path.rename(place)
            except OSError:
                old.rename(place)
                raise
            shutil.rmtree(old)
        else:
            path.replace(place)
    return [str(out), *(str(out.parent / path.name) for path in made if path.name != out.name)]


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _compare(out: Path, check: Check) -> None:
    if not check.logits <= ROUNDING * max(check.span, 1):
        raise NotTheSame(
            f"file {out}: {check.tool} computes other logits than the run, by up to "
            f"{check.logits:.1e} of {check.span:.3g}, and reads {check.different} of "
            f"{check.images:,} test images differently; the file was not kept"
        )


def _said(report: Callable[[str], None]) -> Report:
    return lambda event: report(str(event["doing"]))


# What follows happens in the worker's process.


def write_job(
    parameters: dict[str, Any], _: Arrays, report: Report, __: object
) -> tuple[dict[str, Any], Arrays]:
    """Writes the file, and holds it against the run's own logits."""
    run, to, about = Run(Path(parameters["run"])), parameters["to"], parameters["about"]
    module, path = registry.load(to), Path(parameters["file"])
    int8, uint8_input = about["arithmetic"] == "int8", about["input"]["type"] == "uint8"
    data = load_data(parameters["data"]) if parameters["data"] else None
    examples = None
    if int8:
        assert data is not None
        images = data.train.images
        examples = images[:: max(1, len(images) // EXAMPLES)][:EXAMPLES]
    report({"doing": f"writing {to}"})
    try:
        module.write(Content(run.network, run.weights(), about, uint8_input, int8, examples), path)
    except Exception as problem:  # PyTorch says that a write failed, and not why.
        if explained(problem) or shutil.disk_usage(path.parent).free > FULL_BYTES:
            raise
        raise InputError(f"{path.parent.parent}: {os.strerror(errno.ENOSPC)}; make room") from None
    count = parameters["check"]
    if data is None or not count or not registry.FORMATS[to].computes:
        return {"example": module.EXAMPLE, "check": None}, {}
    report({"doing": f"reading test images with {module.tool()}"})
    images, labels = data.test.images[:count], data.test.labels[:count]
    theirs = module.logits(path, images if uint8_input else to_float(images))
    ours = run.predictions()[0][:count]
    found = checked(module.tool(), theirs, ours, labels)
    return {"example": module.EXAMPLE, "check": asdict(found)}, {}


def checked(tool: str, theirs: np.ndarray, ours: np.ndarray, labels: np.ndarray) -> Check:
    """The comparison of a file's logits (n, classes) with those of its run."""
    read, read_by_run = theirs.argmax(axis=1), ours.argmax(axis=1)
    return Check(
        tool,
        len(labels),
        int(np.sum(read == labels)),
        int(np.sum(read_by_run == labels)),
        int(np.sum(read != read_by_run)),
        float(np.max(np.abs(theirs - ours))),
        float(np.max(np.abs(ours))),
    )
