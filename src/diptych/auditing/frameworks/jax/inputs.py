"""Inputs of a network and its loss, and defaults if the user defines none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diptych.auditing.frameworks.defaults import EXAMPLES, IMAGE, rows_of
from diptych.auditing.frameworks.jax.submission import Submission
from diptych.auditing.frameworks.users import one_line, users_code
from diptych.errors import InputError

SHAPES = (IMAGE, (784,), (1, 28, 28), (28, 28))
"""The forms in which a raw image may be passed to a network."""


@dataclass(frozen=True)
class Inputs:
    """A few inputs that a network runs on, in its own layout, and what its loss takes."""

    x: np.ndarray
    """(n, …)."""
    output: jax.ShapeDtypeStruct
    targets: str
    """The targets that the loss takes; see `Adapter.targets`."""

    def target(self, targets: np.ndarray, dtype: Any) -> Any:
        """Targets as the loss takes them."""
        return jnp.asarray(targets, jnp.int32 if self.targets == "classes" else dtype)


def example(extras: dict[str, Any]) -> np.ndarray:
    """A batch of inputs, by what the user says or by default.

    Raises:
        InputError: what the user says is not what an audit takes.
    """
    if "data" in extras or "prepare" in extras:
        images = np.zeros((EXAMPLES, *IMAGE), np.uint8)
        return prepared(extras, images, np.arange(EXAMPLES))[0]
    shape = tuple(extras.get("input_shape", IMAGE))
    return np.random.default_rng(0).random((EXAMPLES, *shape), np.float32)


def prepared(
    extras: dict[str, Any], images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The user's preparation of raw images and labels by ``prepare``, or their ``data``."""
    source = "`prepare` in extras" if "prepare" in extras else "`data` in extras"
    if "prepare" in extras:
        with users_code(source):
            made = extras["prepare"](images, labels)
    else:
        made = extras["data"]
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise InputError(f"{source} gave a {type(made).__name__}: give a pair (x, y)")
    x, y = (np.asarray(array) for array in made)
    if "prepare" in extras:
        return x[: len(images)], y[: len(images)]
    rows = rows_of(len(x), len(images))
    return x[rows], y[rows]


def find(submission: Submission, dtype: type) -> Inputs:
    """Inputs on which the network runs, and what its loss takes.

    Args:
        submission: the build.
        dtype: the type that it computes in, to which inputs with a fraction are cast.

    Raises:
        InputError: no inputs are found on which it runs.
    """
    said = {"data", "prepare", "input_shape"} & submission.extras.keys()
    batches = [example(submission.extras)]
    if not said:
        numbers = np.random.default_rng(0)
        batches = [numbers.random((EXAMPLES, *shape), np.float32) for shape in SHAPES]
    failures: list[Exception] = []
    for x in batches:
        typed = x.astype(dtype) if x.dtype.kind == "f" else x
        try:
            output = jax.eval_shape(
                lambda x: submission.apply(submission.params, submission.state, x, False, None)[0],
                typed,
            )
        except Exception as error:
            failures.append(error)
            continue
        if not hasattr(output, "shape") or output.shape[:1] != (len(x),):
            raise InputError(
                f"the network, on an input of shape {x.shape}, gives {output}, where an audit "
                "expects one array whose first axis is the batch's"
            )
        return Inputs(x, output, targets_of(submission, output))
    raise InputError(
        f"the network fails: {one_line(failures[0])}: say what it takes by `data`, `prepare` or "
        "`input_shape` in extras, such as {'input_shape': (32, 32, 3)}"
    )


def targets_of(submission: Submission, output: jax.ShapeDtypeStruct) -> str:
    """The targets that the loss takes: from the user's targets, or else by trying.

    Raises:
        InputError: the loss takes neither classes nor numbers of the output's shape, or is not one
            number.
    """
    count = 5 if output.shape[-1] == EXAMPLES else EXAMPLES
    shape = (count, *output.shape[1:])
    outputs = np.linspace(0.2, 0.8, int(np.prod(shape))).reshape(shape).astype(np.float32)
    units = shape[-1] if len(shape) > 1 else 1

    def loss(targets: np.ndarray) -> Any:
        return np.asarray(submission.loss_of(submission.params, outputs, targets))

    labels = np.arange(count, dtype=np.int32) % max(1, units)
    as_classes = _tried(lambda: loss(labels))
    one_hot = np.zeros(shape, np.float32)
    one_hot[..., 0] = 1
    as_numbers = _tried(lambda: loss(one_hot))
    if isinstance(as_numbers, Exception) and isinstance(as_classes, Exception):
        raise InputError(f"the loss fails: {one_line(as_classes)}")
    value = as_classes if isinstance(as_numbers, Exception) else as_numbers
    if np.shape(value) != ():
        raise InputError(
            f"the loss gives an array of shape {np.shape(value)}, expected one number: take its "
            "mean, as in optax.softmax_cross_entropy(outputs, targets).mean()"
        )
    if isinstance(as_numbers, Exception):
        return "classes"
    twice, none = loss(2 * one_hot), loss(0 * one_hot)
    if abs(twice - 2 * value + none) > 1e-5 * max(1.0, abs(float(twice))):
        return "values"  # A cross entropy is a line through its targets.
    return "binary" if units == 1 else "one_hot"


def _tried(compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except Exception as error:
        return error
