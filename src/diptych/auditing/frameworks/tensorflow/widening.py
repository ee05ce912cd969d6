"""Functions of TensorFlow computed in float64, whatever types they were written with.

A function is traced, every float type in its graph becomes float64, and the graph is put into
another one, with float64 variables in the place of its own.
"""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, function_pb2, graph_pb2, node_def_pb2
from tensorflow.python.eager import context
from tensorflow.python.framework import op_def_registry, ops

from diptych.auditing.frameworks.tensorflow.expansions import EXPANSIONS

MOST = 2**20
"""Numbers of a constant whose exact values are kept."""
FLOATS = {tf.float32.as_datatype_enum, tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}
DOUBLE = tf.float64.as_datatype_enum
SUFFIX = "_in_float64"
"""The suffix for the names of a graph's functions; the originals stay registered."""
EXACT = "_exact_value"
"""The attribute of a constant that holds the float64 value that it was made of."""
CALLS_OF_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}

Shadow = Callable[[tf.Variable], tf.Variable]


def exact_numbers(values: np.ndarray) -> np.ndarray:
    """The float64 numbers that float32 numbers were most likely written as.

    A number with at most six digits is that decimal (0.1, not 0.10000000149), and one that is a
    fraction with a denominator up to 256 is that fraction (1/255). Others stay as they are.
    """
    values = np.asarray(values, np.float32)
    if values.size > 4096:  # A table that was computed, such as an encoding of positions.
        return values.astype(np.float64)
    numbers = [_exact_number(value) for value in values.ravel()]
    return np.array(numbers, np.float64).reshape(values.shape)


def _exact_number(value: np.float32) -> float:
    exact = float(value)
    if not np.isfinite(value):
        return exact
    decimal = float(f"{exact:.6g}")
    if np.float32(decimal) == value:
        return decimal
    fraction = float(Fraction(exact).limit_denominator(256))
    return fraction if np.float32(fraction) == value else exact


@contextmanager
def exact_constants() -> Iterator[None]:
    """Has each float constant of the graphs that are traced keep the value that it was made of.

    A Python number is float64 until TensorFlow makes a float32 constant of it.
    """
    original = ops._create_graph_constant

    def create(value: Any, dtype: Any, shape: Any, *arguments: Any, **named: Any) -> Any:
        tensor = original(value, dtype, shape, *arguments, **named)
        if tensor.dtype.as_datatype_enum in FLOATS:
            try:
                exact = np.asarray(value)
            except (TypeError, ValueError):
                return tensor
            if exact.dtype.kind in "iuf" and exact.dtype.itemsize == 8 and exact.size <= MOST:
                exact = np.broadcast_to(exact.astype(np.float64), tensor.shape)
                proto = attr_value_pb2.AttrValue(tensor=tf.make_tensor_proto(exact))
                tensor.op._set_attr(EXACT, proto)
        return tensor

    ops._create_graph_constant = create
    try:
        yield
    finally:
        ops._create_graph_constant = original


