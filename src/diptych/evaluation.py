"""Evaluation of a trained run: accuracy with its interval, scores per class, and predictions."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

from diptych import extras
from diptych.data import Split, load_data
from diptych.data.drawing import prepare_image
from diptych.data.pictures import find_pictures, open_source
from diptych.errors import InputError
from diptych.runs import PREDICTIONS, Run
from diptych.shown import as_html, as_text
from diptych.worker import Arrays, Report, Worker
from diptych.workflows import registry


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class."""

    name: str
    images: int
    precision: float | None
    """Of the images classified as this class, the share that belong to it; None where there are
    none."""
    recall: float | None
    """Of the images of this class, the share classified as it; None where there are none."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A run's predictions on a split, compared with the labels."""

    run: str
    data: str
    images: int
    correct: int
    interval: tuple[float, float]
    """The 95% interval of the accuracy."""
    loss: float
    classes: list[ClassScore]
    confusion: list[list[int]]
    """``confusion[i][j]``: images of class i that were classified as class j."""

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` writes them."""
        return {"schema": 1, "accuracy": self.accuracy, **asdict(self)}

    __repr__ = as_text("evaluation:evaluation_tables")
    _repr_html_ = as_html("evaluation:evaluation_tables")


def accuracy_interval(correct: int, images: int) -> tuple[float, float]:
    """The 95% interval of an accuracy: Wilson's (1927) score interval for a proportion."""
    low, high = stats.binomtest(correct, images).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


def evaluate(run: Run | str | Path, data: str | None = None) -> Evaluation:
    """Accuracy and scores on the test images of the run's own data, or of other data.

    On its own data the predictions that were stored when it was trained are scored.

    Args:
        run: a finished run or its folder.
        data: a data set's name or folder; the run's own where not given.

    Raises:
        InputError: the run has not ended, or the data don't fit its network, or have other classes
            than the run was trained on.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    own = run.description()["data"]
    loaded = load_data(data or own["source"])
    if data is None:
        run.check_data(loaded)
    run.network.check_data(loaded.image_shape, loaded.classes, loaded.name)
    if list(loaded.class_names) != own["class_names"]:
        given, expected = (", ".join(names) for names in (loaded.class_names, own["class_names"]))
        raise InputError(
            f"data {loaded.name}: the classes are {given}; expected those that run {run.name} was "
            f"trained on: {expected}"
        )
    if data is None and (run.folder / PREDICTIONS).is_file():
        run.weights()  # Raises where the run has not ended.
        logits, _ = run.predictions()
    else:
        logits = _logits(run, loaded.test.images, loaded.source)
    return scored(logits, loaded.test, run.name, loaded.name, loaded.class_names)


def scored(
    found: np.ndarray, split: Split, run: str, data: str, class_names: tuple[str, ...]
) -> Evaluation:
    """The evaluation of logits (n, classes) for a split's images."""
    labels, read = split.labels.astype(np.int64), np.argmax(found, axis=1)
    count = len(class_names)
    confusion = np.bincount(labels * count + read, minlength=count * count).reshape(count, count)
    scores = []
    for number, name in enumerate(class_names):
        right = int(confusion[number, number])
        of_class, read_so = int(confusion[number].sum()), int(confusion[:, number].sum())
        scores.append(
            ClassScore(
                name,
                of_class,
                right / read_so if read_so else None,
                right / of_class if of_class else None,
            )
        )
    losses = -special.log_softmax(found.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    correct = int(np.trace(confusion))
    return Evaluation(
        run,
        data,
        len(labels),
        correct,
        accuracy_interval(correct, len(labels)),
        float(losses.mean()),
        scores,
        confusion.tolist(),
    )


def predict(run: Run | str | Path, images: np.ndarray) -> np.ndarray:
    """The probability of each class for each image.

    Args:
        run: a finished run or its folder.
        images: uint8 (n, height, width, channels), in the form of the run's data.

    Returns:
        float32 (n, classes), each row adding up to 1.

    Raises:
        InputError: the run has not ended, or the images are not of its network's shape.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != run.network.input_shape:
        raise InputError(
            f"images: given {images.dtype} {images.shape}, expected uint8 "
            f"(n, {', '.join(map(str, run.network.input_shape))})"
        )
    return special.softmax(_logits(run, images), axis=1)


def predict_pictures(run: Run | str | Path, pictures: list[str]) -> list[dict[str, Any]]:
    """Classifies picture files, each put into the form of the run's data first.

    Args:
        run: a finished run or its folder.
        pictures: files or folders; ``-`` for standard input.

    Returns:
        For each picture: its name as ``image``, the ``answer``, and the ``probabilities`` by class;
        for one that cannot be classified its name and the ``problem``.

    Raises:
        InputError: a file or folder does not exist, or none of the pictures can be classified.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    data = run.description()["data"]
    images: list[np.ndarray] = []
    answers: list[dict[str, Any]] = []
    for name, source in find_pictures(pictures):
        answers.append({"image": name})
        try:
            picture = open_source(name, source)
            images.append(prepare_image(picture, run.network.input_shape, data["name"]))
        except InputError as problem:
            text = str(problem)
            starts = text.startswith((name, "standard input"))
            answers[-1]["problem"] = text if starts else f"{name}: {text}"
    problems = [answer["problem"] for answer in answers if "problem" in answer]
    if not images:
        more = len(problems) - 1
        others = f" (and {more} other{'s' if more > 1 else ''})" if more else ""
        raise InputError(problems[0] + others)
    shares = iter(predict(run, np.stack(images)))
    classes = data["class_names"]
    for answer in answers:
        if "problem" not in answer:
            row = next(shares)
            answer["answer"] = classes[int(np.argmax(row))]
            answer["probabilities"] = dict(zip(classes, map(float, row), strict=True))
    return answers


def _logits(run: Run, images: np.ndarray, data: str | None = None) -> np.ndarray:
    """The run's logits for images, float32 (n, classes).

    ONNX Runtime computes them where it is installed, in this process: no framework is loaded.
    Otherwise the run's workflow does or, where its framework is not installed either, the
    reference in NumPy, in a process of its own, which opens ``data`` itself.
    """
    weights = run.weights()
    if not extras.missing(["onnx", "onnxruntime"]):
        from diptych.formats.onnx.prediction import predictor

        if not len(images):
            return np.zeros((0, run.network.classes), np.float32)
        return predictor(run.network, weights)(images)
    workflow = run.workflow if run.workflow in registry.installed() else "numpy"
    parameters = {"run": str(run.folder.absolute()), "workflow": workflow, "data": data}
    with Worker(registry.environment(workflow)) as worker:
        arrays = {} if data else {"images": images}
        _, answer = worker.call(logits_job, parameters, arrays)
    return answer["logits"]


def logits_job(
    parameters: dict[str, Any], arrays: Arrays, _: Report, __: object
) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: the logits of the given images, or of the test images of data."""
    run, name = Run(Path(parameters["run"])), parameters["workflow"]
    data = parameters["data"]
    # Data are opened here rather than sent: they may be larger than memory.
    images = load_data(data).test.images if data else arrays["images"]
    recipe = run.recipe.with_changes(precision="float32")
    workflow = registry.load(name)(run.network, recipe, run.seed)
    workflow.load(run.weights())
    return {}, {"logits": workflow.logits(images)}
