"""Recurrent layers: LSTM, GRU and simple RNN, in one or both directions."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds import over_batch
from diptych.auditing.kinds.cells import CELLS, Cell, step, step_errors, taken
from diptych.auditing.kinds.directions import BACKWARD, BOTH, CELL, FORWARD, SEQUENCE, STATE, STEP
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Hypotheses,
    Kind,
    Parameters,
    Role,
    Shapes,
    differ,
    optional_role,
    with_attributes,
    with_those_of,
)

BACK = "backward_"
"""The prefix of the roles of the second direction."""

ATTRIBUTES = {
    "direction": "'forward', 'backward' or 'both': in which order the steps are gone through",
    "returns": "'sequence': all outputs, (n, steps, units); 'state': the last state of each "
    "direction, (n, units); 'cell': the last state of an LSTM's cell; 'step': the outputs of the "
    "last step in time",
    "initial": "the states that further inputs give, in their order: 'state', and 'cell' of an "
    "LSTM, each (n, directions * units); a state that is not given begins with zeros",
    "reversed": "bool, whether a backward layer's sequence is in the order in which it was "
    "computed, the last step first",
    "merge": "how both directions are joined: 'concat', 'sum', 'ave' or 'mul'; '' for one",
    "activation": "of the state that is proposed",
    "masked": "bool, whether the last input says which steps are skipped (0) or not (1)",
    "skipped": "what a skipped step gives: 'repeat', the output before it, or 'zero'",
    "dropout": "the share of the input that is dropped in training, one mask for all steps",
    "recurrent_dropout": "the share of the state that is dropped in training",
} | over_batch.ATTRIBUTES  # fmt: skip
STATES = (STATE, CELL)
"""The names of a cell's states, in the order in which it has them."""
GATED = {"recurrent_activation": "of the gates"}


def _directions(node: Node) -> list[tuple[str, bool]]:
    """The prefix of the roles of each direction, and whether it is backward."""
    direction = node.attributes["direction"]
    return [("", direction == BACKWARD)] + ([(BACK, True)] if direction == BOTH else [])


@over_batch.computed
def compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    """The outputs of all steps, or the last ones.

    The inputs are the sequence, the initial states if there are any, and the mask if there is one.
    """
    x = inputs[0]
    if x.ndim != 3:
        raise ValueError(f"a recurrent layer takes (n, steps, channels), not {x.shape}")
    mask = np.asarray(inputs[-1]) != 0 if node.attributes["masked"] else None
    cell = CELLS[node.kind](node)
    outputs = []
    for number, (prefix, backwards) in enumerate(_directions(node)):
        own = taken(parameters, prefix)
        states = _initial(node, cell, own, inputs, number)
        before, sequence = anp.zeros_like(states[0]), [None] * x.shape[1]
        for t in range(x.shape[1])[:: -1 if backwards else 1]:
            after, _ = step(cell, x[:, t], states, own)
            kept = None if mask is None else mask[:, t, None]
            before, states = _masked(node, kept, before, states, after)
            sequence[t] = before
        outputs.append(_returned(node, sequence, states, backwards))
    return _merged(node, outputs)


def _masked(
    node: Node, kept: Array, before: Array, states: Sequence[Array], after: Sequence[Array]
) -> tuple[Array, Sequence[Array]]:
    """The output and the states if some steps are skipped."""
    if kept is None:
        return after[0], after
    instead = before if node.attributes["skipped"] == "repeat" else 0.0 * before
    output = anp.where(kept, after[0], instead)
    return output, [anp.where(kept, new, old) for new, old in zip(after, states, strict=True)]


def _initial(
    node: Node, cell: Cell, own: Parameters, inputs: Sequence[Array], number: int
) -> list[Array]:
    """The states before the first step, of one direction by its number."""
    states = cell.start(len(inputs[0]), own)
    units = own["recurrent_kernel"].shape[0]
    shape = (len(inputs[0]), units * len(_directions(node)))
    for name, state in zip(node.attributes["initial"], inputs[1:], strict=False):
        if state.shape != shape:
            raise ValueError(f"an initial state is {shape}, not {state.shape}")
        states[STATES.index(name)] = state[:, number * units : (number + 1) * units]
    return states


def _returned(node: Node, sequence: list[Array], states: Sequence[Array], backwards: bool) -> Array:
    match node.attributes["returns"]:
        case "state":
            return states[0]
        case "cell":
            return states[1]
        case "step":
            return sequence[-1]
    turned = node.attributes["reversed"] and backwards
    return anp.stack(sequence[::-1] if turned else sequence, axis=1)


def _merged(node: Node, outputs: list[Array]) -> Array:
    if len(outputs) == 1:
        return outputs[0]
    one, other = outputs
    match node.attributes["merge"]:
        case "concat":
            return anp.concatenate([one, other], axis=-1)
        case "mul":
            return one * other
        case "ave":
            return (one + other) / 2
    return one + other


