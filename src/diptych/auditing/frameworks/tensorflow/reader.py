"""The reader of graphs: which nodes their blocks are."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import difflib
import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.behaviour import Stretch, scalar_constant
from diptych.auditing.frameworks.tensorflow.blocks import Block, cut
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.naming import Names
from diptych.auditing.frameworks.tensorflow.operation_types import JOINS, LAYERS, RESHAPES
from diptych.auditing.frameworks.tensorflow.operations import (
    convolution,
    dense,
    embedding,
    pooling,
    shape,
)
from diptych.auditing.frameworks.tensorflow.operations.activation import activation, prelu
from diptych.auditing.frameworks.tensorflow.operations.arithmetic import rescale, with_parameter
from diptych.auditing.frameworks.tensorflow.operations.dropout import dropout
from diptych.auditing.frameworks.tensorflow.operations.normalisation import normalisation
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace, where
from diptych.auditing.graph import INPUT, Node

Tensor = Any
FAMILIES = (convolution, dense, embedding, pooling, shape)
"""The files of readers that nothing here calls by name: importing them registers their readers."""
NOT_EXPRESSED: dict[str, str] = {
    "dot_product_attention": "it has no operation: one written out is products and a softmax",
    "multi_head_attention": "it has no operation: one written out is products and a softmax",
    "gru": "a loop over the steps is a black box",
    "lstm": "a loop over the steps is a black box",
    "simple_rnn": "a loop over the steps is a black box",
    "average": "it has no operation: one written out is a sum and a line",
    "matmul": "a product of two tensors that depend on the input is a black box",
    "glu": "it has no operation: one written out is read as its halves, which are black boxes",
    "group_norm": "it has no operation of its own: one written out is read as its reshapes and "
    "what is between them",
    "adaptive_average_pool": "it has no operation of it",
    "adaptive_max_pool": "it has no operation of it",
    "alpha_dropout": "it has no operation of it",
    "augmentation": "it is the data's affair",
    "gaussian_dropout": "it has no operation of it",
    "gaussian_noise": "it has no operation of it",
    "unit_norm": "it has no operation: one written out is read as its parts",
}
"""Kinds that it does not have, or that are not read, each with the reason."""


class Reader:
    """Tells what blocks are, by their operations' attributes or by what they do to numbers."""

    def __init__(self, trace: Trace, variables: dict[str, tf.Variable]) -> None:
        self.trace, self.variables = trace, variables

    def tell(self, blocks: list[Block]) -> NodeDraft | None:
        """The node of several blocks in a row; None if unknown."""
        found = self.by_attributes(blocks[0]) if len(blocks) == 1 else None
        if found is None and all(block.elementwise for block in blocks):
            found = self.by_behaviour(blocks)
        return found

    def by_attributes(self, block: Block) -> NodeDraft | None:
        """The node of a block with an operation of a known kind at its core; else None."""
        kind = block.core.type
        read = reads.get(kind)
        if read is None:
            return None
        several = (*LAYERS, *RESHAPES)
        if len(block.operations) > 1 and kind not in several:
            return None
        if len(block.inputs) > 1 and kind not in (*LAYERS, *JOINS, "ConcatV2", "Pack"):
            return None
        return read(self.trace, block)

    def by_behaviour(self, blocks: list[Block]) -> NodeDraft | None:
        """The node of a sequence of arithmetic, recognised by its values; None if unknown."""
        operations = [operation for block in blocks for operation in block.operations]
        aside = self.trace.aside(operations)
        types = {operation.type for operation in [*operations, *aside]}
        stretch = Stretch(
            self.trace,
            blocks[0].inputs[0],
            blocks[-1].output,
            [float(v) for v in map(scalar_constant, [*operations, *aside]) if v is not None],
        )
        if not stretch.input.shape.rank or stretch.input.shape != stretch.output.shape:
            return None
        names = self.trace.variables_of(operations)
        if any("Random" in each for each in types):
            return None if names else dropout(stretch)
        if not names and (found := rescale(stretch) or activation(stretch)):
            return found
        if types & {"Rsqrt", "Sqrt", "Pow"}:
            return normalisation(stretch, {name: self.variables[name] for name in names})
        variables = {name: self.variables[name] for name in names}
        return prelu(stretch, variables) or with_parameter(stretch, variables)


