"""Sequences of several lengths, which PyTorch packs before a recurrent layer and unpacks behind it.

Between the two no tensor has an axis for the examples. In the graph the layer takes the padded
sequence, and the network's own input says which steps it skips: those where it is 0. That is read
only where the lengths are those that these zeros give.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import LAST, TIME
from diptych.auditing.frameworks.torch.trace import Event, Trace


@dataclass(frozen=True)
class Packed:
    """A packed sequence: what it is when it is unpacked, and whether steps are skipped in it."""

    sequence: Activation
    masked: bool


def packs(trace: Trace, event: Event) -> bool:
    """True if a module's own code packs sequences."""
    inside = trace.events[event.index + 1 : event.end]
    return any(e.name == "pack_padded_sequence" and e.owner == event.index for e in inside)


def read(drafts: Drafts, event: Event) -> bool:
    """Reads a call that packs or unpacks, or that sorts the examples for it; False for others."""
    if not event.numbers or event.numbers[0] is None:
        return False
    match event.name:
        case "index_select":
            return _sorted(drafts, event)
        case "pack_padded_sequence":
            return _packs(drafts, event)
        case "pad_packed_sequence":
            return _unpacks(drafts, event)
    return False


def _sorted(drafts: Drafts, event: Event) -> bool:
    """Reads a reordering of the examples, which is undone after the layer."""
    number, value = event.numbers[0], drafts.given(event)[0]
    assert number is not None
    axis, order = event.args[1], event.args[2]
    if not isinstance(value, Activation) or not isinstance(order, Tensor):
        return False
    if number in drafts.states or number in drafts.unsorted:
        # Behind the layer: the examples are in their own order again.
        draft = value.draft
        assert draft is not None
        output = event.outputs[0]
        made = {"number": output, "made_by": (event.index, 0)}
        drafts.drafts[draft] = replace(drafts.drafts[draft], **made)
        drafts.values[output] = value
        if number in drafts.states:
            drafts.states[output] = drafts.states[number]
        return True
    if axis != (1 if value.layout == TIME else 0):
        return False
    drafts.black_box(event)
    drafts.unsorted[event.outputs[0]] = value
    return True


def _packs(drafts: Drafts, event: Event) -> bool:
    number, value = event.numbers[0], drafts.given(event)[0]
    assert number is not None
    value = drafts.unsorted.get(number, value)
    lengths, batch_first = event.args[1], event.args[2]
    if not isinstance(value, Activation) or value.layout != (LAST if batch_first else TIME):
        return False
    masked = _is_masked(drafts, lengths, event.args[0].shape[1 if batch_first else 0])
    if masked is None:
        return False
    data = event.outputs[0]
    drafts.packed[data] = Packed(value, masked)
    drafts.values[data] = value
    return True


def _is_masked(drafts: Drafts, lengths: Tensor, steps: int) -> bool | None:
    """True if the lengths are those that the zeros of the input give; False where all are full,
    None for other lengths."""
    wanted = sorted(int(length) for length in lengths)
    if all(length == steps for length in wanted):
        return False
    ids = drafts.trace.copies[0]
    if ids.ndim != 2 or ids.shape[1] != steps:
        return None
    there = [[bool(number) for number in row] for row in ids]
    counts = [sum(row) for row in there]
    behind = all(row == sorted(row, reverse=True) for row in there)
    return True if behind and sorted(counts) == wanted else None


def _unpacks(drafts: Drafts, event: Event) -> bool:
    number, value = event.numbers[0], drafts.given(event)[0]
    packed = drafts.packed.get(number) if number is not None else None
    output = event.outputs[0]
    whole = drafts.trace.copies[output]
    batch_first, filling = event.args[2], event.args[3]
    if packed is None or not isinstance(value, Activation) or value.draft is None or filling:
        return False
    if whole.shape[1 if batch_first else 0] != drafts.trace.copies[0].shape[1]:
        return False  # The longest of the examples is shorter than the input.
    layout = LAST if batch_first else TIME
    made = {"number": output, "made_by": (event.index, 0), "layout": layout}
    drafts.drafts[value.draft] = replace(drafts.drafts[value.draft], **made)
    drafts.values[output] = drafts.unsorted[output] = Activation(value.draft, layout)
    return True
