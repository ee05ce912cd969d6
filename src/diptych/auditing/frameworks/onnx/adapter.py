"""An ONNX file, as a side of an audit: what it predicts, for it cannot train.

A file has tensors in whatever layout its exporter liked, transposed and reshaped at will. So every
tensor is known as a `View`: which node's array it holds, and how that array's axes lie in it.
Transposing and reshaping then change the view alone; where an operation needs the axes otherwise
than they lie, a node is made that turns them.

What a tensor's shape is, and what constants hold, is not derived but seen: the file is run once on
random numbers with all of its tensors as outputs (`File.seen`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.errors import InputError

try:
    import onnx
    import onnx.inliner
    import onnxruntime
    from onnx import helper, numpy_helper
except ImportError as problem:
    raise InputError(
        "reading an ONNX file needs onnx and onnxruntime: `pip install 'diptych[onnx]'`"
    ) from problem

EXAMPLES = 7
"""How many examples a file is run on when it is only looked at: a number that is hardly one of
channels, or a batch could be taken for one picture."""
IMAGE_CHANNELS = (1, 3, 4)
"""How many channels a picture has, where no convolution says which axis they are."""
SHAPE_ONLY = ("Shape", "Size", "ConstantOfShape")
"""Operations that take no more than the shape of what they are given."""
Axes = tuple[int | None, ...]


# The file.


class File:
    """A file's network: its nodes, its tensors, and sessions that run all of it or a part."""

    def __init__(self, path: str) -> None:
        self.name = Path(path).name
        self.model = read(path)
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.constants = {each.name: each for each in graph.initializer}
        """What is in the file as data: initializers, by name."""
        self.input, self.output, self.dtype, shape = self._ends()
        self.batch: int | None = shape[0] or None
        """How many examples it takes, where that is fixed."""
        self.opset = max(
            (each.version for each in self.model.opset_import if each.domain in ("", "ai.onnx")),
            default=1,
        )
        self.producers = {t: i for i, node in enumerate(self.nodes) for t in node.output if t}
        self.uses = Counter(t for node in self.nodes for t in node.input if t)
        self.uses[self.output] += 1
        self.data = self._data()
        self.seen = self._look((self.batch or EXAMPLES, *shape[1:]))
        self.weights = self._own_weights()

    def _ends(self) -> tuple[str, str, np.dtype, tuple[int, ...]]:
        """The input's name, the output's, and the input's type and shape, 0 for open batches."""
        graph = self.model.graph
        inputs = [each for each in graph.input if each.name not in self.constants]
        for what, there in (("inputs", inputs), ("outputs", graph.output)):
            if len(there) != 1:
                names = ", ".join(each.name for each in there) or "none"
                raise InputError(
                    f"{self.name} has {len(there)} {what} ({names}); expected one: cut the file "
                    f"with onnx.utils.extract_model, or export what has one input and one output"
                )
        tensor = inputs[0].type.tensor_type
        shape = tuple(each.dim_value for each in tensor.shape.dim)
        if len(shape) < 2 or not all(shape[1:]):
            said = ", ".join(str(d.dim_value or d.dim_param or "?") for d in tensor.shape.dim)
            raise InputError(
                f"{self.name} takes an input of shape ({said}); expected examples first and the "
                f"rest fixed: see onnx.tools.update_model_dims"
            )
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        return inputs[0].name, graph.output[0].name, np.dtype(dtype), shape

    def _data(self) -> set[str]:
        """The tensors whose numbers come of the input's."""
        data = {self.input}
        for node in self.nodes:
            if any(each.type == onnx.AttributeProto.GRAPH for each in node.attribute):
                raise InputError(
                    f"{self.name} has control flow ({node.op_type} {node.name}), which an audit "
                    f"cannot look into; export the network without it"
                )
            if node.op_type not in SHAPE_ONLY and any(name in data for name in node.input):
                data.update(name for name in node.output if name)
        return data

    def _look(self, shape: tuple[int, ...]) -> Arrays:
        """All tensors of a run on random numbers."""
        chance = np.random.Generator(np.random.Philox(0))
        numbers = chance.normal(size=shape) if self.dtype.kind == "f" else np.ones(shape)
        x = numbers.astype(self.dtype)
        seen = self.run(self.session(self.producers), {self.input: x})
        constants = {name: numpy_helper.to_array(each) for name, each in self.constants.items()}
        return constants | seen | {self.input: x}

    def _own_weights(self) -> dict[tuple[int, int], tuple[str, str]]:
        """Gives each operation that takes constants initializers of its own.

        Exporters share one initializer among all that start with the same zeros, and turn others
        on their way to where they are used. Two operations that share a kernel are one layer and
        keep sharing.

        Returns:
            By the operation and the input's position, the weight's name and the initializer's.
        """
        weights: dict[tuple[int, int], tuple[str, str]] = {}
        given: dict[tuple[str, ...], tuple[str, str]] = {}
        taken: Counter[str] = Counter()
        for index, node in enumerate(self.nodes):
            names = list(node.input)
            if not any(name in self.data for name in names):
                continue
            for position, name in enumerate(names):
                value = self.seen.get(name)
                if value is None or name in self.data or value.dtype.kind != "f":
                    continue
                shares = node.op_type in ("Conv", "Gemm", "MatMul")
                layer = (node.op_type, names[1]) if shares else (str(index),)
                key = (*layer, str(position), name)
                if key not in given:
                    root = self._root(name)
                    taken[root] += 1
                    shown = root if taken[root] == 1 else f"{root}:{taken[root]}"
                    given[key] = shown, f"audited/{shown}"
                    self._add(given[key][1], value)
                weights[index, position] = given[key]
                node.input[position] = given[key][1]
        return weights

    def _root(self, name: str) -> str:
        """The initializer that a constant is made of, or its own name."""
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
        self.seen[name] = value

    def node_of(self, tensor: str) -> onnx.NodeProto | None:
        """What makes a tensor."""
        index = self.producers.get(tensor)
        return None if index is None else self.nodes[index]

    # Running it.

    def session(self, outputs: Iterable[str]) -> onnxruntime.InferenceSession:
        """A session of the whole file that gives these tensors."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        return opened(model)

    def part(self, starts: Sequence[str], end: str) -> onnxruntime.InferenceSession:
        """A session of what lies between tensors.

        Whatever else it takes is constant, as `seen`, and so are shapes that are computed: it runs
        on as many examples as were seen.
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
            elif name not in self.data:
                constants[name] = numpy_helper.from_array(self.seen[name], name)
            elif self.producers[name] not in nodes:
                nodes.add(self.producers[name])
                waiting.extend(self.nodes[self.producers[name]].input)
        kinds = [helper.np_dtype_to_tensor_dtype(self.seen[name].dtype) for name in starts]
        graph = helper.make_graph(
            [self.nodes[index] for index in sorted(nodes)],
            "part",
            [
                helper.make_tensor_value_info(*each, None)
                for each in zip(starts, kinds, strict=True)
            ],
            [onnx.ValueInfoProto(name=end)],
            list(constants.values()),
        )
        return opened(
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


def read(path: str) -> onnx.ModelProto:
    """The file as it is, with nothing beside it read.

    Raises:
        InputError: it is broken, or keeps its weights in other files.
    """
    name = Path(path).name
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as problem:
        raise InputError(f"{name} is broken or no ONNX file: export it again") from problem
    if not model.graph.node:
        raise InputError(f"{name} holds no network (no nodes): is it an ONNX file?")
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in model.graph.initializer):
        raise InputError(
            f"{name} keeps its weights in another file; expected them inside: save it with "
            f"onnx.save(model, path, save_as_external_data=False)"
        )
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session that does what the model says, node by node, with nothing fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        serialized = model.SerializeToString()
        return onnxruntime.InferenceSession(serialized, options, ["CPUExecutionProvider"])
    except Exception as problem:
        raise InputError(f"ONNX Runtime does not take the file: {one_line(problem)}") from problem


