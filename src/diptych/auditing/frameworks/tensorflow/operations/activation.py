"""Activations, by their own operations or by what arithmetic does."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import math

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.defaults import curves
from diptych.auditing.frameworks.tensorflow.behaviour import Stretch, close
from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft, clean
from diptych.auditing.frameworks.tensorflow.operation_types import ACTIVATION_OPERATIONS
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace
from diptych.auditing.frameworks.tensorflow.trying import restored, varied


@reads(*ACTIVATION_OPERATIONS)
def named_activation(trace: Trace, block: Block) -> NodeDraft | None:
    core = block.core
    slope = {"LeakyRelu": "alpha"}.get(core.type)
    value = clean(core.get_attr(slope)) if slope else {"Elu": 1.0}.get(core.type)
    function = ACTIVATION_OPERATIONS[core.type]
    return NodeDraft("activation", {"function": function, "slope": value})


def activation(stretch: Stretch) -> NodeDraft | None:
    """One of the activation functions, the one that comes closest."""
    if stretch.reach > 8 and (limited := clip(stretch)):  # The numbers below do not go so far.
        return limited
    x = stretch.numbers(-4, 8)
    y = stretch(x)
    if x.dtype.kind != "f" or not np.any(x < -1):
        return None
    known = {name: (y - e, s) for name, (e, s) in curves(x, y).items() if close(stretch, y, e)}
    if not known:
        return clip(stretch)
    name = min(known, key=lambda name: np.max(np.abs(known[name][0])))
    slope = known[name][1]
    if slope is not None:
        slope = clean(stretch.written(slope))
    return NodeDraft("activation", {"function": name, "slope": slope})


def clip(stretch: Stretch) -> NodeDraft | None:
    """All numbers between two limits, of which one may be missing."""
    x = stretch.numbers(-4, 8)
    far = max(8.0, stretch.reach) * x  # Some beyond usual limits, and beyond those written in it.
    x = stretch.rounded(np.where(np.arange(x.size).reshape(x.shape) % 4, x, far))
    y = stretch(x)
    low, high = (stretch.written(float(limit)) for limit in (y.min(), y.max()))
    inside = np.sum((low < x) & (x < high)) > 3  # Or it could be another curve with such limits.
    beyond = x.min() < low or x.max() > high
    if not (inside and beyond and close(stretch, y, np.clip(x, low, high))):
        return None
    limits = [clean(low) if x.min() < low else None, clean(high) if x.max() > high else None]
    return NodeDraft("activation", {"function": "clip", "slope": None, "limits": limits})


def prelu(stretch: Stretch, variables: dict[str, tf.Variable]) -> NodeDraft | None:
    """A leaky ReLU whose slopes are a variable, one for all numbers or one for each channel."""
    if len(variables) != 1:
        return None
    [(name, variable)] = variables.items()
    if math.prod(variable.shape) not in (1, stretch.input.shape[-1]):
        return None
    x = stretch.numbers(-4, 8)
    with restored(variables):
        slope, y = varied(variables)[name].ravel(), stretch(x)
    same = close(stretch, y, np.where(x > 0, x, slope * x))
    return NodeDraft("prelu", {}, {"slope": name}) if same else None
