"""Reads a model's calls into a graph."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras

from diptych.auditing.frameworks.keras.arrays import Shape
from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, read_call
from diptych.auditing.frameworks.keras.layer_classes import (
    class_name,
    has_no_effect,
    own_activation,
)
from diptych.auditing.frameworks.keras.operations.activation import read_function
from diptych.auditing.frameworks.keras.operations.convolution import (
    is_separable,
    kernel_shape,
    separated,
)
from diptych.auditing.frameworks.keras.operations.masks import (
    mask_place,
    masks_of_zeros,
    with_mask,
)
from diptych.auditing.frameworks.keras.submission import Submission
from diptych.auditing.frameworks.keras.trace import Call
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.errors import InputError

NOT_EXPRESSED: dict[str, str] = {
    "dot_product_attention": "its function for it takes the steps before the heads: a black box",
    "learned_offset": "a layer that adds a parameter is the user's own, and a black box",
}
"""Kinds that it does not have, or that are not read, each with the reason."""


@dataclass(frozen=True)
class Outlet:
    """The place of a node's output: the call, and the part of its trace."""

    call: int
    part: int


class Reader:
    """Makes a graph of a model's calls and of the shapes that go through them."""

    def __init__(
        self, submission: Submission, calls: list[Call], names: dict[int, str], turned: bool
    ) -> None:
        """Begins with an empty graph.

        Args:
            submission: the model, and where its layers are made.
            calls: its calls.
            names: by the ``id`` of a variable, the parameter's name.
            turned: whether the model has the channels first.
        """
        self.submission, self.calls, self.names, self.turned = submission, calls, names, turned
        self.nodes: list[Node] = []
        self.outlets: dict[str, Outlet] = {}
        self.kernels: dict[str, Shape] = {}
        """The shape in the graph of each parameter with a different one."""

    def read(self, input_shape: Shape, shapes: list[Shape]) -> Graph:
        """Reads all calls.

        Args:
            input_shape: of the model, without the batch, channels last.
            shapes: of each call's output, likewise.

        Raises:
            InputError: the model has no layer that does anything.
        """
        shape_of = dict(enumerate(shapes)) | {-1: input_shape}
        node_of = {-1: INPUT}
        zeros = masks_of_zeros(self.calls)
        for number, call in enumerate(self.calls):
            if number in zeros:
                node_of[number] = node_of[zeros[number]]
                continue
            place = mask_place(call)
            inputs = [source for i, source in enumerate(call.inputs) if i != place]
            shaped = ShapedCall(
                call.operation,
                call.arguments,
                [shape_of[source] for source in inputs],
                shapes[number],
                self.turned,
                call.output,
            )
            mask = None if place is None else node_of[call.inputs[place]]
            node_of[number] = self.add(number, shaped, tuple(node_of[i] for i in inputs), mask)
        if not self.nodes:
            raise InputError(
                f"the model {self.submission.model.name} has no layer that does anything"
            )
        return Graph(input_shape, tuple(self.nodes))

    def add(
        self, number: int, call: ShapedCall, sources: tuple[str, ...], mask: str | None = None
    ) -> str:
        """Adds a call's nodes, from none to three; returns the one that gives its output.

        Args:
            number: of the call.
            call: with the shapes that it sees.
            sources: the nodes that it takes.
            mask: the node whose zeros are steps to skip, if there is one.
        """
        layer = call.layer
        if has_no_effect(layer):
            return sources[call.output]
        label = f"{layer.name}:{call.output}" if call.output else layer.name
        name, own, part = self.unused(label), own_activation(layer), 0
        if is_separable(layer):
            halfway, first, second = separated(layer, call)
            self.add_node(f"{name}/depthwise", Outlet(number, 0), halfway, sources, first)
            self.add_node(name, Outlet(number, 1), call, (f"{name}/depthwise",), second)
            part = 1
        else:
            draft = read_call(call)
            if mask is not None:
                draft, sources = with_mask(draft), (*sources, mask)
            if same := self.same_output(number, draft, sources):
                return same
            self.add_node(name, Outlet(number, 0), call, sources, draft)
        if own is None:
            return name
        after = ShapedCall(own, None, [call.shape], call.shape, call.channels_first)
        draft = read_function(after)
        self.add_node(f"{name}/activation", Outlet(number, part + 1), after, (name,), draft)
        return f"{name}/activation"

    def same_output(
        self, number: int, draft: NodeDraft | None, sources: tuple[str, ...]
    ) -> str | None:
        """The node of another output of the same call that is the same numbers, if there is one: a
        layer that returns its last output and its last state gives them twice."""
        if draft is None:
            return None
        earlier = []
        while self.calls[number].again:
            number -= 1
            earlier.append(number)
        own = (draft.kind, draft.attributes, sources)
        for node in self.nodes:
            same = (node.kind, node.attributes, node.inputs) == own
            if same and self.outlets[node.name].call in earlier:
                return node.name
        return None

    def add_node(
        self,
        name: str,
        outlet: Outlet,
        call: ShapedCall,
        sources: tuple[str, ...],
        draft: NodeDraft | None,
    ) -> None:
        """Adds one node, a custom one where no kind is what it does."""
        if draft is None or any(id(value) not in self.names for value in draft.variables.values()):
            draft = self.custom(call.layer, outlet.part)
        layer = self.calls[outlet.call].operation
        parameters = {role: self.names[id(value)] for role, value in draft.variables.items()}
        shape = kernel_shape(layer)
        if shape and outlet.part == 0 and draft.kind == "conv":
            self.kernels[parameters["kernel"]] = shape
        self.kernels |= {parameters[role]: shape for role, shape in draft.shapes.items()}
        where = self.submission.places.get(id(layer))
        self.nodes.append(
            Node(name, draft.kind, sources, call.shape, draft.attributes, parameters, where)
        )
        self.outlets[name] = outlet

    def custom(self, thing: Any, part: int) -> NodeDraft:
        """Drafts a node of a layer or a function that is known by its class only."""
        variables = getattr(thing, "weights", [])
        if part == 0 and isinstance(own_activation(thing), keras.Layer):
            of_activation = {id(weight) for weight in own_activation(thing).weights}
            variables = [weight for weight in variables if id(weight) not in of_activation]
        known = [weight for weight in variables if id(weight) in self.names]
        roles = {str(number): weight for number, weight in enumerate(known)}
        return NodeDraft("custom", {"class": class_name(thing)}, roles)

    def unused(self, name: str) -> str:
        """The layer's name, or with a number where it is called again."""
        names = [name, *(f"{name}/{count}" for count in range(2, len(self.calls) + 2))]
        return next(candidate for candidate in names if candidate not in self.outlets)


def parameter_names(model: keras.Model, calls: list[Call]) -> dict[int, str]:
    """Names such as ``layer/kernel``, by the ``id`` of a variable, for all arrays that the model
    stores."""
    layer_of = {
        id(variable): call.operation.name
        for call in reversed(calls)
        for variable in getattr(call.operation, "weights", [])
        if call.operation is not model
    }
    variables = [weight for weight in model.weights if "float" in str(weight.dtype)]
    short = [
        f"{layer_of[id(variable)]}/{variable.name}" if id(variable) in layer_of else variable.path
        for variable in variables
    ]
    # Two of the same name within a layer: the path says which of its parts they belong to.
    twice = {name for name, count in Counter(short).items() if count > 1}
    names: dict[int, str] = {}
    for variable, name in zip(variables, short, strict=True):
        name = variable.path if name in twice else name
        used, count = set(names.values()), 2
        while name in used:
            name, count = f"{re.sub(r':[0-9]+$', '', name)}:{count}", count + 1
        names[id(variable)] = name
    return names
