"""The audit's view of a Keras model, on whichever backend it runs.

Nothing here computes what Keras computes: the model itself is called and trained, and its layers
are watched while it does so.
"""

# Keras' annotations say less than Keras takes and gives, and lack its layers' attributes.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportReturnType=false, reportCallIssue=false, reportIndexIssue=false

import importlib.metadata
import inspect
import io
import json
import os
import re
import sys
import sysconfig
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

import h5py
import keras
import numpy as np
from keras import activations, layers
from keras.src.models.functional import Functional  # Keras has no public name for it.

from diptych.auditing.frameworks.keras import fit as fit_arguments
from diptych.auditing.frameworks.keras import schedule
from diptych.auditing.frameworks.keras.twin import Twin
from diptych.auditing.frameworks.keras.whole import caller
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.errors import InputError
from diptych.formats.archives import LARGEST, unzipped

Shape = tuple[int, ...]
Batch = tuple[np.ndarray, np.ndarray]

BACKENDS = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}
EXTRAS = ("prepare", "data", "batches", "fit", "steps")
HANDED_IN = "a compiled keras.Model, or (model, extras)"


def to_array(tensor: Any) -> np.ndarray:
    """A copy of a tensor or a variable as float32, or float64 if that is what it is, or what Keras
    computes in by default."""
    array = np.array(keras.ops.convert_to_numpy(tensor))
    wide = array.dtype == np.float64 or keras.config.floatx() == "float64"
    return array.astype(np.float64 if wide else np.float32)


def framework() -> str:
    """Such as ``Keras 3.15.1 on TensorFlow 2.21.0``."""
    backend = keras.config.backend()
    version = importlib.metadata.version(backend).split("+")[0]
    return f"Keras {keras.__version__} on {BACKENDS.get(backend, backend)} {version}"


# What people hand in.


@dataclass(frozen=True)
class Given:
    """What a user's function returned."""

    model: keras.Model
    extras: dict[str, Any]
    places: dict[int, str]
    """By the ``id`` of a layer or an operation, the line of the user's code that made it."""
    seeded: bool
    """Whether the user's code has set TensorFlow's seed."""


def built(build: Callable[[int], Any], seed: int) -> Given:
    """Calls the user's function, with Keras' seed set for those that leave it open."""
    places: dict[int, str] = {}
    before = seed_in_force()
    keras.utils.set_random_seed(FIRST_SEED + seed)
    with noting_places(places):
        given = build(seed)
    if before is not None and seed_in_force() is None:
        keras.utils.set_random_seed(before)
    model, extras = given if isinstance(given, tuple | list) and len(given) == 2 else (given, {})
    if not isinstance(model, keras.Model):
        raise InputError(
            f"the function returned {described(given)}: expected {HANDED_IN}; "
            "end it with `return model`"
        )
    check_extras(extras)
    if not model.compiled and not isinstance(build, KerasFile):
        raise InputError(
            f"the function returned the model {model.name} uncompiled: expected {HANDED_IN}; "
            "call model.compile(optimizer=…, loss=…) before `return model`"
        )
    return Given(model, extras, places, seed_in_force() is not None)


def described(given: Any) -> str:
    """What was returned, in a few words."""
    if given is None:
        return "None"
    if isinstance(given, tuple | list):
        return f"({', '.join(type(each).__name__ for each in given)})"
    return f"a {type(given).__module__}.{type(given).__qualname__}"


def check_extras(extras: Any) -> None:
    """Stops at extras that are not what they should be."""
    known = ", ".join(EXTRAS)
    if not isinstance(extras, dict):
        raise InputError(f"extras is {described(extras)}: expected a dict with any of {known}")
    if unknown := sorted(map(str, extras.keys() - set(EXTRAS))):
        raise InputError(f"extras has {', '.join(unknown)}: the keys that count are {known}")
    for name in ("prepare", "batches"):
        if name in extras and not callable(extras[name]):
            raise InputError(f"extras[{name!r}] is {described(extras[name])}: expected a function")
    data = extras.get("data")
    if "data" in extras and not (isinstance(data, tuple | list) and len(data) == 2):
        raise InputError(f"extras['data'] is {described(data)}: expected (x, y), two arrays")
    arguments = inspect.signature(keras.Model.fit).parameters.keys() - {"self"}
    if not isinstance(fit := extras.get("fit", {}), dict) or fit.keys() - arguments:
        wrong = ", ".join(sorted(fit.keys() - arguments)) if isinstance(fit, dict) else type(fit)
        raise InputError(
            f"extras['fit'] holds {wrong}: expected a dict of arguments of model.fit, "
            "such as {'batch_size': 32, 'shuffle': True}"
        )
    fit_arguments.check(fit)
    steps = extras.get("steps", 1)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(
            f"extras['steps'] is {steps!r}: expected how many steps the training takes, a whole "
            "number from 1"
        )


FIRST_SEED = 815_000_000
"""Our own seeds count from here, where no user's are."""


def seed_in_force() -> int | None:
    """TensorFlow's seed, if the user's code has set one."""
    if keras.config.backend() != "tensorflow":
        return None
    import tensorflow as tf

    try:
        seed, _ = tf.compat.v1.get_seed(None)
    except RuntimeError:  # None is set, and TensorFlow is to be deterministic.
        return None
    return None if seed is None or seed >= FIRST_SEED else seed


NOT_THE_USERS = tuple(
    f"{each}{os.sep}"
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        Path(keras.__file__).parent,
        Path(__file__).parents[3],
    )
    for each in {str(folder), str(Path(folder).resolve())}
)
"""Folders of code that is not the user's: Python's, the installed packages, this package."""


def place(frame: FrameType | None) -> str | None:
    """``file.py:12``, the nearest line of the user's code that led here from `built`."""
    while frame and frame.f_code is not built.__code__:
        name = frame.f_code.co_filename
        if not name.startswith(("<frozen", *NOT_THE_USERS)):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return None


@contextmanager
def noting_places(places: dict[int, str]) -> Iterator[None]:
    """Notes where each layer and operation is made: in ``__new__``, before its own code runs."""
    original = keras.Operation.__new__

    def noting(cls: type, *args: Any, **kwargs: Any) -> Any:
        made = original(cls, *args, **kwargs)
        if where := place(sys._getframe(1)):
            places[id(made)] = where
        return made

    keras.Operation.__new__ = staticmethod(noting)
    try:
        yield
    finally:
        keras.Operation.__new__ = staticmethod(original)


# Models in files.

RUN_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
"""Classes of Keras that take code with them into a file."""
MOST_UNZIPPED = 4 * LARGEST
"""Bytes that a file may hold: weights, and what an optimiser keeps of each."""


@dataclass(frozen=True)
class KerasFile:
    """A model in a ``.keras`` file, as the ``build`` of a `Adapter`."""

    path: Path
    float64: bool = False
    """Whether all that is floating-point in the file's description becomes float64."""

    def __call__(self, seed: int) -> keras.Model:
        config, stored = self.contents()
        check_code(self.path, config)
        self.check_arrays(stored)
        try:
            if self.float64:
                return self.load_in_float64(config)
            return keras.saving.load_model(self.path, safe_mode=True)
        except Exception as error:  # Whatever a broken file makes Keras stumble over.
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise InputError(f"{self.path} cannot be loaded: {reason[:300]}") from error

    def load_in_float64(self, config: Any) -> keras.Model:
        """The model of a copy of the file that describes it in float64."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "float64.keras"
            with zipfile.ZipFile(self.path) as file, zipfile.ZipFile(path, "w") as copy:
                for name in file.namelist():
                    if name != "config.json":
                        copy.writestr(name, file.read(name))
                copy.writestr("config.json", json.dumps(in_float64(config)))
            return keras.saving.load_model(path, safe_mode=True)

    def contents(self) -> tuple[Any, bytes]:
        """The file's description of the model, plain data, and its weights as HDF5."""
        with unzipped(self.path, MOST_UNZIPPED) as file:
            try:
                return json.loads(file.read("config.json")), file.read("model.weights.h5")
            except Exception as error:  # zlib and zipfile have many ways to say it.
                raise InputError(
                    f"{self.path} is not a whole .keras file ({error}): save it again with "
                    "model.save('model.keras')"
                ) from error

    def check_arrays(self, stored: bytes) -> None:
        """Stops at arrays that are larger than what is stored of them; Keras packs none."""
        sizes: list[int] = []

        def measure(_: str, node: Any) -> None:
            sizes.append(node.nbytes if isinstance(node, h5py.Dataset) else 0)

        try:
            with h5py.File(io.BytesIO(stored), "r") as file:
                file.visititems(measure)  # Each object once, and no link out of the file.
        except Exception as error:  # HDF5 has no errors of its own that could be told apart.
            raise InputError(f"{self.path} is damaged: its weights cannot be read") from error
        if sum(sizes) > max(len(stored), 2**26):
            raise InputError(
                f"{self.path}: its arrays would be {sum(sizes) / 2**20:,.0f} MiB, but "
                f"{len(stored) / 2**20:,.1f} are in the file: save it again with "
                "model.save('model.keras')"
            )