def one_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:300]


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


# Activations that an exporter has taken apart.

ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Erf", "Tanh", "Sigmoid")
ELEMENTWISE += ("Neg", "Abs", "Relu", "Exp", "Log", "Softplus", "Sqrt", "Clip", "HardSigmoid")
JOINS = ("Add", "Sub", "Mul", "Div", "Max", "Min")
GRID = np.linspace(-8, 8, 1601)
CLOSE = 1e-5
"""How far computed activations are apart at most; the two kinds of gelu are 5e-4 apart."""
SELU = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class Function:
    """Several operations that are one activation function of a tensor."""

    start: str
    function: str
    slope: float | None


def curves(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, float | None]]:
    """Activation functions of x, by name, with the slope that fits y where they have one."""
    tanh = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    negative = x < -1
    slope = float(np.float32(np.median(y[negative] / x[negative])))
    alpha = float(np.float32(np.median(y[negative] / np.expm1(x[negative]))))
    low = np.minimum(x, 0)
    return {
        "relu": (np.maximum(x, 0), None),
        "relu6": (np.clip(x, 0, 6), None),
        "silu": (x / (1 + np.exp(-x)), None),
        "gelu": (x / 2 * (1 + erf(x / np.sqrt(2))), None),
        "gelu_tanh": (x / 2 * (1 + tanh), None),
        "sigmoid": (1 / (1 + np.exp(-x)), None),
        "tanh": (np.tanh(x), None),
        "selu": (SELU[1] * np.where(x > 0, x, SELU[0] * np.expm1(low)), None),
        "leaky_relu": (np.where(x > 0, x, slope * x), slope),
        "elu": (np.where(x > 0, x, alpha * np.expm1(low)), alpha),
    }


class Functions:
    """Finds operations that together are one activation function, by what they compute."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.ends: dict[int, Function] = {}
        """By the last operation."""
        self.inside: set[int] = set()
        """The operations before the last."""
        for index, node in enumerate(file.nodes):
            joins = node.op_type in JOINS and sum(name in file.data for name in node.input) > 1
            if joins and index not in self.inside:
                self._try(index)

    def _try(self, index: int) -> None:
        for end in (self._scaled(index), index):
            region = self._region(index)
            if end is None or region is None:
                continue
            start, operations = region
            operations = operations | {end}
            if not self._private(operations, end):
                continue
            found = self._named(start, self.file.nodes[end].output[0])
            if found is not None:
                self.ends[end] = Function(start, *found)
                self.inside |= operations - {end}
                return

    def _scaled(self, index: int) -> int | None:
        """The operation behind it where that only scales, as gelu's half may stand at its end."""
        output = self.file.nodes[index].output[0]
        users = [i for i, node in enumerate(self.file.nodes) if output in node.input]
        if len(users) != 1 or self.file.nodes[users[0]].op_type not in ("Mul", "Div"):
            return None
        return users[0] if self._is_plain(users[0]) else None

    def _region(self, index: int) -> tuple[str, set[int]] | None:
        """The nearest tensor that everything before the operation comes of, and what is between."""
        file, operations = self.file, {index}
        frontier = set(self._given(index))
        while len(frontier) > 1:
            latest = max(frontier, key=lambda name: file.producers.get(name, -1))
            producer = file.producers.get(latest)
            if producer is None or not self._is_plain(producer):
                return None
            operations.add(producer)
            frontier = frontier - {latest} | set(self._given(producer))
        return (frontier.pop(), operations) if len(operations) > 1 else None

    def _given(self, index: int) -> list[str]:
        return [name for name in self.file.nodes[index].input if name in self.file.data]

    def _is_plain(self, index: int) -> bool:
        """Whether it works on each number by itself, all alike."""
        node = self.file.nodes[index]
        constants = [name for name in node.input if name and name not in self.file.data]
        single = all(self.file.seen[name].size == 1 for name in constants)
        return node.op_type in ELEMENTWISE and single

    def _private(self, operations: set[int], end: int) -> bool:
        """Whether nothing outside takes what is computed on the way."""
        file = self.file
        own = Counter(name for index in operations for name in file.nodes[index].input)
        inner = [name for index in operations - {end} for name in file.nodes[index].output]
        return all(own[name] == file.uses[name] for name in inner)

    def _named(self, start: str, end: str) -> tuple[str, float | None] | None:
        dtype = self.file.seen[start].dtype
        if dtype not in (np.float32, np.float64):
            return None
        # As many axes as the real tensor, for constants of shape (1, 1) would add some.
        x = GRID.astype(dtype).reshape(-1, *[1] * (self.file.seen[start].ndim - 1))
        session = self.file.part([start], end)
        y = self.file.run(session, {start: x})[end].ravel()
        if y.size != x.size:
            return None
        wide, given = x.ravel().astype(np.float64), y.astype(np.float64)
        for name, (values, slope) in curves(wide, given).items():
            if np.allclose(given, values, rtol=CLOSE, atol=CLOSE):
                return name, slope
        return None


