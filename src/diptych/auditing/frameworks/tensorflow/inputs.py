"""Inputs and targets: those that the user's functions take, and the preparation of raw images."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.defaults import (
    IMAGE,
    coded,
    default_input,
    default_targets,
    rows_of,
)
from diptych.auditing.frameworks.tensorflow.builds import Built
from diptych.auditing.frameworks.tensorflow.output import network_output
from diptych.auditing.frameworks.tensorflow.trace import Trace, as_type
from diptych.auditing.frameworks.users import one_line
from diptych.errors import InputError

Tensor = Any
EXAMPLES = 5
"""The batch that a graph is read with. Five is no usual size of anything else in a network."""
IMAGE_SHAPES = ([28, 28, 1], [784], [28, 28])
"""The shapes that are tried for an input if none is defined."""
EXTRAS = "data = (x, y), the arrays that it is fed with"


@dataclass(frozen=True)
class Inputs:
    """The types and shapes of x and y, and what the targets are."""

    x: tf.TensorSpec
    """For a batch of `EXAMPLES`, as is y."""
    y: tf.TensorSpec
    targets: str
    """As the protocol's."""
    met: tuple[int, ...]
    """The shape in which the loss holds the network's output against the targets."""
    classes: int
    """The number of outputs of the network."""

    def widened(self) -> "Inputs":
        """The same with float64 in the place of other float types."""
        x, y = (
            tf.TensorSpec(spec.shape, tf.float64 if spec.dtype.is_floating else spec.dtype)
            for spec in (self.x, self.y)
        )
        return replace(self, x=x, y=y)

    def specs(self, count: int) -> list[tf.TensorSpec]:
        """Those of a batch of another size."""
        return [tf.TensorSpec([count, *s.shape[1:]], s.dtype) for s in (self.x, self.y)]

    def feed_x(self, x: np.ndarray) -> Tensor:
        return as_type(x, self.x.dtype)

    def feed_y(self, targets: np.ndarray) -> Tensor:
        """Targets as the loss takes them."""
        shape = [len(targets), *self.y.shape[1:]]
        if targets.size == math.prod(shape):
            targets = targets.reshape(shape)
        return as_type(targets, self.y.dtype)

    def example(self, submission: Built, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Some plausible input and targets, the same each time, as the object takes them."""
        if submission.prepares:
            return prepared_example(submission, count)
        chance = np.random.default_rng(0)
        x = chance.uniform(0, 1, (count, *self.x.shape[1:]))
        width = self.met[-1]
        match self.targets:
            case "classes":
                y = np.arange(count) % self.classes
            case "one_hot":
                y = np.eye(width)[np.arange(count) % width]
            case "binary":
                y = (np.arange(count) % 2).reshape(count, *self.y.shape[1:])
            case _:
                y = chance.normal(size=(count, *self.y.shape[1:]))
        return x, y

    def coded(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples that stay distinguishable in batches."""
        dtype = np.float32 if self.x.dtype.is_integer else self.x.dtype.as_numpy_dtype
        y_dtype = self.y.dtype.as_numpy_dtype
        return coded(count, self.x.shape[1:], dtype), coded(count, self.y.shape[1:], y_dtype)

    def default(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input and targets of an object that does not say how it makes them.

        Raises:
            InputError: its input is no image, or its targets are no classes.
        """
        shape = tuple(self.x.shape[1:])
        if math.prod(shape) != math.prod(images.shape[1:]):
            raise InputError(
                f"its x is {shape}, images are {images.shape[1:]}: give it "
                f"prepare(images, labels) or {EXTRAS}"
            )
        dtype = self.x.dtype.as_numpy_dtype
        y = default_targets(labels, self.targets, self.met[-1], dtype)
        if y is None:
            raise InputError(
                f"its loss takes {self.targets}, not classes: "
                f"give it prepare(images, labels) or {EXTRAS}"
            )
        return default_input(images, shape, dtype), y


def prepared_example(submission: Built, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As `Inputs.example`, of an object that says what it makes of images or brings data."""
    images = np.random.default_rng(0).integers(0, 256, (count, *IMAGE), np.uint8)
    return prepared(submission, images, np.arange(count) % 10)


def prepared(
    submission: Built, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Such an object's preparation of raw images and labels.

    Raises:
        InputError: it fails.
    """
    if submission.data is not None:
        x, y = submission.data
        rows = rows_of(len(x), len(images))
        return np.array(x)[rows], np.array(y)[rows]
    assert submission.prepare is not None
    try:
        x, y = submission.prepare(images, labels)
    except Exception as problem:
        raise InputError(
            f"its prepare(images, labels) fails for uint8 {images.shape} and labels "
            f"{labels.shape}: {one_line(problem)}"
        ) from None
    return np.array(x), np.array(y)


def find(submission: Built) -> Inputs:
    """The form of x and y, by trying the loss.

    Raises:
        InputError: the loss cannot be called with anything that was tried, or does not compare
            what it makes of x with y.
    """
    x, y, trace = first_trace(submission)
    trace.check_variables()
    output, met = network_output(trace)
    targets = kind_of_targets(trace, met)
    if not submission.prepares and targets != "classes":
        y = tf.TensorSpec(met, x.dtype)
        output, met = network_output(traced(submission, x, y))
    return Inputs(x, y, targets, met, int(output.shape[-1]) if output.shape.rank else 1)


def first_trace(submission: Built) -> tuple[tf.TensorSpec, tf.TensorSpec, Trace]:
    """The first x and y that the loss takes, and its graph."""
    if submission.prepares:
        arrays = prepared_example(submission, EXAMPLES)
        x, y = (tf.TensorSpec([EXAMPLES, *a.shape[1:]], a.dtype) for a in arrays)
        return x, y, traced(submission, x, y)
    double = all(v.dtype == tf.float64 for v in submission.variables.values())
    dtype = tf.float64 if double else tf.float32
    own = submission.extra("input_shape")
    problem: Exception | None = None
    for shape in [list(own)] if own is not None else IMAGE_SHAPES:
        x = tf.TensorSpec([EXAMPLES, *shape], dtype)
        for y in (
            tf.TensorSpec([EXAMPLES], tf.int64),
            tf.TensorSpec([EXAMPLES, None], dtype),
            tf.TensorSpec(None, dtype),
        ):
            try:
                return x, y, traced(submission, x, y)
            except InputError as caught:
                problem = problem or caught
    tried = own if own is not None else ", ".join(map(str, IMAGE_SHAPES))
    raise InputError(f"its loss(x, y) takes no x of shape {tried} ({problem}): give it {EXTRAS}")


def traced(submission: Built, x: tf.TensorSpec, y: tf.TensorSpec) -> Trace:
    """The loss's graph; raises InputError where it has none, or is no loss."""
    try:
        trace = Trace(submission.loss, [x, y], submission.variables)
    except InputError:
        raise
    except Exception as problem:
        raise InputError(
            f"its loss(x, y) fails for x {x.shape} {x.dtype.name} and y {y.shape} "
            f"{y.dtype.name}: {one_line(problem)}"
        ) from None
    if not isinstance(trace.result, tf.Tensor):
        raise InputError(
            f"its loss(x, y) returns a {type(trace.result).__name__}: expected a scalar tensor"
        )
    if trace.result.shape.rank != 0:
        raise InputError(
            f"its loss(x, y) returns shape {tuple(trace.result.shape)}: expected a scalar, "
            "such as the mean over the batch (tf.reduce_mean)"
        )
    return trace


def kind_of_targets(trace: Trace, met: tuple[int, ...]) -> str:
    """The targets that the loss takes, from its use of y."""
    before = trace.ancestors([trace.result])
    types = {operation.type for operation in trace.operations if operation.name in before}
    width, y = met[-1] if len(met) > 1 else 1, trace.y[0]
    if y.dtype.is_integer and y.shape.rank == 1:
        direct = {"SparseSoftmaxCrossEntropyWithLogits", "OneHot", "GatherV2", "GatherNd"}
        if types & direct:
            return "classes"
        return "binary" if width == 1 and types & {"Log", "Log1p"} else "values"
    if width > 1 and types & {"SoftmaxCrossEntropyWithLogits", "Log", "Log1p", "LogSoftmax"}:
        return "one_hot"
    return "binary" if width == 1 and types & {"Log", "Log1p"} else "values"
