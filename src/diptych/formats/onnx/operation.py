"""One operation while a file is read: its inputs, and the nodes that its reader makes of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.formats.onnx.file import File
from diptych.formats.onnx.opening import onnx
from diptych.formats.onnx.views import Axes, View, Weight, order_of, shape_of
from diptych.readers import Readers

if TYPE_CHECKING:
    from diptych.formats.onnx.reader import Reader

reads: Readers[Callable[..., bool]] = Readers()
"""Registers a function that reads operators of the given names.

It is called with the `Operation` and, by keyword, with its attributes; it makes a node or a view of
the output and returns True, or returns False where it cannot tell what the operation does.
"""


@dataclass
class NodeDraft:
    """A node of the graph while it is being read."""

    name: str
    kind: str
    """As in `diptych.auditing.graph`, and so are the attributes and the roles of parameters."""
    inputs: list[View]
    output: View
    attributes: dict[str, Any]
    parameters: dict[str, str] = field(default_factory=dict)


class Operation:
    """One operation of a file, with the views and constants that it takes."""

    def __init__(self, reader: "Reader", index: int) -> None:
        self.reader, self.index = reader, index

    @property
    def file(self) -> File:
        return self.reader.file

    @property
    def node(self) -> onnx.NodeProto:
        return self.file.nodes[self.index]

    @property
    def inputs(self) -> list[str]:
        """The tensors that it takes; an empty name where an optional one is left out."""
        return list(self.node.input)

    @property
    def output(self) -> str:
        """Its first output."""
        return self.node.output[0]

    def takes(self, position: int) -> bool:
        """True if there is an input at a position."""
        return len(self.inputs) > position and bool(self.inputs[position])

    def view(self, position: int = 0) -> View | None:
        """The input at a position, if it depends on the network's input."""
        return self.reader.views.get(self.inputs[position]) if self.takes(position) else None

    def constant(self, position: int) -> np.ndarray | None:
        """The input at a position, if it is constant."""
        name = self.inputs[position] if self.takes(position) else ""
        return None if name in self.file.dependent else self.file.samples.get(name)

    def weight(
        self,
        position: int,
        order: Iterable[int] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> str:
        """Makes the constant at a position a parameter, and gives its name.

        Args:
            position: of the input.
            order: the order of its axes in the parameter; as they are, if not given.
            shape: the parameter's, if it is not the constant's in that order.
        """
        name, initializer = self.file.weights[self.index, position]
        stored = self.file.shape(initializer)
        order = tuple(range(len(stored)) if order is None else order)
        shape = tuple(stored[axis] for axis in order) if shape is None else shape
        self.reader.weights[name] = Weight(initializer, order, shape)
        return name

    def emit(
        self,
        kind: str,
        inputs: list[View],
        axes: Axes,
        /,
        array_shape: tuple[int, ...] | None = None,
        parameters: dict[str, str] | None = None,
        output: str | None = None,
        **attributes: Any,
    ) -> bool:
        """Makes a node that computes the output.

        Args:
            kind: of the node.
            inputs: the arrays that it takes.
            axes: how its array lies in the output.
            array_shape: without the examples; only needed if the tensor lacks some of its axes.
            parameters: by role, the names that `weight` gave.
            output: the tensor; the operation's first one, if not given.
            **attributes: of the node.
        """
        tensor = self.output if output is None else output
        name = self.reader.unique(self.node.name or tensor)
        shape = shape_of(self.file.shape(tensor), axes) if array_shape is None else array_shape
        view = View(name, tensor, axes, shape)
        self.reader.views[tensor] = view
        self.reader.drafts[name] = NodeDraft(name, kind, inputs, view, attributes, parameters or {})
        return True

    def emit_elementwise(self, kind: str, view: View, **attributes: Any) -> bool:
        """Makes a node whose output lies as its input does."""
        return self.emit(kind, [view], view.axes, view.shape, **attributes)

    def emit_activation(
        self, function: str, slope: float | None = None, view: View | None = None, **more: Any
    ) -> bool:
        """Makes a node that is an activation function of the first input, or of ``view``."""
        view = view or self.reader.views[self.inputs[0]]
        return self.emit_elementwise("activation", view, function=function, slope=slope, **more)

    def alias(self, view: View, axes: Axes | None = None) -> bool:
        """Makes the output another view of an array, with its axes as before or as given."""
        axes = view.axes if axes is None else axes
        self.reader.views[self.output] = View(view.node, self.output, axes, view.shape)
        return True

    def laid_out(self, view: View, axes: Axes) -> View:
        """The array whose axes lie so in a view's tensor; a node transposes it where necessary."""
        reader, file = self.reader, self.file
        wanted = View(view.node, view.tensor, axes, shape_of(file.shape(view.tensor), axes))
        same = order_of(view) == order_of(wanted)
        if same and view.shape == wanted.shape:
            return wanted
        reader.transposed += 1
        kind, attributes = "custom", {"class": "Transpose"}
        if same:
            kind, attributes = "reshape", {"shape": list(wanted.shape)}
        elif all(set(each.axes) == set(range(len(axes))) for each in (view, wanted)):
            order = [(view.axes[axes.index(axis)] or 0) - 1 for axis in range(1, len(axes))]
            kind = "rearrange"
            attributes = {"shape": list(view.shape), "steps": [["transpose", order]]}
        source = reader.drafts[view.node].output if view.node in reader.drafts else reader.input
        name = reader.unique(f"{view.tensor}/turned")
        result = View(name, view.tensor, axes, wanted.shape)
        reader.drafts[name] = NodeDraft(name, kind, [source], result, attributes)
        reader.views[view.tensor] = result
        return result

    def channels_first(self, windows: Sequence[int] = ()) -> tuple[View, list[int]]:
        """The first input as ONNX's operators take it: examples, channels, spatial axes.

        An axis that was inserted to have a window of one slide over it (a 1-D convolution done by a
        2-D one) is not one of the array's.

        Args:
            windows: the window's size along each spatial axis.

        Returns:
            The view, and which of the spatial axes the array has.
        """
        view = self.view()
        assert view is not None
        axes = range(2, len(view.axes))
        inserted = [i for i in axes if view.axes[i] is None and windows and windows[i - 2] == 1]
        kept = [i - 2 for i in axes if i not in inserted] or [i - 2 for i in axes]
        spatial = [kept.index(i - 2) + 1 if i - 2 in kept else None for i in axes]
        return self.laid_out(view, (0, len(kept) + 1, *spatial)), kept


def as_written(value: float) -> float:
    """The number as it was written: float32's 0.001 is 0.0010000000474974513."""
    return float(str(np.float32(value)))