# What the operations mean.


@dataclass(frozen=True)
class View:
    """A tensor as the array of a node, the axes of which may lie otherwise in the tensor."""

    node: str
    tensor: str
    axes: Axes
    """For each axis of the tensor, which one of the array it is: 0 the examples, then as in the
    node's shape. None for an axis of one that the array lacks; the array may have axes of one that
    the tensor lacks."""
    shape: tuple[int, ...]
    """The array's, without the examples."""

    def array(self, tensor: np.ndarray) -> np.ndarray:
        """The array (n, *shape) that a tensor holds."""
        order = sorted(range(tensor.ndim), key=lambda i: (self.axes[i] is None, self.axes[i]))
        return tensor.transpose(order).reshape(-1, *self.shape)

    def put(self, array: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The tensor that holds an array.

        Args:
            array: (n, *shape).
            like: a tensor as was seen; of another number of examples.
        """
        there = [axis for axis in self.axes if axis is not None]
        missing = [axis for axis in range(array.ndim) if axis not in there]
        shape = [
            len(array) if axis == 0 else n for axis, n in zip(self.axes, like.shape, strict=True)
        ]
        return array.transpose(there + missing).reshape(shape).astype(like.dtype)


def shape_of(tensor: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """The shape, without the examples, of the array whose axes lie so in a tensor."""
    sizes = {axis: size for axis, size in zip(axes, tensor, strict=True) if axis is not None}
    return tuple(sizes[axis] for axis in range(1, len(sizes)))


def order_of(view: View) -> list[int]:
    """In which order the array's axes lie in the tensor; axes of one lie anywhere."""
    long = [axis for axis in view.axes if axis == 0 or (axis and view.shape[axis - 1] > 1)]
    return [sorted(long).index(axis) for axis in long]


@dataclass(frozen=True)
class Weight:
    """A parameter: where it is in the file, and how its array lies there."""

    initializer: str
    order: tuple[int, ...]
    """How the initializer's axes are put to have the parameter's."""
    shape: tuple[int, ...]
    """The parameter's."""

    def array(self, stored: np.ndarray) -> np.ndarray:
        return stored.transpose(self.order).reshape(self.shape)

    def put(self, array: np.ndarray, like: np.ndarray) -> np.ndarray:
        turned = array.reshape([like.shape[axis] for axis in self.order])
        return turned.transpose(np.argsort(self.order)).astype(like.dtype)


@dataclass
class Draft:
    """A node of the graph in the making."""

    name: str
    kind: str
    inputs: list[View]
    output: View
    attributes: dict[str, Any]
    parameters: dict[str, str] = field(default_factory=dict)


ACTIVATIONS = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Exp": "exponential",
}
"""Operations without attributes."""
ALIASES = ("Identity", "Dropout", "Cast")
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
LAST, FIRST = "last", "first"


