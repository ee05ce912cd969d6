"""The truth that both sides are held against: a graph's nodes in float64, with derived bounds.

Runs in a process of its own, on TensorFlow's float64 operations, whose results differ from the real
numbers by 1e-16 where those of float32 differ by 1e-7.

**What rounding explains.** Each of a dot product's n partial sums is rounded by up to u = 2⁻²⁴ of
itself, in a random direction (Higham & Mary, 2019, "A New Approach to Probabilistic Rounding Error
Analysis"). As a partial sum is about as large as the sum's share of it, or as a random walk over
the terms, the errors add up to λ·u·√(n·(Σ(w·x)² + y²)) at most, with λ deviations. `bound` says
this for each number that a node gives. A node is checked on the input that the side itself gave it,
so errors of earlier layers play no part. For results of the whole network the errors are carried
through by Monte Carlo arithmetic: runs in which each node's output, and each gradient on its way
back, is off by a random amount of that size.
"""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportOperatorIssue=false, reportIndexIssue=false, reportCallIssue=false

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.graph import INPUT, Arrays, Graph, Node

UNIT = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
"""The unit roundoff of each precision."""
LAMBDA = 8.0
"""How many deviations a rounding error may be off by."""
FUNCTION_UNITS = 16.0
"""Units of the last place by which frameworks' exponentials and error functions may be off."""
RUNS = 4
"""Runs of Monte Carlo arithmetic."""

Tensor = Any
Read = Callable[[str], Tensor]


def pads(padding: list[list[int]]) -> list[list[int]]:
    return [[0, 0], *padding, [0, 0]]


def windowed(node: Node, x: Tensor) -> tuple[Tensor, list[int] | None]:
    """A 1-D signal as an image of height 1, since TensorFlow has more for images."""
    return (x[:, None], [1]) if x.shape.rank == 3 else (x, None)


def spatial(values: list[int], one_dimensional: bool) -> list[int]:
    return [1, *values] if one_dimensional else list(values)


def convolve(node: Node, kernel: Tensor, x: Tensor) -> Tensor:
    one = x.shape.rank == 3
    x = tf.pad(x, pads(node.attributes["padding"]))
    if one:
        x, kernel = x[:, None], kernel[None]
    strides = spatial(node.attributes["strides"], one)
    dilation = spatial(node.attributes["dilation"], one)
    groups = node.attributes["groups"]
    parts = [
        tf.nn.convolution(part, kernel_part, strides, "VALID", dilations=dilation)
        for part, kernel_part in zip(
            tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True
        )
    ]
    y = tf.concat(parts, axis=-1)
    return y[:, 0] if one else y


def pool(node: Node, x: Tensor, average: bool) -> Tensor:
    one = x.shape.rank == 3
    size, strides = (spatial(node.attributes[key], one) for key in ("size", "strides"))
    padding = pads(node.attributes["padding"])
    if average:
        counted = tf.ones_like(x) if not node.attributes.get("count_padding") else None
        x = tf.pad(x, padding)
        mean = tf.nn.avg_pool(x[:, None] if one else x, size, strides, "VALID")
        if counted is not None:
            counted = tf.pad(counted, padding)
            mean /= tf.nn.avg_pool(counted[:, None] if one else counted, size, strides, "VALID")
        return mean[:, 0] if one else mean
    lowest = tf.constant(-1e300, x.dtype)
    x = tf.pad(x, padding, constant_values=lowest)
    y = tf.nn.max_pool(x[:, None] if one else x, size, strides, "VALID")
    return y[:, 0] if one else y


