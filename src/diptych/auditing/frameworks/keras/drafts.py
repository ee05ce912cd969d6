"""Nodes while they are being read, and the registry of the functions that read them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from diptych.auditing.frameworks.keras.arrays import Shape
from diptych.auditing.frameworks.keras.layer_classes import computes_as, is_kerass
from diptych.readers import Readers


@dataclass(frozen=True)
class ShapedCall:
    """A call of a layer, or of an operation such as ``x + y``, and the shapes that it sees.

    Shapes are without the batch and have the channels last.
    """

    layer: Any
    arguments: Any
    """Keras' record of the call's arguments; None where there is none."""
    inputs: list[Shape]
    shape: Shape
    channels_first: bool
    """True if the layer itself has the channels first."""
    output: int = 0
    """Which of the tensors that it gives has this shape."""

    def argument(self, name: str, position: int) -> Any:
        """One of the call's arguments, None where it is not given."""
        if self.arguments is None:
            return None
        args = self.arguments.args
        return args[position] if len(args) > position else self.arguments.kwargs.get(name)

    @property
    def spatial(self) -> bool:
        """True if the input has more axes than the channels."""
        return len(self.inputs[0]) > 1

    @property
    def data_format(self) -> str:
        return "channels_first" if self.channels_first else "channels_last"

    def graph_axis(self, axis: int) -> int:
        """Which axis of the graph's array, counted without the batch, a layer's ``axis`` is; -1 for
        the batch's."""
        rank = len(self.inputs[0]) + 1
        axis %= rank
        if not self.channels_first or axis == 0 or rank < 3:
            return axis - 1
        return rank - 2 if axis == 1 else axis - 2

    def is_channel_axis(self, axis: int) -> bool:
        """True if a layer's ``axis`` is the channels of its input."""
        rank = len(self.inputs[0]) + 1
        return axis % rank == (1 if self.channels_first and self.spatial else rank - 1)


@dataclass(frozen=True)
class NodeDraft:
    """A node's kind and attributes, and its variables by role."""

    kind: str
    attributes: dict[str, Any]
    variables: dict[str, Any]
    shapes: dict[str, Shape] = field(default_factory=dict)
    """By role, the shape that the graph gives a variable where that is not its own."""


def draft(
    kind: str,
    variables: dict[str, Any] | None = None,
    shapes: dict[str, Shape] | None = None,
    /,
    **attributes: Any,
) -> NodeDraft:
    """Drafts a node; variables that a layer does not have are left out."""
    present = {role: value for role, value in (variables or {}).items() if value is not None}
    return NodeDraft(kind, attributes, present, shapes or {})


Read = Callable[[Any, ShapedCall], NodeDraft | None]
"""Drafts the node of a layer or an operation before its own activation; None if no kind of the
graph is what it does."""

reads: Readers[Read] = Readers()
"""By class in ``keras.layers``, such as ``Conv2D``; by class behind ``keras.ops``, such as
``ops.Add``."""


def reader_of(thing: Any) -> Read | None:
    """The function that reads a layer or an operation, if it computes as one of Keras' own."""
    prefix = "" if isinstance(thing, keras.Layer) else "ops."
    for cls in type(thing).__mro__:
        if is_kerass(cls) and (read := reads.get(prefix + cls.__name__)):
            return read if computes_as(thing, cls) else None
    return None


def read_call(call: ShapedCall) -> NodeDraft | None:
    """Drafts the node of a call before the layer's own activation; None if no kind fits."""
    if call.output and not isinstance(call.layer, keras.layers.RNN):
        return None  # The readers of other layers are for what a layer gives first.
    read = reader_of(call.layer)
    try:
        return read(call.layer, call) if read else None
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return None  # A form that the reader was not written for: from outside, then.