class Widened:
    """A traced function that computes in float64 wherever it is called.

    Args:
        graph: the function's graph (a ``FuncGraph``).
        outputs: its tensors that the function gives.
        shadow: the float64 variable for each float variable that the graph uses.

    Raises:
        NotImplementedError: something in the graph exists in float32 alone.
    """

    def __init__(self, graph: Any, outputs: list[Any], shadow: Shadow) -> None:
        captured = [(outer, inner) for outer, inner in graph.captures]
        inner_names = {inner.name for _, inner in captured}
        self.arguments = [t.name for t in graph.inputs if t.name not in inner_names]
        self.outputs = [output.name for output in outputs]
        self.variables = {id(v.handle): v for v in graph.variables}
        self.captures = [(self.widened_capture(o, shadow), i.name) for o, i in captured]
        placeholders = {tensor.op.name for tensor in graph.inputs}
        definition = graph.as_graph_def()
        self.definition = widened_graph(definition, placeholders)
        sources = {source for node in self.definition.node for source in node.input}
        self.used = {f"{name}:0" for name in placeholders if sources & {name, f"{name}:0"}}
        for function in self.definition.library.function:
            context.context().add_function_def(function)
        self.outside = [outer for outer, _ in captured]  # Kept, so that identities stay theirs.
        self.key = (self._without_numbers(), *self.outputs, *map(id, self.outside))

    def _without_numbers(self) -> bytes:
        """The definition with names for what is captured that every trace would give it.

        TensorFlow names a capture by a number that goes on from trace to trace.
        """
        names = {
            name.removesuffix(":0"): f"capture_{n}" for n, (_, name) in enumerate(self.captures)
        }
        result = graph_pb2.GraphDef()
        result.CopyFrom(self.definition)
        for node in result.node:
            for number, source in enumerate(node.input):
                name, colon, output = source.partition(":")
                node.input[number] = names.get(name, name) + colon + output
        return result.SerializeToString(deterministic=True)

    def widened_capture(self, outer: Any, shadow: Shadow) -> Any:
        """The replacement of a tensor from outside the graph."""
        with tf.init_scope():
            if outer.dtype == tf.resource:
                variable = self.variables.get(id(outer))
                floating = variable is not None and variable.dtype.is_floating
                return shadow(variable).handle if floating else outer
            if outer.dtype.is_floating:
                return tf.constant(exact_numbers(tf.cast(outer, tf.float32).numpy()))
        return outer

    def __call__(self, *arguments: Any) -> list[Any]:
        """Puts the function into the graph that is being traced.

        Args:
            arguments: its tensors, float64 where the function takes floats.

        Returns:
            A tensor for each of its outputs.
        """
        graph = tf.compat.v1.get_default_graph()
        given = dict(zip(self.arguments, arguments, strict=True))
        for number, (outer, name) in enumerate(self.captures):
            # A name like the original's would change those of the operations that are put in.
            given[name] = graph.capture(outer, name=f"capture_{number}")
        wanted = [name for name in self.outputs if name not in given]
        tensors = iter(
            tf.graph_util.import_graph_def(
                self.definition,
                input_map={name: tensor for name, tensor in given.items() if name in self.used},
                return_elements=wanted,
                name="",
            )
        )
        return [given[name] if name in given else next(tensors) for name in self.outputs]


# Rewriting graphs.


def widened_graph(graph: graph_pb2.GraphDef, placeholders: set[str]) -> graph_pb2.GraphDef:
    """The graph with float64 in the place of every other float type, without its placeholders."""
    result = graph_pb2.GraphDef(versions=graph.versions)
    nodes = [node for node in graph.node if node.name not in placeholders]
    result.node.extend(_widened_nodes(nodes, in_function=False))
    for function in graph.library.function:
        result.library.function.append(_widened_function(function))
    for gradient in graph.library.gradient:
        result.library.gradient.add(
            function_name=gradient.function_name + SUFFIX,
            gradient_func=gradient.gradient_func + SUFFIX,
        )
    return result


def _widened_function(function: function_pb2.FunctionDef) -> function_pb2.FunctionDef:
    result = function_pb2.FunctionDef()
    result.CopyFrom(function)
    result.signature.name += SUFFIX
    for argument in (*result.signature.input_arg, *result.signature.output_arg):
        if argument.type in FLOATS:
            argument.type = DOUBLE
        argument.ClearField("experimental_full_type")
    for attributes in (result.attr, *(each.attr for each in result.arg_attr.values())):
        _widen_attributes(attributes)
    del result.node_def[:]
    result.node_def.extend(_widened_nodes(function.node_def, in_function=True))
    expanded = {node.name: node.op for node in function.node_def if node.op in EXPANSIONS}
    for name, source in function.ret.items():
        result.ret[name] = _renamed(source, expanded)
    return result


def _widened_nodes(
    nodes: Iterable[node_def_pb2.NodeDef], in_function: bool
) -> Iterator[node_def_pb2.NodeDef]:
    nodes = list(nodes)
    expanded = {node.name: node.op for node in nodes if node.op in EXPANSIONS}
    for original in nodes:
        node = node_def_pb2.NodeDef()
        node.CopyFrom(original)
        _check(node)
        node.ClearField("experimental_type")
        # It has another number in each trace; gradients are derived before the types change.
        node.attr.pop("_gradient_op_type", None)
        if in_function:
            inputs = [_renamed(source, expanded) for source in node.input]
            del node.input[:]
            node.input.extend(inputs)
        if node.op == "Const":
            _widen_constant(node)
        _widen_attributes(node.attr)
        if node.op in EXPANSIONS:
            yield from _expansion(node, in_function)
        else:
            yield node