FLOATS = ("float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16")


def in_float64(config: Any) -> Any:
    """A file's description with float64 in place of each floating-point type and policy."""
    if isinstance(config, list):
        return [in_float64(part) for part in config]
    if not isinstance(config, dict):
        return config
    changed = {name: in_float64(part) for name, part in config.items()}
    policy = config.get("class_name") == "DTypePolicy"
    if policy and isinstance(inside := changed.get("config"), dict) and inside["name"] in FLOATS:
        inside["name"] = "float64"
    if isinstance(config.get("dtype"), str) and config["dtype"] in FLOATS:
        changed["dtype"] = "float64"
    return changed


def from_file(path: str | Path) -> KerasFile:
    """What builds the model in a ``.keras`` file, running no code from it.

    Raises:
        InputError: it is no ``.keras`` file. What is wrong inside shows when it is built.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: expected a .keras file")
    if path.suffix != ".keras":
        raise InputError(
            f"{path} is not a .keras file, and others (HDF5, pickle) are not read: load it where "
            "you trust it and save it with model.save('model.keras')"
        )
    return KerasFile(path)


def check_code(path: Path, config: Any, inside: str = "the model") -> None:
    """Stops at anything in a file's description that only code from the file could give."""
    if isinstance(config, list):
        for each in config:
            check_code(path, each, inside)
    if not isinstance(config, dict):
        return
    kind, module = config.get("class_name"), config.get("module")
    if isinstance(kind, str):
        name = config["config"].get("name") if isinstance(config.get("config"), dict) else None
        inside = f"{kind} {name!r}" if name else inside
        package = str(module or "keras").split(".")[0]
        own = ">" in str(config.get("registered_name")) or package not in ("keras", "builtins")
        if own or kind in RUN_CODE:
            what = "code of its own" if own else "code"
            raise InputError(
                f"{path} needs {what} for {inside}, and loading a file never runs code from it: "
                "hand in the function that builds the model, path/to/file.py:function"
            )
    for each in config.values():
        check_code(path, each, inside)


# The calls of which a model consists.


@dataclass(frozen=True)
class Call:
    """One call of a layer (or of an operation such as ``x + y``) when the model runs."""

    operation: Any
    arguments: Any
    """Keras' record of the call's arguments; None where the model as a whole is the layer."""
    inputs: tuple[int, ...]
    """The numbers of the calls that it takes its input from; -1 is the model's input."""


def walkable(model: Any) -> bool:
    """Whether Keras knows the layers that a model calls, which are called by nothing else."""
    standard = isinstance(model, Functional | keras.Sequential) and type(model).call in (
        Functional.call,
        keras.Sequential.call,
    )
    return standard and (not isinstance(model, keras.Sequential) or model._functional is not None)


def walk(model: keras.Model) -> list[Call]:
    """The model's calls in the order in which they run; models within it are opened up."""
    if not walkable(model):
        return [Call(model, None, (-1,))]
    calls: list[Call] = []
    follow(model, [-1], calls)
    return calls


def follow(model: Any, inputs: list[int], calls: list[Call]) -> list[int]:
    """Adds a model's calls; returns the numbers of those that give its outputs."""
    function = model._functional if isinstance(model, keras.Sequential) else model
    source = dict(zip(map(id, function.inputs), inputs, strict=True))
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if node.is_input:
                continue
            taken = [source[id(tensor)] for tensor in node.input_tensors]
            if walkable(node.operation):
                given = follow(node.operation, taken, calls)
            else:
                calls.append(Call(node.operation, node.arguments, tuple(taken)))
                given = [len(calls) - 1] * len(node.outputs)
            source |= dict(zip(map(id, node.outputs), given, strict=True))
    return [source[id(tensor)] for tensor in function.outputs]


SPATIAL = (
    layers.Conv1D,
    layers.Conv2D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.UpSampling2D,
)
"""Layers whose ``data_format`` says where the channels are."""


def channels_first(calls: list[Call]) -> bool:
    """Whether the channels are first throughout."""
    formats = {call.operation.data_format for call in calls if isinstance(call.operation, SPATIAL)}
    return formats == {"channels_first"}


# What a layer does, as data.


@dataclass(frozen=True)
class Seen:
    """A call and the shapes that went through it, without the batch, channels last."""

    layer: Any
    arguments: Any
    inputs: list[Shape]
    shape: Shape
    channels_first: bool
    """Whether that is how the layer itself got and gave them."""

    @property
    def spatial(self) -> bool:
        return len(self.inputs[0]) > 1

    @property
    def data_format(self) -> str:
        return "channels_first" if self.channels_first else "channels_last"

    def is_channel_axis(self, axis: int) -> bool:
        """Whether a layer's ``axis`` is the channels of its input."""
        rank = len(self.inputs[0]) + 1
        return axis % rank == (1 if self.channels_first and self.spatial else rank - 1)


@dataclass(frozen=True)
class Does:
    """A node's kind and attributes, and its variables by role."""

    kind: str
    attributes: dict[str, Any]
    variables: dict[str, Any]


def does(kind: str, variables: dict[str, Any] | None = None, **attributes: Any) -> Does:
    """The node's description; variables that a layer has not are left out."""
    present = {role: each for role, each in (variables or {}).items() if each is not None}
    return Does(kind, attributes, present)


