"""The position of a tensor's channels, from its use in the network."""

from diptych.auditing.frameworks.torch.calls import AXES, SHAPES
from diptych.auditing.frameworks.torch.layout import FIRST, LAST, to_first, to_last
from diptych.auditing.frameworks.torch.trace import Event, Trace

CHANNELS_FIRST = ("conv", "max_pool", "avg_pool", "adaptive", "batch_norm", "instance_norm")
CHANNELS_FIRST += ("group_norm", "pixel_", "interpolate", "upsample", "lp_pool")
CHANNELS_LAST = ("linear", "layer_norm", "lstm", "gru", "rnn_", "multi_head", "embedding")
CHANNELS_LAST += ("rms_norm", "scaled_dot", "matmul", "bmm", "baddbmm")
"""The prefixes of functions that show the position of the channels in their input."""

Uses = dict[int, list[Event]]
"""For each value of a run, the calls of functions that take it."""


def guess_layout(trace: Trace, uses: Uses, number: int) -> str:
    """`FIRST` or `LAST` for a value of a run, found by following it to a call that tells."""
    dimensions = trace.copies[number].ndim
    if dimensions < 3:
        return LAST
    return _told(trace, uses, number) or (FIRST if dimensions > 3 else LAST)


def _told(trace: Trace, uses: Uses, number: int) -> str | None:
    """The layout that follows from a call with the value or a value derived from it; None if there
    is none."""
    dimensions = trace.copies[number].ndim
    waiting, seen = [number], set()
    while waiting:
        number = waiting.pop(0)
        seen.add(number)
        for event in uses.get(number, []):
            if event.name.startswith(CHANNELS_FIRST):
                return FIRST
            if event.name.startswith(CHANNELS_LAST):
                return LAST
            same = [n for n in event.outputs if trace.copies[n].ndim == dimensions]
            if event.name in AXES:
                order = event.axes_order()
                if dimensions == 3 and order == to_first(3):
                    after = guess_layout(trace, uses, event.outputs[0])
                    return LAST if after == FIRST else FIRST
                if order in (to_first(dimensions), to_last(dimensions)):
                    return LAST if order == to_first(dimensions) else FIRST
                if order[0] != 0 or order[-1] != dimensions - 1:
                    continue
            elif event.name in SHAPES:
                if _divides_the_last(trace, number, event.outputs[0]):
                    told = _told(trace, uses, event.outputs[0])
                    if told == LAST:
                        return LAST
                continue
            waiting += [n for n in same if n not in seen]
    return None


def _divides_the_last(trace: Trace, number: int, output: int) -> bool:
    """True if a reshape divides the last axis into heads, or joins the last two."""
    short, long = sorted((trace.copies[n].shape for n in (number, output)), key=len)
    joined = len(short) > 2 and len(long) == len(short) + 1
    return joined and long[:-2] == short[:-1] and long[-2] * long[-1] == short[-1]
