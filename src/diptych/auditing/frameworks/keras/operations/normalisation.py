"""Normalisation: by batch, and by numbers that are known before training."""

from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.keras.arrays import to_array
from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.frameworks.keras.operations.arithmetic import by_channel


@reads("BatchNormalization")
def batch_normalisation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.renorm or not call.is_channel_axis(layer.axis):
        return None
    variables = {
        "gamma": layer.gamma,
        "beta": layer.beta,
        "mean": layer.moving_mean,
        "variance": layer.moving_variance,
    }
    return draft(
        "batch_norm", variables, epsilon=layer.epsilon, momentum=layer.momentum, unbiased=False
    )


@reads("Normalization")
def feature_normalisation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.invert or any(not call.is_channel_axis(axis) for axis in layer.axis):
        return None
    mean, variance = (to_array(value).astype(np.float64) for value in (layer.mean, layer.variance))
    scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    return draft("rescale", scale=by_channel(scale), offset=by_channel(-mean * scale))


@reads("LayerNormalization")
def layer_normalisation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    axes = None if layer.rms_scaling else axes_of(layer.axis, call)
    if axes is None:
        return None
    variables = {"gamma": layer.gamma, "beta": layer.beta}
    return draft("layer_norm", variables, epsilon=layer.epsilon, axes=axes)


@reads("RMSNormalization")
def rms_normalisation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    axes = axes_of(layer.axis, call)
    if axes is None:
        return None
    return draft("rms_norm", {"gamma": layer.scale}, epsilon=layer.epsilon, axes=axes)


def axes_of(axis: int | list[int], call: ShapedCall) -> list[int] | None:
    """A layer's axes as the graph has them; None if its parameters' axes are in another order."""
    rank = len(call.inputs[0]) + 1
    axes = [each % rank - rank for each in ([axis] if isinstance(axis, int) else axis)]
    if call.channels_first and call.spatial:
        return [-1] if axes == [1 - rank] else None
    return axes if axes == sorted(axes) and -rank not in axes else None


@reads("GroupNormalization")
def group_normalisation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if not call.is_channel_axis(layer.axis):
        return None
    variables = {"gamma": layer.gamma, "beta": layer.beta}
    return draft("group_norm", variables, epsilon=layer.epsilon, groups=layer.groups)


@reads("UnitNormalization")
def unit_normalisation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return _by_norm(layer.axis, call)


@reads("ops.Normalize")
def normalize(operation: Any, call: ShapedCall) -> NodeDraft | None:
    if operation.order != 2 or (operation.epsilon or 0) > 1e-6:
        return None
    return _by_norm(operation.axis, call)


def _by_norm(axis: Any, call: ShapedCall) -> NodeDraft | None:
    """Drafts a division by the norm over axes, which may be the batch's."""
    rank = len(call.inputs[0]) + 1
    axes = sorted(one % rank - rank for one in ([axis] if isinstance(axis, int) else axis))
    if call.channels_first and call.spatial:
        axes = [-1] if axes == [1 - rank] else axes
        if axes not in ([-1], [-rank]):
            return None
    return draft("unit_norm", axes=axes)