def paddings(
    padding: str, spatial: Shape, window: Shape, strides: Shape, dilation: Shape
) -> list[list[int]]:
    """The pixels that Keras adds before and after each spatial axis; on all backends the same."""
    if padding == "valid":
        return [[0, 0] for _ in spatial]
    if padding == "causal":
        return [[dilation[0] * (window[0] - 1), 0]]
    pixels = []
    for length, size, stride, step in zip(spatial, window, strides, dilation, strict=True):
        extent, steps = (size - 1) * step + 1, -(-length // stride)
        total = max((steps - 1) * stride + extent - length, 0)
        pixels.append([total // 2, total - total // 2])
    return pixels


def convolution(layer: Any, seen: Seen) -> Does | None:
    if layer.data_format != seen.data_format:
        return None
    *spatial, channels = seen.inputs[0]
    depthwise = isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D)
    return does(
        "conv",
        {"kernel": layer.kernel, "bias": layer.bias},
        strides=list(layer.strides),
        padding=paddings(
            layer.padding, tuple(spatial), layer.kernel_size, layer.strides, layer.dilation_rate
        ),
        dilation=list(layer.dilation_rate),
        groups=channels if depthwise else layer.groups,
    )


SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, *SEPARABLE)


def depthwise_kernel(layer: Any) -> Any:
    return layer.depthwise_kernel if isinstance(layer, SEPARABLE) else layer.kernel


def separable(layer: Any) -> bool:
    """Whether a layer is two convolutions: each channel by itself, then all of a pixel."""
    known = next((cls for cls in type(layer).__mro__ if cls in SEPARABLE), None)
    return bool(known) and is_kerass_own(layer, known) and layer.data_format == "channels_last"


def parted(layer: Any, seen: Seen) -> tuple[Seen, Does, Does]:
    """What is between a separable convolution's two, and what each of them does."""
    *spatial, channels = seen.inputs[0]
    ones, pixels = [1] * len(spatial), [[0, 0]] * len(spatial)
    padding = paddings(
        layer.padding, tuple(spatial), layer.kernel_size, layer.strides, layer.dilation_rate
    )
    first = does(
        "conv", {"kernel": layer.depthwise_kernel}, strides=list(layer.strides),
        padding=padding, dilation=list(layer.dilation_rate), groups=channels,
    )  # fmt: skip
    second = does(
        "conv", {"kernel": layer.pointwise_kernel, "bias": layer.bias},
        strides=ones, padding=pixels, dilation=ones, groups=1,
    )  # fmt: skip
    shape = (*seen.shape[:-1], channels * layer.depth_multiplier)
    return Seen(layer, None, seen.inputs, shape, seen.channels_first), first, second


def depthwise(layer: Any, x: Any) -> Any:
    """What a separable convolution's first one gives."""
    return keras.ops.depthwise_conv(
        keras.ops.cast(x, layer.compute_dtype),
        keras.ops.cast(layer.depthwise_kernel, layer.compute_dtype),
        layer.strides, layer.padding, layer.data_format, layer.dilation_rate,
    )  # fmt: skip


def pointwise(layer: Any, x: Any) -> Any:
    """What a separable convolution's second one gives, before its activation."""
    y = keras.ops.conv(x, layer.pointwise_kernel, 1, "valid", layer.data_format)
    return y if layer.bias is None else y + layer.bias


def dense(layer: Any, seen: Seen) -> Does | None:
    if seen.channels_first and seen.spatial:
        return None  # It works on the last axis, which is none of the channels.
    return does("dense", {"kernel": layer.kernel, "bias": layer.bias})


def pooling(layer: Any, seen: Seen) -> Does | None:
    if layer.data_format != seen.data_format:
        return None
    spatial, none = seen.inputs[0][:-1], (1,) * len(layer.pool_size)
    pixels = paddings(layer.padding, spatial, layer.pool_size, layer.strides, none)
    common = {"size": list(layer.pool_size), "strides": list(layer.strides), "padding": pixels}
    if isinstance(layer, layers.MaxPooling1D | layers.MaxPooling2D):
        return does("max_pool", **common)
    if keras.config.backend() == "torch" and any(before != after for before, after in pixels):
        return None  # Here Keras repeats the pixels at the edge and counts them.
    return does("average_pool", **common, count_padding=False)


def global_pooling(layer: Any, seen: Seen) -> Does | None:
    if layer.data_format != seen.data_format or layer.keepdims:
        return None
    average = isinstance(layer, layers.GlobalAveragePooling1D | layers.GlobalAveragePooling2D)
    return does("global_average_pool" if average else "global_max_pool")


def normalisation(layer: Any, seen: Seen) -> Does | None:
    if layer.renorm or not seen.is_channel_axis(layer.axis):
        return None
    variables = {
        "gamma": layer.gamma,
        "beta": layer.beta,
        "mean": layer.moving_mean,
        "variance": layer.moving_variance,
    }
    return does(
        "batch_norm", variables, epsilon=layer.epsilon, momentum=layer.momentum, unbiased=False
    )


FUNCTIONS: dict[Any, tuple[str, float | None]] = {
    activations.relu: ("relu", None),
    activations.leaky_relu: ("leaky_relu", 0.2),
    activations.elu: ("elu", 1.0),
    activations.selu: ("selu", None),
    activations.gelu: ("gelu", None),
    activations.tanh: ("tanh", None),
    activations.sigmoid: ("sigmoid", None),
    activations.softmax: ("softmax", None),
    activations.log_softmax: ("log_softmax", None),
    activations.softplus: ("softplus", None),
    activations.silu: ("silu", None),
    activations.relu6: ("relu6", None),
    activations.exponential: ("exponential", None),
}
"""Keras' activation functions and the slopes that they have when called with nothing else."""


def activation(function: Any, seen: Seen) -> Does | None:
    """What an activation does that is given as a function or as a layer."""
    if isinstance(function, keras.Layer):
        describe = describer(function)
        return describe(function, seen) if describe else None
    name, slope = FUNCTIONS.get(function, (None, None))
    if name is None or ("softmax" in name and not seen.is_channel_axis(-1)):
        return None
    return does("activation", function=name, slope=slope)


def relu(layer: Any, seen: Seen) -> Does | None:
    slope, top, threshold = layer.negative_slope, layer.max_value, layer.threshold
    if threshold or (slope and top is not None) or top not in (None, 6):
        return None
    if slope:
        return does("activation", function="leaky_relu", slope=float(slope))
    return does("activation", function="relu" if top is None else "relu6", slope=None)


def leaky_relu(layer: Any, seen: Seen) -> Does:
    return does("activation", function="leaky_relu", slope=float(layer.negative_slope))


def elu(layer: Any, seen: Seen) -> Does:
    return does("activation", function="elu", slope=float(layer.alpha))


def softmax(layer: Any, seen: Seen) -> Does | None:
    if not isinstance(layer.axis, int) or not seen.is_channel_axis(layer.axis):
        return None
    return does("activation", function="softmax", slope=None)


def dropout(layer: Any, seen: Seen) -> Does | None:
    return does("dropout", rate=float(layer.rate)) if layer.noise_shape is None else None


def flatten(layer: Any, seen: Seen) -> Does | None:
    turns = layer.data_format == "channels_first"  # Then it puts them last before it flattens.
    if np.prod(seen.inputs[0][:-1]) == 1 or turns == seen.channels_first:
        return does("flatten", order="last")
    return does("flatten", order="first") if seen.channels_first else None


def reshape(layer: Any, seen: Seen) -> Does | None:
    shapes = (seen.inputs[0], seen.shape)
    if seen.channels_first and any(len(shape) > 1 and shape[-1] != 1 for shape in shapes):
        return None  # In the graph's layout it would also change the order.
    return does("reshape", shape=list(seen.shape))


def zero_padding(layer: Any, seen: Seen) -> Does | None:
    if layer.data_format != seen.data_format:
        return None
    pixels = [layer.padding] if isinstance(layer, layers.ZeroPadding1D) else layer.padding
    return does("pad", padding=[list(each) for each in pixels])


def by_channel(numbers: Any) -> float | list[float]:
    """One number, or a list of them, from whatever a layer keeps."""
    array = np.asarray(numbers, np.float64).squeeze()
    return float(array) if array.ndim == 0 else array.tolist()


def rescaling(layer: Any, seen: Seen) -> Does | None:
    sizes = [np.shape(layer.scale), np.shape(layer.offset)]
    turned = seen.channels_first and keras.config.image_data_format() != "channels_first"
    if any(size not in ((), seen.inputs[0][-1:]) or (size and turned) for size in sizes):
        return None
    return does("rescale", scale=by_channel(layer.scale), offset=by_channel(layer.offset))


def feature_normalisation(layer: Any, seen: Seen) -> Does | None:
    if layer.invert or any(not seen.is_channel_axis(axis) for axis in layer.axis):
        return None
    mean, variance = (to_array(each).astype(np.float64) for each in (layer.mean, layer.variance))
    scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    return does("rescale", scale=by_channel(scale), offset=by_channel(-mean * scale))


def addition(layer: Any, seen: Seen) -> Does | None:
    return does("add") if set(seen.inputs) == {seen.shape} else None


def concatenation(layer: Any, seen: Seen) -> Does | None:
    return does("concatenate") if seen.is_channel_axis(layer.axis) else None


Describe = Callable[[Any, Seen], Does | None]

LAYERS: dict[type, Describe] = {
    layers.Conv1D: convolution,
    layers.Conv2D: convolution,
    layers.DepthwiseConv1D: convolution,
    layers.DepthwiseConv2D: convolution,
    layers.Dense: dense,
    layers.MaxPooling1D: pooling,
    layers.MaxPooling2D: pooling,
    layers.AveragePooling1D: pooling,
    layers.AveragePooling2D: pooling,
    layers.GlobalAveragePooling1D: global_pooling,
    layers.GlobalAveragePooling2D: global_pooling,
    layers.GlobalMaxPooling1D: global_pooling,
    layers.GlobalMaxPooling2D: global_pooling,
    layers.BatchNormalization: normalisation,
    layers.Activation: lambda layer, seen: activation(layer.activation, seen),
    layers.ReLU: relu,
    layers.LeakyReLU: leaky_relu,
    layers.ELU: elu,
    layers.Softmax: softmax,
    layers.Dropout: dropout,
    layers.Flatten: flatten,
    layers.Reshape: reshape,
    layers.ZeroPadding1D: zero_padding,
    layers.ZeroPadding2D: zero_padding,
    layers.Rescaling: rescaling,
    layers.Normalization: feature_normalisation,
    layers.Add: addition,
    layers.Concatenate: concatenation,
}
"""How the layers that a graph can express are described; None where the layer at hand is none."""

WITH_ACTIVATION = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.Dense,
    layers.EinsumDense,
)
"""Layers that end with the activation that they have as an argument."""