class Reader:
    """Reads a file's operations, in one layout of its input."""

    def __init__(self, file: File, functions: Functions, layout: str) -> None:
        self.file, self.functions = file, functions
        tensor = file.seen[file.input].shape
        axes = channels_first(len(tensor)) if layout == FIRST else tuple(range(len(tensor)))
        self.input = View(INPUT, file.input, axes, shape_of(tensor, axes))
        self.views = {file.input: self.input}
        self.drafts: dict[str, Draft] = {}
        self.weights: dict[str, Weight] = {}
        self.turned = 0
        """How often an operation needed its axes otherwise than they lay."""
        for index, node in enumerate(file.nodes):
            if index not in functions.inside and any(name in file.data for name in node.output):
                self._read(index, node)
        self._drop_unneeded()

    def _read(self, index: int, node: onnx.NodeProto) -> None:
        function = self.functions.ends.get(index)
        if function is not None:
            view = self.views[function.start]
            self._activation(node, function.function, function.slope, view)
            return
        read: Callable[..., bool] | None = getattr(self, f"_read_{node.op_type.lower()}", None)
        if node.op_type in ACTIVATIONS:
            self._activation(node, ACTIVATIONS[node.op_type])
        elif not (read and node.domain in ("", "ai.onnx") and read(index, **attributes_of(node))):
            self._custom(index)

    def _drop_unneeded(self) -> None:
        """Keeps what the output comes of."""
        needed, waiting = set(), [self.views[self.file.output].node]
        while waiting:
            name = waiting.pop()
            if name != INPUT and name not in needed:
                needed.add(name)
                waiting.extend(view.node for view in self.drafts[name].inputs)
        self.drafts = {name: draft for name, draft in self.drafts.items() if name in needed}
        kept = {name for draft in self.drafts.values() for name in draft.parameters.values()}
        self.weights = {name: weight for name, weight in self.weights.items() if name in kept}

    # What a reader asks and does.

    def _shape(self, tensor: str) -> tuple[int, ...]:
        return self.file.seen[tensor].shape

    def _size(self, tensor: str) -> int:
        return self.file.seen[tensor].size

    def _view(self, index: int, position: int = 0) -> View | None:
        """What an operation takes, where that comes of the network's input."""
        inputs = self.file.nodes[index].input
        return self.views.get(inputs[position]) if len(inputs) > position else None

    def _constant(self, index: int, position: int) -> np.ndarray | None:
        """What an operation takes, where that is constant."""
        inputs = self.file.nodes[index].input
        name = inputs[position] if len(inputs) > position else ""
        return None if name in self.file.data else self.file.seen.get(name)

    def _weight(
        self,
        index: int,
        position: int,
        order: Iterable[int] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> str:
        """Makes a constant a parameter, and gives its name."""
        name, initializer = self.file.weights[index, position]
        stored = self.file.seen[initializer].shape
        order = tuple(range(len(stored)) if order is None else order)
        self.weights[name] = Weight(
            initializer, order, tuple(stored[axis] for axis in order) if shape is None else shape
        )
        return name

    def _unique(self, name: str) -> str:
        count, tried = 1, name
        while tried in self.drafts or tried == INPUT:
            count += 1
            tried = f"{name}:{count}"
        return tried

    def _emit(
        self,
        tensor: str,
        kind: str,
        inputs: list[View],
        axes: Axes,
        array: tuple[int, ...] | None = None,
        parameters: dict[str, str] | None = None,
        **attributes: Any,
    ) -> bool:
        """Makes a node that gives a tensor; ``array`` is its array's shape, if that is not all
        that the tensor's axes say."""
        made = self.file.node_of(tensor)
        name = self._unique((made and made.name) or tensor)
        shape = shape_of(self._shape(tensor), axes) if array is None else array
        view = View(name, tensor, axes, shape)
        self.views[tensor] = view
        self.drafts[name] = Draft(name, kind, inputs, view, attributes, parameters or {})
        return True

    def _alias(self, index: int, view: View, axes: Axes | None = None) -> bool:
        """Takes an operation's output for a view of what it takes."""
        tensor = self.file.nodes[index].output[0]
        self.views[tensor] = View(
            view.node, tensor, view.axes if axes is None else axes, view.shape
        )
        return True

    def _elementwise(self, tensor: str, kind: str, view: View, **attributes: Any) -> bool:
        return self._emit(tensor, kind, [view], view.axes, view.shape, **attributes)

    def _as(self, view: View, axes: Axes) -> View:
        """The array whose axes lie so in the tensor; a node makes it where it is another one."""
        wanted = View(view.node, view.tensor, axes, shape_of(self._shape(view.tensor), axes))
        same = order_of(view) == order_of(wanted)
        if same and view.shape == wanted.shape:
            return wanted
        self.turned += 1
        kind, what = "custom", {"class": "Transpose"}
        if same:
            kind, what = "reshape", {"shape": list(wanted.shape)}
        source = self.drafts[view.node].output if view.node in self.drafts else self.input
        name = self._unique(f"{view.tensor}/turned")
        made = View(name, view.tensor, axes, wanted.shape)
        self.drafts[name] = Draft(name, kind, [source], made, what)
        self.views[view.tensor] = made
        return made

    # Layers with weights.

    def _channels_first(self, index: int, windows: Sequence[int] = ()) -> tuple[View, list[int]]:
        """What an operation takes, as it takes it: examples, channels, spatial axes.

        An axis that was put in to have a window of one slide over it (a 1-D convolution done by a
        2-D one) is none of the array's.

        Returns:
            The view, and which of the spatial axes the array has.
        """
        view = self._view(index)
        assert view is not None
        axes = range(2, len(view.axes))
        put_in = [i for i in axes if view.axes[i] is None and windows and windows[i - 2] == 1]
        kept = [i - 2 for i in axes if i not in put_in] or [i - 2 for i in axes]
        spatial = [kept.index(i - 2) + 1 if i - 2 in kept else None for i in axes]
        return self._as(view, (0, len(kept) + 1, *spatial)), kept

    def _read_conv(
        self,
        index,
        kernel_shape=None,
        strides=None,
        pads=None,
        dilations=None,
        group=1,
        auto_pad=b"NOTSET",
    ) -> bool:
        kernel = self._constant(index, 1)
        given = self.file.nodes[index].input
        biased = len(given) > 2 and bool(given[2])
        if kernel is None or (biased and self._constant(index, 2) is None):
            return False
        windows = kernel.shape[2:]
        ones = [1] * len(windows)
        view, kept = self._channels_first(index, windows)
        padding = paddings(
            self._shape(view.tensor)[2:], windows, strides or ones, dilations or ones, pads,
            auto_pad,
        )  # fmt: skip
        order = (*range(2, kernel.ndim), 1, 0)
        shape = (*(windows[i] for i in kept), kernel.shape[1], kernel.shape[0])
        parameters = {"kernel": self._weight(index, 1, order, shape)}
        if biased:
            parameters["bias"] = self._weight(index, 2)
        return self._emit(
            self.file.nodes[index].output[0],
            "conv",
            [view],
            view.axes,
            parameters=parameters,
            strides=chosen(strides or ones, kept),
            padding=chosen(padding, kept),
            dilation=chosen(dilations or ones, kept),
            groups=group,
        )

    def _read_gemm(self, index, alpha=1.0, beta=1.0, transA=0, transB=0) -> bool:
        bias = self._constant(index, 2)
        given = self.file.nodes[index].input
        if alpha != 1 or transA or (len(given) > 2 and given[2] and bias is None):
            return False
        return self._dense(index, (1, 0) if transB else (0, 1), bias if beta else None, beta)

    def _read_matmul(self, index) -> bool:
        return self._dense(index, (0, 1), None, 1.0)

    def _dense(
        self, index: int, order: tuple[int, int], bias: np.ndarray | None, beta: float
    ) -> bool:
        view, kernel = self._view(index), self._constant(index, 1)
        if view is None or kernel is None or kernel.ndim != 2 or len(view.axes) < 2:
            return False
        units = kernel.shape[order[1]]
        if bias is not None and (bias.size != units or beta != 1):
            return False
        view = self._as(view, tuple(range(len(view.axes))))
        parameters = {"kernel": self._weight(index, 1, order)}
        if bias is not None:
            parameters["bias"] = self._weight(index, 2, shape=(units,))
        output = self.file.nodes[index].output[0]
        return self._emit(output, "dense", [view], view.axes, parameters=parameters)

    def _bias(self, index: int, view: View, position: int) -> bool:
        """Takes an addition for the bias of the layer before it."""
        value = self._constant(index, position)
        draft = self.drafts.get(view.node)
        if value is None or draft is None or draft.kind not in ("conv", "dense"):
            return False
        channel = by_channel(value, view)
        if "bias" in draft.parameters or channel is None or not self._alone(view, draft):
            return False
        if value.size != draft.output.shape[-1]:
            return False
        draft.parameters["bias"] = self._weight(index, position, shape=(value.size,))
        self._alias(index, view)
        draft.output = self.views[self.file.nodes[index].output[0]]
        return True

    def _alone(self, view: View, draft: Draft) -> bool:
        """Whether nothing else takes the node's output."""
        name = view.tensor
        while self.file.uses[name] == 1 and name != draft.output.tensor:
            producer = self.file.node_of(name)
            assert producer is not None
            name = producer.input[0]
        return self.file.uses[name] == 1

    def _read_batchnormalization(
        self, index, epsilon=1e-5, momentum=0.9, training_mode=0, **older
    ) -> bool:
        if any(self._constant(index, position) is None for position in range(1, 5)):
            return False
        view, _ = self._channels_first(index)
        roles = ("gamma", "beta", "mean", "variance")
        return self._emit(
            self.file.nodes[index].output[0],
            "batch_norm",
            [view],
            view.axes,
            parameters={role: self._weight(index, i) for i, role in enumerate(roles, 1)},
            epsilon=shortest(epsilon),
            momentum=shortest(momentum),
            unbiased=False,
            statistics="batch",
        )

    # Pools.

    def _pool(
        self,
        index: int,
        kind: str,
        windows: list[int],
        strides: list[int] | None,
        pads: list[int] | None,
        auto_pad: bytes,
        ceil_mode: int,
        **more: Any,
    ) -> bool:
        strides = strides or [1] * len(windows)
        tensor = self.file.nodes[index].output[0]
        before, after = (self._shape(t)[2:] for t in (self.file.nodes[index].input[0], tensor))
        padding = paddings(before, windows, strides, [1] * len(windows), pads, auto_pad)
        if ceil_mode:
            reached = [
                (count - 1) * stride + window - size - front
                for count, stride, window, size, (front, _) in zip(
                    after, strides, windows, before, padding, strict=True
                )
            ]
            longer = [[p[0], max(p[1], end)] for p, end in zip(padding, reached, strict=True)]
            if longer != padding and more.get("count_padding"):
                return False  # What lies beyond the padding does not count, the padding does.
            padding = longer
        view, kept = self._channels_first(index, windows)
        settings = {"size": windows, "strides": strides, "padding": padding}
        settings = {key: chosen(value, kept) for key, value in settings.items()}
        return self._emit(tensor, kind, [view], view.axes, **settings, **more)

    def _read_maxpool(
        self,
        index,
        kernel_shape,
        strides=None,
        pads=None,
        auto_pad=b"NOTSET",
        ceil_mode=0,
        dilations=None,
        storage_order=0,
    ) -> bool:
        if any(each != 1 for each in dilations or ()):
            return False
        return self._pool(index, "max_pool", kernel_shape, strides, pads, auto_pad, ceil_mode)

    def _read_averagepool(
        self,
        index,
        kernel_shape,
        strides=None,
        pads=None,
        auto_pad=b"NOTSET",
        ceil_mode=0,
        dilations=None,
        count_include_pad=0,
    ) -> bool:
        if any(each != 1 for each in dilations or ()):
            return False
        counted = bool(count_include_pad)
        return self._pool(
            index, "average_pool", kernel_shape, strides, pads, auto_pad, ceil_mode,
            count_padding=counted,
        )  # fmt: skip

    def _global(self, index: int, kind: str, over: Iterable[int], kept: bool) -> bool:
        """A pool over some of a tensor's axes, which must be all spatial ones of the array."""
        view = self._view(index)
        if view is None or len(view.shape) < 2:
            return False
        over = set(over)
        left = {axis for i, axis in enumerate(view.axes) if i not in over and axis is not None}
        long = {axis for axis, size in enumerate(view.shape, 1) if size > 1}
        if not left <= {0, len(view.shape)} or not long <= set(view.axes):
            return False
        axes: list[int | None] = []
        for i, axis in enumerate(view.axes):
            if i in over and not kept:
                continue
            axes.append({0: 0, len(view.shape): 1}.get(axis) if axis is not None else None)
        return self._emit(
            self.file.nodes[index].output[0], kind, [view], tuple(axes), view.shape[-1:]
        )

    def _read_globalaveragepool(self, index, kind="global_average_pool") -> bool:
        view, _ = self._channels_first(index)
        return self._global(index, kind, range(2, len(view.axes)), True)

    def _read_globalmaxpool(self, index) -> bool:
        return self._read_globalaveragepool(index, "global_max_pool")

    def _read_reducemean(
        self, index, axes=None, keepdims=1, noop_with_empty_axes=0, kind="global_average_pool"
    ) -> bool:
        view, given = self._view(index), self._constant(index, 1)
        axes = given.tolist() if given is not None else axes
        if view is None or not axes:
            return False
        return self._global(index, kind, [i % len(view.axes) for i in axes], bool(keepdims))

    def _read_reducemax(self, index, **attributes) -> bool:
        return self._read_reducemean(index, **attributes, kind="global_max_pool")

    # Functions of each number.

    def _activation(
        self,
        node: onnx.NodeProto,
        function: str,
        slope: float | None = None,
        view: View | None = None,
    ) -> bool:
        view = view or self.views[node.input[0]]
        return self._elementwise(node.output[0], "activation", view, function=function, slope=slope)

    def _read_leakyrelu(self, index, alpha=0.01) -> bool:
        return self._activation(self.file.nodes[index], "leaky_relu", shortest(alpha))

    def _read_elu(self, index, alpha=1.0) -> bool:
        return self._activation(self.file.nodes[index], "elu", shortest(alpha))

    def _read_selu(self, index, alpha=SELU[0], gamma=SELU[1]) -> bool:
        usual = np.allclose((alpha, gamma), SELU, rtol=1e-5)
        return usual and self._activation(self.file.nodes[index], "selu")

    def _read_gelu(self, index, approximate=b"none") -> bool:
        function = "gelu" if approximate == b"none" else "gelu_tanh"
        return self._activation(self.file.nodes[index], function)

    def _read_swish(self, index, alpha=1.0) -> bool:
        return alpha == 1 and self._activation(self.file.nodes[index], "silu")

    def _read_clip(self, index, min=None, max=None) -> bool:
        node = self.file.nodes[index]
        limits = []
        for position, given in ((1, min), (2, max)):
            constant = self._constant(index, position)
            if constant is None and len(node.input) > position and node.input[position]:
                return False
            limits.append(float(constant) if constant is not None else given)
        if limits == [0, 6]:
            return self._activation(node, "relu6")
        unlimited = limits[1] is None or limits[1] >= np.finfo(np.float32).max
        return limits[0] == 0 and unlimited and self._activation(node, "relu")

    def _softmax(self, index: int, function: str, axis: int | None) -> bool:
        view = self._view(index)
        if view is None:
            return False
        rank = len(view.axes)
        if axis is None:
            axis = -1 if self.file.opset >= 13 else 1
        over = [axis % rank] if self.file.opset >= 13 else range(axis % rank, rank)
        long = [i for i in over if self._shape(view.tensor)[i] > 1]
        if [view.axes[i] for i in long] != [len(view.shape)]:
            return False
        return self._activation(self.file.nodes[index], function)

    def _read_softmax(self, index, axis=None) -> bool:
        return self._softmax(index, "softmax", axis)

    def _read_logsoftmax(self, index, axis=None) -> bool:
        return self._softmax(index, "log_softmax", axis)

    # Arithmetic.

    def _rescale(self, index: int, change: Callable[[Any], tuple[Any, Any]], position: int) -> bool:
        """y = scale * x + offset, where a constant makes the two."""
        view, value = self._view(index, 1 - position), self._constant(index, position)
        if view is None or value is None:
            return False
        value = by_channel(value, view)
        if value is None:
            return False
        scale, offset = (
            each.tolist() if isinstance(each, np.ndarray) else each for each in change(value)
        )
        output = self.file.nodes[index].output[0]
        return self._elementwise(output, "rescale", view, scale=scale, offset=offset)

    def _constant_position(self, index: int) -> int | None:
        """Which of an operation's two inputs is the constant one."""
        there = [i for i in (0, 1) if self._constant(index, i) is not None]
        return there[0] if len(there) == 1 else None

    def _read_add(self, index) -> bool:
        position = self._constant_position(index)
        if position is None:
            return self._sum(index)
        view = self._view(index, 1 - position)
        if view is not None and self._bias(index, view, position):
            return True
        return self._rescale(index, lambda value: (1.0, value), position)

    def _read_sub(self, index) -> bool:
        position = self._constant_position(index)
        if position == 0:
            return self._rescale(index, lambda value: (-1.0, value), 0)
        return position == 1 and self._rescale(index, lambda value: (1.0, -value), 1)

    def _read_mul(self, index) -> bool:
        position = self._constant_position(index)
        return position is not None and self._rescale(index, lambda value: (value, 0.0), position)

    def _read_div(self, index) -> bool:
        if self._constant_position(index) != 1:
            return False
        return self._rescale(index, lambda value: (1.0 / value, 0.0), 1)

    def _read_neg(self, index) -> bool:
        view = self._view(index)
        if view is None:
            return False
        output = self.file.nodes[index].output[0]
        return self._elementwise(output, "rescale", view, scale=-1.0, offset=0.0)

    def _sum(self, index: int) -> bool:
        node = self.file.nodes[index]
        views = [self.views.get(name) for name in node.input]
        known = [view for view in views if view is not None]
        shapes = {self._shape(name) for name in node.input}
        if len(known) != len(views) or len(shapes) > 1 or len(known) < 2:
            return False
        first, *others = known
        aligned = [first, *(self._as(view, first.axes) for view in others)]
        if any(view.shape != first.shape for view in aligned):
            return False
        return self._emit(node.output[0], "add", aligned, first.axes, first.shape)

    _read_sum = _sum

    def _read_concat(self, index, axis) -> bool:
        node = self.file.nodes[index]
        views = [self.views[name] for name in node.input if name in self.views]
        if len(views) != len(node.input):
            return False
        first, *others = views
        aligned = [first, *(self._as(view, first.axes) for view in others)]
        if first.axes[axis % len(first.axes)] != len(first.shape):
            return False
        return self._emit(node.output[0], "concatenate", aligned, first.axes)

    # Shapes.

    def _read_identity(self, index) -> bool:
        view = self._view(index)
        return view is not None and self._alias(index, view)

    def _read_cast(self, index, to, saturate=1, round_mode=b"up") -> bool:
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(to)).kind
        return kind == "f" and self._read_identity(index)

    def _read_dropout(self, index, ratio=0.5, seed=0) -> bool:
        training = self._constant(index, 2)
        if training is None or not training.all():
            return self._read_identity(index)
        view, given = self._view(index), self._constant(index, 1)
        if view is None:
            return False
        rate = shortest(float(given) if given is not None else ratio)
        return self._elementwise(self.file.nodes[index].output[0], "dropout", view, rate=rate)

    def _read_transpose(self, index, perm=None) -> bool:
        view = self._view(index)
        assert view is not None
        order = perm or range(len(view.axes))[::-1]
        return self._alias(index, view, tuple(view.axes[i] for i in order))

    def _read_reshape(self, index, **attributes) -> bool:
        """Whatever keeps the numbers in their order in the tensor."""
        view, tensor = self._view(index), self.file.nodes[index].output[0]
        before, after = self._shape(self.file.nodes[index].input[0]), self._shape(tensor)
        if view is None or not after or view.axes[0] != 0 or before[0] != after[0]:
            return False
        if len(after) == 2 and len(view.shape) > 1:
            orders = {LAST: sorted(order_of(view)), FIRST: first_order(view)}
            order = next((o for o, wanted in orders.items() if order_of(view) == wanted), None)
            return order is not None and self._emit(tensor, "flatten", [view], (0, 1), order=order)
        if [n for n in before[1:] if n > 1] == [n for n in after[1:] if n > 1]:
            return self._alias(index, view, moved(view, before, after))
        made = channels_first(len(after)) if self._wants_first(tensor) else tuple(range(len(after)))
        shape = shape_of(after, made)
        plain = View("", tensor, made, shape)
        kept = order_of(view) == sorted(order_of(view)) and order_of(plain) == sorted(
            order_of(plain)
        )
        if not kept:
            return False
        return self._emit(tensor, "reshape", [view], made, shape=list(shape))

    _read_flatten = _read_squeeze = _read_unsqueeze = _read_reshape

    def _wants_first(self, tensor: str) -> bool:
        """Whether what takes a tensor next takes its channels in front."""
        for node in self.file.nodes:
            if tensor in node.input:
                if node.op_type in CHANNELS_FIRST:
                    return True
                if node.op_type in ELEMENTWISE + ALIASES:
                    return self._wants_first(node.output[0])
        return False

    def _read_pad(self, index, mode=b"constant", pads=None, value=0.0) -> bool:
        view, node = self._view(index), self.file.nodes[index]
        assert view is not None
        given, filling, axes = (self._constant(index, position) for position in (1, 2, 3))
        amounts = given.tolist() if given is not None else pads
        filled = float(filling) if filling is not None else value
        if amounts is None or mode != b"constant" or filled:
            return False
        rank = len(view.axes)
        padded = range(rank) if axes is None else [int(i) % rank for i in axes]
        pairs = {i: [amounts[k], amounts[k + len(padded)]] for k, i in enumerate(padded)}
        by_axis = {view.axes[i]: pair for i, pair in pairs.items() if any(pair)}
        spatial = range(1, len(view.shape))
        if not set(by_axis) <= set(spatial) or any(
            n < 0 for pair in by_axis.values() for n in pair
        ):
            return False
        padding = [by_axis.get(axis, [0, 0]) for axis in spatial]
        shape = [n + sum(p) for n, p in zip(view.shape, [*padding, [0, 0]], strict=True)]
        return self._emit(node.output[0], "pad", [view], view.axes, tuple(shape), padding=padding)

    # Everything else.

    def _custom(self, index: int) -> None:
        """A node that is known by what it does only."""
        node = self.file.nodes[index]
        inputs = [self.views[name] for name in node.input if name in self.views]
        parameters = {}
        for position, name in enumerate(node.input):
            weighty = node.op_type not in ("Resize", "Upsample") and self._size(name) > 1
            if (index, position) in self.file.weights and weighty:
                parameters[str(len(parameters))] = self._weight(index, position)
        for tensor in node.output:
            if tensor in self.file.data and tensor in self.file.seen:
                axes = self._custom_axes(inputs[0], tensor)
                what: dict[str, Any] = {"class": node.op_type}
                self._emit(tensor, "custom", inputs, axes, parameters=parameters, **what)

    def _custom_axes(self, given: View, tensor: str) -> Axes:
        """How an array lies in what an unknown operation made: as in what it was made of."""
        shape = self._shape(tensor)
        whole = sorted(axis for axis in given.axes if axis is not None)
        if whole == list(range(len(shape))) and shape[given.axes.index(0)] == self._examples:
            return given.axes
        if self._examples not in shape:
            raise InputError(
                f"{self.file.name}: {tensor} of shape {shape} has no axis for the examples, which "
                f"the file mixes; an audit needs each to be computed by itself"
            )
        examples = shape.index(self._examples)
        rest = iter(range(1, len(shape)))
        return tuple(0 if i == examples else next(rest) for i in range(len(shape)))

    @property
    def _examples(self) -> int:
        return self._shape(self.file.input)[0]


