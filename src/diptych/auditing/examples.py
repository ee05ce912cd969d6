"""The examples that the stages use: the same for both sides, as each side prepares them."""

from dataclasses import dataclass, replace

import numpy as np

from diptych.auditing.axes import columns_of
from diptych.auditing.frameworks.packing import OWN
from diptych.auditing.graph import INPUT, Graph
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.probes import tokens
from diptych.auditing.side import Side
from diptych.data import load_data
from diptych.errors import InputError
from diptych.randomness import generator

EXAMPLES = 32
"""The number of examples; real images if a network takes MNIST's."""


@dataclass(frozen=True)
class Examples:
    """Inputs (n, …) in each side's layout, and targets in the form of each side's loss."""

    x: dict[Which, np.ndarray]
    y: dict[Which, np.ndarray]
    """The same examples for both sides."""
    raw_x: dict[Which, np.ndarray]
    raw_y: dict[Which, np.ndarray]
    """The raw data as each side prepares it."""
    images: tuple[np.ndarray, np.ndarray] | None = None
    """MNIST's images and labels, if the inputs of both sides are what each prepares of them."""
    random: bool = False
    """True if the inputs are random, because no side takes MNIST's images."""
    columns: np.ndarray | None = None
    """Where A has each number of B's inputs, if their axes are in another order; see `axes`."""
    reshaped: bool = False
    """True if B's data were reshaped to such an order and not transposed; see `layouts`."""

    def of_b(self, x: np.ndarray) -> np.ndarray:
        """A's inputs (n, …) as B has them, in the shape of B's."""
        flat = x.reshape(len(x), -1)
        flat = flat if self.columns is None else flat[:, self.columns]
        return flat.reshape(len(x), *self.x["b"].shape[1:])

    def of_a(self, x: np.ndarray) -> np.ndarray:
        """B's inputs (n, …) as A has them, in the shape of A's."""
        flat = x.reshape(len(x), -1)
        flat = flat if self.columns is None else flat[:, np.argsort(self.columns)]
        return flat.reshape(len(x), *self.x["a"].shape[1:])


def prepared(sides: dict[Which, Side]) -> Examples:
    """Lets both sides prepare the same raw data, and gives B the same inputs as A.

    Raises:
        InputError: the sides take inputs of different sizes.
    """
    a, b = sides["a"], sides["b"]
    mnist = load_data("mnist").test
    images, labels = np.array(mnist.images[:EXAMPLES]), np.array(mnist.labels[:EXAMPLES])
    takes_images = {
        which: int(np.prod(side.graph.input_shape)) == 784 for which, side in sides.items()
    }
    raw_x: dict[Which, np.ndarray] = {}
    raw_y: dict[Which, np.ndarray] = {}
    for which, side in sides.items():
        other = sides["b" if which == "a" else "a"]
        digits = side.targets in ("classes", "one_hot") or not side.trains
        if side.prepares or (takes_images[which] and digits and not other.prepares):
            raw_x[which], raw_y[which] = side.prepare(images, labels)
    random = not raw_x
    if random:
        numbers = generator(0, "audit/inputs")
        shape = (EXAMPLES, *a.graph.input_shape)
        raw_x["a"] = numbers.standard_normal(shape).astype(np.float32)
        ids = [tokens.drawn(side.graph, side.own, EXAMPLES, numbers) for side in (a, b)]
        if any(drawn is not None for drawn in ids):
            # The smaller vocabulary is in both.
            raw_x["a"] = min((drawn for drawn in ids if drawn is not None), key=np.max)
        raw_y["a"] = random_targets(a, numbers, EXAMPLES)
    columns, both = None, len(raw_x) == len(SIDES)
    if both:
        columns = columns_of(raw_x["a"], raw_x["b"], shapes_of(a), shapes_of(b))
    for which in SIDES:
        if which not in raw_x:
            source = "b" if which == "a" else "a"
            raw_x[which] = _in_shape(raw_x[source], sides[which])
            raw_y[which] = targets_as(raw_y[source], sides[which].targets, sides[source])
    x_of_b = _as_a_gets_it(raw_x, a, b, columns)
    y_of_b = raw_y["b"] if takes_own(a, b) else targets_as(raw_y["a"], b.targets, a)
    if y_of_b.size == raw_y["b"].size:  # In its own shape: (n,) or (n, 1).
        y_of_b = y_of_b.reshape(raw_y["b"].shape)
    x, y = {"a": raw_x["a"], "b": x_of_b}, {"a": raw_y["a"], "b": y_of_b}
    own = None
    if both and x_of_b is raw_x["b"]:
        own = (images, labels)
    return Examples(x, y, raw_x, raw_y, own, random, columns)


