"""Up-sampling, pixel shuffles and shuffles of channels."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import FIRST, per_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event
from diptych.auditing.kinds.places import ratios

METHODS = {
    "nearest": ("nearest", "corner"),
    "nearest-exact": ("nearest", "half"),
    "linear": ("linear", "half"),
    "bilinear": ("linear", "half"),
    "trilinear": ("linear", "half"),
    "bicubic": ("cubic", "half"),
}
"""By PyTorch's mode: the method, and where pixels lie if the corners are not aligned."""


@reads("interpolate")
def interpolate(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> bool:
    value = drafts.activation(event, input)
    if value is None or value.layout != FIRST or antialias:
        return False
    sizes = list(input.shape[2:])
    wanted = list(drafts.trace.copies[event.outputs[0]].shape[2:])
    if mode == "area":
        if any(length % to for length, to in zip(sizes, wanted, strict=True)):
            return drafts.emit(event, "adaptive_average_pool", [input], FIRST, size=wanted)
        windows = [length // to for length, to in zip(sizes, wanted, strict=True)]
        settings = {"size": windows, "strides": windows, "padding": [[0, 0] for _ in windows]}
        return drafts.emit(event, "average_pool", [input], FIRST, count_padding=False, **settings)
    method, centres = METHODS[mode]
    if align_corners:
        centres = "corners"
    steps = ratios(sizes, wanted, centres)
    if scale_factor is not None and not recompute_scale_factor and not align_corners:
        factors: Sequence[float] = (
            scale_factor if isinstance(scale_factor, (list, tuple)) else [scale_factor] * len(sizes)
        )
        steps = [1 / float(factor) for factor in factors]
    attributes = {"size": wanted, "ratios": steps, "method": method, "centres": centres}
    return drafts.emit(event, "resize", [input], FIRST, **attributes)


@reads("pixel_shuffle")
def pixel_shuffle(drafts: Drafts, event: Event, input: Tensor, upscale_factor: int) -> bool:
    return _blocks(drafts, event, input, "depth_to_space", upscale_factor)


@reads("pixel_unshuffle")
def pixel_unshuffle(drafts: Drafts, event: Event, input: Tensor, downscale_factor: int) -> bool:
    return _blocks(drafts, event, input, "space_to_depth", downscale_factor)


@reads("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(drafts: Drafts, event: Event, input: Tensor, groups: int) -> bool:
    value = drafts.activation(event, input)
    if value is None or value.layout != FIRST:
        return False
    channels, *spatial = input.shape[1:]
    axes = len(spatial)
    steps = [
        ["reshape", [*spatial, groups, channels // groups]],
        ["transpose", [*range(axes), axes + 1, axes]],
        ["reshape", [*spatial, channels]],
    ]
    settings = {"shape": [*spatial, channels], "steps": steps}
    return drafts.emit(event, "rearrange", [input], FIRST, **settings)


def _blocks(drafts: Drafts, event: Event, x: Tensor, kind: str, block: int) -> bool:
    value = drafts.activation(event, x)
    if value is None or value.layout != FIRST:
        return False
    block = per_axis(1, block)[0]
    return drafts.emit(event, kind, [x], FIRST, block=block, order="channels")
