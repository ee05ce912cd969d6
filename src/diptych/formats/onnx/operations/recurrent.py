"""Recurrent layers in one direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.formats.onnx.operation import Operation, reads
from diptych.formats.onnx.views import Weight

KINDS = {"LSTM": "lstm", "GRU": "gru", "RNN": "simple_rnn"}
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""The positions of the graph's gates in ONNX' order; its LSTM has the output gate second."""
FUNCTIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}
USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@dataclass(frozen=True)
class GateWeight(Weight):
    """A kernel (1, gates * units, in), or both biases (1, 2 * gates * units) in a row."""

    gates: tuple[int, ...] = (0,)
    biases: str = ""
    """``sum`` or ``apart``: what the parameter is of the biases; empty for a kernel."""

    def to_graph(self, stored: np.ndarray) -> np.ndarray:
        if not self.biases:
            return self._ordered(stored[0]).T.reshape(self.shape)
        both = np.stack([self._ordered(bias) for bias in np.split(stored[0], 2)])
        return both if self.biases == "apart" else both.sum(0)

    def from_graph(self, array: np.ndarray, like: np.ndarray) -> np.ndarray:
        if not self.biases:
            return self._ordered(array.T, back=True).reshape(like.shape).astype(like.dtype)
        both = array if self.biases == "apart" else np.stack([array, 0 * array])
        stored = np.concatenate([self._ordered(bias, back=True) for bias in both])
        return stored.reshape(like.shape).astype(like.dtype)

    def _ordered(self, rows: np.ndarray, back: bool = False) -> np.ndarray:
        blocks = np.split(rows, len(self.gates))
        order = np.argsort(self.gates) if back else self.gates
        return np.concatenate([blocks[i] for i in order])


@reads("LSTM", "GRU", "RNN")
def recurrent(
    operation: Operation,
    hidden_size: int = 0,
    direction: str = "forward",
    activations: Sequence[str | bytes] | None = None,
    linear_before_reset: int = 0,
    input_forget: int = 0,
    layout: int = 0,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__LSTM.html"""
    name, view = operation.node.op_type, operation.view()
    given = [f.decode() if isinstance(f, bytes) else f for f in activations or USUAL[name]]
    functions = [FUNCTIONS.get(function) for function in given]
    if view is None or direction not in ("forward", "reverse") or input_forget or layout:
        return False
    if None in functions or len(set(functions[1:])) > 1 or operation.takes(4):
        return False
    if any(operation.takes(i) and not _is_zero(operation, i) for i in (5, 6)):
        return False
    if operation.takes(7) or operation.constant(1) is None or operation.constant(2) is None:
        return False
    gates, resets_after = GATES[name], bool(linear_before_reset)
    parameters = {
        "kernel": _weight(operation, 1, gates),
        "recurrent_kernel": _weight(operation, 2, gates),
    }
    if operation.takes(3):
        kept = "apart" if name == "GRU" and resets_after else "sum"
        parameters["bias"] = _weight(operation, 3, gates, kept)
    attributes = {
        "direction": "forward" if direction == "forward" else "backward",
        "reversed": False,
        "initial": [],
        "merge": "",
        "activation": functions[-1],
        "masked": False,
        "skipped": "zero",
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
    }
    if name != "RNN":
        attributes["recurrent_activation"] = functions[0]
    if name == "GRU":
        attributes["reset_after"] = resets_after
    steps, file = operation.laid_out(view, (1, 0, 2)), operation.file
    done = False
    for place, (returns, axes) in enumerate(
        (("sequence", (1, None, 0, 2)), ("state", (None, 0, 1)), ("cell", (None, 0, 1)))
    ):
        tensor = operation.node.output[place] if len(operation.node.output) > place else ""
        if tensor in file.samples:
            own: dict[str, Any] = attributes | {"returns": returns}
            done |= operation.emit(
                KINDS[name], [steps], axes, parameters=parameters, output=tensor, **own
            )
    return done


def _is_zero(operation: Operation, position: int) -> bool:
    """True if an initial state is zero."""
    state = operation.constant(position)
    return state is not None and not state.any()


def _weight(operation: Operation, position: int, gates: tuple[int, ...], biases: str = "") -> str:
    """Makes a constant a parameter of the layer, with its gates in the graph's order."""
    name, initializer = operation.file.weights[operation.index, position]
    shape = operation.file.shape(initializer)
    width = shape[1] // 2 if biases else shape[1]
    own = (width,) if biases else (shape[2], width)
    own = (2, width) if biases == "apart" else own
    order = tuple(range(len(shape)))
    operation.reader.weights[name] = GateWeight(initializer, order, own, gates, biases)
    return name
