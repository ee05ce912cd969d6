"""Where the channels of a tensor are, by what the network does with it."""

from diptych.auditing.frameworks.torch.calls import AXES, SHAPES
from diptych.auditing.frameworks.torch.layout import FIRST, LAST, to_first, to_last
from diptych.auditing.frameworks.torch.trace import Event, Trace

CHANNELS_FIRST = ("conv", "max_pool", "avg_pool", "adaptive", "batch_norm", "instance_norm")
CHANNELS_FIRST += ("group_norm", "pixel_", "interpolate", "upsample", "lp_pool")
CHANNELS_LAST = ("linear", "layer_norm", "lstm", "gru", "rnn_", "multi_head", "embedding")
CHANNELS_LAST += ("rms_norm", "scaled_dot")
"""How the names of functions start that say where the channels of their input are."""

Uses = dict[int, list[Event]]
"""For each value of a run, the calls of functions that take it."""


def guess_layout(trace: Trace, uses: Uses, number: int) -> str:
    """`FIRST` or `LAST` for a value of a run, found by following it to a call that tells."""
    dimensions = trace.copies[number].ndim
    if dimensions < 3:
        return LAST
    waiting, seen = [number], set()
    while waiting:
        number = waiting.pop(0)
        seen.add(number)
        for event in uses.get(number, []):
            if event.name.startswith(CHANNELS_FIRST):
                return FIRST
            if event.name.startswith(CHANNELS_LAST):
                return LAST
            if event.name in AXES:
                order = event.axes_order()
                if dimensions == 3 and order == to_first(3):
                    after = guess_layout(trace, uses, event.outputs[0])
                    return LAST if after == FIRST else FIRST
                if order in (to_first(dimensions), to_last(dimensions)):
                    return LAST if order == to_first(dimensions) else FIRST
            elif event.name not in SHAPES:
                same = [n for n in event.outputs if trace.copies[n].ndim == dimensions]
                waiting += [n for n in same if n not in seen]
    return FIRST if dimensions > 3 else LAST