def activate(function: str, slope: float | None, x: Tensor) -> Tensor:
    match function:
        case "leaky_relu":
            return tf.where(x > 0, x, x * tf.cast(slope, x.dtype))
        case "elu":
            return tf.where(
                x > 0, x, tf.cast(slope or 1.0, x.dtype) * tf.math.expm1(tf.minimum(x, 0))
            )
        case "gelu":
            return tf.nn.gelu(x, approximate=False)
        case "gelu_tanh":
            return tf.nn.gelu(x, approximate=True)
        case "exponential":
            return tf.exp(x)
        case "linear":
            return x
    functions = {
        "relu": tf.nn.relu,
        "relu6": tf.nn.relu6,
        "selu": tf.nn.selu,
        "tanh": tf.tanh,
        "sigmoid": tf.sigmoid,
        "softmax": tf.nn.softmax,
        "log_softmax": tf.nn.log_softmax,
        "softplus": tf.nn.softplus,
        "silu": tf.nn.silu,
    }
    return functions[function](x)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return tf.nn.moments(x, axes=list(range(x.shape.rank - 1)))


def normalise(node: Node, parameters: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
    mean, variance = parameters["mean"], parameters["variance"]
    if training:
        mean, variance = moments(x)
    y = (x - mean) / tf.sqrt(variance + node.attributes["epsilon"])
    if "gamma" in parameters:
        y *= parameters["gamma"]
    return y + parameters["beta"] if "beta" in parameters else y


def flatten(order: str, x: Tensor) -> Tensor:
    if order == "first" and x.shape.rank > 2:
        x = tf.transpose(x, [0, x.shape.rank - 1, *range(1, x.shape.rank - 1)])
    return tf.reshape(x, [x.shape[0], -1])


def compute(
    node: Node, parameters: dict[str, Tensor], inputs: list[Tensor], training: bool
) -> Tensor:
    """What a node gives for its inputs (n, …), parameters by their role; dropout drops nothing."""
    x, attributes = inputs[0], node.attributes
    match node.kind:
        case "conv":
            y = convolve(node, parameters["kernel"], x)
            return y + parameters["bias"] if "bias" in parameters else y
        case "dense":
            y = tf.tensordot(x, parameters["kernel"], 1)
            return y + parameters["bias"] if "bias" in parameters else y
        case "max_pool" | "average_pool":
            return pool(node, x, node.kind == "average_pool")
        case "global_average_pool":
            return tf.reduce_mean(x, list(range(1, x.shape.rank - 1)))
        case "global_max_pool":
            return tf.reduce_max(x, list(range(1, x.shape.rank - 1)))
        case "batch_norm":
            return normalise(node, parameters, x, training)
        case "activation":
            return activate(attributes["function"], attributes.get("slope"), x)
        case "flatten":
            return flatten(attributes["order"], x)
        case "reshape":
            return tf.reshape(x, [x.shape[0], *attributes["shape"]])
        case "pad":
            return tf.pad(x, pads(attributes["padding"]))
        case "rescale":
            return x * tf.constant(attributes["scale"], x.dtype) + tf.constant(
                attributes["offset"], x.dtype
            )
        case "add":
            return tf.add_n(inputs)
        case "concatenate":
            return tf.concat(inputs, axis=-1)
    return x


def bound(
    node: Node, parameters: dict[str, Tensor], inputs: list[Tensor], y: Tensor, training: bool
) -> Tensor:
    """How far from y rounding may take each number, in units of the unit roundoff."""
    x = inputs[0]
    match node.kind:
        case "conv" | "dense":
            squared = {role: tf.square(value) for role, value in parameters.items()}
            terms = float(np.prod(parameters["kernel"].shape[:-1])) + 1
            squares = compute(node, squared, [tf.square(x)], training)
            return LAMBDA * tf.sqrt(terms * (squares + tf.square(y)))
        case "average_pool" | "global_average_pool":
            terms = float(np.prod(x.shape[1:-1]) / max(1, np.prod(y.shape[1:-1]))) + 1
            return LAMBDA * np.sqrt(terms) * compute(node, {}, [tf.abs(x)], training)
        case "activation":
            extent = 1.0 if node.attributes["function"] != "leaky_relu" else 0.0
            if node.attributes["function"] in ("relu", "relu6", "linear"):
                return 2 * tf.abs(y)
            if "softmax" in node.attributes["function"]:
                return FUNCTION_UNITS * (tf.abs(y) + 1) * (1 + tf.reduce_max(tf.abs(x)))
            return FUNCTION_UNITS * (
                tf.abs(y) + tf.minimum(tf.abs(x), 1.0) * extent + extent * 0.25
            )
        case "batch_norm":
            mean, variance = parameters["mean"], parameters["variance"]
            if training:
                mean, variance = moments(x)
            variance += node.attributes["epsilon"]
            scale = tf.abs(parameters.get("gamma", tf.ones_like(mean))) / tf.sqrt(variance)
            size = (
                scale * (tf.abs(x) + tf.abs(mean)) + tf.abs(y) + tf.abs(parameters.get("beta", 0.0))
            )
            if training:
                size += sum(shared_errors(node, parameters, x, y))
            # A variance taken as E[x²] - E[x]² loses digits where the mean is large.
            return FUNCTION_UNITS * size * (1 + tf.square(mean) / variance if training else 1.0)
        case "rescale" | "add":
            return 4 * (tf.abs(y) + sum(tf.abs(each) for each in inputs) * 1.0)
    return tf.abs(y)


def shared_errors(
    node: Node, parameters: dict[str, Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """What sums of many numbers, the batch's mean and variance, may be off by: errors that all
    numbers of a channel share; of the mean and of the variance, in units of the unit roundoff."""
    terms = np.sqrt(float(np.prod(x.shape[:-1])))
    axes = list(range(x.shape.rank - 1))
    _, variance = moments(x)
    variance += node.attributes["epsilon"]
    scale = tf.abs(parameters.get("gamma", tf.ones_like(variance))) / tf.sqrt(variance)
    of_mean = scale * terms * tf.reduce_mean(tf.abs(x), axes)
    of_variance = tf.abs(y - parameters.get("beta", 0.0)) * terms / 2
    of_variance *= tf.reduce_mean(tf.square(x), axes) / variance
    return of_mean, of_variance


# Whole networks.


def roles(node: Node, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """The node's own parameters, by role."""
    return {role: parameters[name] for role, name in node.parameters.items()}


class Noise:
    """Monte Carlo arithmetic: moves numbers, and gradients on their way back, by rounding."""

    def __init__(self, run: int, unit: float) -> None:
        self.generator, self.unit = tf.random.Generator.from_seed(run + 1), unit
        self.chance = np.random.default_rng(run)
        self.table = tf.constant(self.chance.standard_normal(2**16))

    def like(self, y: Tensor) -> Tensor:
        """Normal numbers: one for each different float32 value in each channel.

        Equal numbers stay equal, as they do in float32, where the blank corner of an image gives a
        pool four equal numbers to choose from.
        """
        bits = tf.cast(tf.bitcast(tf.cast(y, tf.float32), tf.int32), tf.int64)
        here = int(self.chance.integers(2**31))  # Each operation has its own numbers.
        channel = tf.range(y.shape[-1], dtype=tf.int64) * 0x45EBCA6B
        mixed = (tf.bitwise.bitwise_xor(bits, tf.constant(here, tf.int64)) + channel) * 0x1E3779B1
        return tf.gather(self.table, tf.bitwise.bitwise_and(mixed // 2**12, 2**16 - 1))

    def __call__(self, y: Tensor, size: Tensor, shared: tuple[Tensor, ...] = ()) -> Tensor:
        """The numbers with errors of that size each, and of sizes that a channel shares."""
        channel = y.shape[-1:]
        forward = self.like(y) * self.unit * size / LAMBDA
        for each in shared:
            forward += self.generator.normal(channel, dtype=tf.float64) * self.unit * each
        backward = self.generator.normal(y.shape, dtype=tf.float64) * self.unit
        terms = np.sqrt(float(np.prod(y.shape[:-1])))
        of_sums = self.generator.normal(channel, dtype=tf.float64) * self.unit * terms

        @tf.custom_gradient
        def noisy(value: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            def reverse(gradient: Tensor) -> Tensor:
                channels = float(gradient.shape[-1] or 1)
                level = tf.sqrt(tf.reduce_mean(tf.square(gradient), axis=-1, keepdims=True))
                each = backward * (LAMBDA * tf.abs(gradient) + np.sqrt(channels) * level)
                # A parameter's gradient is a sum over all positions, rounded as it is added up.
                return gradient + each + of_sums * tf.abs(gradient)

            return value + forward, reverse

        return noisy(y)


def run(
    graph: Graph, parameters: dict[str, Tensor], x: Tensor, training: bool, noise: Noise | None
) -> dict[str, Tensor]:
    """The output of every node, float64; dropout drops nothing."""
    values: dict[str, Tensor] = {INPUT: x}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        own = roles(node, parameters)
        here = training and node.attributes.get("statistics") != "moving"
        y = compute(node, own, inputs, here)
        if noise is not None:
            still = tf.stop_gradient(y)
            sums = node.kind == "batch_norm" and here
            shared = shared_errors(node, own, inputs[0], still) if sums else ()
            y = noise(y, bound(node, own, inputs, still, here), shared)
        values[node.name] = y
    return values


def to_tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: tf.constant(value.astype(np.float64)) for name, value in arrays.items()}


def deviation(exact: np.ndarray, others: list[np.ndarray]) -> float:
    """What rounding explains of a distance from the exact array, as its largest number."""
    return LAMBDA * max(
        (float(np.max(np.abs(o - exact), initial=0.0)) for o in others), default=0.0
    )


# What the audit asks, as jobs of a worker.

Answer = tuple[dict[str, Any], Arrays]


def split(arrays: Arrays) -> dict[str, Arrays]:
    """Arrays by the first part of their names, ``part|name``."""
    groups: dict[str, Arrays] = {}
    for key, value in arrays.items():
        group, name = key.split("|", 1)
        groups.setdefault(group, {})[name] = value
    return groups


def check_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    """Holds each node's recorded output against float64 on its recorded input.

    Asks for ``graph``, ``training`` and arrays ``parameter|NAME``, ``record|NODE`` (`INPUT` too).
    Answers, for each node that it can compute and that has a record, ``difference`` (the largest),
    ``bound`` (what rounding in float32 explains, the largest) and ``ratio`` (the largest of
    difference/bound, number by number).
    """
    graph, groups = Graph.from_dict(request["graph"]), split(arrays)
    parameters, record = groups.get("parameter", {}), groups["record"]
    found: dict[str, Any] = {}
    for node in graph.nodes:
        known = all(name in record for name in (node.name, *node.inputs))
        if node.kind == "custom" or not known or (node.kind == "dropout" and request["training"]):
            continue
        own = to_tensors({role: parameters[name] for role, name in node.parameters.items()})
        found[node.name] = distance(node, own, record, request["training"])
    return found, {}


def distance(
    node: Node, own: dict[str, Tensor], record: Arrays, training: bool
) -> dict[str, float]:
    inputs = [tf.constant(record[name].astype(np.float64)) for name in node.inputs]
    y = compute(node, own, inputs, training)
    given = record[node.name].astype(np.float64)
    if tuple(y.shape) != given.shape:
        return {"difference": float("inf"), "bound": 0.0, "ratio": float("inf")}
    size = UNIT["float32"] * bound(node, own, inputs, y, training).numpy() + 1e-30
    away = np.abs(given - y.numpy())
    away = np.where(np.isfinite(away), away, np.inf)
    return {
        "difference": float(away.max(initial=0.0)),
        "bound": float(np.max(np.broadcast_to(size, away.shape), initial=0.0)),
        "ratio": float(np.max(away / size, initial=0.0)),
    }


def try_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    """Tries other nodes in the place of one: which of them gives what was recorded?

    Asks for ``nodes`` (with the inputs and the name of the one that was recorded), ``training`` and
    arrays as `check_job` does. Answers ``ratios``, one a node; infinity where it does not fit.
    """
    groups = split(arrays)
    ratios = []
    for data in request["nodes"]:
        node = Graph.from_dict({"input_shape": [], "nodes": [data]}).nodes[0]
        own = to_tensors(
            {role: groups["parameter"][name] for role, name in node.parameters.items()}
        )
        try:
            ratios.append(distance(node, own, groups["record"], request["training"])["ratio"])
        except (tf.errors.OpError, ValueError, TypeError):  # A shape that it can't take.
            ratios.append(float("inf"))
    return {"ratios": ratios}, {}


def node_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    """The output of one node, as ``y``; asks for ``nodes`` with that one, and as `try_job` does."""
    groups = split(arrays)
    node = Graph.from_dict({"input_shape": [], "nodes": request["nodes"]}).nodes[0]
    own = to_tensors({role: groups["parameter"][name] for role, name in node.parameters.items()})
    inputs = [tf.constant(groups["record"][name].astype(np.float64)) for name in node.inputs]
    return {}, {"y": compute(node, own, inputs, request["training"]).numpy()}


def run_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    """Runs a graph in float64.

    Asks for ``graph``, ``training``, ``nodes`` (whose outputs are wanted), ``bounds`` (whether
    rounding's share is wanted) and arrays ``parameter|NAME``, ``x|x``. Answers the outputs by node
    name and ``bounds`` by node name.
    """
    graph, groups = Graph.from_dict(request["graph"]), split(arrays)
    parameters, x = to_tensors(groups.get("parameter", {})), to_tensors(groups["x"])["x"]
    wanted = request["nodes"]
    exact = run(graph, parameters, x, request["training"], None)
    answer = {name: exact[name].numpy() for name in wanted}
    if not request["bounds"]:
        return {"bounds": {}}, answer
    noisy = [
        run(graph, parameters, x, request["training"], Noise(i, UNIT["float32"]))
        for i in range(RUNS)
    ]
    bounds = {
        name: deviation(answer[name], [values[name].numpy() for values in noisy]) for name in wanted
    }
    return {"bounds": bounds}, answer


def gradients_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    """Loss and gradients in training mode, without dropout.

    Asks for ``graph``, ``loss`` (see `diptych.auditing.losses`), ``trained`` (parameter names) and
    arrays ``parameter|NAME``, ``x|x``, ``y|y``. Answers ``loss``, ``loss_bound``, ``bounds`` by
    parameter name, and the gradients by parameter name.
    """
    from diptych.auditing.losses import value

    graph, groups = Graph.from_dict(request["graph"]), split(arrays)
    parameters, x = to_tensors(groups["parameter"]), to_tensors(groups["x"])["x"]
    targets, trained = groups["y"]["y"], request["trained"]

    def once(noise: Noise | None) -> tuple[np.ndarray, Arrays]:
        watched = {name: parameters[name] for name in trained}
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = run(graph, parameters | watched, x, True, noise)[graph.nodes[-1].name]
            loss = value(request["loss"], outputs, targets, parameters | watched)
        gradients = tape.gradient(loss, watched, unconnected_gradients="zero")
        return loss.numpy(), {name: gradient.numpy() for name, gradient in gradients.items()}

    loss, gradients = once(None)
    noisy = [once(Noise(i, UNIT["float32"])) for i in range(RUNS)]
    bounds = {}
    for name, gradient in gradients.items():
        # The sum over the batch and all positions is itself rounded.
        own = UNIT["float32"] * LAMBDA * np.sqrt(x.shape[0]) * np.abs(gradient).max(initial=0.0)
        bounds[name] = deviation(gradient, [each[name] for _, each in noisy]) + own
    loss_bound = deviation(loss, [each for each, _ in noisy]) + 16 * UNIT["float32"] * abs(loss)
    return {"loss": float(loss), "loss_bound": float(loss_bound), "bounds": bounds}, gradients


def losses_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    """The values of loss candidates: asks for ``losses`` and arrays ``z|z``, ``y|y``; answers
    ``values``, None where a candidate does not take such outputs or targets."""
    from diptych.auditing.losses import value

    groups = split(arrays)
    outputs, targets = to_tensors(groups["z"])["z"], groups["y"]["y"]
    values: list[float | None] = []
    for loss in request["losses"]:
        try:
            found = float(value(loss, outputs, targets, {}))
            values.append(found if np.isfinite(found) else None)
        except (tf.errors.OpError, ValueError, TypeError, IndexError):
            values.append(None)
    return {"values": values}, {}
