"""Operations that together are one activation function, recognised by what they compute.

An exporter that has no operation for gelu, say, writes it as a division, an error function, an
addition and two products.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from diptych.formats.onnx.file import File

ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Erf", "Tanh", "Sigmoid", "Neg", "Abs"),
    *("Relu", "Exp", "Log", "Softplus", "Sqrt", "Clip", "HardSigmoid"),
)
"""Operations that treat every number by itself, all alike."""
JOINS = ("Add", "Sub", "Mul", "Div", "Max", "Min")
GRID = np.linspace(-8, 8, 1601)
TOLERANCE = 1e-5
"""By how much a computed function may differ from a known one, relative and absolute. The two kinds
of gelu differ by 5e-4."""
SELU = 1.6732632423543772, 1.0507009873554805
"""Its alpha and its scale, as in https://arxiv.org/abs/1706.02515."""


@dataclass(frozen=True)
class Function:
    """Several operations that are one activation function of a tensor."""

    start: str
    """The tensor."""
    function: str
    slope: float | None


def curves(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, float | None]]:
    """Activation functions of x, by name, with the slope that fits y where they have one."""
    erf = np.array([math.erf(value) for value in x / np.sqrt(2)])
    tanh = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    negative = x < -1
    slope = float(np.float32(np.median(y[negative] / x[negative])))
    alpha = float(np.float32(np.median(y[negative] / np.expm1(x[negative]))))
    low = np.minimum(x, 0)
    return {
        "relu": (np.maximum(x, 0), None),
        "relu6": (np.clip(x, 0, 6), None),
        "silu": (x / (1 + np.exp(-x)), None),
        "hard_swish": (x * np.clip(x / 6 + 0.5, 0, 1), None),
        "mish": (x * np.tanh(np.logaddexp(x, 0)), None),
        "softsign": (x / (1 + np.abs(x)), None),
        "log_sigmoid": (-np.logaddexp(-x, 0), None),
        "gelu": (x / 2 * (1 + erf), None),
        "gelu_tanh": (x / 2 * (1 + tanh), None),
        "sigmoid": (1 / (1 + np.exp(-x)), None),
        "tanh": (np.tanh(x), None),
        "selu": (SELU[1] * np.where(x > 0, x, SELU[0] * np.expm1(low)), None),
        "leaky_relu": (np.where(x > 0, x, slope * x), slope),
        "elu": (np.where(x > 0, x, alpha * np.expm1(low)), alpha),
    }


class Functions:
    """The activation functions that a file computes by several operations."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.ends: dict[int, Function] = {}
        """By the position of their last operation."""
        self.inside: set[int] = set()
        """The positions of the operations before the last."""
        for index, node in enumerate(file.nodes):
            joins = node.op_type in JOINS and sum(name in file.dependent for name in node.input) > 1
            if joins and index not in self.inside:
                self._try(index)

    def _try(self, index: int) -> None:
        for end in (self._scaling(index), index):
            region = self._region(index)
            if end is None or region is None:
                continue
            start, operations = region
            operations = operations | {end}
            if not self._is_private(operations, end):
                continue
            named = self._named(start, self.file.nodes[end].output[0])
            if named is not None:
                self.ends[end] = Function(start, *named)
                self.inside |= operations - {end}
                return

    def _scaling(self, index: int) -> int | None:
        """The next operation where that only scales, as the half of gelu may come last."""
        output = self.file.nodes[index].output[0]
        users = [i for i, node in enumerate(self.file.nodes) if output in node.input]
        if len(users) != 1 or self.file.nodes[users[0]].op_type not in ("Mul", "Div"):
            return None
        return users[0] if self._is_elementwise(users[0]) else None

    def _region(self, index: int) -> tuple[str, set[int]] | None:
        """The nearest tensor of which an operation is a function, and the operations between."""
        file, operations = self.file, {index}
        frontier = set(self._dependencies(index))
        while len(frontier) > 1:
            latest = max(frontier, key=lambda name: file.producers.get(name, -1))
            producer = file.producers.get(latest)
            if producer is None or not self._is_elementwise(producer):
                return None
            operations.add(producer)
            frontier = frontier - {latest} | set(self._dependencies(producer))
        return (frontier.pop(), operations) if len(operations) > 1 else None

    def _dependencies(self, index: int) -> list[str]:
        return [name for name in self.file.nodes[index].input if name in self.file.dependent]

    def _is_elementwise(self, index: int) -> bool:
        node = self.file.nodes[index]
        constants = [name for name in node.input if name and name not in self.file.dependent]
        single = all(self.file.samples[name].size == 1 for name in constants)
        return node.op_type in ELEMENTWISE and single

    def _is_private(self, operations: set[int], end: int) -> bool:
        """True if nothing outside takes what the operations before ``end`` compute."""
        file = self.file
        own = Counter(name for index in operations for name in file.nodes[index].input)
        inner = [name for index in operations - {end} for name in file.nodes[index].output]
        return all(own[name] == file.uses[name] for name in inner)

    def _named(self, start: str, end: str) -> tuple[str, float | None] | None:
        dtype = self.file.samples[start].dtype
        if dtype not in (np.float32, np.float64):
            return None
        # As many axes as the real tensor, since constants of shape (1, 1) would add some.
        x = GRID.astype(dtype).reshape(-1, *[1] * (self.file.samples[start].ndim - 1))
        session = self.file.part([start], end)
        y = self.file.run(session, {start: x})[end].ravel()
        if y.size != x.size:
            return None
        inputs, outputs = x.ravel().astype(np.float64), y.astype(np.float64)
        for name, (values, slope) in curves(inputs, outputs).items():
            if np.allclose(outputs, values, rtol=TOLERANCE, atol=TOLERANCE):
                return name, slope
        return None
