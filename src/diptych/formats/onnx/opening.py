"""Opening ONNX files, which may come from anywhere, and running them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diptych import extras
from diptych.errors import InputError
from diptych.formats.archives import LARGEST

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
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as problem:
        raise InputError(f"{name} is damaged or no ONNX file: export it again") from problem
    if not model.graph.node:
        raise InputError(f"{name} holds no network (no nodes): is it an ONNX file?")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(
                f"{name} keeps weights in another file; expected them inside: save it with "
                f"onnx.save(model, path, save_as_external_data=False)"
            )
        if math.prod(tensor.dims) > LARGEST or any(size < 0 for size in tensor.dims):
            raise InputError(f"{name}: {tensor.name} has shape {tuple(tensor.dims)}")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


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
