"""Low-level TensorFlow: an object with ``variables``, ``loss(x, y)`` and ``step(x, y)``.

Nothing says what the network is but what it computes. So the loss is traced into TensorFlow's graph
of operations, and that is read: convolutions, products and pools by their attributes; stretches of
arithmetic by what they do to numbers, so that ``tf.maximum(x, 0.2 * x)`` is a leaky relu and a
normalisation written by hand is a batch normalisation. A stretch that is nothing known becomes one
``custom`` node.

The functions here go in the order of the work: tracing, cutting the graph into blocks, telling what
a block is, and the model that is made of it.
"""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import difflib
import itertools
import math
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import special

from diptych.auditing.frameworks.tensorflow.twin import DoubleSide, counters, explained, widened
from diptych.auditing.frameworks.tensorflow.widening import as_written
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.errors import InputError

Operation = Any
Tensor = Any
Build = Callable[[int], Any]

EXAMPLES = 5
"""The batch that the graph is read with. Five is no usual size of anything else in a network."""
IMAGE_SHAPES = ([28, 28, 1], [784], [28, 28])
"""What an input is tried as where nobody says."""
EXTRAS = "data = (x, y), the arrays that it is fed with"

# Kinds of operations, by TensorFlow's names.
SHAPE_ONLY = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}
READS = {"ReadVariableOp", "Identity", "Cast"}
PASSES = {"Identity", "IdentityN", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"}
CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
PRODUCTS = {"MatMul", "BatchMatMulV2"}
POOLS = {"MaxPool": "max_pool", "AvgPool": "average_pool"}
GLOBAL_POOLS = {"Mean": "global_average_pool", "Max": "global_max_pool"}
FUSED_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
ADDITIONS = {"AddV2", "Add", "BiasAdd"}
RESHAPES = {"Reshape", "Squeeze", "ExpandDims"}
PADS = {"Pad", "PadV2"}
BARRIERS = {*CONVOLUTIONS, *PRODUCTS, *POOLS, *FUSED_NORMS, *PADS, "ConcatV2", "Conv3D"}
"""What is a node of its own wherever it stands, and never part of a stretch of arithmetic."""
NOT_ELEMENTWISE = {*BARRIERS, *RESHAPES, *GLOBAL_POOLS, "Transpose", "StridedSlice", "MirrorPad"}
CROSS_ENTROPIES = {"SparseSoftmaxCrossEntropyWithLogits", "SoftmaxCrossEntropyWithLogits"}
LOSS_ARITHMETIC = {
    *("Log", "Log1p", "LogSoftmax", "Neg", "Cast", "Identity"),
    *("Maximum", "Minimum", "AddV2", "Sub"),  # Clipping, and a small number before a logarithm.
    *(*RESHAPES, "StridedSlice"),
}
"""What stands between a network's output and its targets, and belongs to the loss."""
ACTIVATION_OPERATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Elu": "elu",
    "Selu": "selu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Softplus": "softplus",
    "Exp": "exponential",
    "LeakyRelu": "leaky_relu",
}


# Tracing.


@contextmanager
def patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Puts other values in the place of attributes, for a while."""
    before = [getattr(owner, name) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(changes, before, strict=True):
            setattr(owner, name, value)


def inlined() -> Any:
    """Has every ``tf.function`` run as plain (converted) Python, so that one graph holds it all."""
    autograph = tf.__internal__.autograph

    def call(function: Any, *arguments: Any, **named: Any) -> Any:
        convert = autograph.tf_convert(function.python_function, autograph.control_status_ctx())
        return convert(*arguments, **named)

    return patched((type(tf.function(lambda: None)), "__call__", call))


def without_dropout() -> Any:
    """Has TensorFlow's dropout drop nothing in whatever is traced or run for the first time."""

    def keep(x: Tensor, *_: Any, **__: Any) -> Tensor:
        return tf.convert_to_tensor(x)

    return patched(
        (tf.nn, "dropout", keep),
        (tf.nn.experimental, "stateless_dropout", keep),
        (tf.nn.experimental, "general_dropout", keep),
        (tf.compat.v1.nn, "dropout", keep),
    )


class Trace:
    """A function's graph of operations for one size of batch, and its values."""

    def __init__(
        self, function: Callable, specs: list[tf.TensorSpec], variables: dict[str, tf.Variable]
    ) -> None:
        named = [
            tf.TensorSpec(spec.shape, spec.dtype, name=name)
            for name, spec in zip(("x", "y"), specs, strict=False)
        ]
        with inlined():
            self.wrapped = tf.compat.v1.wrap_function(function, named)
        self.graph = self.wrapped.graph
        self.operations: list[Operation] = self.graph.get_operations()
        self.x, *self.y = (self.graph.inputs[i] for i in range(len(specs)))
        self.result = self.wrapped.structured_outputs
        handles = {id(variable.handle): name for name, variable in variables.items()}
        self.variables = {
            inner.op.name: handles[id(outer)]
            for outer, inner in self.graph.captures
            if id(outer) in handles
        }
        self.pruned: dict[tuple, Any] = {}
        self.handles = set(handles)

    def check_variables(self) -> None:
        """Raises InputError where a variable is read that is not among the object's."""
        captured = {id(outer) for outer, _ in self.graph.captures}
        for variable in self.graph.variables:
            handle = id(variable.handle)
            if handle in captured - self.handles and variable.dtype.is_floating:
                raise InputError(
                    f"its network reads a tf.Variable ({variable.name}, shape "
                    f"{tuple(variable.shape)}) that is not among its variables: add it to them"
                )

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name, such as ``MatMul:0``."""
        return self.graph.get_tensor_by_name(name)

    def run(self, feeds: dict[str, Any], fetches: list[str]) -> list[Tensor]:
        """The values of some tensors where others are given; both by their names."""
        key = (*feeds, "->", *fetches)
        if key not in self.pruned:
            self.pruned[key] = self.wrapped.prune(
                [self.tensor(name) for name in feeds],
                [self.tensor(name) for name in fetches if name not in feeds],
            )
        given = {name: as_type(value, self.tensor(name).dtype) for name, value in feeds.items()}
        found = iter(self.pruned[key](*given.values()))
        return [given[name] if name in given else next(found) for name in fetches]

    def depending(self, tensor: Tensor) -> set[str]:
        """The names of the operations whose values (not whose shapes alone) depend on a tensor."""
        found = {tensor.op.name}
        for operation in self.operations:
            if operation.type not in SHAPE_ONLY and any(
                source.op.name in found for source in operation.inputs
            ):
                found.add(operation.name)
        return found

    @cached_property
    def on_x(self) -> set[str]:
        """The operations that depend on x."""
        return self.depending(self.x)

    @cached_property
    def on_y(self) -> set[str]:
        """The operations that depend on the targets."""
        return self.depending(self.y[0]) if self.y else set()

    def sources(self, operation: Operation) -> list[Tensor]:
        """An operation's inputs that depend on x, each once."""
        if operation.type in SHAPE_ONLY:
            return []
        tensors = {tensor.name: tensor for tensor in operation.inputs}
        return [tensor for tensor in tensors.values() if tensor.op.name in self.on_x]

    def ancestors(self, tensors: list[Tensor]) -> set[str]:
        """The names of all operations that some tensors are made by."""
        found: set[str] = set()
        waiting = [tensor.op for tensor in tensors]
        while waiting:
            operation = waiting.pop()
            if operation.name not in found:
                found.add(operation.name)
                waiting += [tensor.op for tensor in operation.inputs]
        return found

    def aside(self, operations: list[Operation]) -> list[Operation]:
        """The operations that feed the given ones and do not depend on x: parameters, constants."""
        beside = [
            tensor
            for operation in operations
            for tensor in operation.inputs
            if tensor.op.name not in self.on_x
        ]
        found = self.ancestors(beside)
        return [operation for operation in self.operations if operation.name in found]

    def variable(self, tensor: Tensor) -> str | None:
        """The name of the variable whose value a tensor is, if it is nothing but that."""
        operation = tensor.op
        while operation.type in READS or operation.type == "ExpandDims":
            operation = operation.inputs[0].op
        return self.variables.get(operation.name)

    def variables_of(self, operations: list[Operation]) -> list[str]:
        """The names of the variables that go into some operations, beside what depends on x."""
        found = [self.variables.get(operation.name) for operation in self.aside(operations)]
        return [name for name in found if name]