CHANNELS_FIRST = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "BatchNormalization")
CHANNELS_FIRST += ("GlobalAveragePool", "GlobalMaxPool", "Resize", "InstanceNormalization")


def channels_first(rank: int) -> Axes:
    """Examples, channels, spatial axes: how an array with its channels last lies in a tensor."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 1 else (0,)


def first_order(view: View) -> list[int]:
    """As `order_of`, for an array that lies in its tensor with its channels in front."""
    rank = len(view.shape) + 1
    return order_of(View("", "", channels_first(rank), view.shape))


def moved(view: View, before: tuple[int, ...], after: tuple[int, ...]) -> Axes:
    """The axes of a tensor with other axes of one; those that the array has are found again."""
    pairs = list(zip(view.axes, before, strict=True))
    long = iter([axis for axis, size in pairs[1:] if size > 1])
    short = iter([axis for axis, size in enumerate(view.shape, 1) if size == 1])
    return (0, *(next(long) if size > 1 else next(short, None) for size in after[1:]))


def chosen(values: Sequence[Any], kept: list[int]) -> list[Any]:
    return [values[i] for i in kept]


def shortest(value: float) -> float:
    """The number that somebody wrote: float32's 0.001 is 0.0010000000474974513."""
    return float(str(np.float32(value)))


