"""Opening ONNX files, which may come from anywhere, and running them."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diptych import extras
from diptych.errors import InputError
from diptych.formats.archives import LARGEST
from diptych.reading import read_regular

MOST_NODES = 20_000
"""Each takes some 30 kB in reading; the largest networks that people export have a few thousand."""
DEEPEST = 100
"""Functions within functions, or graphs within nodes."""
LARGEST_FILE = 2**31
"""Bytes: no protocol buffer is larger."""

try:
    import onnx
    import onnx.inliner
    import onnxruntime
    from onnx import helper
except ModuleNotFoundError:
    extras.require("reading an ONNX file", "onnx", "onnxruntime")
    raise


def opened(path: str | Path) -> onnx.ModelProto:
    """The model in a file, with local functions inlined. No other file is read.

    Raises:
        InputError: the file is damaged, holds no network, keeps weights in other files, or says
            that it holds a tensor too large for a network.
    """
    name = Path(path).name
    contents = read_regular(Path(path), LARGEST_FILE)
    try:
        model = onnx.load_model_from_string(contents)
    except Exception as problem:
        raise InputError(f"{name} is damaged or no ONNX file: export it again") from problem
    if not model.graph.node:
        raise InputError(f"{name} holds no network (no nodes): is it an ONNX file?")
    count = _nodes(model)
    if count > MOST_NODES:
        raise InputError(f"{name} has {_many(count)} nodes; expected up to {MOST_NODES:,}")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(
                f"{name} keeps weights in another file; expected them inside: save it with "
                f"onnx.save(model, path, save_as_external_data=False)"
            )
        if math.prod(tensor.dims) > LARGEST or any(size < 0 for size in tensor.dims):
            raise InputError(f"{name}: {tensor.name} has shape {tuple(tensor.dims)}")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _nodes(model: onnx.ModelProto) -> int:
    """The number of nodes of the model after its functions are inlined.

    Functions may call functions, so a small file may expand to any number of nodes.
    """
    functions = {(each.domain, each.name): each for each in model.functions}
    known: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        if depth > DEEPEST:
            return MOST_NODES + 1
        total = 0
        for node in nodes:
            called = (node.domain, node.op_type)
            if called in functions and called not in known:
                known[called] = count(functions[called].node, depth + 1)
            total += known.get(called, 1)
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    total += count(graph.node, depth + 1)
        return total

    return count(model.graph.node, 0)


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**9 else "far too many"


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All tensors that a file holds, in nodes as well."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session that computes the model node by node, with nothing fused.

    Raises:
        InputError: ONNX Runtime does not accept the model.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        serialized = model.SerializeToString()
        return onnxruntime.InferenceSession(serialized, options, ["CPUExecutionProvider"])
    except Exception as problem:
        raise InputError(f"ONNX Runtime does not take the file: {one_line(problem)}") from problem


def one_line(problem: BaseException) -> str:
    """The first line of an exception's message, or its type."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:300]


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """An operation's attributes, with strings as ``str``."""
    values = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in values.items()
    }