def shapes_of(side: Side) -> list[tuple[int, ...]]:
    """The shapes of a side's inputs, without the batch."""
    return side.packed_inputs or [side.graph.input_shape]


def in_order(examples: Examples, sides: dict[Which, Side], columns: np.ndarray) -> Examples:
    """The examples with B's inputs in another order.

    Args:
        examples: with the inputs of both sides in one order.
        sides: both sides.
        columns: as `Examples.columns`.
    """
    x_of_b = _as_a_gets_it(examples.raw_x, sides["a"], sides["b"], columns)
    x = {"a": examples.x["a"], "b": x_of_b}
    return replace(examples, x=x, columns=columns)


def takes_own(a: Side, b: Side) -> bool:
    """True if targets cannot be generated for a side, so that both use their own."""
    return OWN in (a.targets, b.targets)


def _in_shape(x: np.ndarray, side: Side) -> np.ndarray:
    """The inputs in the shape that a side takes."""
    shape = (len(x), *side.graph.input_shape)
    if x.size != np.prod(shape):
        raise InputError(
            f"side {side.label} ({side.spec.given}) takes {side.graph.input_shape}, and the "
            f"other is given {x.shape[1:]}; expected the same number of values an example"
        )
    return x.reshape(shape).astype(x.dtype if x.dtype.kind in "iu" else np.float32)


def _as_a_gets_it(
    raw_x: dict[Which, np.ndarray], a: Side, b: Side, columns: np.ndarray | None = None
) -> np.ndarray:
    """B's inputs: those of A, independent of B's own preparation.

    Args:
        raw_x: the raw data as each side prepares it.
        a, b: the sides.
        columns: as `Examples.columns`.
    """
    scale, offset = leading_rescale(b.graph)
    received, own = effective(a.graph, raw_x["a"]), raw_x["b"]
    if received.size != own.size:
        raise InputError(
            f"the sides take inputs of different sizes: A {a.graph.input_shape}, "
            f"B {b.graph.input_shape}; expected the same number of values an example"
        )
    if columns is not None:
        received = received.reshape(len(received), -1)[:, columns]
    wanted = (received.reshape(own.shape) - offset) / scale
    if np.allclose(effective(b.graph, own), wanted * scale + offset, 1e-6, 1e-6):
        return own
    return (np.rint(wanted) if own.dtype.kind in "ui" else wanted).astype(own.dtype)


def leading_rescale(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """The scale and offset that the network applies to its input first."""
    scale, offset = np.ones(()), np.zeros(())
    name = INPUT
    for node in graph.nodes:
        if node.inputs != (name,) or node.kind not in ("rescale", "reshape"):
            break
        if node.kind == "rescale":
            factor = np.asarray(node.attributes["scale"], float)
            scale, offset = scale * factor, offset * factor + np.asarray(node.attributes["offset"])
        name = node.name
    return scale, offset


def effective(graph: Graph, x: np.ndarray) -> np.ndarray:
    """The input of the first layer that is not a scaling, float64, in the shape of the network's
    input."""
    scale, offset = leading_rescale(graph)
    return x.astype(np.float64) * scale + offset


def random_targets(side: Side, random: np.random.Generator, count: int) -> np.ndarray:
    """Random targets in the form that the side's loss takes, (count, …)."""
    output = side.graph.nodes[-1].shape
    match side.targets:
        case "classes":
            return random.integers(output[-1], size=(count, *output[:-1]))
        case "one_hot":
            classes = random.integers(output[-1], size=(count, *output[:-1]))
            return np.eye(output[-1], dtype=np.float32)[classes]
        case "binary":
            return random.integers(2, size=(count, *output)).astype(np.float32)
    return random.standard_normal((count, *output)).astype(np.float32)


def targets_as(y: np.ndarray, wanted: str, source: Side) -> np.ndarray:
    """The same targets in the form that the other side's loss takes.

    Args:
        y: targets as `source` takes them.
        wanted: the form of the other side's, as its ``targets`` says.
        source: the side that they come from.
    """
    if wanted == source.targets:
        return y
    if source.targets == "one_hot" and wanted == "classes":
        return y.argmax(axis=-1)
    if source.targets == "classes" and wanted == "one_hot":
        *axes, classes = source.graph.nodes[-1].shape
        numbers = y.reshape(len(y), *axes).astype(int)
        known = (numbers >= 0) & (numbers < classes)  # Others are ignored, such as -100 and 255.
        return np.eye(classes, dtype=np.float32)[np.where(known, numbers, 0)] * known[..., None]
    if wanted in ("values", "binary"):
        return y.astype(np.float32)
    return y