NOTHING = (layers.InputLayer, layers.Identity, layers.ActivityRegularization)
"""Layers that give what they get."""


def is_kerass_own(layer: Any, known: type) -> bool:
    """Whether a layer of a user's class derived from a known one still computes as that does."""
    derived = type(layer).__mro__[: type(layer).__mro__.index(known)]
    computing = {"call", "__call__", "convolution_op"}
    return not any(computing & vars(cls).keys() for cls in derived)


def describer(layer: Any) -> Describe | None:
    """What describes a layer, if a graph can express it."""
    for cls in type(layer).__mro__:
        if cls in LAYERS:
            return LAYERS[cls] if is_kerass_own(layer, cls) else None
    return None


def own_activation(layer: Any) -> Any:
    """The activation that a layer has as an argument and ends with, or None."""
    known = next((cls for cls in type(layer).__mro__ if cls in WITH_ACTIVATION), None)
    if known is None or not is_kerass_own(layer, known):
        return None
    return None if layer.activation in (None, activations.linear) else layer.activation


def changes_nothing(layer: Any) -> bool:
    linear = isinstance(layer, layers.Activation) and layer.activation is activations.linear
    return linear or type(layer) in NOTHING


OPERATIONS: dict[str, tuple[str, str | None]] = {
    "Relu": ("relu", None),
    "Relu6": ("relu6", None),
    "LeakyRelu": ("leaky_relu", "negative_slope"),
    "Elu": ("elu", "alpha"),
    "Selu": ("selu", None),
    "Tanh": ("tanh", None),
    "Sigmoid": ("sigmoid", None),
    "Softplus": ("softplus", None),
    "Silu": ("silu", None),
    "Exp": ("exponential", None),
}
"""Operations of ``keras.ops`` that are activations, and what each calls its slope."""


def operation(made: Any, seen: Seen) -> Does | None:
    """What a call of something in ``keras.ops`` does, such as ``x + y``."""
    name = type(made).__name__
    if name in OPERATIONS:
        function, attribute = OPERATIONS[name]
        slope = float(getattr(made, attribute)) if attribute else None
        return does("activation", function=function, slope=slope)
    if name == "Gelu":
        return does("activation", function="gelu_tanh" if made.approximate else "gelu", slope=None)
    if name in ("Softmax", "LogSoftmax"):
        if not isinstance(made.axis, int) or not seen.is_channel_axis(made.axis):
            return None
        return does(
            "activation", function="log_softmax" if "Log" in name else "softmax", slope=None
        )
    if name == "Add" and len(seen.inputs) == 2:
        return addition(made, seen)
    return arithmetic(name, seen)


def arithmetic(name: str, seen: Seen) -> Does | None:
    """``x * 2``, ``x / 255``, ``1 - x`` and the like."""
    match [number(each) for each in seen.arguments.args], name:
        case ([None, float(value)] | [float(value), None], "Multiply"):
            return does("rescale", scale=value, offset=0.0)
        case [None, float(value)], "TrueDivide" | "Divide":
            return does("rescale", scale=1 / value, offset=0.0)
        case ([None, float(value)] | [float(value), None], "Add"):
            return does("rescale", scale=1.0, offset=value)
        case [None, float(value)], "Subtract":
            return does("rescale", scale=1.0, offset=-value)
        case [float(value), None], "Subtract":
            return does("rescale", scale=-1.0, offset=value)
    return None


def number(argument: Any) -> float | None:
    return float(argument) if isinstance(argument, int | float | np.number) else None


def describe(seen: Seen) -> Does | None:
    """What a layer or operation does before its own activation; None if a graph can't say it."""
    if isinstance(seen.layer, keras.Layer):
        how = describer(seen.layer)
        return how(seen.layer, seen) if how else None
    return operation(seen.layer, seen)


def class_name(thing: Any) -> str:
    """What the user calls a layer or a function."""
    return getattr(thing, "__name__", None) or type(thing).__name__


# Graphs.


@dataclass(frozen=True)
class Outlet:
    """Where a node's output is to be had: of which call, and which of its `Outputs`."""

    call: int
    part: int


class Drawing:
    """Makes a graph of a model's calls and of the shapes that were seen to go through them."""

    def __init__(self, given: Given, calls: list[Call], names: dict[int, str], turned: bool):
        self.given, self.calls, self.names, self.turned = given, calls, names, turned
        self.nodes: list[Node] = []
        self.outlets: dict[str, Outlet] = {}
        self.kernels: dict[str, Shape] = {}
        """By parameter, its shape in the graph where that is not the variable's own."""

    def draw(self, input_shape: Shape, shapes: list[Shape]) -> Graph:
        """The graph, from the shape of each call's output without the batch, channels last."""
        shape_of = dict(enumerate(shapes)) | {-1: input_shape}
        node_of = {-1: INPUT}
        for number, call in enumerate(self.calls):
            seen = Seen(
                call.operation,
                call.arguments,
                [shape_of[source] for source in call.inputs],
                shapes[number],
                self.turned,
            )
            sources = tuple(node_of[source] for source in call.inputs)
            node_of[number] = self.add(number, seen, sources)
        if not self.nodes:
            raise InputError(f"the model {self.given.model.name} has no layer that does anything")
        return Graph(input_shape, tuple(self.nodes))

    def add(self, number: int, seen: Seen, sources: tuple[str, ...]) -> str:
        """Adds a call's nodes, from none to three; returns the one that gives its output."""
        layer = seen.layer
        if changes_nothing(layer):
            return sources[0]
        name, own, part = self.unused(layer.name), own_activation(layer), 0
        if separable(layer):
            halfway, first, second = parted(layer, seen)
            self.node(f"{name}/depthwise", number, 0, layer, sources, halfway, first)
            self.node(name, number, 1, layer, (f"{name}/depthwise",), seen, second)
            part = 1
        else:
            self.node(name, number, 0, layer, sources, seen, describe(seen))
        if own is None:
            return name
        after = Seen(own, None, [seen.shape], seen.shape, seen.channels_first)
        ended = f"{name}/activation"
        self.node(ended, number, part + 1, own, (name,), after, activation(own, after))
        return ended

    def node(
        self,
        name: str,
        number: int,
        part: int,
        thing: Any,
        sources: tuple[str, ...],
        seen: Seen,
        done: Does | None,
    ) -> None:
        """Adds one node, a custom one where there is no saying what it does."""
        if done is None or any(id(each) not in self.names for each in done.variables.values()):
            variables = getattr(thing, "weights", [])
            if part == 0 and isinstance(own_activation(thing), keras.Layer):
                of_activation = {id(each) for each in own_activation(thing).weights}
                variables = [each for each in variables if id(each) not in of_activation]
            known = [each for each in variables if id(each) in self.names]
            roles = {str(number): each for number, each in enumerate(known)}
            done = Does("custom", {"class": class_name(thing)}, roles)
        layer = self.calls[number].operation
        parameters = {role: self.names[id(each)] for role, each in done.variables.items()}
        if isinstance(layer, DEPTHWISE) and part == 0:
            *window, channels, multiplier = depthwise_kernel(layer).shape
            if done.kind == "conv":
                self.kernels[parameters["kernel"]] = (*window, 1, channels * multiplier)
        where = self.given.places.get(id(layer))
        self.nodes.append(
            Node(name, done.kind, sources, seen.shape, done.attributes, parameters, where)
        )
        self.outlets[name] = Outlet(number, part)

    def unused(self, name: str) -> str:
        """The layer's name, or with a number where it is called again."""
        names = [name, *(f"{name}/{count}" for count in range(2, len(self.calls) + 2))]
        return next(each for each in names if each not in self.outlets)


