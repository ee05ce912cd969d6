"""Reads a file's operations into nodes, in the layout in which they find their axes.

The readers of operators are in `operations`, one file per family.
"""

import inspect
from typing import Any

from diptych.errors import InputError
from diptych.formats.onnx.activations import Functions
from diptych.formats.onnx.file import File
from diptych.formats.onnx.opening import attributes_of
from diptych.formats.onnx.operation import NodeDraft, Operation
from diptych.formats.onnx.operations import reads
from diptych.formats.onnx.views import FIRST, LAST, Axes, View, Weight, channels_first, shape_of

INPUT = "input"
"""The name that stands for the network's input among nodes, as in `diptych.auditing.graph`."""
IMAGE_CHANNELS = (1, 3, 4)
"""The numbers of channels that an image may have, if no convolution shows the axis."""
WITHOUT_WEIGHTS = ("Resize", "Upsample")
"""Operations whose constants are settings."""


class Reader:
    """A file's operations as nodes, for one layout of its input."""

    def __init__(self, file: File, functions: Functions, layout: str) -> None:
        self.file, self.functions = file, functions
        tensor = file.shape(file.input)
        axes = channels_first(len(tensor)) if layout == FIRST else tuple(range(len(tensor)))
        self.input = View(INPUT, file.input, axes, shape_of(tensor, axes))
        self.views = {file.input: self.input}
        """By tensor."""
        self.drafts: dict[str, NodeDraft] = {}
        """By name, in the order in which they compute."""
        self.weights: dict[str, Weight] = {}
        self.transposed = 0
        """The number of operations that needed their axes in a different order."""
        for index, node in enumerate(file.nodes):
            is_dependent = any(name in file.dependent for name in node.output)
            if is_dependent and index not in functions.inside:
                self._read(Operation(self, index))
        self._drop_unneeded()

    def _read(self, operation: Operation) -> None:
        function = self.functions.ends.get(operation.index)
        if function is not None:
            view = self.views[function.start]
            operation.emit_activation(function.function, function.slope, view)
            return
        node = operation.node
        read = reads.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        attributes = attributes_of(node)
        if read is None or not accepts(read, attributes) or not read(operation, **attributes):
            self._read_unknown(operation)

    def _read_unknown(self, operation: Operation) -> None:
        """Makes a node that is known only by what it computes."""
        node, file = operation.node, self.file
        inputs = [self.views[name] for name in node.input if name in self.views]
        parameters: dict[str, str] = {}
        for position, name in enumerate(node.input):
            is_constant = (operation.index, position) in file.weights
            if is_constant and node.op_type not in WITHOUT_WEIGHTS and file.samples[name].size > 1:
                parameters[str(len(parameters))] = operation.weight(position)
        for tensor in node.output:
            if tensor in file.dependent and tensor in file.samples:
                axes = self._unknown_axes(inputs[0], tensor)
                attributes: dict[str, Any] = {"class": node.op_type}
                operation.emit(
                    "custom", inputs, axes, parameters=parameters, output=tensor, **attributes
                )

    def _unknown_axes(self, view: View, tensor: str) -> Axes:
        """The layout of the output of an unknown operation: that of its first input."""
        shape, examples = self.file.shape(tensor), self.file.shape(self.file.input)[0]
        axes = sorted(axis for axis in view.axes if axis is not None)
        if axes == list(range(len(shape))) and shape[view.axes.index(0)] == examples:
            return view.axes
        if examples not in shape:
            raise InputError(
                f"{self.file.name}: {tensor} of shape {shape} has no axis for the examples, which "
                f"the file mixes; expected each example to be computed by itself"
            )
        first = shape.index(examples)
        rest = iter(range(1, len(shape)))
        return tuple(0 if i == first else next(rest) for i in range(len(shape)))

    def unique(self, name: str) -> str:
        """The name, with a number behind it if a node has it already."""
        number, unique = 1, name
        while unique in self.drafts or unique == INPUT:
            number += 1
            unique = f"{name}:{number}"
        return unique

    def _drop_unneeded(self) -> None:
        """Keeps the nodes that the output depends on."""
        needed, waiting = set(), [self.views[self.file.output].node]
        while waiting:
            name = waiting.pop()
            if name != INPUT and name not in needed:
                needed.add(name)
                waiting.extend(view.node for view in self.drafts[name].inputs)
        self.drafts = {name: draft for name, draft in self.drafts.items() if name in needed}
        kept = {name for draft in self.drafts.values() for name in draft.parameters.values()}
        self.weights = {name: weight for name, weight in self.weights.items() if name in kept}


def accepts(read: Any, attributes: dict[str, Any]) -> bool:
    """True if a reader knows all attributes, which differ between versions of an operator."""
    try:
        inspect.signature(read).bind(None, **attributes)
    except TypeError:
        return False
    return True


def reading(file: File) -> Reader:
    """The file read in the layout of its input in which its operations find their axes.

    Raises:
        InputError: it computes nothing, or mixes examples.
    """
    functions = Functions(file)
    readers = {layout: Reader(file, functions, layout) for layout in (LAST, FIRST)}
    shape = file.shape(file.input)
    usual = LAST
    if len(shape) == 4 and shape[1] in IMAGE_CHANNELS and shape[3] not in IMAGE_CHANNELS:
        usual = FIRST
    reader = min(
        readers.values(), key=lambda reader: (reader.transposed, reader is not readers[usual])
    )
    if not reader.drafts:
        raise InputError(f"{file.name} computes nothing: expected a network")
    return reader
