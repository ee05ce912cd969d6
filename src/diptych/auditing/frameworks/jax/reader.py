"""The reader of traces: which nodes a traced network's operations are."""

from dataclasses import dataclass, field, replace
from typing import Any

from diptych.auditing.frameworks.jax.behaviour import activation, line
from diptych.auditing.frameworks.jax.layout import Layout, Turn
from diptych.auditing.frameworks.jax.operations import ALIASES, ELEMENTWISE, read
from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.trace import Operation, Trace, Value
from diptych.auditing.graph import INPUT, Node

NOT_EXPRESSED: dict[str, str] = {
    "adaptive_average_pool": "no operation does it: it is read as what it is made of",
    "adaptive_max_pool": "no operation does it: it is read as what it is made of",
    "alpha_dropout": "no operation does it: it is read as what it is made of",
    "augmentation": "it is the data's affair",
    "average": "no operation does it: it is read as what it is made of",
    "conv_transpose": "it is not read yet: it is a black box",
    "depth_to_space": "it is not read yet: it is a black box",
    "divide": "it is not read yet: it is a black box",
    "dot_product_attention": "no operation does it: it is read as what it is made of",
    "drop_path": "no operation does it: it is read as what it is made of",
    "embedding": "it is not read yet: it is a black box",
    "gaussian_dropout": "no operation does it: it is read as what it is made of",
    "gaussian_noise": "no operation does it: it is read as what it is made of",
    "glu": "no operation does it: it is read as what it is made of",
    "group_norm": "no operation does it: it is read as what it is made of",
    "gru": "a loop over the steps is a black box",
    "layer_norm": "no operation does it: it is read as what it is made of",
    "learned_offset": "it is not read yet: it is a black box",
    "learned_scale": "it is not read yet: it is a black box",
    "lstm": "a loop over the steps is a black box",
    "matmul": "it is not read yet: it is a black box",
    "maximum": "it is not read yet: it is a black box",
    "minimum": "it is not read yet: it is a black box",
    "multi_head_attention": "no operation does it: it is read as what it is made of",
    "multiply": "it is not read yet: it is a black box",
    "prelu": "no operation does it: it is read as what it is made of",
    "rearrange": "it is not read yet: it is a black box",
    "reduce": "it is not read yet: it is a black box",
    "repeat": "it is not read yet: it is a black box",
    "resize": "it is not read yet: it is a black box",
    "rms_norm": "no operation does it: it is read as what it is made of",
    "unit_norm": "no operation does it: it is read as what it is made of",
    "roll": "it is not read yet: it is a black box",
    "simple_rnn": "a loop over the steps is a black box",
    "slice": "it is not read yet: it is a black box",
    "space_to_depth": "it is not read yet: it is a black box",
    "spatial_dropout": "no operation does it: it is read as what it is made of",
    "stack": "it is not read yet: it is a black box",
    "subtract": "it is not read yet: it is a black box",
}
"""Kinds that are not read, each with the reason."""


@dataclass
class Reading:
    """A trace's nodes, and the values that they are."""

    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    """Each node's output, and the input as `INPUT`."""
    turns: dict[str, Turn] = field(default_factory=dict)
    """The difference of each parameter's layout from the graph's."""
    layout: Layout = field(default_factory=lambda: Layout(False))