def parameter_names(model: keras.Model, calls: list[Call]) -> dict[int, str]:
    """By the ``id`` of a variable, ``layer/kernel``: for all numbers that the model keeps."""
    layer_of = {
        id(variable): call.operation.name
        for call in reversed(calls)
        for variable in getattr(call.operation, "weights", [])
        if call.operation is not model
    }
    variables = [each for each in model.weights if "float" in str(each.dtype)]
    short = [
        f"{layer_of[id(each)]}/{each.name}" if id(each) in layer_of else each.path
        for each in variables
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


# Watching a model, and holding it still.


@contextmanager
def shadowed(thing: Any, attribute: str, value: Any) -> Iterator[None]:
    """Gives an object another attribute for the time, unnoticed by the framework's tracking."""
    own, missing = vars(thing), object()
    before = own.get(attribute, missing)
    own[attribute] = value
    try:
        yield
    finally:
        if before is missing:
            del own[attribute]
        else:
            own[attribute] = before


@contextmanager
def restored(variables: list[Any]) -> Iterator[None]:
    """Puts the variables' values back in the end."""
    kept = [np.array(keras.ops.convert_to_numpy(each)) for each in variables]
    try:
        yield
    finally:
        with without_gradients():
            for variable, value in zip(variables, kept, strict=True):
                variable.assign(value)


Outputs = dict[int, list[np.ndarray]]
"""By call, its output, after what there is within: between its two convolutions, before its own
activation."""


@contextmanager
def watched(layer: Any, numbers: list[int], outputs: Outputs) -> Iterator[None]:
    """Keeps what a layer gives, for as many calls as it has numbers."""
    call, own, waiting = layer.call, own_activation(layer), iter(numbers)
    before: list[np.ndarray] = []

    def ending(values: Any) -> Any:
        before.append(to_array(values))
        return own(values)

    @wraps(call)
    def keeping(*args: Any, **kwargs: Any) -> Any:
        before.clear()
        if separable(layer):
            before.append(to_array(depthwise(layer, args[0])))
        given = call(*args, **kwargs)
        if (number := next(waiting, None)) is not None:
            outputs[number] = [*before, to_array(keras.tree.flatten(given)[0])]
        return given

    with ExitStack() as stack:
        stack.enter_context(shadowed(layer, "call", keeping))
        if own is not None:
            stack.enter_context(shadowed(layer, "activation", ending))
        yield


RANDOM = {
    layers.Dropout: ("rate",),
    layers.GaussianDropout: ("rate",),
    layers.AlphaDropout: ("rate",),
    layers.GaussianNoise: ("stddev",),
    layers.SimpleRNNCell: ("dropout", "recurrent_dropout"),
    layers.GRUCell: ("dropout", "recurrent_dropout"),
    layers.LSTMCell: ("dropout", "recurrent_dropout"),
}
"""Layers that draw lots in training, and the attributes that are zero where they do not."""


@contextmanager
def without_dropout(model: keras.Model) -> Iterator[None]:
    """Nothing is dropped for the time, however deep in the model."""
    with ExitStack() as stack:
        for layer in model._flatten_layers():
            for kind, attributes in RANDOM.items():
                for attribute in attributes if isinstance(layer, kind) else ():
                    stack.enter_context(shadowed(layer, attribute, 0.0))
        yield


@contextmanager
def eagerly(model: keras.Model) -> Iterator[None]:
    """Training steps run as they are written, uncompiled, so that values can be looked at."""
    compiled, before = model.run_eagerly, model.train_function
    model.run_eagerly, model.train_function = True, None
    with tensorflow_eagerly() if keras.config.backend() == "tensorflow" else nullcontext():
        try:
            yield
        finally:
            model.run_eagerly, model.train_function = compiled, before


@contextmanager
def tensorflow_eagerly() -> Iterator[None]:
    """Functions that the user has compiled run uncompiled too."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def without_gradients() -> AbstractContextManager[Any]:
    """Variables may be changed and arrays be had; only PyTorch must be told so."""
    if keras.config.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


class BatchProbe(keras.Model):
    """Notes the batches that Keras' own ``fit`` makes of its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.built = True
        self.compile(optimizer="sgd", run_eagerly=True)  # JAX asks it for variables.
        self.optimizer.build([])
        self.epochs: list[list[Batch]] = []

    def call(self, inputs: Any) -> Any:
        return inputs

    def reset_metrics(self) -> None:
        """Called by ``fit`` at the start of each epoch."""
        self.epochs.append([])

    def train_step(self, *given: Any) -> Any:
        """Called with a batch; on JAX with a state before it, which it gives back."""
        *state, data = given
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.epochs[-1].append((to_array(x), to_numbers(y)))
        return ({"loss": 0.0}, state[0]) if state else {"loss": 0.0}


def as_fit_feeds(train_step: Callable[..., Any]) -> Callable[..., Any]:
    """A user's step, which gets (x, y) as from ``fit``; ``train_on_batch`` hands it (x, y, None).

    On JAX there is a state before the data.
    """

    def step(*given: Any) -> Any:
        *state, data = given
        return train_step(*state, keras.utils.pack_x_y_sample_weight(*data))

    return step


def to_numbers(tensor: Any) -> np.ndarray:
    """A batch's targets: whole numbers stay whole."""
    array = np.array(keras.ops.convert_to_numpy(tensor))
    return array.astype(np.int64) if array.dtype.kind in "iub" else to_array(array)


# Losses.

TARGETS = {
    "sparsecategoricalcrossentropy": "classes",
    "categoricalcrossentropy": "one_hot",
    "categoricalfocalcrossentropy": "one_hot",
    "categoricalhinge": "one_hot",
    "kldivergence": "one_hot",
    "binarycrossentropy": "binary",
    "binaryfocalcrossentropy": "binary",
    "hinge": "binary",
    "squaredhinge": "binary",
    "meansquarederror": "values",
    "mse": "values",
    "meanabsoluteerror": "values",
    "mae": "values",
    "meanabsolutepercentageerror": "values",
    "meansquaredlogarithmicerror": "values",
    "cosinesimilarity": "values",
    "huber": "values",
    "logcosh": "values",
    "poisson": "values",
}
"""What Keras' losses take, by their names or classes, without capitals and underscores."""


def loss_targets(loss: Any, output_shape: Shape) -> str:
    """What a compiled model's loss takes, for an output of this shape."""
    while isinstance(loss, dict | list | tuple) and len(loss) == 1:
        loss = next(iter(loss.values() if isinstance(loss, dict) else loss))
    if isinstance(loss, str):
        names = [class_name(keras.losses.get(loss))]
    elif isinstance(loss, keras.losses.Loss):
        names = [cls.__name__ for cls in type(loss).__mro__]
    else:
        names = [class_name(loss)]
    known = [TARGETS.get(name.lower().replace("_", "")) for name in names]
    classes = output_shape[-1] if output_shape else 1
    targets = next(filter(None, known), "classes" if classes > 1 else "values")
    return "one_hot" if targets == "binary" and classes > 1 else targets


# The adapter.


class Adapter:
    """A side in Keras; see `diptych.auditing.frameworks.protocol`."""

    def __init__(self, build: Callable[[int], Any], like: "Adapter | None" = None) -> None:
        """Builds the side.

        Args:
            build: see the protocol.
            like: an adapter of the same function, whose names nodes and parameters get.
        """
        self.framework = framework()
        self.build = build
        self.given = built(build, 0)
        self.model, self.extras = self.given.model, self.given.extras
        if not self.model.built:
            self.build_on_data()
        self.check_ends()
        self.input_shape = self.find_input_shape()
        self.calls = walk(self.model) if walkable(self.model) else self.followed()
        self.turned = channels_first(self.calls)
        self.finish_building()
        if like:
            self.take_names(like)
        self.names = parameter_names(self.model, self.calls)
        self.trains = self.model.compiled and self.model.optimizer is not None and self.has_loss()
        if self.trains:
            self.freshen_optimiser()
        if self.has_own_step():
            self.model.train_step = as_fit_feeds(self.model.train_step)
        self.draw()
        self.targets = loss_targets(self.model.loss, self.graph().nodes[-1].shape)
        self.prepares = "prepare" in self.extras or "data" in self.extras
        self.callers: dict[bool, Callable[[Any], Any]] = {}
        """By mode, the model as its user calls it, once that was asked for."""
        self.still_function: Any = None
        """Keras' compiled training step with dropout off, once there is one."""
        self.first = self.parameters()

    # What it is.

    def take_names(self, other: "Adapter") -> None:
        """Gives layers and variables the names of another build's: Keras numbers those that the
        user has not named, and goes on counting."""
        mine, theirs = ([call.operation for call in side.calls] for side in (self, other))
        if [type(made) for made in mine] != [type(made) for made in theirs]:
            raise NotImplementedError(
                f"the function returned another network when it was called again: its model has "
                f"{len(mine)} layers, and had {len(theirs)}"
            )
        for one, same in [
            *zip(mine, theirs, strict=True),
            *zip(self.model._flatten_layers(), other.model._flatten_layers(), strict=False),
        ]:
            one.name = same.name
        for one, same in zip(self.model.weights, other.model.weights, strict=False):
            one._path = same.path

    def check_ends(self) -> None:
        """Stops at models with several inputs or outputs."""
        if not walkable(self.model):
            return
        for name, ends in (("inputs", self.model.inputs), ("outputs", self.model.outputs)):
            if len(ends) != 1:
                named = ", ".join(tensor.name for tensor in ends)
                raise InputError(
                    f"the model {self.model.name} has {len(ends)} {name} ({named}): an audit is of "
                    f"models with one; hand in a model with one of them"
                )

    def find_input_shape(self) -> Shape:
        """The input's shape as Keras has it, without the batch."""
        walked = walkable(self.model)
        shape = (self.model.inputs[0].shape if walked else self.built_shape())[1:]
        if None in shape:
            raise InputError(
                f"the model {self.model.name} takes inputs of shape {tuple(shape)}: an audit needs "
                "numbers; give it a keras.Input(shape=…) with them"
            )
        return tuple(shape)

    def built_shape(self) -> tuple[Any, ...]:
        """The shape that a subclassed model was built with, the batch's size included."""
        config = self.model.get_build_config() or {}
        shape = config.get("input_shape") or next(iter(config.get("shapes_dict", {}).values()), ())
        if not shape or not all(size is None or isinstance(size, int) for size in shape):
            raise InputError(
                f"the model {self.model.name} does not say what it takes: an audit is of models "
                "with one input; call model.build((None, …)) with its shape, or give a keras.Input"
            )
        return tuple(shape)

    def build_on_data(self) -> None:
        """Calls a model that has not been built with one of the user's examples."""
        if "data" in self.extras:
            x = np.asarray(self.extras["data"][0])[:1]
        elif "prepare" in self.extras:
            images = np.zeros((1, 28, 28, 1), np.uint8)
            x = np.asarray(self.extras["prepare"](images, np.zeros(1, np.int64))[0])
        else:
            raise InputError(
                f"the model {self.model.name} has not been built, so it has no weights yet: give "
                "it a keras.Input as its first layer, or call model.build((None, …))"
            )
        if isinstance(self.model, keras.Sequential):
            self.model.build((None, *x.shape[1:]))
        self.forward(x, training=False)

    def followed(self) -> list[Call]:
        """The calls that a model makes whose ``call`` the user has written.

        They are had by calling it on a symbol. That fails where it does more than call its layers;
        the model is then one black box.
        """
        black_box = walk(self.model)
        self.forward(self.blank(), training=False)  # For Keras to make the layers' weights.
        try:
            symbol = keras.Input(self.input_shape)
            traced = keras.Model(symbol, self.model.call(symbol))
        except Exception:
            return black_box
        calls, own = walk(traced), {id(each) for each in self.model._flatten_layers()}
        whole = {id(each) for each in traced.weights} == {id(each) for each in self.model.weights}
        return calls if whole and all(id(c.operation) in own for c in calls) else black_box

    def blank(self) -> np.ndarray:
        """One example of nothing, in Keras' layout."""
        return self.typed(np.zeros((1, *self.input_shape), np.float32))

    def finish_building(self) -> None:
        """Has all weights made: some are only when their layer is first called."""
        with restored(self.model.weights):
            self.forward(self.blank(), training=False)

    def has_loss(self) -> bool:
        cls = type(self.model)
        return (
            self.model.loss is not None
            or cls.compute_loss is not keras.Model.compute_loss
            or self.has_own_step()
        )

    def has_own_step(self) -> bool:
        """Whether the user has written the training step."""
        return type(self.model).train_step is not keras.Model.train_step

    def freshen_optimiser(self) -> None:
        """Sees to it that the optimiser has variables, and that they are as at its first step."""
        used = self.model.optimizer
        if used.built and int(used.iterations) > 0:
            self.model.optimizer = type(used).from_config(used.get_config())
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)

    def draw(self) -> None:
        """Draws the graph, with the shapes that are seen when the model runs."""
        with self.experiment():
            outputs = self.observe(lambda: self.forward(self.blank(), training=False))
        if missing := [c.operation.name for i, c in enumerate(self.calls) if i not in outputs]:
            raise InputError(
                f"the model {self.model.name} does not call its layer {missing[0]} when it "
                "predicts: an audit needs to see every layer at work"
            )
        shapes = [self.turn(outputs[i][-1]).shape[1:] for i in range(len(self.calls))]
        drawing = Drawing(self.given, self.calls, self.names, self.turned)
        self.drawn = drawing.draw(self.turn(self.blank()).shape[1:], shapes)
        self.outlets, self.kernels = drawing.outlets, drawing.kernels

    def graph(self) -> Graph:
        return self.drawn

    # Arrays and where they belong.

    def turn(self, array: np.ndarray) -> np.ndarray:
        """Keras' layout (n, …) to the graph's."""
        return np.moveaxis(array, 1, -1) if self.turned and array.ndim > 2 else array

    def turn_back(self, array: np.ndarray) -> np.ndarray:
        """The graph's layout (n, …) to Keras'."""
        array = np.asarray(array)
        turned = np.moveaxis(array, -1, 1) if self.turned and array.ndim > 2 else array
        return np.ascontiguousarray(turned)

    def typed(self, x: np.ndarray) -> np.ndarray:
        """Whole numbers for a model that takes them."""
        dtype = self.model.inputs[0].dtype if walkable(self.model) else "float32"
        return x.astype(dtype) if "int" in dtype else x

    def fed(self, x: np.ndarray, targets: np.ndarray) -> Batch:
        """A batch in the graph's layout as it is fed to the model and to its loss."""
        return self.typed(self.turn_back(x)), self.fed_targets(targets)

    def fed_targets(self, targets: np.ndarray) -> np.ndarray:
        return self.turn_back(targets) if self.targets == "values" else np.asarray(targets)

    def variables(self) -> dict[str, Any]:
        """The model's variables by their names."""
        return {self.names[id(each)]: each for each in self.model.weights if id(each) in self.names}

    def array(self, name: str, tensor: Any) -> np.ndarray:
        """A parameter, or its gradient, in the graph's layout."""
        array = to_array(tensor)
        return array.reshape(self.kernels.get(name, array.shape))

    def parameters(self) -> Arrays:
        return {name: self.array(name, each) for name, each in self.variables().items()}

    def load(self, parameters: Arrays) -> None:
        variables = self.variables()
        with without_gradients():
            for name, value in parameters.items():
                variables[name].assign(value.reshape(variables[name].shape))

    @contextmanager
    def experiment(self) -> Iterator[None]:
        """Leaves the parameters and the optimiser as they were, whatever is done."""
        optimiser = self.model.optimizer.variables if self.trains else []
        self.forget_gradients()
        with restored([*self.model.weights, *optimiser]):
            yield
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Clears what PyTorch keeps with its tensors: a user's own step may not."""
        if keras.config.backend() == "torch":
            for each in self.model.weights:
                each.value.grad = None

    # Running.

    def forward(self, x: np.ndarray, training: bool) -> Any:
        """Calls the model as Keras' own training and prediction do."""
        if keras.config.backend() == "torch":
            self.model.train(training)
        with without_gradients():
            if self.model._call_has_training_arg:
                return self.model(x, training=training)
            return self.model(x)

    def observe(self, run: Callable[[], Any]) -> Outputs:
        """What every call gives while the model runs for the first time."""
        outputs: Outputs = {}
        numbers: dict[int, list[int]] = {}
        for number, call in enumerate(self.calls):
            numbers.setdefault(id(call.operation), []).append(number)
        with ExitStack() as stack:
            for mine in numbers.values():
                layer = self.calls[mine[0]].operation
                stack.enter_context(watched(layer, mine, outputs))
            run()
        return outputs

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        x, before = self.typed(self.turn_back(x)), self.parameters()
        with self.experiment():
            if training and self.trains and self.has_own_step():
                outputs = self.observe_own_step(x)
            else:
                outputs = self.observe(lambda: self.forward(x, training))
            after = self.parameters() if training else {}
        record = {
            name: self.turn(outputs[outlet.call][outlet.part])
            for name, outlet in self.outlets.items()
            if outlet.call in outputs
        }
        return record | {f"parameter:{name}": after[name] for name in self.moving(before, after)}

    def observe_own_step(self, x: np.ndarray) -> Outputs:
        """What every call gives in the training step that the user has written.

        Its targets are made up: nothing that the layers give depends on them.
        """
        y = self.fed_targets(self.made_up_targets(len(x)))
        with eagerly(self.model), caught(self.model, {}):
            with self.experiment():
                self.train(x, y)  # At the first, Keras builds losses and metrics without values.
            return self.observe(lambda: self.train(x, y))

    def made_up_targets(self, count: int) -> np.ndarray:
        """Some targets of the shape and type that the loss takes, in the graph's layout."""
        if self.targets == "classes":
            return np.zeros(count, np.int64)
        y = np.zeros((count, *self.drawn.nodes[-1].shape), np.float32)
        if self.targets == "one_hot":
            y[..., 0] = 1
        return y

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        if training and self.trains and self.has_own_step():
            last = self.drawn.nodes[-1].name
            return np.stack([self.record(x, training)[last] for _ in range(runs)])
        batch = keras.ops.convert_to_tensor(self.typed(self.turn_back(x)))
        if training not in self.callers:
            self.callers[training] = caller(self.model, training)
        results = []
        for _ in range(runs):
            with restored(self.model.non_trainable_weights), without_gradients():
                output = keras.tree.flatten(self.callers[training](batch))[0]
                results.append(self.turn(to_array(output)))
        return np.stack(results)

    def model_output_shape(self, count: int) -> Shape:
        """The output's shape as Keras has it."""
        blank = np.zeros((count, *self.drawn.nodes[-1].shape), np.float32)
        return self.turn_back(blank).shape

    def moving(self, before: Arrays, after: Arrays) -> list[str]:
        """Moving averages, and whatever else training changes without a gradient."""
        averages = {
            node.parameters[role]
            for node in self.drawn.nodes
            if node.kind == "batch_norm"
            for role in ("mean", "variance")
        }
        return [
            name
            for name, value in after.items()
            if name in averages or not np.array_equal(value, before[name], equal_nan=True)
        ]

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        outlet = self.outlets[name]
        call = self.calls[outlet.call]
        tensors = [keras.ops.convert_to_tensor(self.turn_back(each)) for each in inputs]
        with self.experiment(), without_gradients():
            if call.arguments is None:
                return self.turn(to_array(self.forward(self.typed(inputs[0]), training)))
            if separable(call.operation) and outlet.part < 2:
                half = (depthwise, pointwise)[outlet.part]
                return self.turn(to_array(half(call.operation, tensors[0])))
            if outlet.part:
                return self.turn(to_array(own_activation(call.operation)(tensors[0])))
            return self.turn(to_array(self.run_call(call, tensors, training)))

    def run_call(self, call: Call, tensors: list[Any], training: bool) -> Any:
        """The output of one call for other inputs, before the layer's own activation."""
        symbols = call.arguments.keras_tensors
        args, kwargs = call.arguments.fill_in(
            {id(symbol): tensor for symbol, tensor in zip(symbols, tensors, strict=True)}
        )
        layer = call.operation
        if not isinstance(layer, keras.Layer):
            return layer(*args, **kwargs)
        linear = own_activation(layer) is not None
        with shadowed(layer, "activation", activations.linear) if linear else nullcontext():
            return keras.tree.flatten(layer(*args, **kwargs | {"training": training}))[0]

    # Data.

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        if "prepare" in self.extras:
            given = self.extras["prepare"](images, labels)
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise InputError(f"prepare returned {described(given)}: expected (x, y)")
            return self.as_graph(*given)
        if "data" in self.extras:
            x, y = self.extras["data"]
            return self.as_graph(x[: len(images)], y[: len(images)])
        return self.default_input(images), self.default_targets(labels)

    def as_graph(self, x: Any, y: Any) -> Batch:
        """The user's input and targets in the graph's layout."""
        x, y = to_array(x), to_numbers(y)
        if [size for size in x.shape[1:] if size != 1] != [s for s in self.input_shape if s != 1]:
            raise InputError(
                f"prepare or data gives inputs of shape {x.shape[1:]}: the model "
                f"{self.model.name} takes {self.input_shape}"
            )
        x = x.reshape(len(x), *self.input_shape)
        return self.turn(x), self.turn(y) if self.targets == "values" else y

    def default_input(self, images: np.ndarray) -> np.ndarray:
        """Images from 0 to 1, in the shape that the model takes."""
        shape, count = self.drawn.input_shape, int(np.prod(images.shape[1:]))
        if np.prod(shape) != count:
            raise InputError(
                f"the model {self.model.name} takes inputs of shape {self.input_shape}, and images "
                f"are {images.shape[1:]}: return (model, extras) with 'prepare' or 'data' in extras"
            )
        return (images * np.float32(1 / 255)).astype(np.float32).reshape(len(images), *shape)

    def default_targets(self, labels: np.ndarray) -> np.ndarray:
        if self.targets == "classes":
            return labels.astype(np.int64)
        if self.targets == "one_hot":
            return np.eye(self.drawn.nodes[-1].shape[-1], dtype=np.float32)[labels]
        raise InputError(
            f"the loss of the model {self.model.name} takes {self.targets}, and labels are "
            "classes: return (model, extras) with 'prepare' or 'data' in extras"
        )

    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        x = np.empty((count, *self.input_shape), np.float32)
        x[...] = np.arange(count).reshape(-1, *(1 for _ in self.input_shape))
        y = np.arange(count)
        if self.targets != "classes":
            shape = self.model_output_shape(count)
            y = np.zeros(shape, np.float32) + y.reshape(-1, *(1 for _ in shape[1:]))
        return self.batched(x, y, epochs)

    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        return self.batched(*self.fed(x, y), epochs)

    def batched(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        """The batches of examples in Keras' layout; None where the user does not say."""
        if "batches" in self.extras:
            batches = [self.own_batches(x, y) for _ in range(epochs)]
        elif self.batches_by_fit():
            batches = self.fit_batches(x, y, epochs)
        else:
            return None
        return [[self.as_graph(*batch) for batch in epoch] for epoch in batches]

    def batches_by_fit(self) -> bool:
        """Whether it is ``fit`` that makes the batches, of arrays."""
        fit = self.extras.get("fit")
        return fit is not None and "batches" not in self.extras and "x" not in fit

    def own_batches(self, x: np.ndarray, y: np.ndarray) -> list[Batch]:
        """An epoch's batches by the user's own function."""
        given = self.extras["batches"](x, y)
        if isinstance(given, keras.utils.PyDataset):
            given = (given[i] for i in range(given.num_batches))
        if not isinstance(given, Iterable):
            raise InputError(f"batches returned {described(given)}: expected batches (x, y)")
        found: list[Batch] = []
        for batch in given:
            if not isinstance(batch, tuple | list) or len(batch) < 2:
                raise InputError(f"batches gave {described(batch)}: expected (x, y)")
            found.append((batch[0], batch[1]))
            if len(found) > 10 * len(x):
                raise InputError("batches does not end: expected the batches of one epoch")
        return found

    def fit_batches(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]]:
        """The batches that ``model.fit`` makes with the user's arguments."""
        if self.given.seeded or keras.config.backend() != "tensorflow":
            return self.fit_probe(x, y, epochs)
        # With our seed set, Keras on TensorFlow would shuffle every epoch the same way.
        found = []
        for epoch in range(epochs):
            keras.utils.set_random_seed(FIRST_SEED + epoch)
            found += self.fit_probe(x, y, 1)
        return found

    def fit_probe(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]]:
        said, probe = self.extras["fit"], BatchProbe()
        shaping = ("batch_size", "shuffle", "validation_split", "steps_per_epoch")
        probe.fit(
            x,
            y,
            epochs=epochs,
            verbose=0,
            validation_freq=epochs + 1,
            **{name: said[name] for name in shaping if name in said},
        )
        return probe.epochs[-epochs:]

    # Training.

    def train(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """One training step on a batch as it is fed; returns its loss before it, and metrics."""
        for metric in self.model._metrics:
            metric.reset_state()  # A user's own running mean, which Keras may not know of.
        logs = self.model.train_on_batch(
            x, y, sample_weight=self.sample_weight(y), return_dict=True
        )
        if "loss" not in logs:
            raise InputError(
                f"train_step of the model {self.model.name} returned {', '.join(logs) or 'nothing'}"
                ": expected a dict with 'loss' in it, the batch's loss"
            )
        return {name: float(value) for name, value in logs.items()}

    def sample_weight(self, y: np.ndarray) -> np.ndarray | None:
        """What the user's ``class_weight`` makes of a batch's targets, or the first of their
        ``sample_weight``: a batch's examples get those of the data's first."""
        fit, floatx = self.extras.get("fit", {}), keras.config.floatx()
        if fit.get("sample_weight") is not None:
            weights = np.asarray(fit["sample_weight"], floatx)
            return np.resize(weights, (len(y), *weights.shape[1:]))
        weights = fit.get("class_weight")
        if weights is None:
            return None
        classes = np.argmax(y, -1) if self.targets == "one_hot" else y.reshape(len(y)).astype(int)
        return np.array([weights.get(int(number), 1.0) for number in classes], floatx)

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        y_pred, y = self.turn_back(outputs), self.fed_targets(targets)
        weights = self.sample_weight(y)
        with without_gradients():
            self.model._clear_losses()  # Penalties on the outputs of the last call.
            value = self.model.compute_loss(
                x=None,
                y=keras.ops.convert_to_tensor(y),
                y_pred=self.as_predicted(keras.ops.convert_to_tensor(y_pred)),
                sample_weight=None if weights is None else keras.ops.convert_to_tensor(weights),
            )
        return float(to_array(value))

    def as_predicted(self, outputs: Any) -> Any:
        """Outputs as a loss gets them in training: on TensorFlow, Keras' softmax and sigmoid leave
        their logits on the tensor, and losses take those, whatever their ``from_logits`` says."""
        last = self.graph().nodes[-1]
        function = last.attributes.get("function") if last.kind == "activation" else None
        if keras.config.backend() == "tensorflow" and function in ("softmax", "sigmoid"):
            logits = keras.ops.log(outputs)
            if function == "sigmoid":
                logits -= keras.ops.log1p(-outputs)  # pyright: ignore
            outputs._keras_logits = logits
        return outputs

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        found: dict[int, Any] = {}
        with (
            self.experiment(),
            without_dropout(self.model),
            eagerly(self.model),
            caught(self.model, found),
        ):
            loss = self.train(*self.fed(x, targets))["loss"]
            gradients = {
                name: self.array(name, found[id(held)])
                for name, each in self.variables().items()
                for held in (each, each.value)  # The optimiser may be given either.
                if id(held) in found
            }
        return loss, gradients

    def updates(self, gradients: list[Arrays]) -> list[Arrays]:
        trained = self.model.trainable_variables
        after = []
        with self.experiment(), without_gradients():
            for step in gradients:
                values = [self.gradient(step, each) for each in trained]
                self.model.optimizer.apply(values, trained)
                after.append(self.parameters() | self.averages())
        return after

    def averages(self) -> Arrays:
        """Averages of parameters that the optimiser keeps (``use_ema``), as ``average:NAME``."""
        averages: Arrays = {}
        for each in self.optimisers():
            for variable, average in zip(
                each._trainable_variables if each.use_ema else (),
                each._model_variables_moving_average if each.use_ema else (),
                strict=True,
            ):
                name = self.names.get(id(variable))
                if name and average is not None:
                    averages[f"average:{name}"] = self.array(name, average)
        return averages

    def gradient(self, gradients: Arrays, variable: Any) -> Any:
        """A gradient as the optimiser takes it, times its scale of the loss; None without one."""
        value = gradients.get(self.names.get(id(variable), ""))
        if value is None:
            return None
        scaled = self.model.optimizer.scale_loss(value.reshape(variable.shape))
        return keras.ops.cast(keras.ops.convert_to_tensor(scaled), variable.dtype)

    def steps(self, batches: list[Batch]) -> tuple[list[float], list[Arrays]]:
        losses, after = [], []
        with self.experiment(), fit_arguments.as_it_was(self.model), without_dropout(self.model):
            callbacks = fit_arguments.Callbacks(self.extras, self.model)
            self.model.train_function = self.still_function
            try:
                callbacks.begin()
                for number, (x, targets) in enumerate(batches):
                    callbacks.before_step(number)
                    logs = self.train(*self.fed(x, targets))
                    callbacks.after_step(number, logs)
                    losses.append(logs["loss"])
                    after.append(self.parameters())
                self.still_function = self.model.train_function
            finally:
                self.model.train_function = None
        return losses, after

    def initial(self, draws: int) -> list[Arrays]:
        if isinstance(self.build, KerasFile):
            return [dict(self.first) for _ in range(draws)]
        return [self.fresh_parameters(seed) for seed in range(1, draws + 1)]

    def fresh_parameters(self, seed: int) -> Arrays:
        """The parameters of another build, by the names of this one's."""
        model = built(self.build, seed).model
        if model is self.model:  # The user's function returns what was built once.
            return dict(self.first)
        if len(model.weights) != len(self.model.weights):  # Some are made when it is first called.
            with without_gradients():
                model(keras.ops.convert_to_tensor(self.blank()), training=False)
        names = [self.names.get(id(each)) for each in self.model.weights]
        pairs = zip(names, model.weights, strict=True)
        return {name: self.array(name, each) for name, each in pairs if name}

    def twin(self) -> "Adapter":
        if isinstance(self.build, KerasFile):
            file = replace(self.build, float64=True)
            return Twin(lambda: Adapter(file, like=self))

        def rebuilt(seed: int) -> Any:
            handed_in = self.build(seed)
            model = handed_in[0] if isinstance(handed_in, tuple | list) else handed_in
            if model is self.model:
                raise NotImplementedError(
                    f"the function returns the model {model.name} that was made before it was "
                    "called, in float32: make the model in the function"
                )
            return handed_in

        return Twin(lambda: Adapter(rebuilt, like=self))

    def horizon(self) -> dict[str, Any]:
        return fit_arguments.horizon(self.extras, self.model.optimizer if self.trains else None)

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        with self.experiment(), fit_arguments.as_it_was(self.model):
            return fit_arguments.rates(self.extras, self.model, steps)

    def settings(self) -> dict[str, str]:
        optimiser = self.model.optimizer if self.trains else None
        return fit_arguments.settings(self.extras, optimiser, self.batches_by_fit())

    def optimisers(self) -> list[Any]:
        """Keras' optimisers that have a learning rate, one or those that share the parameters."""
        return schedule.optimisers(self.model.optimizer)

    def optimiser(self) -> dict[str, Any]:
        if not self.trains:
            return {}
        said = self.model.optimizer
        said = getattr(said, "inner_optimizer", said)
        names = {
            "beta_1": "beta_1",
            "beta_2": "beta_2",
            "rho": "rho",
            "epsilon": "epsilon",
            "momentum": "momentum",
            "nesterov": "nesterov",
            "weight_decay": "weight_decay",
            "clipnorm": "clip_norm",
            "clipvalue": "clip_value",
            "global_clipnorm": "clip_global_norm",
        }
        if hasattr(said, "optimizers"):  # It says nothing for itself.
            return {"kind": public_class(said).__name__.lower()}
        found = {ours: getattr(said, theirs, None) for theirs, ours in names.items()}
        if not isinstance(said._learning_rate, keras.Variable):
            found["schedule"] = class_name(said._learning_rate)
        return {
            "kind": public_class(said).__name__.lower(),
            "learning_rate": float(to_array(said.learning_rate)),
        } | {name: value for name, value in found.items() if value is not None}


def public_class(thing: Any) -> type:
    """The class as its users know it: backends have hidden ones of their own."""
    return next(cls for cls in type(thing).__mro__ if ".backend." not in cls.__module__)


@contextmanager
def caught(model: keras.Model, gradients: dict[int, Any]) -> Iterator[None]:
    """Keeps the gradients, by the ``id`` of the variable, that the optimiser would have applied."""

    def catch(grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        variables = trainable_variables or model.trainable_variables
        for gradient, variable in zip(grads, variables, strict=True):
            if gradient is not None:
                gradients[id(variable)] = to_array(gradient)

    with (
        shadowed(model.optimizer, "apply", catch),
        shadowed(model.optimizer, "scale_loss", lambda loss: loss),
    ):
        yield