def as_type(value: Any, dtype: tf.DType) -> Tensor:
    """A value as a tensor of that type; whole numbers are rounded to, not cut down to."""
    if dtype.is_integer and isinstance(value, np.ndarray):
        value = np.rint(value)
    return tf.cast(value, dtype)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy as float32, or as float64 where TensorFlow computes in it."""
    array = np.array(tensor)
    return array if array.dtype == np.float64 else array.astype(np.float32)


# Where the network ends.


class Dominators:
    """Which operations all ways from x to an operation lead through."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.nearest: dict[str, Operation] = {}
        self.depth = {trace.x.op.name: 0}
        for operation in trace.operations:
            sources = [tensor.op for tensor in trace.sources(operation)]
            if sources and operation.name in trace.on_x:
                above = sources[0]
                for source in sources[1:]:
                    above = self.common(above, source)
                self.nearest[operation.name] = above
                self.depth[operation.name] = self.depth[above.name] + 1

    def common(self, a: Operation, b: Operation) -> Operation:
        """The last operation that all ways to either lead through."""
        while a is not b:
            if self.depth[a.name] < self.depth[b.name]:
                a, b = b, a
            a = self.nearest[a.name]
        return a

    def region(self, end: Operation) -> list[Operation]:
        """The operations between the nearest dominator of one and itself, which is the last."""
        start, found, waiting = self.nearest[end.name], {end.name: end}, [end]
        while waiting:
            for tensor in self.trace.sources(waiting.pop()):
                if tensor.op is not start and tensor.op.name not in found:
                    found[tensor.op.name] = tensor.op
                    waiting.append(tensor.op)
        return [operation for operation in self.trace.operations if operation.name in found]


def network_output(trace: Trace) -> tuple[Tensor, tuple[int, ...]]:
    """The network's output: the last tensor that depends on x alone, the loss's arithmetic undone.

    Returns:
        The tensor, and the shape in which the loss holds it against the targets.
    """
    loss = trace.result
    if loss.op.name not in trace.on_x:
        raise InputError("its loss(x, y) does not depend on x: expected the loss of the network")
    before = trace.ancestors([loss])
    operations = [operation for operation in trace.operations if operation.name in before]
    entropies = [operation for operation in operations if operation.type in CROSS_ENTROPIES]
    if entropies and entropies[-1].inputs[0].op.name not in trace.on_y:
        tensor = entropies[-1].inputs[0]
    else:
        tensor = last_on_x_alone(trace, operations)
    shape = tuple(tensor.shape)
    while (further := through_loss_arithmetic(trace, tensor)) is not None:
        tensor = further
    return tensor, shape


def last_on_x_alone(trace: Trace, operations: list[Operation]) -> Tensor:
    """What the loss knows of x: one tensor that everything goes through, or else the last one."""
    dominators, operation = Dominators(trace), trace.result.op
    while operation.name in trace.on_y:
        operation = dominators.nearest[operation.name]
    if operation is not trace.x.op:
        return operation.outputs[0]
    met = [
        tensor
        for each in operations
        if each.name in trace.on_y
        for tensor in trace.sources(each)
        if tensor.op.name not in trace.on_y
    ]
    return met[-1]


def through_loss_arithmetic(trace: Trace, tensor: Tensor) -> Tensor | None:
    """The tensor before it where it was made by what belongs to a loss, else None."""
    operation, sources = tensor.op, trace.sources(tensor.op)
    if operation.type not in LOSS_ARITHMETIC or len(sources) != 1:
        return None
    if trace.variables_of([operation]):
        return None
    if operation.type in RESHAPES or operation.type == "StridedSlice":
        before, after = ([size for size in t.shape if size != 1] for t in (sources[0], tensor))
        return sources[0] if before == after else None
    return sources[0]


# Cutting the graph into blocks.


@dataclass
class Block:
    """Operations that have one output, and together do one thing or a part of it."""

    operations: list[Operation]
    inputs: list[Tensor]
    """Those that depend on x."""
    core: Operation
    """The operation that says what the block is; the last one where they all do."""
    bias: str | None = None
    """The name of the variable that is added at the end of a convolution or a product."""

    @property
    def output(self) -> Tensor:
        return self.operations[-1].outputs[0]

    @property
    def elementwise(self) -> bool:
        """Whether it may be a part of a stretch of arithmetic."""
        several = len(self.operations) > 1 and self.core.type not in NOT_ELEMENTWISE
        return len(self.inputs) == 1 and (several or self.core.type not in NOT_ELEMENTWISE)


def cut(trace: Trace, output: Tensor) -> list[Block]:
    """The blocks from x to an output, in the order in which they run."""
    before = trace.ancestors([output]) & trace.on_x
    path = [o for o in trace.operations if o.name in before and o is not trace.x.op]
    consumers: dict[str, set[str]] = {}
    for operation in path:
        for tensor in trace.sources(operation):
            consumers.setdefault(tensor.op.name, set()).add(operation.name)

    dominators, blocks, taken = Dominators(trace), [], set[str]()
    for operation in reversed(path):
        if operation.name in taken:
            continue
        operations = [operation]
        if len(trace.sources(operation)) > 1:
            operations = one_stretch(dominators.region(operation), consumers) or [operation]
        taken |= {each.name for each in operations}
        blocks.append(Block(operations, outer_sources(trace, operations), operation))
    return joined(trace, blocks[::-1])


def one_stretch(region: list[Operation], consumers: dict[str, set[str]]) -> list[Operation] | None:
    """The region itself where it is arithmetic alone and nothing else looks into it, else None."""
    names = {operation.name for operation in region}
    arithmetic = not any(operation.type in BARRIERS for operation in region)
    closed = all(consumers[operation.name] <= names for operation in region[:-1])
    return region if arithmetic and closed else None


def outer_sources(trace: Trace, operations: list[Operation]) -> list[Tensor]:
    """What some operations take from outside that depends on x, each once."""
    inside = {operation.name for operation in operations}
    tensors = [tensor for operation in operations for tensor in trace.sources(operation)]
    return list({t.name: t for t in tensors if t.op.name not in inside}.values())


def joined(trace: Trace, blocks: list[Block]) -> list[Block]:
    """The blocks with those together that TensorFlow makes of one call, and layers' biases.

    A 1-D convolution is an ExpandDims, a Conv2D and a Squeeze; a product of a kernel with more than
    vectors has a Reshape on either side; channels are turned to the front by a Transpose.
    """
    makers = {block.output.name: block for block in blocks}

    def users(block: Block) -> list[Block]:
        return [b for b in blocks if any(t.name == block.output.name for t in b.inputs)]

    def put(after: Block, before: Block) -> None:
        """Makes the later one part of the earlier one."""
        before.operations += after.operations
        makers[before.output.name] = before
        blocks.remove(after)

    for block in list(blocks):
        maker = makers.get(block.inputs[0].name) if block.inputs else None
        following = users(block)
        wraps = {"Conv2D": "Squeeze", "DepthwiseConv2dNative": "Squeeze", "MatMul": "Reshape"}
        wraps |= dict.fromkeys(POOLS, "Squeeze")
        if (
            maker
            and maker.core.type == ("Reshape" if block.core.type == "MatMul" else "ExpandDims")
            and len(users(maker)) == 1
            and len(following) == 1
            and following[0].core.type == wraps.get(block.core.type)
            and following[0].output.shape.rank == maker.inputs[0].shape.rank
            and (block.core.type != "MatMul" or maker.inputs[0].shape.rank > 2)
        ):
            block.operations, block.inputs = maker.operations + block.operations, maker.inputs
            blocks.remove(maker)
            put(following[0], block)
        if (
            maker
            and block.core.type == "Reshape"
            and maker.core.type == "Transpose"
            and len(users(maker)) == 1
        ):
            block.operations, block.inputs = maker.operations + block.operations, maker.inputs
            blocks.remove(maker)
        if block.core.type in CONVOLUTIONS | PRODUCTS:
            following = users(block)
            bias = bias_of(trace, following[0], block) if len(following) == 1 else None
            if bias:
                put(following[0], block)
                block.bias = bias
    return blocks


def bias_of(trace: Trace, block: Block, layer: Block) -> str | None:
    """The variable that the block adds to a layer, one number a unit; None where it does not."""
    if len(block.operations) > 1 or block.core.type not in ADDITIONS:
        return None
    for tensor in block.core.inputs:
        name = trace.variable(tensor)
        if name and math.prod(tensor.shape) == tensor.shape[-1] == layer.output.shape[-1]:
            return name
    return None


# Telling what a block is.


@dataclass
class Found:
    """What a block turned out to be."""

    kind: str
    """A kind of node, or ``nothing`` where the block leaves numbers as they are."""
    attributes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)
    """By parameter, ``transposed`` or ``depthwise`` where TensorFlow has it in another layout."""


