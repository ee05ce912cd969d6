"""One step of recurrent layers: new states from an input and the old states, and their rounding.

A cell computes in two stages: sums of products with its kernels, then functions of these sums. The
errors of the sums follow from `diptych.auditing.kinds.rounding`; those of the functions from their
derivatives, number by number. Errors are random, so that their squares add up.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.curves import activate
from diptych.auditing.kinds.kind import Array, Parameters
from diptych.auditing.kinds.rounding import FUNCTION_UNITS, LAMBDA

NUDGE = 1e-4
"""The change of sums from which the derivative of a function is estimated."""


def taken(parameters: Parameters, prefix: str) -> dict[str, Array]:
    """The parameters of one direction, by role."""
    roles = ("kernel", "recurrent_kernel", "bias")
    return {role: parameters[prefix + role] for role in roles if prefix + role in parameters}


def _function(name: str) -> Callable[[Array], Array]:
    # Keras 3's hard sigmoid and PyTorch's; 0.2 x + 0.5 in earlier ones.
    slope = 1 / 6 if name == "hard_sigmoid" else None
    return lambda x: activate(name, slope, x)


class Cell:
    """The arithmetic of one step."""

    gates: Sequence[str]
    states = 1
    """The number of its states, of which the first one is the output."""

    def __init__(self, node: Node) -> None:
        self.state_function = _function(node.attributes["activation"])
        self.gate_function = _function(node.attributes.get("recurrent_activation", "linear"))
        self.reset_after: bool = node.attributes.get("reset_after", True)

    def start(self, count: int, own: Parameters) -> list[Array]:
        """The states before the first step: zeros."""
        units = own["recurrent_kernel"].shape[0]
        return [np.zeros((count, units)) for _ in range(self.states)]

    def sums(self, x: Array, states: Sequence[Array], own: Parameters) -> list[Array]:
        """The products with the kernels plus the biases, of the input and of the state; summed if
        the cell sums them."""
        one, other = _biases(own)
        total = x @ own["kernel"] + states[0] @ own["recurrent_kernel"]
        return _split(total + one + other, len(self.gates))

    def finish(
        self, sums: Sequence[Array], states: Sequence[Array], own: Parameters
    ) -> list[Array]:
        """The new states; the first one is the output."""
        raise NotImplementedError


def _biases(own: Parameters) -> tuple[Array, Array]:
    """The sums of the input and of the state; 0 if there is none."""
    if "bias" not in own:
        return 0.0, 0.0
    bias = own["bias"]
    return (bias[0], bias[1]) if bias.ndim == 2 else (bias, 0.0)


def _split(total: Array, count: int) -> list[Array]:
    width = total.shape[-1] // count
    return [total[..., i * width : (i + 1) * width] for i in range(count)]


class LSTM(Cell):
    """Hochreiter & Schmidhuber, 1997."""

    gates = ("input", "forget", "proposed state", "output")
    states = 2

    def finish(
        self, sums: Sequence[Array], states: Sequence[Array], own: Parameters
    ) -> list[Array]:
        gate, state = self.gate_function, self.state_function
        carried = gate(sums[1]) * states[1] + gate(sums[0]) * state(sums[2])
        return [gate(sums[3]) * state(carried), carried]


class GRU(Cell):
    """Cho et al., 2014."""

    gates = ("update", "reset", "proposed state")

    def sums(self, x: Array, states: Sequence[Array], own: Parameters) -> list[Array]:
        one, other = _biases(own)
        of_x = _split(x @ own["kernel"] + one, 3)
        of_state = _split(states[0] @ own["recurrent_kernel"] + other, 3)
        update, reset = of_x[0] + of_state[0], of_x[1] + of_state[1]
        if self.reset_after:
            return [update, reset, of_x[2], of_state[2]]
        shared = _split(own["bias"][1], 3)[2] if "bias" in own and own["bias"].ndim == 2 else 0.0
        return [update, reset, of_x[2] + shared]

    def finish(
        self, sums: Sequence[Array], states: Sequence[Array], own: Parameters
    ) -> list[Array]:
        update, reset = self.gate_function(sums[0]), self.gate_function(sums[1])
        if self.reset_after:
            proposed = sums[2] + reset * sums[3]
        else:
            proposed = sums[2] + (reset * states[0]) @ _split(own["recurrent_kernel"], 3)[2]
        return [update * states[0] + (1 - update) * self.state_function(proposed)]


class SimpleRNN(Cell):
    """Elman, 1990."""

    gates = ("state",)

    def finish(
        self, sums: Sequence[Array], states: Sequence[Array], own: Parameters
    ) -> list[Array]:
        return [self.state_function(sums[0])]


CELLS: Mapping[str, type[Cell]] = {"lstm": LSTM, "gru": GRU, "simple_rnn": SimpleRNN}


def step(
    cell: Cell, x: Array, states: Sequence[Array], own: Parameters
) -> tuple[list[Array], list[Array]]:
    """The states after a step, and the sums on the way.

    Args:
        cell: the arithmetic.
        x: the step's input, (n, in).
        states: before it, (n, units) each.
        own: the direction's parameters, by role.
    """
    sums = cell.sums(x, states, own)
    return cell.finish(sums, states, own), sums


def step_errors(
    cell: Cell,
    x: np.ndarray,
    states: Sequence[np.ndarray],
    errors: Sequence[np.ndarray],
    sums: Sequence[np.ndarray],
    own: Arrays,
) -> list[np.ndarray]:
    """The variances of the new states' errors, in units of the unit roundoff.

    Args:
        cell: the arithmetic.
        x: the step's input, (n, in).
        states: before it.
        errors: the variances of the errors of these.
        sums: on the way, as `step` gives them.
        own: the direction's parameters, by role.
    """
    squares = {role: np.square(value) for role, value in own.items()}
    exact = cell.finish(sums, states, own)
    size = [np.square(state) for state in states]
    terms = len(own["kernel"]) + len(own["recurrent_kernel"]) + 2
    of_sums = cell.sums(np.square(x), size, squares)
    brought = cell.sums(0.0 * x, errors, {k: v for k, v in squares.items() if k != "bias"})
    variances = [
        LAMBDA**2 * terms * (square + np.square(value)) + carried
        for square, value, carried in zip(of_sums, sums, brought, strict=True)
    ]
    total = [np.square(FUNCTION_UNITS) * (np.square(state) + 1 / 16) for state in exact]
    for place, variance in enumerate(variances):
        moved = [value + NUDGE * (i == place) for i, value in enumerate(sums)]
        _add(total, cell.finish(moved, states, own), exact, variance)
    for place, error in enumerate(errors):
        moved = [value + NUDGE * (i == place) for i, value in enumerate(states)]
        _add(total, cell.finish(sums, moved, own), exact, error)
    return total


def _add(
    total: list[np.ndarray],
    moved: Sequence[np.ndarray],
    exact: Sequence[np.ndarray],
    variance: np.ndarray,
) -> None:
    """Adds the contribution of one source of independent errors to all states."""
    for i, (there, here) in enumerate(zip(moved, exact, strict=True)):
        total[i] = total[i] + np.square((there - here) / NUDGE) * variance
