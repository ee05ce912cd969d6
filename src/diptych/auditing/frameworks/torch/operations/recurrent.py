"""Recurrent layers."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.calls import tensors
from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import LAST, STATES, TIME
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event
from diptych.auditing.kinds.directions import CELL, SEQUENCE, STATE

GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "simple_rnn": (0,)}
"""Where the graph's gates are in PyTorch's order: its GRU has the reset gate first."""


@reads("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(drafts: Drafts, event: Event, input: Tensor, *arguments: Any) -> bool:
    """Reads one layer, in one direction or in both; `Trace` takes several apart."""
    packed = drafts.packed.get(event.number(input) or 0)
    if packed is not None:
        _, hx, params, has_biases, num_layers, _, _, bidirectional = arguments
        value, first, known = packed.sequence, packed.sequence.layout, num_layers == 1
    else:
        hx, params, has_biases, num_layers, _, _, bidirectional, batch_first = arguments
        value, first = drafts.activation(event, input), LAST if batch_first else TIME
        known = isinstance(params, (list, tuple)) and num_layers == 1 and input.ndim == 3
    if value is None or not known:
        return False
    over_batch = (first, value.layout) == (TIME, LAST)  # Where the user forgot `batch_first`.
    if value.layout != first and (not over_batch or packed is not None):
        return False
    directions = 2 if bidirectional else 1
    initial = _initial(drafts, event, hx, f"{STATES}:{directions}")
    if initial is None or (initial and packed is not None):
        return False  # In a packed sequence the examples are in another order than in a state.
    if any(event.number(tensor) is None for tensor in params):
        return False
    kind = "simple_rnn" if event.name.startswith("rnn") else event.name
    each = len(params) // directions
    if each != (4 if has_biases else 2):
        return False  # A projection of the state (`proj_size`).
    parameters: dict[str, str] = {}
    for i, prefix in enumerate(("", "backward_")[:directions]):
        roles = _roles(drafts, event, kind, list(params[i * each : (i + 1) * each]))
        if roles is None:
            return False
        parameters |= {prefix + role: name for role, name in roles.items()}
    attributes: dict[str, Any] = {
        "direction": "both" if bidirectional else "forward",
        "initial": list(initial),
        "reversed": False,
        "merge": "concat" if bidirectional else "",
        "activation": "relu" if event.name == "rnn_relu" else "tanh",
        "masked": packed is not None and packed.masked,
        "skipped": "zero",
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
    }
    if kind != "simple_rnn":
        attributes["recurrent_activation"] = "sigmoid"
    if kind == "gru":
        attributes["reset_after"] = True
    if over_batch:
        attributes["over"] = "batch"
        if initial:
            return False
        # Its states have no axis of the batch.
        return drafts.emit(
            event, kind, [input], value.layout, parameters, **attributes, returns=SEQUENCE
        )
    inputs = [input, *initial.values()]
    drafts.emit(event, kind, inputs, first, parameters, **attributes, returns=SEQUENCE)
    for place, returns in enumerate((STATE, CELL)[: len(event.outputs) - 1], 1):
        own = attributes | {"returns": returns}
        drafts.emit(event, kind, inputs, f"{STATES}:{directions}", parameters, place, **own)
        last = len(drafts.drafts) - 1
        drafts.states[event.outputs[place]] = tuple((last, i) for i in range(directions))
    if packed is not None:
        drafts.packed[event.outputs[0]] = packed
        for i in range(-len(event.outputs[:3]), 0):
            if packed.masked:  # The network's own input says which steps are skipped.
                draft = drafts.drafts[i]
                drafts.drafts[i] = replace(draft, inputs=(*draft.inputs, None))
    return True


def _initial(drafts: Drafts, event: Event, hx: Any, layout: str) -> dict[str, Tensor] | None:
    """The states that a layer begins with, by their names, without those that are zero; None where
    one is something else than a value (directions, n, units) of the network."""
    initial: dict[str, Tensor] = {}
    for name, state in zip((STATE, CELL), tensors(hx), strict=False):
        value = drafts.of(event, state)
        if isinstance(value, Activation) and value.layout == layout:
            initial[name] = state
        elif value is not None or bool(state.any()):
            return None
    return initial


def _roles(drafts: Drafts, event: Event, kind: str, params: list[Tensor]) -> dict[str, str] | None:
    """The parameters of one direction by role: two matrices, then two biases if it has them."""
    gates = GATES[kind]
    matrix = {"gates": gates, "transposed": True}
    names = [
        drafts.combined_parameter(event, params[:1], **matrix),
        drafts.combined_parameter(event, params[1:2], **matrix),
    ]
    roles = ["kernel", "recurrent_kernel"]
    if len(params) > 2:
        stacked = kind == "gru"
        names.append(drafts.combined_parameter(event, params[2:], gates=gates, stacked=stacked))
        roles.append("bias")
    return None if None in names else dict(zip(roles, names, strict=True))  # pyright: ignore
