"""The network in an ONNX file: its operations, its tensors, and sessions that run parts of it.

The shapes of tensors and the values of constants are not derived but observed: the file is run once
on random numbers with all of its tensors as outputs (`File.samples`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from diptych.errors import InputError
from diptych.formats.onnx.opening import one_line, onnx, onnxruntime, opened, session_of

helper, numpy_helper = onnx.helper, onnx.numpy_helper

Arrays = dict[str, np.ndarray]
EXAMPLES = 7
"""The number of examples for a file with an open batch size: unlikely as a number of channels, so
that the batch is not taken for an image."""
SHAPE_ONLY = ("Shape", "Size", "ConstantOfShape")
"""Operations that depend on the shape of their input alone."""
SHARING = ("Conv", "Gemm", "MatMul")
"""Operations that are one layer where they share a kernel."""


class File:
    """A network with one input and one output.

    Raises:
        InputError: the file is none that `opening.opened` accepts, has more inputs or outputs, an
            input whose shape is open beyond the number of examples, or control flow, or does not
            run.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = Path(path).name
        self.model = opened(path)
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        """The initializers by name."""
        self.input, self.output, self.dtype, shape = self._ends()
        self.batch: int | None = shape[0] or None
        """The number of examples that it takes; None where that is open."""
        self.opset = max(
            (each.version for each in self.model.opset_import if each.domain in ("", "ai.onnx")),
            default=1,
        )
        self.producers = {t: i for i, node in enumerate(self.nodes) for t in node.output if t}
        """By tensor, the position of the operation that computes it."""
        self.uses = Counter(t for node in self.nodes for t in node.input if t)
        """The number of uses of a tensor, as input of operations or output of the file."""
        self.uses[self.output] += 1
        self.dependent = self._dependent()
        """The tensors whose values depend on the input's. All others are constant."""
        self.samples = self._sampled((self.batch or EXAMPLES, *shape[1:]))
        """All tensors of a run on random numbers, and the constants."""
        self.weights = self._own_weights()

    def _ends(self) -> tuple[str, str, np.dtype, tuple[int, ...]]:
        """The input's name, the output's, and the input's type and shape, 0 for an open batch."""
        graph = self.model.graph
        inputs = [value for value in graph.input if value.name not in self.constants]
        for what, values in (("inputs", inputs), ("outputs", graph.output)):
            if len(values) != 1:
                names = ", ".join(value.name for value in values) or "none"
                raise InputError(
                    f"{self.name} has {len(values)} {what} ({names}); expected one: cut the file "
                    f"with onnx.utils.extract_model, or export what has one input and one output"
                )
        tensor = inputs[0].type.tensor_type
        shape = tuple(size.dim_value for size in tensor.shape.dim)
        if len(shape) < 2 or not all(shape[1:]):
            sizes = ", ".join(str(d.dim_value or d.dim_param or "?") for d in tensor.shape.dim)
            raise InputError(
                f"{self.name} takes an input of shape ({sizes}); expected examples first and the "
                f"rest fixed: see onnx.tools.update_model_dims"
            )
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        return inputs[0].name, graph.output[0].name, np.dtype(dtype), shape

    def _dependent(self) -> set[str]:
        tensors = {self.input}
        for node in self.nodes:
            if any(each.type == onnx.AttributeProto.GRAPH for each in node.attribute):
                raise InputError(
                    f"{self.name} has control flow ({node.op_type} {node.name}), whose operations "
                    f"are not read; export the network without it"
                )
            if node.op_type not in SHAPE_ONLY and any(name in tensors for name in node.input):
                tensors.update(name for name in node.output if name)
        return tensors

    def _sampled(self, shape: tuple[int, ...]) -> Arrays:
        generator = np.random.Generator(np.random.Philox(0))
        numbers = generator.normal(size=shape) if self.dtype.kind == "f" else np.ones(shape)
        x = numbers.astype(self.dtype)
        samples = self.run(self.session(self.producers), {self.input: x})
        constants = {name: numpy_helper.to_array(each) for name, each in self.constants.items()}
        return constants | samples | {self.input: x}

    def _own_weights(self) -> dict[tuple[int, int], tuple[str, str]]:
        """Gives each operation that takes constants initializers of its own.

        Exporters share one initializer among all that start with the same zeros, and transpose
        others on their way to where they are used. Two operations that share a kernel are one layer
        and keep sharing.

        Returns:
            By the operation and the input's position, the weight's name and the initializer's.
        """
        weights: dict[tuple[int, int], tuple[str, str]] = {}
        names_of: dict[tuple[str, ...], tuple[str, str]] = {}
        taken: Counter[str] = Counter()
        for index, node in enumerate(self.nodes):
            names = list(node.input)
            if not any(name in self.dependent for name in names):
                continue
            for position, name in enumerate(names):
                value = self.samples.get(name)
                if value is None or name in self.dependent or value.dtype.kind != "f":
                    continue
                layer = (node.op_type, names[1]) if node.op_type in SHARING else (str(index),)
                key = (*layer, str(position), name)
                if key not in names_of:
                    root = self._root(name)
                    taken[root] += 1
                    weight = root if taken[root] == 1 else f"{root}:{taken[root]}"
                    names_of[key] = weight, f"own/{weight}"
                    self._add(names_of[key][1], value)
                weights[index, position] = names_of[key]
                node.input[position] = names_of[key][1]
        return weights

    def _root(self, name: str) -> str:
        """The initializer that a constant is computed from, or its own name."""
        while name in self.producers:
            inputs = self.nodes[self.producers[name]].input
            if not inputs:
                break
            name = inputs[0]
        return name

    def _add(self, name: str, value: np.ndarray) -> None:
        graph = self.model.graph
        graph.initializer.append(numpy_helper.from_array(value, name))
        self.constants[name] = graph.initializer[-1]
        self.samples[name] = value

    def node_of(self, tensor: str) -> onnx.NodeProto | None:
        """The operation that computes a tensor; None for the input and for initializers."""
        index = self.producers.get(tensor)
        return None if index is None else self.nodes[index]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """A tensor's shape in the run on random numbers."""
        return self.samples[tensor].shape

    def session(self, outputs: Iterable[str]) -> onnxruntime.InferenceSession:
        """A session of the whole file that gives these tensors."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        return session_of(model)

    def part(self, starts: Sequence[str], end: str) -> onnxruntime.InferenceSession:
        """A session that computes ``end`` from the tensors ``starts``.

        Whatever else it takes is constant, as in `samples`, and so are shapes that the file
        computes: it runs on as many examples as `samples` has.
        """
        nodes: set[int] = set()
        constants: dict[str, onnx.TensorProto] = {}
        waiting = [end]
        while waiting:
            name = waiting.pop()
            if not name or name in starts:
                continue
            if name in self.constants:
                constants[name] = self.constants[name]
            elif name not in self.dependent:
                constants[name] = numpy_helper.from_array(self.samples[name], name)
            elif self.producers[name] not in nodes:
                nodes.add(self.producers[name])
                waiting.extend(self.nodes[self.producers[name]].input)
        dtypes = [helper.np_dtype_to_tensor_dtype(self.samples[name].dtype) for name in starts]
        graph = helper.make_graph(
            [self.nodes[index] for index in sorted(nodes)],
            "part",
            [
                helper.make_tensor_value_info(name, dtype, None)
                for name, dtype in zip(starts, dtypes, strict=True)
            ],
            [onnx.ValueInfoProto(name=end)],
            list(constants.values()),
        )
        return session_of(
            helper.make_model(
                graph, ir_version=self.model.ir_version, opset_imports=self.model.opset_import
            )
        )

    def run(self, session: onnxruntime.InferenceSession, feeds: Arrays) -> Arrays:
        """The outputs of a session, by name."""
        names = [each.name for each in session.get_outputs()]
        try:
            values = session.run(names, feeds)
        except Exception as problem:
            raise InputError(f"{self.name} does not run: {one_line(problem)}") from problem
        return {n: v for n, v in zip(names, values, strict=True) if isinstance(v, np.ndarray)}