@over_batch.rounded
def rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    """The variance of each state's error, carried from step to step."""
    x = inputs[0]
    mask = np.asarray(inputs[-1]) != 0 if node.attributes["masked"] else None
    cell = CELLS[node.kind](node)
    outputs = []
    for number, (prefix, backwards) in enumerate(_directions(node)):
        own = taken(parameters, prefix)
        states = _initial(node, cell, own, inputs, number)
        errors = [np.zeros_like(state) for state in states]
        before, sequence = errors[0], [np.zeros_like(errors[0])] * x.shape[1]
        for t in range(x.shape[1])[:: -1 if backwards else 1]:
            after, parts = step(cell, x[:, t], states, own)
            new = step_errors(cell, x[:, t], states, errors, parts, own)
            kept = None if mask is None else mask[:, t, None]
            _, states = _masked(node, kept, before, states, after)
            before, errors = _masked(node, kept, before, errors, new)
            sequence[t] = before
        outputs.append(_returned(node, sequence, errors, backwards))
    if node.attributes["merge"] in ("", "concat"):
        return np.sqrt(_merged(node, outputs)) + np.abs(y)
    # States are within 1 for the usual activations; a product's error is that of its factors.
    return np.sqrt(sum(outputs)) * (1 + np.abs(y)) + 4 * np.abs(y)


_PLACES = {
    FORWARD: "",
    BACKWARD: ", backward",
    BOTH: " in both directions",
}


def words(node: Node) -> str:
    """The layer with its units and directions."""
    name = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "simple RNN"}[node.kind]
    own = node.attributes
    units = node.shape[-1] // (2 if own["merge"] == "concat" else 1)
    text = f"{name} of {units} units{_PLACES[own['direction']]}"
    if node.kind == "gru":
        text += f", reset gate {_reset(node)}"
    if own["initial"]:
        text += f", which {_begins(node)}"
    if over_batch.is_over_batch(node):
        text += ", over the examples of a batch"
    return text + (", its last cell state" if own["returns"] == CELL else "")


def _begins(node: Node) -> str:
    """The states that a layer begins with, in words."""
    names = {STATE: "state", CELL: "cell state"}
    initial = node.attributes["initial"]
    if not initial:
        return "begins with states of zero"
    text = f"begins with a given {' and '.join(names[name] for name in initial)}"
    zero = [names[name] for name in STATES[: CELLS[node.kind].states] if name not in initial]
    return text + (f" and a {zero[0]} of zero" if zero else "")


def _with_initial_of(node: Node, other: Node) -> Node | None:
    """The node with the initial states that another node has; None if it is not given them."""
    initial, wanted = node.attributes["initial"], other.attributes["initial"]
    if not set(wanted) <= set(initial):
        return None
    sequence, *rest = node.inputs
    states, mask = rest[: len(initial)], rest[len(initial) :]
    inputs = (sequence, *(states[initial.index(name)] for name in wanted), *mask)
    return replace(with_attributes(node, initial=wanted), inputs=inputs)


def _reset(node: Node) -> str:
    return "after the product" if node.attributes["reset_after"] else "before the product"


_RETURNS = {
    SEQUENCE: "returns the outputs of all steps",
    STATE: "returns the last state of each direction",
    CELL: "returns the last cell state of each direction",
    STEP: "returns the outputs at the last step, the first one of the backward direction",
}


def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """Units, biases, formula, activations, directions, outputs, masks, initial states, dropout."""
    one, other = a.attributes, b.attributes
    result = []
    units = [of["recurrent_kernel"][0] for of in (of_a, of_b)]
    if units[0] != units[1]:
        result.append(Difference("units", *(f"{count} units" for count in units)))
    if over := over_batch.difference(a, b):
        return [*result, over]  # It returns another array, whatever else it does.
    if one.get("reset_after") != other.get("reset_after"):
        says = [f"reset gate {_reset(node)}" for node in (a, b)]
        result.append(Difference("layer-kind", *says, changed=with_those_of(a, b, "reset_after")))
    else:
        result += optional_role("bias", of_a, of_b, "bias-missing", "a bias")
    for name in ("activation", "recurrent_activation"):
        if one.get(name) != other.get(name):
            says = [f"{name.replace('_', ' ')} {node.attributes[name]}" for node in (a, b)]
            changed = with_those_of(a, b, name)
            result.append(Difference("activation", *says, changed=changed))
    if one["direction"] != other["direction"]:
        says = [f"direction: {node.attributes['direction']}" for node in (a, b)]
        same = BOTH not in (one["direction"], other["direction"])
        changed = with_those_of(a, b, "direction") if same else None
        result.append(Difference("layer-kind", *says, changed=changed))
    else:
        for name, says in (("returns", _RETURNS), ("reversed", None), ("merge", None)):
            if one[name] != other[name]:
                text = [says[v] if says else f"{name}: {v}" for v in (one[name], other[name])]
                result.append(Difference("layer-kind", *text, changed=with_those_of(a, b, name)))
    if one["masked"] != other["masked"]:
        says = ["skips masked steps" if v["masked"] else "no mask" for v in (one, other)]
        result.append(Difference("layer-kind", *says))
    elif one["masked"] and one["skipped"] != other["skipped"]:
        says = [f"output of a skipped step: {v['skipped']}" for v in (one, other)]
        result.append(Difference("layer-kind", *says, changed=with_those_of(a, b, "skipped")))
    if one["initial"] != other["initial"]:
        says, changed = [_begins(node) for node in (a, b)], _with_initial_of(a, b)
        result.append(Difference("layer-kind", *says, changed=changed))
    for name in ("dropout", "recurrent_dropout"):
        if differ(one[name], other[name]):
            says = [f"{name.replace('_', ' ')} of {v[name]:.6g}" for v in (one, other)]
            effect = "in training only; measured in the stage randomness"
            result.append(Difference("dropout-rate", *says, effect=effect))
    return result


