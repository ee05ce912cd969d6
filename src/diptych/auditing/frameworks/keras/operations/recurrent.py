"""Recurrent layers, alone and in both directions."""

# Keras' annotations lack its layers' attributes.
# pyright: reportAttributeAccessIssue=false

from typing import Any

import keras
from keras import activations, layers

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.frameworks.keras.layer_classes import computes_as
from diptych.auditing.frameworks.keras.operations.activation import FUNCTIONS
from diptych.auditing.kinds.directions import CELL, SEQUENCE, STATE

KINDS = {layers.LSTM: "lstm", layers.GRU: "gru", layers.SimpleRNN: "simple_rnn"}

ROLES = ("kernel", "recurrent_kernel", "bias")
MERGES = ("concat", "sum", "ave", "mul")


@reads("LSTM", "GRU", "SimpleRNN")
def recurrent(layer: Any, call: ShapedCall) -> NodeDraft | None:
    own, initial = settings(layer, call), initial_states(call)
    if own is None or len(call.inputs) != 1 + len(initial):
        return None
    kind, attributes = own
    backwards = layer.go_backwards
    returns = (SEQUENCE if layer.return_sequences else STATE, STATE, CELL)[call.output]
    return draft(
        kind,
        {role: getattr(layer.cell, role) for role in ROLES},
        direction="backward" if backwards else "forward",
        returns=returns,
        initial=initial,
        reversed=backwards and returns == SEQUENCE,
        merge="",
        **attributes,
    )


@reads("Bidirectional")
def bidirectional(layer: Any, call: ShapedCall) -> NodeDraft | None:
    pair = (layer.forward_layer, layer.backward_layer)
    one, other = (settings(part, call) for part in pair)
    if one is None or one != other or layer.merge_mode not in MERGES or layer.return_state:
        return None
    if [part.go_backwards for part in pair] != [False, True] or len(call.inputs) > 1:
        return None
    kind, attributes = one
    variables = {
        prefix + role: getattr(part.cell, role)
        for prefix, part in zip(("", "backward_"), pair, strict=True)
        for role in ROLES
    }
    return draft(
        kind,
        variables,
        direction="both",
        returns=SEQUENCE if layer.return_sequences else STATE,
        initial=[],
        reversed=False,
        merge=layer.merge_mode,
        **attributes,
    )


def settings(layer: Any, call: ShapedCall) -> tuple[str, dict[str, Any]] | None:
    """The kind of a recurrent layer, and the attributes that have nothing to do with directions;
    None where it is no kind of the graph."""
    known = next((cls for cls in type(layer).__mro__ if cls in KINDS), None)
    if known is None or not computes_as(layer, known):
        return None
    if layer.stateful or len(call.inputs[0]) != 2:
        return None
    if layer.zero_output_for_mask and not layer.return_sequences:
        return None
    cell = layer.cell
    attributes: dict[str, Any] = {"activation": function(cell.activation)}
    if known is not layers.SimpleRNN:
        attributes["recurrent_activation"] = function(cell.recurrent_activation)
    if None in attributes.values():
        return None
    if known is layers.GRU:
        attributes["reset_after"] = bool(cell.reset_after)
    more = {
        "masked": False,
        "skipped": "zero" if layer.zero_output_for_mask else "repeat",
        "dropout": float(cell.dropout),
        "recurrent_dropout": float(cell.recurrent_dropout),
    }
    return KINDS[known], attributes | more


def initial_states(call: ShapedCall) -> list[str]:
    """The names of the states that a call gives the layer to begin with, in their order."""
    states = keras.tree.flatten(call.argument("initial_state", 1))
    symbols = [state for state in states if isinstance(state, keras.KerasTensor)]
    if len(symbols) != sum(state is not None for state in states):
        raise ValueError("a state of constant numbers is no input")
    return [STATE, CELL][: len(symbols)]


def function(activation: Any) -> str | None:
    """The name of a cell's activation; None for one that has none, or a slope."""
    if activation in (None, activations.linear):
        return "linear"
    if activation is activations.hard_sigmoid:
        return "hard_sigmoid"
    name, slope = FUNCTIONS.get(activation, (None, None))
    return name if slope is None else None