class Reader:
    """Tells what blocks are, by their attributes or by what they do to numbers."""

    def __init__(self, trace: Trace, variables: dict[str, tf.Variable]) -> None:
        self.trace, self.variables = trace, variables

    def tell(self, blocks: list[Block]) -> Found | None:
        """What blocks in a row are together, None if nothing known."""
        found = self.by_attributes(blocks[0]) if len(blocks) == 1 else None
        if found is None and all(block.elementwise for block in blocks):
            found = self.by_behaviour(blocks)
        return found

    # By attributes.

    def by_attributes(self, block: Block) -> Found | None:
        """What a block is that has an operation of a known meaning at its core, else None."""
        core = block.core
        if core.type in CONVOLUTIONS:
            return self.convolution(block)
        if core.type in PRODUCTS:
            return self.product(block)
        if core.type in POOLS:
            return self.pool(block)
        if core.type in FUSED_NORMS:
            return self.fused_norm(block)
        if len(block.inputs) > 1:
            return self.several_inputs(block)
        if core.type in RESHAPES:
            return self.reshape(block)
        if len(block.operations) > 1:
            return None
        if core.type in GLOBAL_POOLS:
            return self.global_pool(block)
        if core.type in PADS:
            return self.pad(block)
        if core.type in PASSES:
            return Found("nothing")
        if core.type in ACTIVATION_OPERATIONS:
            slope = {"LeakyRelu": "alpha"}.get(core.type)
            value = clean(core.get_attr(slope)) if slope else {"Elu": 1.0}.get(core.type)
            function = ACTIVATION_OPERATIONS[core.type]
            return Found("activation", {"function": function, "slope": value})
        return None

    def convolution(self, block: Block) -> Found | None:
        core, shape = block.core, block.core.inputs[0].shape
        kernel = self.trace.variable(core.inputs[1])
        if kernel is None or not channels_last(core):
            return None
        depthwise = core.type != "Conv2D"
        one = block.inputs[0].shape.rank == 3
        window = core.inputs[1].shape[:2]
        dilation = list(core.get_attr("dilations"))[1:3]
        groups = shape[3] if depthwise else shape[3] // core.inputs[1].shape[2]
        attributes = {
            "strides": list(core.get_attr("strides"))[1:3],
            "padding": pixels(
                core, [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
            ),
            "dilation": dilation,
            "groups": int(groups),
        }
        if one:
            attributes |= {key: attributes[key][1:] for key in ("strides", "padding", "dilation")}
        layouts = {kernel: "depthwise"} if depthwise else {}
        return Found("conv", attributes, with_bias(kernel, block), layouts)

    def product(self, block: Block) -> Found | None:
        core = block.core
        kernel = self.trace.variable(core.inputs[1])
        first, second = (
            ("transpose_a", "transpose_b") if core.type == "MatMul" else ("adj_x", "adj_y")
        )
        if kernel is None or core.inputs[1].shape.rank != 2 or core.get_attr(first):
            return None
        layouts = {kernel: "transposed"} if core.get_attr(second) else {}
        return Found("dense", {}, with_bias(kernel, block), layouts)

    def pool(self, block: Block) -> Found | None:
        core = block.core
        if not channels_last(core):
            return None
        size = list(core.get_attr("ksize"))[1:3]
        attributes: dict[str, Any] = {
            "size": size,
            "strides": list(core.get_attr("strides"))[1:3],
            "padding": pixels(core, size),
        }
        if block.inputs[0].shape.rank == 3:
            attributes = {key: value[1:] for key, value in attributes.items()}
        if core.type == "AvgPool":
            attributes["count_padding"] = False
        return Found(POOLS[core.type], attributes)

    def fused_norm(self, block: Block) -> Found | None:
        core = block.core
        if not channels_last(core):
            return None
        roles = ("gamma", "beta", "mean", "variance")
        names = zip(roles, map(self.trace.variable, core.inputs[1:5]), strict=True)
        attributes = {"epsilon": clean(core.get_attr("epsilon"))}
        return Found("batch_norm", attributes, {role: name for role, name in names if name})

    def several_inputs(self, block: Block) -> Found | None:
        core, shape = block.core, block.output.shape
        everything = len(block.inputs) == len(core.inputs) - (core.type == "ConcatV2")
        if len(block.operations) > 1 or not everything:
            return None
        if core.type == "ConcatV2":
            axis = int(tf.get_static_value(core.inputs[-1]))
            return Found("concatenate") if axis % shape.rank == shape.rank - 1 else None
        same = all(tensor.shape == shape for tensor in block.inputs)
        return Found("add") if core.type in {"AddV2", "Add", "AddN"} and same else None

    def reshape(self, block: Block) -> Found | None:
        before, after = list(block.inputs[0].shape), list(block.output.shape)
        first = False
        if block.operations[0].type == "Transpose":
            turned = list(tf.get_static_value(block.operations[0].inputs[1]))
            rank = len(before)
            if turned != [0, rank - 1, *range(1, rank - 1)] or len(after) != 2:
                return None
            first = rank > 2
        if after == before:
            return Found("nothing")
        if after[:1] != before[:1]:
            return None
        if len(after) == 2 and len(before) > 2:
            return Found("flatten", {"order": "first" if first else "last"})
        return Found("reshape", {"shape": after[1:]})

    def global_pool(self, block: Block) -> Found | None:
        rank = block.inputs[0].shape.rank
        axes = np.atleast_1d(tf.get_static_value(block.core.inputs[1])) % rank
        if rank < 3 or sorted(axes) != list(range(1, rank - 1)):
            return None
        return Found(GLOBAL_POOLS[block.core.type])

    def pad(self, block: Block) -> Found | None:
        padding = np.array(tf.get_static_value(block.core.inputs[1])).tolist()
        with_zeros = block.core.type == "Pad" or not np.any(
            tf.get_static_value(block.core.inputs[2])
        )
        if not with_zeros or any(padding[0]) or any(padding[-1]):
            return None
        return Found("pad", {"padding": padding[1:-1]})

    # By what they do to numbers.

    def by_behaviour(self, blocks: list[Block]) -> Found | None:
        """What a stretch of arithmetic is, by the numbers that come out; None if nothing known."""
        operations = [operation for block in blocks for operation in block.operations]
        aside = self.trace.aside(operations)
        types = {operation.type for operation in [*operations, *aside]}
        stretch = Stretch(
            self.trace,
            blocks[0].inputs[0],
            blocks[-1].output,
            [float(v) for v in map(scalar_constant, [*operations, *aside]) if v is not None],
        )
        if stretch.input.shape != stretch.output.shape:
            return None
        names = self.trace.variables_of(operations)
        if any("Random" in each for each in types):
            return None if names else dropout(stretch)
        if not names and (found := rescale(stretch) or activation(stretch)):
            return found
        if types & {"Rsqrt", "Sqrt", "Pow"}:
            return batch_norm(stretch, {name: self.variables[name] for name in names})
        return None


def channels_last(operation: Operation) -> bool:
    return operation.get_attr("data_format") in (b"NHWC", "NHWC")


def with_bias(kernel: str, block: Block) -> dict[str, str]:
    return {"kernel": kernel} | ({"bias": block.bias} if block.bias else {})


def clean(value: float) -> float:
    """A number that was float32, as short as a person would have written it."""
    return float(f"{value:.7g}")


def pixels(operation: Operation, window: list[int]) -> list[list[int]]:
    """An operation's padding in pixels, by its own words."""
    padding = operation.get_attr("padding")
    if padding == b"EXPLICIT":
        given = list(operation.get_attr("explicit_paddings"))
        return [given[2:4], given[4:6]]
    if padding == b"VALID":
        return [[0, 0], [0, 0]]
    strides = list(operation.get_attr("strides"))[1:3]
    sizes = operation.inputs[0].shape[1:3]
    totals = [
        max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        for size, stride, reach in zip(sizes, strides, window, strict=True)
    ]
    return [[total // 2, total - total // 2] for total in totals]


def scalar_constant(operation: Operation) -> float | None:
    """The value of a constant that is a single number, else None."""
    if operation.type != "Const" or operation.outputs[0].shape.rank != 0:
        return None
    dtype = operation.outputs[0].dtype
    known = dtype.is_floating or dtype.is_integer
    return float(tf.get_static_value(operation.outputs[0])) if known else None


@dataclass
class Stretch:
    """A stretch of arithmetic with one input and one output of the same shape."""

    trace: Trace
    input: Tensor
    output: Tensor
    constants: list[float]
    """The numbers that are written in it."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What it makes of x, float64."""
        [y] = self.trace.run({self.input.name: x}, [self.output.name])
        return y.numpy().astype(np.float64)

    def numbers(self, low: float, high: float) -> np.ndarray:
        """Numbers for its input, as it will see them: rounded to its precision; always the same."""
        chance = np.random.default_rng(0)
        values = chance.uniform(low, high, self.input.shape)
        if self.input.dtype.is_integer:
            values = chance.integers(0, 256, self.input.shape)
        return as_type(values, self.input.dtype).numpy().astype(np.float64)

    @property
    def tolerance(self) -> float:
        """How far off, in proportion, its numbers may be."""
        small = {tf.bfloat16, tf.float16} & {self.input.dtype, self.output.dtype}
        return 2e-2 if small else 1e-5

    def written(self, value: float) -> float:
        """The number written in it that a measured one must be, or else the measured one."""
        sides = [s for c in self.constants for s in (c, -c, 1 - c, *([1 / c] if c else []))]
        near = [s for s in sides if abs(s - value) <= 5 * self.tolerance * abs(value)]
        return min(near, key=lambda s: abs(s - value)) if near else value


def close(stretch: Stretch, y: np.ndarray, expected: np.ndarray) -> bool:
    """Whether numbers are the expected ones but for rounding."""
    scale = np.max(np.abs(expected), initial=0.0) or 1.0
    return bool(np.all(np.abs(y - expected) <= stretch.tolerance * scale))


def rescale(stretch: Stretch) -> Found | None:
    """y = scale * x + offset, the same for all numbers or for all of a channel."""
    x = stretch.numbers(-2, 2)
    y = stretch(x)
    axes = tuple(range(x.ndim - 1))
    for over in (None, axes):
        middle, height = x.mean(over, keepdims=True), y.mean(over, keepdims=True)
        scale = ((x - middle) * (y - height)).sum(over, keepdims=True) / np.maximum(
            ((x - middle) ** 2).sum(over, keepdims=True), 1e-12
        )
        offset = height - scale * middle
        if close(stretch, y, scale * x + offset) and np.all(scale):
            break
    else:
        return None
    size = np.max(np.abs(y))
    offset = np.where(np.abs(offset) < stretch.tolerance * size, 0.0, offset)
    scales, offsets = (
        [stretch.written(float(value)) for value in values.ravel()] for values in (scale, offset)
    )
    if len(scales) == 1:
        if abs(scales[0] - 1) <= stretch.tolerance and not offsets[0]:
            return Found("nothing")
        return Found("rescale", {"scale": scales[0], "offset": offsets[0]})
    return Found("rescale", {"scale": scales, "offset": offsets})


def activation(stretch: Stretch) -> Found | None:
    """One of the activation functions, the one that comes closest."""
    x = stretch.numbers(-4, 8)
    y = stretch(x)
    below = x < -0.5
    if x.dtype.kind != "f" or not below.any():
        return None
    slope = clean(stretch.written(float(np.median(y[below] / x[below]))))
    alpha = clean(stretch.written(float(np.median(y[below] / np.expm1(x[below])))))
    inside = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    selu_scale, selu_alpha = 1.0507009873554805, 1.6732632423543772
    functions = {
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "selu": selu_scale * np.where(x > 0, x, selu_alpha * np.expm1(np.minimum(x, 0))),
        "gelu": x * special.ndtr(x),
        "gelu_tanh": 0.5 * x * (1 + np.tanh(inside)),
        "tanh": np.tanh(x),
        "sigmoid": special.expit(x),
        "softmax": special.softmax(x, axis=-1),
        "log_softmax": special.log_softmax(x, axis=-1),
        "softplus": np.logaddexp(x, 0),
        "silu": x * special.expit(x),
        "exponential": np.exp(x),
        "leaky_relu": np.where(x > 0, x, slope * x),
        "elu": np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    }
    near = {
        name: float(np.max(np.abs(y - expected)))
        for name, expected in functions.items()
        if close(stretch, y, expected)
    }
    if not near:
        return None
    name = min(near, key=lambda each: near[each])
    value = {"leaky_relu": slope, "elu": alpha}.get(name)
    return Found("activation", {"function": name, "slope": value})


def dropout(stretch: Stretch) -> Found | None:
    """Some numbers become zero and the others grow so that the mean stays."""
    x = stretch.numbers(0.5, 1.5)
    x = np.where(np.arange(x.size).reshape(x.shape) % 2, x, -x)
    ratios = np.stack([stretch(x) / x for _ in range(4)])
    growth = float(ratios.max())
    whole = np.minimum(np.abs(ratios), np.abs(ratios - growth)) <= stretch.tolerance * 2
    one_sided = growth - float(ratios[:, x < 0].max()) > stretch.tolerance * 2  # A relu is in it.
    if growth <= 1 + stretch.tolerance or one_sided or not np.all(whole):
        return None
    return Found("dropout", {"rate": clean(stretch.written(1 - 1 / growth))})


def batch_norm(stretch: Stretch, variables: dict[str, tf.Variable]) -> Found | None:
    """Normalisation by the batch's mean and variance, or by variables; which are which is tried."""
    channels = stretch.input.shape[-1]
    if len(variables) > 4 or any(math.prod(v.shape) != channels for v in variables.values()):
        return None
    before = {name: variable.numpy() for name, variable in variables.items()}
    try:
        return normalisation(stretch, variables)
    finally:
        for name, variable in variables.items():
            variable.assign(before[name])


def normalisation(stretch: Stretch, variables: dict[str, tf.Variable]) -> Found | None:
    """As `batch_norm`, with other values left in the variables."""
    chance = np.random.default_rng(1)
    values = {name: chance.uniform(0.5, 1.5, v.shape) for name, v in variables.items()}
    for name, value in values.items():
        variables[name].assign(as_type(value, variables[name].dtype))
    x = stretch.numbers(-1.5, 2)
    y = stretch(x)
    roles = next((each for each in possible_roles(list(values)) if fits(each, values, x, y)), None)
    if roles is None:
        return None
    # With a variance next to nothing, epsilon is alone under the root.
    plain = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1e-14}
    for role, name in roles.items():
        variables[name].assign(
            tf.fill(variables[name].shape, tf.cast(plain[role], variables[name].dtype))
        )
    small = stretch.numbers(-1.0, 1.0) if "mean" in roles else stretch.numbers(-1e-7, 1e-7)
    deviation = small - (0.0 if "mean" in roles else small.mean(spread(small)))
    epsilon = float(np.sum(deviation**2) / max(float(np.sum(stretch(small) ** 2)), 1e-300))
    epsilon = clean(stretch.written(epsilon))
    if not fits(roles, values, x, y, epsilon, 10 * stretch.tolerance):
        return None
    return Found("batch_norm", {"epsilon": epsilon}, roles)


def spread(x: np.ndarray) -> tuple[int, ...]:
    """All axes but the channels'."""
    return tuple(range(x.ndim - 1))


def possible_roles(names: list[str]) -> Iterator[dict[str, str]]:
    """The ways in which variables can be the parameters of a batch normalisation, by role."""
    optional = [(), ("gamma",), ("beta",), ("gamma", "beta")]
    for needed in ((), ("mean", "variance")):
        for chosen in optional:
            roles = (*chosen, *needed)
            if len(roles) == len(names):
                for order in itertools.permutations(names):
                    yield dict(zip(roles, order, strict=True))


def fits(
    roles: dict[str, str],
    values: Arrays,
    x: np.ndarray,
    y: np.ndarray,
    epsilon: float = 0.0,
    tolerance: float = 0.1,
) -> bool:
    """Whether y is x normalised with those roles; with that tolerance, epsilon may be anything."""
    part = {role: values[name].ravel().astype(np.float64) for role, name in roles.items()}
    mean = part.get("mean", x.mean(spread(x)))
    variance = part["variance"] if "variance" in part else x.var(spread(x))
    expected = (x - mean) / np.sqrt(variance + epsilon)
    expected = expected * part.get("gamma", 1.0) + part.get("beta", 0.0)
    return bool(np.max(np.abs(y - expected)) <= tolerance * max(1.0, np.max(np.abs(expected))))


# Reading a whole graph.


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


def told(reader: Reader, run: list[Block]) -> list[tuple[list[Block], Found]]:
    """What a run of blocks is, part by part: each the longest that is something known.

    What is nothing known is put together, as one ``custom``.
    """
    parts: list[tuple[list[Block], Found | None]] = []
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


def custom(trace: Trace, part: list[Block]) -> Found:
    """A black box: what its operations are called, and its parameters in the order of use."""
    operations = [operation for block in part for operation in block.operations]
    types = [key for key, _ in itertools.groupby(operation.type for operation in operations)]
    names = dict.fromkeys(trace.variables_of(operations))
    parameters = {str(number): name for number, name in enumerate(names)}
    return Found("custom", {"class": "+".join(types)}, parameters)


class Names:
    """Names for nodes: a layer's is that of its parameters, its activation's is made of that.

    Other nodes have their kind and a number.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.taken: set[str] = set()
        self.layers: set[str] = set()

    def new(self, found: Found, befores: tuple[str, ...]) -> str:
        """A name for what was found after the nodes of the given names."""
        name = ""
        if found.kind in ("conv", "dense", "batch_norm") and found.parameters:
            name = next(iter(found.parameters.values())).rsplit("/", 1)[0]
            self.layers |= {name} if found.kind != "batch_norm" else set()
        elif found.kind == "activation" and befores[0] in self.layers:
            name = f"{befores[0]}/activation"
        while not name or name in self.taken:
            self.counts[found.kind] = self.counts.get(found.kind, 0) + 1
            name = f"{found.kind}_{self.counts[found.kind]}"
        self.taken.add(name)
        return name


LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")
)
PACKAGE = Path(__file__).resolve().parents[3]


def where(operation: Operation) -> str | None:
    """``file.py:12``, the nearest line of the user's own code that made an operation."""
    for frame in reversed(operation.traceback):
        path = Path(frame.filename)
        if (PACKAGE / "workflows") in path.parents:
            return f"{path.name}:{frame.lineno}"
        foreign = str(path.resolve()).startswith(LIBRARIES) or PACKAGE in path.parents
        if not foreign and path.suffix == ".py" and path.is_absolute():
            return f"{path.name}:{frame.lineno}"
    return None


def matching(reading: Reading, other: Reading) -> dict[str, str]:
    """By the name of a node of the other reading, the name of the same node in the first."""

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


# What the user hands in.


class Side:
    """The user's object, checked, with a name for every variable."""

    def __init__(self, given: Any) -> None:
        for name in ("variables", "loss", "step"):
            if not hasattr(given, name):
                raise InputError(
                    f"the function returned a {type(given).__name__} without {name!r}: expected an "
                    "object with variables, loss(x, y) and step(x, y)"
                )
        self.given = given
        self.variables = named_variables(given.variables)
        self.data = self.extra("data")
        self.prepare = getattr(given, "prepare", None)
        self.batches = getattr(given, "batches", None)
        self.logits = getattr(given, "logits", None)
        self.watched = {id(variable): name for name, variable in self.variables.items()}

    def extra(self, name: str) -> Any:
        value = getattr(self.given, name, None)
        return value() if callable(value) else value

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return self.given.loss(x, y)

    def step(self, x: Tensor, y: Tensor) -> Any:
        return self.given.step(x, y)

    def loss_and_gradients(
        self, names: list[str], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its gradients with respect to some variables, in a graph that is traced.

        A variable that gets none is not among them.
        """
        loss = self.loss(x, y)
        gradients = tf.gradients(loss, [self.variables[name] for name in names])
        pairs = zip(names, gradients, strict=True)
        return loss, {name: tf.convert_to_tensor(g) for name, g in pairs if g is not None}

    def holder(self, name: str) -> tf.Variable:
        """A variable for the gradient that a step is to take for that of another variable."""
        return tf.Variable(tf.zeros_like(self.variables[name]), trainable=False)

    def hold(self, holder: tf.Variable, value: Tensor) -> None:
        """Puts the gradient there."""
        holder.assign(as_type(value, holder.dtype))

    def load(self, values: Arrays) -> None:
        """Assigns values in TensorFlow's own layout."""
        for name, value in values.items():
            variable = self.variables[name]
            variable.assign(as_type(value.reshape(variable.shape), variable.dtype))


AnySide = Side | DoubleSide


def named_variables(given: Any) -> dict[str, tf.Variable]:
    """The variables by name: a dictionary's keys, or their own names, made unique."""
    if isinstance(given, dict):
        pairs = [(str(name), variable) for name, variable in given.items()]
    elif isinstance(given, list | tuple):
        pairs = [(own_name(variable, i), variable) for i, variable in enumerate(given)]
    else:
        raise InputError(
            f"variables is a {type(given).__name__}: expected a list, tuple or dict of tf.Variable"
        )
    if not pairs:
        raise InputError("variables is empty: expected every tf.Variable of the network")
    result: dict[str, tf.Variable] = {}
    for name, variable in pairs:
        if not isinstance(variable, tf.Variable):
            hint = ": give its .value" if hasattr(variable, "value") else ""
            raise InputError(
                f"variables holds a {type(variable).__name__} ({name}), expected tf.Variable{hint}"
            )
        unique, number = name, 1
        while unique in result:
            number += 1
            unique = f"{name}_{number}"
        result[unique] = variable
    return result


def own_name(variable: Any, number: int) -> str:
    name = str(getattr(variable, "name", "Variable")).split(":")[0]
    return f"variable_{number}" if name == "Variable" else name


@contextmanager
def gradients_from(
    side: Side, answer: Callable[[str], Tensor | None] | None
) -> Iterator[list[str]]:
    """Watches which variables' gradients are asked for, and gives other gradients where said.

    Args:
        answer: the gradient for a variable's name; where it is None the tape gives its own.

    Yields:
        The names that have been asked for so far.
    """
    names = side.watched
    asked: list[str] = []

    def instead_of(original: Callable) -> Callable:
        def gradient(*arguments: Any, **named: Any) -> Any:
            place = 2 if original is own_gradient else 1
            sources = named.get("sources", named.get("xs"))
            sources = sources if sources is not None else arguments[place]
            flat = tf.nest.flatten(sources)
            known = [names.get(id(source)) for source in flat]
            asked.extend(name for name in known if name)
            if answer is None or not all(known):
                return original(*arguments, **named)
            return tf.nest.pack_sequence_as(sources, [answer(name) for name in known if name])

        return gradient

    own_gradient, of_graphs = tf.GradientTape.gradient, tf.gradients
    with patched(
        (tf.GradientTape, "gradient", instead_of(own_gradient)),
        (tf, "gradients", instead_of(of_graphs)),
    ):
        yield asked


# The model.


class Adapter:
    """A side in low-level TensorFlow; see `diptych.auditing.frameworks.protocol`."""

    trains = True

    def __init__(self, build: Build, of: "Adapter | None" = None) -> None:
        """Builds the side, or the float64 twin of another one."""
        tf.get_logger().setLevel("ERROR")  # It warns of tracing again, as each fresh build must.
        self.build, self.of = build, of
        self.framework = f"TensorFlow {tf.__version__}"
        self.side = self.fresh(0)
        self.prepares = self.side.prepare is not None or self.side.data is not None
        self.traces: dict[tuple[int, bool], Trace] = {}
        self.derivatives: dict[int, Trace] = {}
        if of is None:
            self.understand()
        else:
            self.adopt(of)

    def understand(self) -> None:
        """Finds out what the functions take, and reads the network that they compute."""
        self.x_spec, self.y_spec = self.specs()
        trace = self.trace(EXAMPLES, True)
        trace.check_variables()
        self.output, self.met_shape = network_output(trace)
        self.targets = self.kind_of_targets(trace)
        self.y_spec = self.final_y_spec()
        trace = self.trace(EXAMPLES, True)
        self.output = network_output(trace)[0]
        self.reading = read(trace, self.output, self.side.variables)
        if not self.reading.nodes:
            raise InputError("its loss(x, y) makes nothing of x before it meets y: no network")

    def adopt(self, of: "Adapter") -> None:
        """Takes over what is known of the side that this one is the twin of."""
        self.framework += " in float64"
        self.x_spec, self.y_spec = (
            tf.TensorSpec(s.shape, tf.float64 if s.dtype.is_floating else s.dtype)
            for s in (of.x_spec, of.y_spec)
        )
        self.targets, self.met_shape, self.reading = of.targets, of.met_shape, of.reading
        self.inference, self.described = of.inference, of.described
        self.trained, self.keeps_its_dropout = of.trained, of.keeps_its_dropout
        with explained():
            self.load(of.parameters())
            trace = self.trace(EXAMPLES, True)
            self.output = trace.tensor(of.output.name)
            for name in self.reading.outputs.values():
                trace.tensor(name)

    def twin(self) -> "Adapter":
        """The side in float64, from the graphs of the user's functions; it has the parameters that
        were loaded last.

        Raises:
            NotImplementedError: something in its loss or its logits exists in float32 alone.
        """
        x, y = self.example(EXAMPLES)
        twin = Adapter(self.build, self)
        with explained():  # What has no float64 kernel fails now.
            twin.loss_and_gradients(widened(x), y)
            twin.record(widened(x), training=False)
        return twin

    def fresh(self, seed: int) -> AnySide:
        """A build of the user's object that nothing has happened to."""
        tf.random.set_seed(seed)
        side = Side(self.build(seed))
        if self.of is None:
            return side
        return DoubleSide(side, self.of.x_spec.dtype, self.of.y_spec.dtype, inlined)

    def fresh_with_parameters(self) -> AnySide:
        """A fresh build with the parameters that were loaded last."""
        side = self.fresh(0)
        shapes = [{n: v.shape for n, v in s.variables.items()} for s in (side, self.side)]
        if shapes[0] != shapes[1]:
            raise InputError("the function returns other variables each time: expected the same")
        side.load({name: v.numpy() for name, v in self.side.variables.items()})
        return side

    # What goes in.

    def specs(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """What x and y are for a batch of `EXAMPLES`."""
        if self.prepares:
            x, y = self.example(EXAMPLES)
            specs = tuple(tf.TensorSpec([EXAMPLES, *a.shape[1:]], a.dtype) for a in (x, y))
            self.try_specs(*specs)
            return specs
        double = all(v.dtype == tf.float64 for v in self.side.variables.values())
        dtype = tf.float64 if double else tf.float32
        given = self.side.extra("input_shape")
        problem: Exception | None = None
        for shape in [list(given)] if given is not None else IMAGE_SHAPES:
            x = tf.TensorSpec([EXAMPLES, *shape], dtype)
            for y in (
                tf.TensorSpec([EXAMPLES], tf.int64),
                tf.TensorSpec([EXAMPLES, None], dtype),
                tf.TensorSpec(None, dtype),
            ):
                try:
                    self.try_specs(x, y)
                    return x, y
                except InputError as caught:
                    problem = problem or caught
        tried = given if given is not None else ", ".join(map(str, IMAGE_SHAPES))
        raise InputError(
            f"its loss(x, y) takes no x of shape {tried} ({problem}): give it {EXTRAS}"
        )

    def try_specs(self, x: tf.TensorSpec, y: tf.TensorSpec) -> None:
        """Traces the loss for the rest to read; raises InputError where that is not possible."""
        try:
            trace = Trace(self.side.loss, [x, y], self.side.variables)
        except InputError:
            raise
        except Exception as problem:
            raise InputError(
                f"its loss(x, y) fails for x {x.shape} {x.dtype.name} and y {y.shape} "
                f"{y.dtype.name}: {first_line(problem)}"
            ) from None
        if not isinstance(trace.result, tf.Tensor):
            raise InputError(
                f"its loss(x, y) returns a {type(trace.result).__name__}: expected a scalar tensor"
            )
        if trace.result.shape.rank != 0:
            raise InputError(
                f"its loss(x, y) returns shape {tuple(trace.result.shape)}: expected a scalar, "
                "such as the mean over the batch (tf.reduce_mean)"
            )
        self.traces[EXAMPLES, True] = trace

    def kind_of_targets(self, trace: Trace) -> str:
        """What the loss takes: by what it does with y."""
        before = trace.ancestors([trace.result])
        operations = [operation for operation in trace.operations if operation.name in before]
        types = {operation.type for operation in operations}
        width = self.met_shape[-1] if len(self.met_shape) > 1 else 1
        y = trace.y[0]
        if y.dtype.is_integer and y.shape.rank == 1:
            direct = {"SparseSoftmaxCrossEntropyWithLogits", "OneHot", "GatherV2", "GatherNd"}
            if types & direct:
                return "classes"
            return "binary" if width == 1 and types & {"Log", "Log1p"} else "values"
        if width > 1 and types & {"SoftmaxCrossEntropyWithLogits", "Log", "Log1p", "LogSoftmax"}:
            return "one_hot"
        return "binary" if width == 1 and types & {"Log", "Log1p"} else "values"

    def final_y_spec(self) -> tf.TensorSpec:
        """The targets' spec once it is known what they are."""
        if self.prepares or self.targets == "classes":
            return self.y_spec
        x, y = self.x_spec, tf.TensorSpec(self.met_shape, self.x_spec.dtype)
        self.try_specs(x, y)
        return y

    def example(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Some plausible input and targets, the same each time, as the object takes them."""
        chance = np.random.default_rng(0)
        if self.prepares:
            images = chance.integers(0, 256, (count, 28, 28, 1), np.uint8)
            return self.prepare(images, np.arange(count) % 10)
        x = chance.uniform(0, 1, (count, *self.x_spec.shape[1:]))
        width = self.met_shape[-1]
        match self.targets:
            case "classes":
                y = np.arange(count) % int(self.output.shape[-1])
            case "one_hot":
                y = np.eye(width)[np.arange(count) % width]
            case "binary":
                y = (np.arange(count) % 2).reshape(count, *self.y_spec.shape[1:])
            case _:
                y = chance.normal(size=(count, *self.y_spec.shape[1:]))
        return x, y

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.side.data is not None:
            x, y = self.side.data
            return np.array(x[: len(images)]), np.array(y[: len(images)])
        if self.side.prepare is not None:
            try:
                x, y = self.side.prepare(images, labels)
            except Exception as problem:
                raise InputError(
                    f"its prepare(images, labels) fails for uint8 {images.shape} and labels "
                    f"{labels.shape}: {first_line(problem)}"
                ) from None
            return np.array(x), np.array(y)
        shape = tuple(self.x_spec.shape[1:])
        if math.prod(shape) != math.prod(images.shape[1:]):
            raise InputError(
                f"its x is {shape}, images are {images.shape[1:]}: give it prepare(images, labels) "
                f"or {EXTRAS}"
            )
        dtype = np.float64 if self.x_spec.dtype == tf.float64 else np.float32
        x = (images * dtype(1 / 255)).reshape(len(images), *shape)
        if self.targets == "classes":
            return x, labels.astype(np.int64)
        if self.targets == "one_hot":
            return x, np.eye(self.met_shape[-1], dtype=dtype)[labels]
        raise InputError(
            f"its loss takes {self.targets}, not classes: "
            f"give it prepare(images, labels) or {EXTRAS}"
        )

    def feed_y(self, targets: np.ndarray) -> Tensor:
        """Targets as the loss takes them."""
        shape = [len(targets), *self.y_spec.shape[1:]]
        if targets.size == math.prod(shape):
            targets = targets.reshape(shape)
        return as_type(targets, self.y_spec.dtype)

    def feed_x(self, x: np.ndarray) -> Tensor:
        return as_type(x, self.x_spec.dtype)

    def trace(self, count: int, training: bool) -> Trace:
        """The graph of the loss, or else of the logits, for that size of batch."""
        key = (count, training)
        if key not in self.traces:
            x, y = (
                tf.TensorSpec([count, *spec.shape[1:]], spec.dtype)
                for spec in (self.x_spec, self.y_spec)
            )
            function, specs = (self.side.loss, [x, y]) if training else (self.side.logits, [x])
            self.traces[key] = Trace(function, specs, self.side.variables)
        return self.traces[key]

    # What the network is.

    @cached_property
    def inference(self) -> Reading | None:
        """The graph of the logits with the names of the loss's; None where there are no logits."""
        if self.side.logits is None:
            return None
        trace = self.trace(EXAMPLES, False)
        trace.check_variables()
        if not isinstance(trace.result, tf.Tensor):
            raise InputError(
                f"its logits(x) returns a {type(trace.result).__name__}: expected a tensor"
            )
        reading = read(trace, trace.result, self.side.variables)
        return reading.named(matching(self.reading, reading))

    @cached_property
    def described(self) -> Graph:
        nodes = [self.with_averages(n) if n.kind == "batch_norm" else n for n in self.reading.nodes]
        return Graph(tuple(int(size) for size in self.x_spec.shape[1:]), tuple(nodes))

    def graph(self) -> Graph:
        return self.described

    def with_averages(self, node: Node) -> Node:
        """A batch normalisation with its moving averages and how they move, from a real step."""
        x, before, after = self.one_step
        trace, feeds = self.dropless(self.feed_x(x), None)
        [normalised] = trace.run(feeds, self.reading.inputs[node.name])
        inputs = normalised.numpy().astype(np.float64)
        batch = {"mean": inputs.mean(spread(inputs)), "variance": inputs.var(spread(inputs))}
        parameters = self.at_inference(node) | node.parameters
        share, shares = 0.0, {}
        for role, value in batch.items():
            given = parameters.get(role)
            names = [given] if given else self.unread
            fitted = {n: moved(before[n], after[n], value) for n in names}
            fitted = {n: s for n, s in fitted.items() if s is not None}
            if fitted:
                parameters[role], shares[role] = next(iter(fitted.items()))
        if not {"mean", "variance"} <= parameters.keys():
            own = {str(i): name for i, name in enumerate(node.parameters.values())}
            return replace(
                node, kind="custom", attributes={"class": "batch norm, no averages"}, parameters=own
            )
        share = shares.get("mean", 0.0)
        count = inputs.size / inputs.shape[-1]
        ratio = shares["variance"] / share if share and "variance" in shares else 1.0
        unbiased = abs(ratio - count / (count - 1)) < abs(ratio - 1)
        attributes = {
            "epsilon": node.attributes["epsilon"],
            "momentum": round(1 - share, 6),
            "unbiased": bool(unbiased),
        }
        order = [r for r in ("gamma", "beta", "mean", "variance") if r in parameters]
        return replace(
            node, attributes=attributes, parameters={role: parameters[role] for role in order}
        )

    def at_inference(self, node: Node) -> dict[str, str]:
        """The moving averages that inference reads in the place of the batch's, by role."""
        nodes = self.inference.nodes if self.inference else []
        same = [n for n in nodes if n.name == node.name and n.kind == "batch_norm"]
        roles = same[0].parameters if same else {}
        return {role: roles[role] for role in ("mean", "variance") if role in roles}

    @cached_property
    def unread(self) -> list[str]:
        """The vectors that the loss's value does not take in: moving averages are among them."""
        trace = self.trace(EXAMPLES, True)
        before = trace.ancestors([trace.result])
        known = {name for operation, name in trace.variables.items() if operation in before}
        return [
            name
            for name, variable in self.side.variables.items()
            if name not in known and variable.shape.rank == 1 and variable.dtype.is_floating
        ]

    @cached_property
    def one_step(self) -> tuple[np.ndarray, Arrays, Arrays]:
        """x, and all variables before and after a step on it without dropout.

        The averages start from zero: what they are afterwards is the batch's share.
        """
        x, y = self.example(EXAMPLES)
        with without_dropout():
            side = self.fresh_with_parameters()
            side.load({name: np.zeros(side.variables[name].shape) for name in self.unread})
            before = {name: v.numpy() for name, v in side.variables.items()}
            side.step(self.feed_x(x), self.feed_y(y))
        return x, before, {name: v.numpy() for name, v in side.variables.items()}

    # Parameters.

    def to_graph(self, name: str, value: np.ndarray) -> np.ndarray:
        """A variable's value, or its gradient, in the graph's layout."""
        value = to_numpy(value)
        match self.reading.layouts.get(name):
            case "transposed":
                return value.T.copy()
            case "depthwise":
                return value.reshape(*value.shape[:2], 1, -1)
        return value

    def from_graph(self, name: str, value: np.ndarray) -> np.ndarray:
        if self.reading.layouts.get(name) == "transposed":
            value = value.T
        return value.reshape(self.side.variables[name].shape)

    def parameters_of(self, side: Side) -> Arrays:
        return {name: self.to_graph(name, v.numpy()) for name, v in side.variables.items()}

    def parameters(self) -> Arrays:
        return self.parameters_of(self.side)

    def load(self, parameters: Arrays) -> None:
        self.side.load({n: self.from_graph(n, value) for n, value in parameters.items()})

    # Running it.

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        if training:
            outputs = self.reading.outputs
            trace = self.trace(len(x), True)
            feeds: dict[str, Any] = {trace.x.name: x}
        elif self.inference is not None:
            outputs = self.inference.outputs
            trace = self.trace(len(x), False)
            feeds = {trace.x.name: x}
        else:
            outputs = self.reading.outputs
            trace, feeds = self.dropless(self.feed_x(x), None)
        values = trace.run(feeds, list(outputs.values()))
        result = {name: to_numpy(value) for name, value in zip(outputs, values, strict=True)}
        if training:
            return result | self.moved_averages(x)
        for node in self.reading.nodes:
            if node.kind == "dropout" and node.name not in result:
                given = x if node.inputs[0] == INPUT else result.get(node.inputs[0])
                result |= {} if given is None else {node.name: given}
        return result

    def moved_averages(self, x: np.ndarray) -> Arrays:
        """The moving averages after a real step on x, as ``parameter:NAME``."""
        averages = [
            name
            for node in self.described.nodes
            if node.kind == "batch_norm"
            for role, name in node.parameters.items()
            if role in ("mean", "variance")
        ]
        if not averages:
            return {}
        side = self.fresh_with_parameters()
        _, y = self.example(len(x))
        side.step(self.feed_x(x), self.feed_y(y))
        return {f"parameter:{n}": self.to_graph(n, side.variables[n].numpy()) for n in averages}

    def dropless(self, x: Tensor, y: Tensor | None) -> tuple[Trace, dict[str, Any]]:
        """The loss's graph, and what to feed it so that each dropout gives what it is given."""
        trace = self.trace(len(x), True)
        feeds = {trace.x.name: x} | ({trace.y[0].name: y} if y is not None else {})
        for node in self.reading.nodes:
            if node.kind == "dropout":
                known = {name: value for name, value in feeds.items() if name != trace.y[0].name}
                [value] = trace.run(known, self.reading.inputs[node.name])
                feeds[self.reading.outputs[node.name]] = value
        return trace, feeds

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        reading = self.reading if training or self.inference is None else self.inference
        node = next((node for node in self.reading.nodes if node.name == name), None)
        if not training and node and (node.kind == "dropout" or name not in reading.outputs):
            return to_numpy(inputs[0])
        trace = self.trace(len(inputs[0]), reading is self.reading)
        feeds = dict(zip(reading.inputs[name], inputs, strict=True))
        return to_numpy(trace.run(feeds, [reading.outputs[name]])[0])

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        trace = self.trace(len(outputs), True)
        nothing = np.zeros(trace.x.shape)
        given = {trace.x.name: nothing, trace.y[0].name: self.feed_y(targets)}
        given[self.reading.outputs[self.reading.nodes[-1].name]] = outputs
        return float(trace.run(given, [trace.result.name])[0])

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        if not self.keeps_its_dropout:
            return self.derived(x, targets)
        variables = {name: self.side.variables[name] for name in self.trained}
        with tf.GradientTape() as tape:
            tape.watch(list(variables.values()))
            trace, feeds = self.dropless(self.feed_x(x), self.feed_y(targets))
            [loss] = trace.run(feeds, [trace.result.name])
        gradients = tape.gradient(loss, variables)
        return float(loss), {
            name: self.to_graph(name, tf.convert_to_tensor(gradient).numpy())
            for name, gradient in gradients.items()
            if gradient is not None
        }

    def derived(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        """As `loss_and_gradients`, by a graph that has both: functions may have gradients of their
        own, which are known where they are called and nowhere else."""
        if len(x) not in self.derivatives:
            specs = [
                tf.TensorSpec([len(x), *spec.shape[1:]], spec.dtype)
                for spec in (self.x_spec, self.y_spec)
            ]
            function = partial(self.side.loss_and_gradients, self.trained)
            with without_dropout():
                self.derivatives[len(x)] = Trace(function, specs, self.side.variables)
        trace = self.derivatives[len(x)]
        loss, gradients = trace.result
        feeds = {trace.x.name: self.feed_x(x), trace.y[0].name: self.feed_y(targets)}
        value, *values = trace.run(feeds, [loss.name, *(t.name for t in gradients.values())])
        pairs = zip(gradients, values, strict=True)
        return float(value), {name: self.to_graph(name, g.numpy()) for name, g in pairs}

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        """What the network gives, (runs, n, …).

        Predicting, it is the user's own ``logits`` that is called, as it is; without one, the
        network of the loss with its dropout off. In training the network is a piece of the loss,
        which is run in a graph of its own, with the random numbers that it draws; counters that it
        reads go up by one from run to run, as they do from step to step.
        """
        feed = self.feed_x(x)
        if training:
            return self.outputs_in_training(feed, runs)
        if self.side.logits is None:
            trace, feeds = self.dropless(feed, None)
            return np.stack([to_numpy(trace.run(feeds, [self.output.name])[0])] * runs)
        if self.of is not None:
            trace = self.trace(len(x), False)
            feeds, name = {trace.x.name: feed}, trace.result.name
            return np.stack([to_numpy(trace.run(feeds, [name])[0]) for _ in range(runs)])
        return np.stack([to_numpy(self.side.logits(feed)) for _ in range(runs)])

    def outputs_in_training(self, x: Tensor, runs: int) -> np.ndarray:
        """As `outputs`, for a batch as the loss takes it."""
        trace = self.trace(len(x), True)
        moved = counters(trace.graph, self.side.variables)
        if isinstance(self.side, DoubleSide):
            moved = self.side.counters
        before, results = [counter.numpy() for counter in moved], []
        try:
            for _ in range(runs):
                [output] = trace.run({trace.x.name: x}, [self.output.name])
                results.append(to_numpy(output))
                for counter in moved:
                    counter.assign_add(1)
        finally:
            for counter, value in zip(moved, before, strict=True):
                counter.assign(value)
        return np.stack(results)

    # Training it.

    @cached_property
    def trained(self) -> list[str]:
        """The variables whose gradients a step asks for; the trainable ones if it asks for none."""
        x, y = self.example(EXAMPLES)
        side = self.fresh_with_parameters()
        with gradients_from(side, None) as asked:
            side.step(self.feed_x(x), self.feed_y(y))
        variables = self.side.variables
        return [n for n, v in variables.items() if v.trainable and (not asked or n in asked)]

    def updates(self, gradients: list[Arrays]) -> list[Arrays]:
        x, y = self.example(EXAMPLES)
        side = self.fresh_with_parameters()
        before = self.parameters_of(side)
        holders = {name: side.holder(name) for name in gradients[0]}

        def answer(name: str) -> Tensor | None:
            return holders[name].read_value() if name in holders else None

        result = []
        with gradients_from(side, answer) as asked:
            for given in gradients:
                for name, value in given.items():
                    side.hold(holders[name], self.from_graph(name, value))
                side.step(self.feed_x(x), self.feed_y(y))
                if not asked:
                    raise NotImplementedError("its step takes its gradients in a way of its own")
                after = self.parameters_of(side)
                result.append({n: v if n in asked else before[n] for n, v in after.items()})
        return result

    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[list[float], list[Arrays]]:
        if self.keeps_its_dropout:
            raise NotImplementedError("its dropout cannot be taken out of its step")
        losses, parameters = [], []
        with without_dropout():
            side = self.fresh_with_parameters()
            for x, targets in batches:
                before = {name: v.numpy() for name, v in side.variables.items()}
                loss = scalar(side.step(self.feed_x(x), self.feed_y(targets)))
                losses.append(self.loss_with(before, x, targets) if loss is None else loss)
                parameters.append(self.parameters_of(side))
        return losses, parameters

    @cached_property
    def keeps_its_dropout(self) -> bool:
        """Whether there is dropout in the loss that is not one of TensorFlow's functions."""
        if not any(node.kind == "dropout" for node in self.reading.nodes):
            return False
        with without_dropout():
            side = self.fresh_with_parameters()
            trace = Trace(side.loss, [self.x_spec, self.y_spec], side.variables)
        before = trace.ancestors([trace.result])
        return any("Random" in o.type for o in trace.operations if o.name in before)

    def loss_with(self, values: Arrays, x: np.ndarray, targets: np.ndarray) -> float:
        """The training loss with other values in the variables, without dropout."""
        kept = {name: v.numpy() for name, v in self.side.variables.items()}
        try:
            self.side.load(values)
            trace, feeds = self.dropless(self.feed_x(x), self.feed_y(targets))
            return float(trace.run(feeds, [trace.result.name])[0])
        finally:
            self.side.load(kept)

    def initial(self, draws: int) -> list[Arrays]:
        return [self.parameters_of(self.fresh(seed)) for seed in range(1, draws + 1)]

    # What training depends on.

    @cached_property
    def keras_optimizer(self) -> Any:
        """The Keras optimiser that the object holds, None where it has none."""
        held = vars(self.side.given) if hasattr(self.side.given, "__dict__") else {}
        for value in held.values():
            if hasattr(value, "get_config") and hasattr(value, "apply_gradients"):
                return value
        return None

    def optimiser(self) -> dict[str, Any]:
        if self.keras_optimizer is not None:
            return of_optimiser(self.keras_optimizer)
        known = ("learning_rate", "beta_1", "beta_2", "epsilon", "momentum", "weight_decay")
        said = {name: getattr(self.side.given, name, None) for name in known}
        found = {
            name: float(value)
            for name, value in said.items()
            if isinstance(value, int | float | tf.Variable | np.number)
        }
        return ({"kind": "adam"} if "beta_2" in found else {}) | found

    @cached_property
    def schedule(self) -> Any:
        """The schedule of the Keras optimiser, None where its rate is a number or unknown."""
        rate = getattr(self.keras_optimizer, "_learning_rate", None)
        return rate if hasattr(rate, "get_config") and callable(rate) else None

    def horizon(self) -> dict[str, Any]:
        """How long the object says that it trains: by ``steps``, a number, or by a schedule."""
        steps = self.side.extra("steps")
        if isinstance(steps, int | np.integer):
            return {"steps": int(steps), "source": "steps"}
        config = self.schedule.get_config() if self.schedule is not None else {}
        name = type(self.schedule).__name__
        if config.get("decay_steps") and not config.get("staircase"):
            last = config["decay_steps"] + (config.get("warmup_steps") or 0)
            return {"steps": int(last), "source": f"decay_steps of {name}"}
        if config.get("boundaries"):
            return {"steps": int(config["boundaries"][-1]) + 1, "source": f"boundaries of {name}"}
        return {"steps": None, "source": ""}

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        """The learning rates, from the Keras optimiser or from ``rates``, a number per step.

        Raises:
            NotImplementedError: the object shows neither: only its step knows.
        """
        table = self.side.extra("rates")
        if table is not None:
            every = np.asarray(table, np.float64)[:steps]
        elif self.schedule is not None:
            every = np.array([float(self.schedule(np.int64(step))) for step in range(steps)])
        elif self.keras_optimizer is not None:
            rate = as_written(np.asarray(self.keras_optimizer.learning_rate))
            return [(0, [float(rate)])]
        else:
            raise NotImplementedError(
                "its step computes its own learning rate: give the object rates, a number per step"
            )
        return [
            (step, [float(rate)])
            for step, rate in enumerate(every)
            if step == 0 or rate != every[step - 1]
        ]

    def settings(self) -> dict[str, str]:
        """The object's ``epochs`` and ``batch_size``, where it has them as numbers, and what it
        calls ``settings``."""
        plain = {name: getattr(self.side.given, name, None) for name in ("epochs", "batch_size")}
        said = {n: str(v) for n, v in plain.items() if isinstance(v, int | float | np.number)}
        more = self.side.extra("settings")
        if more is not None and not isinstance(more, dict):
            raise InputError(f"settings is a {type(more).__name__}: expected a dict")
        return said | {str(name): str(value) for name, value in (more or {}).items()}

    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        numbers = np.arange(count)
        float_x = np.float32 if self.x_spec.dtype.is_integer else self.x_spec.dtype.as_numpy_dtype
        shapes = [(count, *spec.shape[1:]) for spec in (self.x_spec, self.y_spec)]
        dtypes = [float_x, self.y_spec.dtype.as_numpy_dtype]
        x, y = (
            np.broadcast_to(numbers.reshape(count, *[1] * (len(shape) - 1)), shape).astype(dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        )
        return self.batches_of(x, y, epochs)

    def batches_of(
        self, x: np.ndarray, y: np.ndarray, epochs: int
    ) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        side = self.fresh(0)
        if side.batches is None:
            return None
        most = 4 * len(x) + 4  # An epoch without an end is the user's slip.
        return [
            [
                (np.array(batch[0]), np.array(batch[1]))
                for batch in itertools.islice(side.batches(x, y), most)
            ]
            for _ in range(epochs)
        ]


def first_line(problem: Exception) -> str:
    """What an error says, in a line."""
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


def moved(before: np.ndarray, after: np.ndarray, batch: np.ndarray) -> float | None:
    """The share of the batch in what an average became; None where it is no average of it."""
    if after.shape != batch.shape:
        return None
    way, whole = after.astype(np.float64) - before, batch - before
    share = float(np.sum(way * whole) / max(float(np.sum(whole**2)), 1e-30))
    size = float(np.max(np.abs(way)))
    if size == 0 or not 0 < share <= 2:
        return None
    return share if np.max(np.abs(way - share * whole)) <= 1e-3 * size else None


def scalar(value: Any) -> float | None:
    """The loss that a step returned, None where it returned none."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if value is None or np.size(value) != 1:
        return None
    return float(np.asarray(value).reshape(()))


def of_optimiser(optimizer: Any) -> dict[str, Any]:
    """What a Keras optimiser says of itself, in our words."""
    config = optimizer.get_config()
    names = {"clipnorm": "clip_norm", "clipvalue": "clip_value"} | {
        "global_clipnorm": "clip_global_norm"
    }
    known = ("beta_1", "beta_2", "epsilon", "momentum", "nesterov", "weight_decay")
    names |= {name: name for name in known}
    found = {ours: config[theirs] for theirs, ours in names.items() if config.get(theirs)}
    rate = clean(float(np.asarray(optimizer.learning_rate)))
    return {"kind": type(optimizer).__name__.lower(), "learning_rate": rate} | found