def _hypotheses(*, gated: bool, resets: bool = False) -> Hypotheses:
    def hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
        """The other position of the reset gate, other activations, the other direction."""
        own, others = node.attributes, []
        if resets:
            others.append(("layer-kind", {"reset_after": not own["reset_after"]}))
        if gated:
            others += [
                ("activation", {"recurrent_activation": function})
                for function in ("sigmoid", "hard_sigmoid", "tanh")
            ]
        others += [("activation", {"activation": function}) for function in ("tanh", "relu")]
        if own["direction"] != BOTH:
            turned = BACKWARD if own["direction"] == FORWARD else FORWARD
            others.append(("layer-kind", {"direction": turned}))
        last = STATES[: CELLS[node.kind].states]
        others += [("layer-kind", {"returns": returns}) for returns in (*last, STEP)]
        if len(own["initial"]) > 1:
            others.append(("layer-kind", {"initial": own["initial"][::-1]}))
        return [
            (code, with_attributes(node, **changed))
            for code, changed in others
            if any(own[name] != value for name, value in changed.items())
        ]

    return hypotheses


def other_gate_order(kind: str, kernel: np.ndarray, other: np.ndarray) -> str | None:
    """The order of the gates in another kernel with the same gates; None if it has others.

    Args:
        kind: of the layer.
        kernel: (in, gates * units).
        other: of the same shape.
    """
    gates = CELLS[kind].gates if kind in CELLS else ()
    if len(gates) < 2 or kernel.shape != other.shape:
        return None
    blocks = np.split(kernel, len(gates), axis=-1)
    for order in permutations(range(len(gates))):
        if np.allclose(np.concatenate([blocks[i] for i in order], -1), other, 1e-6, 0):
            return ", ".join(gates[i] for i in order)
    return None


def _roles(bias: str, gates: int) -> dict[str, Role]:
    width = f"{gates} * units" if gates > 1 else "units"
    roles = {
        "kernel": Role(f"(in, {width})"),
        "recurrent_kernel": Role(f"(units, {width})"),
        "bias": Role(bias, required=False, initialiser="bias-initialiser", stir="add"),
    }
    again = {
        BACK + role: Role(f"{meaning.meaning}, of the direction that goes back", False,
                          initialiser=meaning.initialiser, stir=meaning.stir)
        for role, meaning in roles.items()
    }  # fmt: skip
    return roles | again


LSTM = Kind(
    name="lstm",
    attributes=ATTRIBUTES | GATED,
    optional=over_batch.OPTIONAL,
    roles=_roles("(4 * units,); the sum of both where a framework has two", 4),
    words=words,
    compute=compute,
    rounding=rounding,
    differences=differences,
    hypotheses=_hypotheses(gated=True),
)
"""Long short-term memory (Hochreiter & Schmidhuber, 1997; with a forget gate: Gers et al., 2000).
The gates are in the order: input, forget, proposed state, output."""

GRU = Kind(
    name="gru",
    attributes=ATTRIBUTES | GATED | {
        "reset_after": "whether the reset gate follows the product with the recurrent kernel, as "
        "in cuDNN and PyTorch, or goes before it, as in the paper",
    },
    optional=over_batch.OPTIONAL,
    roles=_roles("(3 * units,); (2, 3 * units) with the reset gate after the matrix: the input's, "
                 "then the state's", 3),
    words=words,
    compute=compute,
    rounding=rounding,
    differences=differences,
    hypotheses=_hypotheses(gated=True, resets=True),
)  # fmt: skip
"""Gated recurrent unit (Cho et al., 2014). The gates are in the order: update, reset, proposed
state; the update gate says how much of the old state is kept."""

SIMPLE_RNN = Kind(
    name="simple_rnn",
    attributes=ATTRIBUTES,
    optional=over_batch.OPTIONAL,
    roles=_roles("(units,); the sum of both where a framework has two", 1),
    words=words,
    compute=compute,
    rounding=rounding,
    differences=differences,
    hypotheses=_hypotheses(gated=False),
)
"""A recurrent layer without gates (Elman, 1990)."""

KINDS = (LSTM, GRU, SIMPLE_RNN)
