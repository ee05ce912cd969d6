"""The last states of recurrent layers, followed through what users do to get at them.

PyTorch gives them as (layers * directions, n, units). Users take rows of it, join them, let another
layer begin with them, or take the last step of the outputs instead.
"""

from dataclasses import replace
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.calls import AXES, tensors
from diptych.auditing.frameworks.torch.drafts import Activation, Drafts, NodeDraft
from diptych.auditing.frameworks.torch.layers import RECURRENT as FUNCTIONS
from diptych.auditing.frameworks.torch.layout import LAST, STATES, TIME
from diptych.auditing.frameworks.torch.trace import Event
from diptych.auditing.kinds.directions import BOTH, FORWARD, RECURRENT, SEQUENCE, STATE, STEP

JOINED = "last states"
"""The class of a node that gives the last states of several layers."""
LAST_STEP = (-1, (slice(None), -1), (slice(None), -1, slice(None)), (-1, slice(None)))


def read(drafts: Drafts, event: Event) -> bool:
    """Reads a call that picks states, or the last step of the outputs; False for all others."""
    values = drafts.given(event)
    if not values or not isinstance(values[0], Activation):
        return False
    number = event.numbers[0]
    if _begins(drafts, event, values[0]):
        return True
    if number in drafts.states:
        return _picks(drafts, event, number)
    if number in drafts.single_states:
        return _joins(drafts, event)
    return _last_step(drafts, event)


def _begins(drafts: Drafts, event: Event, value: Activation) -> bool:
    """Reads the axis that numbers (n, units) get as the state that a layer of one direction begins
    with."""
    x, users = next(tensors((event.args, event.kwargs))), drafts.uses[event.outputs[0]]
    axis = event.kwargs.get("dim", event.args[1] if len(event.args) > 1 else None)
    items = axis if isinstance(axis, tuple) else (axis,)
    adds = event.name == "unsqueeze" and axis == 0
    if event.name == "getitem":
        adds = items[0] is None and all(i is ... or i == slice(None) for i in items[1:])
    if not adds or x.ndim != 2 or value.layout != LAST or not users:
        return False
    if any(user.name not in FUNCTIONS or user.numbers[0] == event.outputs[0] for user in users):
        return False
    return drafts.alias(event, f"{STATES}:1")


def _picks(drafts: Drafts, event: Event, number: int) -> bool:
    """Reads what takes rows of (layers * directions, n, units)."""
    states, index = drafts.states[number], _index(event)
    output = event.outputs[0]
    if isinstance(index, int) and -len(states) <= index < len(states):
        return _single(drafts, event, (states[index],))
    if event.name == "cat" and event.kwargs.get("dim", (*event.args[1:], 0)[0]) == 0:
        rows = [drafts.states.get(n) for n in event.numbers if n is not None]
        if all(row is not None for row in rows):
            joined_states(drafts, event)
            drafts.states[output] = tuple(state for row in rows for state in row or ())
            return True
    if isinstance(index, slice):
        draft = states[index][0][0] if states[index] else None
        whole = () if draft is None else _whole(drafts, draft)
        if whole and states[index] == whole:
            drafts.values[output] = Activation(draft, f"{STATES}:{len(whole)}")
        else:
            drafts.black_box(event)
        drafts.states[output] = states[index]
        return True
    return False


def _whole(drafts: Drafts, draft: int) -> tuple[tuple[int, int], ...]:
    """All last states of a layer, in their order."""
    both = drafts.drafts[draft].attributes["direction"] == BOTH
    return tuple((draft, i) for i in range(2 if both else 1))


def joined_states(drafts: Drafts, event: Event) -> bool:
    """Turns a call into a node for the last states of several layers."""
    drafts.black_box(event)
    last = drafts.drafts[-1]
    drafts.drafts[-1] = replace(last, attributes={"class": JOINED})
    return True


def is_unnamed(draft: NodeDraft) -> bool:
    """True if a draft is something without a name, and not the states of several layers."""
    return draft.kind == "custom" and draft.attributes["class"] != JOINED


def _index(event: Event) -> Any:
    """The row or rows that a call selects; None for other calls."""
    arguments = event.args[1:]
    match event.name:
        case "getitem":
            return arguments[0]
        case "select" if arguments[:1] == (0,):
            return arguments[1]
        case "squeeze" if arguments[:1] == (0,) or event.kwargs.get("dim") == 0:
            return 0
    return None


