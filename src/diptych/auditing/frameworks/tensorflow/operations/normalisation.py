"""Batch normalisation, fused or written out."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.behaviour import Stretch
from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft, clean
from diptych.auditing.frameworks.tensorflow.operation_types import FUSED_NORMS
from diptych.auditing.frameworks.tensorflow.operations.convolution import channels_last
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace
from diptych.auditing.frameworks.tensorflow.trying import fill, restored, varied
from diptych.auditing.graph import Arrays


@reads(*FUSED_NORMS)
def fused_norm(trace: Trace, block: Block) -> NodeDraft | None:
    core = block.core
    if not channels_last(core):
        return None
    roles = ("gamma", "beta", "mean", "variance")
    names = zip(roles, map(trace.variable, core.inputs[1:5]), strict=True)
    attributes = {"epsilon": clean(core.get_attr("epsilon"))}
    return NodeDraft("batch_norm", attributes, {role: name for role, name in names if name})


Attempt = Callable[[Stretch, dict[str, tf.Variable]], NodeDraft | None]
"""Tells whether a stretch is one kind of normalisation. It may leave other values in the variables
that go into the stretch."""

ATTEMPTS: list[Attempt] = []


def attempts(attempt: Attempt) -> Attempt:
    """Registers a kind of normalisation that a stretch may be."""
    ATTEMPTS.append(attempt)
    return attempt


def normalisation(stretch: Stretch, variables: dict[str, tf.Variable]) -> NodeDraft | None:
    """The first kind of normalisation whose numbers a stretch gives; None if it is none."""
    with restored(variables):
        drafts = (attempt(stretch, variables) for attempt in ATTEMPTS)
        return next((draft for draft in drafts if draft is not None), None)


@attempts
def batch_norm(stretch: Stretch, variables: dict[str, tf.Variable]) -> NodeDraft | None:
    """Normalisation by the batch's mean and variance, or by variables; which are which is tried."""
    channels = stretch.input.shape[-1]
    if len(variables) > 4 or any(math.prod(v.shape) != channels for v in variables.values()):
        return None
    values = varied(variables)
    x = stretch.numbers(-1.5, 2)
    y = stretch(x)
    roles = next((each for each in possible_roles(list(values)) if fits(each, values, x, y)), None)
    if roles is None:
        return None
    # With a variance next to nothing, epsilon is alone under the root.
    plain = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1e-14}
    for role, name in roles.items():
        fill(variables[name], plain[role])
    small = stretch.numbers(-1.0, 1.0) if "mean" in roles else stretch.numbers(-1e-7, 1e-7)
    deviation = small - (0.0 if "mean" in roles else small.mean(spread(small)))
    epsilon = float(np.sum(deviation**2) / max(float(np.sum(stretch(small) ** 2)), 1e-300))
    epsilon = clean(stretch.written(epsilon))
    if not fits(roles, values, x, y, epsilon, 10 * stretch.tolerance):
        return None
    return NodeDraft("batch_norm", {"epsilon": epsilon}, roles)


@attempts
def layer_norm(stretch: Stretch, variables: dict[str, tf.Variable]) -> NodeDraft | None:
    """Normalisation of each example by its mean and variance over some axes."""
    return over_axes("layer_norm", stretch, variables)


@attempts
def rms_norm(stretch: Stretch, variables: dict[str, tf.Variable]) -> NodeDraft | None:
    """Division of each example by its root mean square over some axes."""
    return over_axes("rms_norm", stretch, variables)


def over_axes(kind: str, stretch: Stretch, variables: dict[str, tf.Variable]) -> NodeDraft | None:
    """Normalisation of each example over its last axes; how many they are is tried."""
    values = varied(variables)
    x = stretch.numbers(-1.5, 2)
    y = stretch(x)
    last = [tuple(range(-count, 0)) for count in range(1, x.ndim)]
    tried = [(axes, roles) for axes in last for roles in possible_roles(list(values))]
    found = next((each for each in tried if fits_over(kind, *each, values, x, y)), None)
    if found is None:
        return None
    axes, roles = found
    for role, name in roles.items():
        fill(variables[name], 1.0 if role == "gamma" else 0.0)
    small = stretch.numbers(-1e-7, 1e-7)
    deviation = small - statistics(kind, small, axes)[0]
    epsilon = float(np.sum(deviation**2) / max(float(np.sum(stretch(small) ** 2)), 1e-300))
    epsilon = clean(stretch.written(epsilon))
    if not fits_over(kind, axes, roles, values, x, y, epsilon, 10 * stretch.tolerance):
        return None
    return NodeDraft(kind, {"epsilon": epsilon, "axes": list(axes)}, roles)


def statistics(kind: str, x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The subtracted value, and the value under the root besides epsilon."""
    if kind == "rms_norm":
        return np.zeros(1), np.mean(x**2, axes, keepdims=True)
    return x.mean(axes, keepdims=True), x.var(axes, keepdims=True)


def fits_over(
    kind: str,
    axes: tuple[int, ...],
    roles: dict[str, str],
    values: Arrays,
    x: np.ndarray,
    y: np.ndarray,
    epsilon: float = 0.0,
    tolerance: float = 0.1,
) -> bool:
    """True if y is x normalised over those axes; as `fits`."""
    sizes = x.shape[axes[0] :]
    allowed = {"gamma"} if kind == "rms_norm" else {"gamma", "beta"}
    if roles.keys() - allowed or any(values[name].shape != sizes for name in roles.values()):
        return False
    mean, variance = statistics(kind, x, axes)
    expected = (x - mean) / np.sqrt(variance + epsilon)
    if "gamma" in roles:
        expected = expected * values[roles["gamma"]]
    if "beta" in roles:
        expected = expected + values[roles["beta"]]
    return bool(np.max(np.abs(y - expected)) <= tolerance * max(1.0, np.max(np.abs(expected))))


def spread(x: np.ndarray) -> tuple[int, ...]:
    """All axes but the channels'."""
    return tuple(range(x.ndim - 1))


def possible_roles(names: list[str]) -> Iterator[dict[str, str]]:
    """The ways in which variables can be the parameters of a batch normalisation, by role."""
    optional = [(), ("gamma",), ("beta",), ("gamma", "beta")]
    for needed in ((), ("mean", "variance")):
        for chosen in optional:
            roles = (*chosen, *needed)
            if len(roles) == len(names):
                for order in itertools.permutations(names):
                    yield dict(zip(roles, order, strict=True))


def fits(
    roles: dict[str, str],
    values: Arrays,
    x: np.ndarray,
    y: np.ndarray,
    epsilon: float = 0.0,
    tolerance: float = 0.1,
) -> bool:
    """True if y is x normalised with those roles; with that tolerance, epsilon may be anything."""
    part = {role: values[name].ravel().astype(np.float64) for role, name in roles.items()}
    mean = part.get("mean", x.mean(spread(x)))
    variance = part["variance"] if "variance" in part else x.var(spread(x))
    expected = (x - mean) / np.sqrt(variance + epsilon)
    expected = expected * part.get("gamma", 1.0) + part.get("beta", 0.0)
    return bool(np.max(np.abs(y - expected)) <= tolerance * max(1.0, np.max(np.abs(expected))))