def _check(node: node_def_pb2.NodeDef) -> None:
    """Raises NotImplementedError where a node's operation cannot be in float64."""
    if node.op in CALLS_OF_PYTHON:
        raise NotImplementedError(
            "it calls Python from its graph (tf.py_function or tf.numpy_function), "
            "whose types cannot be changed"
        )
    if node.op == "Bitcast" and {node.attr["T"].type, node.attr["type"].type} & FLOATS:
        raise NotImplementedError("it takes the bits of a float apart (tf.bitcast)")
    definition = op_def_registry.get(node.op)
    if definition is None or node.op in EXPANSIONS:
        return
    fixed = [a.name for a in (*definition.input_arg, *definition.output_arg) if a.type in FLOATS]
    narrow = [
        attribute.name
        for attribute in definition.attr
        if attribute.type == "type"
        and node.attr[attribute.name].type in FLOATS
        and attribute.HasField("allowed_values")
        and DOUBLE not in attribute.allowed_values.list.type
    ]
    if fixed or narrow:
        raise NotImplementedError(f"TensorFlow has {node.op} ({node.name}) in float32 alone")


def _widen_constant(node: node_def_pb2.NodeDef) -> None:
    """Makes a float constant the float64 number that it was made of or written as."""
    tensor = node.attr["value"].tensor
    if tensor.dtype in FLOATS:
        if EXACT in node.attr:
            tensor.CopyFrom(node.attr[EXACT].tensor)
        else:
            values = tf.make_ndarray(tensor).astype(np.float32)
            tensor.CopyFrom(tf.make_tensor_proto(exact_numbers(values)))
    if EXACT in node.attr:
        del node.attr[EXACT]


def _widen_attributes(attributes: Any) -> None:
    for name in [n for n in attributes if n == "_XlaMustCompile" or n == "experimental_full_type"]:
        del attributes[name]
    for value in attributes.values():
        _widen_value(value)


def _widen_value(value: attr_value_pb2.AttrValue) -> None:
    match value.WhichOneof("value"):
        case "type" if value.type in FLOATS:
            value.type = DOUBLE
        case "list":
            types = [DOUBLE if each in FLOATS else each for each in value.list.type]
            del value.list.type[:]
            value.list.type.extend(types)
            for function in value.list.func:
                _widen_call(function)
        case "tensor" if value.tensor.dtype in FLOATS:
            array = tf.make_ndarray(value.tensor).astype(np.float64)
            value.tensor.CopyFrom(tf.make_tensor_proto(array))
        case "func":
            _widen_call(value.func)


def _widen_call(function: attr_value_pb2.NameAttrList) -> None:
    if function.name:
        function.name += SUFFIX
    _widen_attributes(function.attr)


# Operations that need others in their place.


def _renamed(source: str, expanded: dict[str, str]) -> str:
    """A reference from within a function to an output of an operation that was expanded."""
    name, _, output = source.partition(":")
    if name not in expanded or not output:
        return source
    argument, _, number = output.partition(":")
    names = [each.name for each in op_def_registry.get(expanded[name]).output_arg]
    return f"{name}:output:{names.index(argument) + int(number)}"


def _expansion(node: node_def_pb2.NodeDef, in_function: bool) -> Iterator[node_def_pb2.NodeDef]:
    """The nodes in the place of one; the last has its name, and all of its outputs in order."""
    inputs = [source for source in node.input if not source.startswith("^")]
    control = [source for source in node.input if source.startswith("^")]
    compute, integer = EXPANSIONS[node.op](node), tf.int32.as_datatype_enum
    types = [
        tf.int32 if argument.type == integer else tf.float64
        for argument in op_def_registry.get(node.op).input_arg
    ]
    with tf.init_scope():
        concrete = tf.function(compute, autograph=False).get_concrete_function(
            *[tf.TensorSpec(None, dtype) for dtype in types]
        )
    if in_function:
        definition = concrete.function_def
        inner = list(definition.node_def)
        arguments = [argument.name for argument in definition.signature.input_arg]
        outputs = [definition.ret[each.name] for each in definition.signature.output_arg]
    else:
        definition = concrete.graph.as_graph_def()
        arguments = [tensor.op.name for tensor in concrete.inputs]
        inner = [each for each in definition.node if each.name not in arguments]
        outputs = [tensor.name for tensor in concrete.graph.outputs]
    given = dict(zip(arguments, inputs, strict=True))

    def moved(source: str) -> str:
        mark, bare = ("^", source[1:]) if source.startswith("^") else ("", source)
        head, _, rest = bare.partition(":")
        if head in given:
            return given[head]
        return f"{mark}{node.name}/{head}" + (f":{rest}" if rest else "")

    for each in inner:
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(each)
        copy.name = f"{node.name}/{each.name}"
        del copy.input[:]
        copy.input.extend(moved(source) for source in each.input)
        yield copy
    last = node_def_pb2.NodeDef(name=node.name, op="IdentityN")
    last.input.extend([moved(source) for source in outputs] + control)
    last.attr["T"].list.type.extend([DOUBLE] * len(outputs))
    yield last