class Reader:
    """Reads one trace, operation by operation.

    A value is *fixed* if it depends on no input: a parameter, or made of parameters and constants.
    """

    def __init__(self, trace: Trace, parameters: dict[Value, str], x: Value) -> None:
        """Prepares to read.

        Args:
            trace: of the network.
            parameters: the names of those inputs of the trace that are parameters.
            x: the trace's input that is the network's.
        """
        self.trace, self.x = trace, x
        self.layout = Layout.of(trace, x)
        self.reading = Reading(values={INPUT: x}, layout=self.layout)
        self.parameters: dict[Value, tuple[str, Turn]] = {
            value: (name, Turn.none(value.shape)) for value, name in parameters.items()
        }
        self.makers: dict[Value, str] = {x: INPUT}
        """The node whose output a value is."""
        self.pending: dict[Value, tuple[Value, NodeDraft]] = {}
        """Arithmetic that is no node yet: the value that it starts from."""
        self.drafts: dict[str, NodeDraft] = {}
        self.sums: dict[Value, tuple[Value, dict[str, Any] | None]] = {}
        """Sums over windows, or over everything, which become averages."""
        self.turned: dict[Value, tuple[Value, NodeDraft]] = {}
        """Products whose axes are still to be put into order."""
        self.lines = {
            value: operation.where for operation in trace.operations for value in operation.outputs
        }
        self.users: dict[Value, int] = {}
        for operation in trace.operations:
            for value in operation.inputs:
                self.users[value] = self.users.get(value, 0) + 1

    def read(self, output: Value) -> Reading:
        """The nodes between the input and an output."""
        for operation in self.trace.needed([output], around_marks=True):
            self._take(operation)
        last = self.node_of(output)
        names = {node.name for node in self.reading.nodes}
        if last in names and self.reading.nodes[-1].name != last:
            self.reading.nodes.sort(key=lambda node: node.name == last)
        return self.reading

    def fixed(self, value: Value) -> bool:
        """True if a value depends on no input of the network's."""
        return not any(
            value in known for known in (self.makers, self.pending, self.sums, self.turned)
        )

    def source(self, value: Value) -> Value:
        """The value that pending arithmetic starts from; another value itself."""
        return self.pending[value][0] if value in self.pending else value

    def parameter(self, value: Value) -> tuple[str, Turn] | None:
        """The parameter that a value is, and how it was turned on the way."""
        return self.parameters.get(value)

    def node_of(self, value: Value) -> str:
        """The node whose output a value is; arithmetic that is pending becomes one."""
        if value in self.makers:
            return self.makers[value]
        if value in self.sums or value in self.turned:
            source = (self.sums.get(value) or self.turned[value])[0]
            return self.add(value, [source], NodeDraft("custom", {"class": "sum"}))
        source, draft = self.pending[value]
        known = self._known(source, value)
        return self.add(value, [source], known or draft)

    def add(self, made: Value, inputs: list[Value], draft: NodeDraft) -> str:
        """Makes a node."""
        befores = tuple(dict.fromkeys(self.node_of(value) for value in inputs))
        if draft.kind == "nothing":
            self.makers[made] = befores[0]
            return befores[0]
        name = self._name(draft)
        shape = self.layout.shape(made.shape)
        where = self.lines.get(made)
        node = Node(name, draft.kind, befores, shape, draft.attributes, draft.parameters, where)
        self.reading.nodes.append(node)
        self.reading.values[name] = made
        self.reading.turns |= draft.turns
        self.makers[made], self.drafts[name] = name, draft
        return name

    def with_bias(self, made: Value, before: Value, bias: str, turn: Turn) -> None:
        """Gives the node before an addition its bias: the sum is its output."""
        name = self.makers[before]
        number = next(i for i, node in enumerate(self.reading.nodes) if node.name == name)
        node = self.reading.nodes[number]
        parameters = node.parameters | {"bias": bias}
        self.reading.nodes[number] = replace(node, parameters=parameters)
        self.reading.values[name] = made
        self.reading.turns[bias] = turn
        del self.makers[before]
        self.makers[made] = name

    def _take(self, operation: Operation) -> None:
        made = operation.outputs[0]
        active = [value for value in operation.inputs if not self.fixed(value)]
        if not active:
            self._turn(operation)
            return
        draft = read(self, operation)
        if isinstance(draft, NodeDraft):
            self.add(made, [v for v in active if v is not None], draft)
            return
        if draft:
            return  # The reader has done all.
        if operation.name in ALIASES and made.shape == active[0].shape:
            self._alias(made, active[0])
        elif operation.name in ELEMENTWISE and self._arithmetic(operation, active):
            pass
        else:
            self._black_box(operation, active)

    def _alias(self, made: Value, value: Value) -> None:
        if value in self.pending:
            self.pending[made] = self.pending[value]
        else:
            self.makers[made] = self.makers[value]

    def _turn(self, operation: Operation) -> None:
        """Follows a parameter through what only turns it."""
        found = self.parameters.get(operation.inputs[0]) if operation.inputs else None
        if found is None:
            return
        turned = found[1].then(operation)
        if turned is not None:
            self.parameters[operation.outputs[0]] = found[0], turned

    def _arithmetic(self, operation: Operation, active: list[Value]) -> bool:
        """Takes arithmetic on one value and constants as pending."""
        if any(self.trace_depends(value) for value in operation.inputs if self.fixed(value)):
            return False
        sources = {self.source(value) for value in active}
        made = operation.outputs[0]
        if len(sources) != 1 or made.shape != active[0].shape:
            return False
        (source,) = sources
        self.pending[made] = source, NodeDraft("custom", {"class": operation.name})
        return True

    def trace_depends(self, value: Value) -> bool:
        """True if a fixed value depends on any parameter or state."""
        if value.constant is not None:
            return False
        inputs = set(self.trace.inputs)
        operations = self.trace.needed([value])
        return value in inputs or any(inputs.intersection(o.inputs) for o in operations)

    def _known(self, source: Value, made: Value) -> NodeDraft | None:
        """The node of pending arithmetic, recognised by its values."""

        def function(x: Any) -> Any:
            return self.trace.run({source: x}, [made])[0]

        label = activation(function, made.shape, made.dtype)
        if label:
            return NodeDraft("activation", {"function": label[0], "slope": label[1]})
        return line(function, made.shape, made.dtype)

    def _black_box(self, operation: Operation, active: list[Value]) -> None:
        names = dict.fromkeys(
            self.parameters[v][0] for v in operation.inputs if v in self.parameters
        )
        parameters = {str(number): name for number, name in enumerate(names)}
        draft = NodeDraft("custom", {"class": operation.name}, parameters)
        for made in operation.outputs:
            self.add(made, active, draft)

    def _name(self, draft: NodeDraft) -> str:
        """The layer's path where it has parameters, else its kind and a number."""
        name = draft.kind if draft.kind != "activation" else str(draft.attributes["function"])
        if draft.kind == "custom":
            name = str(draft.attributes["class"])
        if draft.parameters:
            first = next(iter(draft.parameters.values()))
            name = first.rpartition("/")[0] or first
        taken = {node.name for node in self.reading.nodes} | {INPUT}
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        return unique


def random(trace: Trace, outputs: list[Value]) -> bool:
    """True if values depend on random numbers that are drawn in the trace."""
    names = [operation.name for operation in trace.needed(outputs)]
    return any(name.startswith(("random", "rng", "threefry")) for name in names)