def _joins(drafts: Drafts, event: Event) -> bool:
    """Reads a join of single states (n, units) along the units."""
    if event.name != "cat":
        return False
    axis = event.kwargs.get("dim", (*event.args[1:], 0)[0])
    rows = [drafts.single_states.get(n) for n in event.numbers if n is not None]
    if axis not in (1, -1) or any(row is None for row in rows) or len(rows) != len(event.numbers):
        return False
    return _single(drafts, event, tuple(state for row in rows for state in row or ()))


def _single(drafts: Drafts, event: Event, states: tuple[tuple[int, int], ...]) -> bool:
    """Makes a call's output a layer's last states where it is all of them, in their order."""
    output, (draft, _) = event.outputs[0], states[0]
    if states == _whole(drafts, draft):
        drafts.values[output] = Activation(draft, LAST)
    else:
        drafts.black_box(event)
    drafts.single_states[output] = states
    return True


def _last_step(drafts: Drafts, event: Event) -> bool:
    """Reads ``outputs[:, -1]``, or ``outputs[-1]`` where the steps come first, as the layer's own
    setting, where the layer's other outputs are not used."""
    x = next(tensors((event.args, event.kwargs)))
    value = drafts.of(event, x)
    if not isinstance(value, Activation) or not isinstance(x, Tensor) or x.ndim != 3:
        return False
    by_step = 0 if value.layout == TIME else 1
    index = event.args[1] if event.name == "getitem" and len(event.args) > 1 else None
    if isinstance(index, tuple) and index and index[-1] is ...:
        index = index[:-1]
    taken = index in LAST_STEP and (isinstance(index, int) or index[0] == -1) == (by_step == 0)
    if event.name == "select":
        taken = tuple(event.args[1:]) in ((by_step, -1), (by_step, x.shape[by_step] - 1))
    if not taken:
        return False
    draft = drafts.joinable(event, x, *RECURRENT)
    if draft is None or drafts.drafts[draft].attributes["returns"] != SEQUENCE:
        return False
    attributes = drafts.drafts[draft].attributes
    if "over" in attributes:  # The last example of each step, which no state is.
        return False
    if attributes["direction"] == FORWARD and not attributes["masked"]:
        made = drafts.drafts[draft].event
        state = next(i for i in range(draft + 1, len(drafts.drafts)) if _is_state(drafts, i, made))
        drafts.values[event.outputs[0]] = Activation(state, LAST)
        return True
    drafts.merge(event, draft, attributes=attributes | {"returns": STEP}, layout=LAST)
    drafts.values[event.outputs[0]] = Activation(draft, LAST)
    return True


def _is_state(drafts: Drafts, index: int, event: Event) -> bool:
    """True if a draft is the last state that a call of a recurrent layer gives."""
    draft = drafts.drafts[index]
    return draft.event is event and draft.attributes.get("returns") == STATE


def turns_time(drafts: Drafts, event: Event) -> bool:
    """Reads an exchange of the examples and the steps, the first two axes."""
    values = drafts.given(event)
    if event.name not in AXES or not values or not isinstance(values[0], Activation):
        return False
    x = next(tensors((event.args, event.kwargs)))
    if x.ndim < 3 or event.axes_order() != [1, 0, *range(2, x.ndim)]:
        return False
    if values[0].layout not in (LAST, TIME):
        return False
    return drafts.alias(event, TIME if values[0].layout == LAST else LAST)


BY_POSITION = {
    *("linear", "dropout", "add", "layer_norm", "relu", "gelu", "tanh", "sigmoid", "silu"),
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward"),
}
"""Functions whose readers take inputs with the steps in front of the examples."""


def lies_wrong(drafts: Drafts, event: Event) -> bool:
    """True if a call takes an input with the steps in front that its reader would misread."""
    values = [v for v in drafts.given(event) if isinstance(v, Activation)]
    if event.name in FUNCTIONS:
        values = values[:1]  # The reader checks the states that the layer begins with itself.
    layouts = {value.layout for value in values}
    if any(layout.startswith("states") for layout in layouts):
        return True
    # The reader of attention checks its three inputs itself; a mask lies as it is.
    mixed = len(layouts) > 1 and event.name != "multi_head_attention_forward"
    return TIME in layouts and (event.name not in BY_POSITION or mixed)