def by_channel(value: np.ndarray, view: View) -> Any:
    """A constant that is put against a tensor: a number, or an array with one for each channel;
    None where it is neither."""
    if value.ndim > len(view.axes):
        return None
    if value.size == 1:
        return shortest(value.item())
    shape = (1,) * (len(view.axes) - value.ndim) + value.shape
    long = [view.axes[i] for i, size in enumerate(shape) if size > 1]
    return value.ravel() if long == [len(view.shape)] else None


def paddings(
    sizes: Sequence[int],
    windows: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: bytes,
) -> list[list[int]]:
    """Pixels before and after each spatial axis, as ONNX's operators have them."""
    axes = len(windows)
    if auto_pad in (b"NOTSET", b"") and pads:
        return [[pads[i], pads[i + axes]] for i in range(axes)]
    if auto_pad not in (b"SAME_UPPER", b"SAME_LOWER"):
        return [[0, 0] for _ in range(axes)]
    result = []
    for size, window, stride, dilation in zip(sizes, windows, strides, dilations, strict=True):
        reach = (-(-size // stride) - 1) * stride + (window - 1) * dilation + 1
        total = max(0, reach - size)
        few, more = total // 2, total - total // 2
        result.append([few, more] if auto_pad == b"SAME_UPPER" else [more, few])
    return result


def reading(file: File) -> Reader:
    """The file read in the layout of its input in which its operations find their axes."""
    functions = Functions(file)
    readers = {layout: Reader(file, functions, layout) for layout in (LAST, FIRST)}
    shape = file.seen[file.input].shape
    usual = LAST
    if len(shape) == 4 and shape[1] in IMAGE_CHANNELS and shape[3] not in IMAGE_CHANNELS:
        usual = FIRST
    return min(readers.values(), key=lambda reader: (reader.turned, reader is not readers[usual]))


# The side.


class Adapter:
    """A side that is an ONNX file; see `diptych.auditing.frameworks.protocol`."""

    trains = False
    prepares = False
    targets = "classes"

    def __init__(self, path: str) -> None:
        self.framework = f"ONNX (onnxruntime {onnxruntime.__version__})"
        self.file = File(path)
        self.reader = reading(self.file)
        if not self.reader.drafts:
            raise InputError(f"{self.file.name} computes nothing: expected a network")
        self._session = self._opened()

    def graph(self) -> Graph:
        nodes = [
            Node(
                draft.name,
                draft.kind,
                tuple(view.node for view in draft.inputs),
                draft.output.shape,
                draft.attributes,
                draft.parameters,
            )
            for draft in self.reader.drafts.values()
        ]
        return Graph(self.reader.input.shape, tuple(nodes))

    def parameters(self) -> Arrays:
        return {
            name: as_float(weight.array(self._stored(weight))).copy()
            for name, weight in self.reader.weights.items()
        }

    def load(self, parameters: Arrays) -> None:
        for name, value in parameters.items():
            weight = self.reader.weights[name]
            stored = weight.put(value, self._stored(weight))
            tensor = numpy_helper.from_array(stored, weight.initializer)
            self.file.constants[weight.initializer].CopyFrom(tensor)
        self._session = self._opened()

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        """As the protocol says; a file has one mode, whatever `training` says."""
        given = self.reader.input.put(x, self.file.seen[self.file.input])
        tensors = self._run(self._session, {self.file.input: given}, self.file.batch)
        drafts = self.reader.drafts.items()
        tensors[self.file.input] = given
        return {name: self._array(d.output, tensors[d.output.tensor]) for name, d in drafts}

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        draft = self.reader.drafts[name]
        feeds = {
            view.tensor: view.put(array, self.file.seen[view.tensor])
            for view, array in zip(draft.inputs, inputs, strict=True)
        }
        output = draft.output
        if output.tensor in feeds:
            return self._array(output, feeds[output.tensor])
        session = self.file.part(list(feeds), output.tensor)
        seen = len(self.file.seen[self.file.input])
        return self._array(output, self._run(session, feeds, seen)[output.tensor])

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = self.reader.input.shape
        if images[0].size != np.prod(shape):
            raise InputError(
                f"{self.file.name} takes {shape}, which does not hold the {images[0].size} numbers "
                f"of an image: audit it against a side that says what data it takes"
            )
        x = images.reshape(-1, *shape)
        if self.file.dtype.kind == "f":
            x = (x * np.float32(1 / 255)).astype(np.float32)
        return x, labels.astype(np.int64)

    def _opened(self) -> onnxruntime.InferenceSession:
        tensors = {draft.output.tensor for draft in self.reader.drafts.values()}
        return self.file.session(tensors - {self.file.input})

    def _stored(self, weight: Weight) -> np.ndarray:
        return numpy_helper.to_array(self.file.constants[weight.initializer])

    def _array(self, view: View, tensor: np.ndarray) -> np.ndarray:
        return as_float(np.ascontiguousarray(view.array(tensor)))

    def _run(
        self, session: onnxruntime.InferenceSession, feeds: Arrays, size: int | None
    ) -> Arrays:
        """Runs a session on so many examples at a time; the last ones are filled up."""
        if size is None:
            return self.file.run(session, feeds)
        axes = {name: self._examples_axis(name) for name in feeds}
        count = next(value.shape[axes[name]] for name, value in feeds.items())
        parts = []
        for start in range(0, count, size):
            which = np.minimum(np.arange(start, start + size), count - 1)
            some = {name: value.take(which, axes[name]) for name, value in feeds.items()}
            parts.append(self.file.run(session, some))
        return {
            name: np.concatenate([part[name] for part in parts], axis).take(range(count), axis)
            for name in parts[0]
            for axis in [self._examples_axis(name)]
        }

    def _examples_axis(self, tensor: str) -> int:
        return self.reader.views[tensor].axes.index(0)


def as_float(array: np.ndarray) -> np.ndarray:
    """Numbers as float32, or as float64 where the file has that."""
    return array if array.dtype == np.float64 else array.astype(np.float32)