@dataclass
class Reading:
    """A graph's nodes, and the tensors between them by their names in every trace of it."""

    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)

    def named(self, names: dict[str, str]) -> "Reading":
        """The same with other names for nodes, and without those that have none."""
        nodes = [
            replace(node, name=names[node.name], inputs=tuple(names.get(i, i) for i in node.inputs))
            for node in self.nodes
            if node.name in names
        ]
        return Reading(
            nodes,
            {names[name]: value for name, value in self.inputs.items() if name in names},
            {names[name]: value for name, value in self.outputs.items() if name in names},
            self.layouts,
        )


def read(trace: Trace, output: Tensor, variables: dict[str, tf.Variable]) -> Reading:
    """The nodes between x and an output."""
    reader, reading = Reader(trace, variables), Reading()
    makers = {trace.x.name: INPUT}
    names = Names()
    for run in runs(cut(trace, output)):
        for stretch, found in told(reader, run):
            made = stretch[-1].output
            inputs = list({t.name: t for t in outer_inputs(stretch)}.values())
            if found.kind == "nothing":
                makers[made.name] = makers[inputs[0].name]
                continue
            befores = tuple(makers[tensor.name] for tensor in inputs)
            node = Node(
                name=names.new(found, befores),
                kind=found.kind,
                inputs=befores,
                shape=tuple(int(size) for size in made.shape[1:]),
                attributes=found.attributes,
                parameters=found.parameters,
                where=where(stretch[-1].core),
            )
            reading.nodes.append(node)
            reading.inputs[node.name] = [tensor.name for tensor in inputs]
            reading.outputs[node.name] = made.name
            reading.layouts |= found.layouts
            makers[made.name] = node.name
    return reading


def outer_inputs(stretch: list[Block]) -> list[Tensor]:
    inside = {block.output.name for block in stretch}
    return [t for block in stretch for t in block.inputs if t.name not in inside]


def runs(blocks: list[Block]) -> list[list[Block]]:
    """The blocks, with arithmetic that follows on arithmetic together."""
    users: dict[str, int] = {}
    for block in blocks:
        for tensor in block.inputs:
            users[tensor.name] = users.get(tensor.name, 0) + 1
    result: list[list[Block]] = []
    ends: dict[str, list[Block]] = {}
    for block in blocks:
        run = ends.get(block.inputs[0].name) if block.elementwise else None
        if run is not None and users[block.inputs[0].name] == 1:
            run.append(block)
        else:
            run = [block]
            result.append(run)
        if block.elementwise:
            ends[block.output.name] = run
    position = {block.output.name: number for number, block in enumerate(blocks)}
    return sorted(result, key=lambda run: position[run[-1].output.name])


def told(reader: Reader, run: list[Block]) -> list[tuple[list[Block], NodeDraft]]:
    """The nodes of a sequence of blocks: each part is the longest that is known. Unknown parts are
    joined as one ``custom``."""
    parts: list[tuple[list[Block], NodeDraft | None]] = []
    start = 0
    while start < len(run):
        part, found = run[start : start + 1], reader.tell(run[start : start + 1])
        for end in range(len(run), start + 1, -1):
            longer = reader.tell(run[start:end])
            # An elu after a relu changes nothing; it is there all the same.
            if longer is not None and longer != found:
                part, found = run[start:end], longer
                break
        if found is None and parts and parts[-1][1] is None:
            parts[-1][0].extend(part)
        else:
            parts.append((part, found))
        start += len(part)
    return [(part, found or custom(reader.trace, part)) for part, found in parts]


def custom(trace: Trace, part: list[Block]) -> NodeDraft:
    """A black box: what its operations are called, and its parameters in the order of use."""
    operations = [operation for block in part for operation in block.operations]
    types = [key for key, _ in itertools.groupby(operation.type for operation in operations)]
    names = dict.fromkeys(trace.variables_of(operations))
    parameters = {str(number): name for number, name in enumerate(names)}
    return NodeDraft("custom", {"class": "+".join(types)}, parameters)


def matching(reading: Reading, other: Reading) -> dict[str, str]:
    """The name of a node in the first reading, by its name in the other."""

    def key(node: Node) -> tuple:
        own = tuple(v for k, v in node.parameters.items() if k not in ("mean", "variance"))
        function = node.attributes.get("function")
        return (node.kind, function, node.shape, own)

    a, b = reading.nodes, other.nodes
    names = {}
    matcher = difflib.SequenceMatcher(None, list(map(key, a)), list(map(key, b)), autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == "equal" or (tag == "replace" and a2 - a1 == b2 - b1):
            pairs = zip(a[a1:a2], b[b1:b2], strict=True)
            names |= {y.name: x.name for x, y in pairs if x.shape == y.shape}
    return names
