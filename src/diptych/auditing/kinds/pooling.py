"""Pooling over windows or globally, by maximum or by average."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Callable, Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Guesses,
    Kind,
    Parameters,
    Shape,
    Shapes,
    times,
    with_attributes,
    with_those_of,
)
from diptych.auditing.kinds.padding import is_of_zeros, joined
from diptych.auditing.kinds.rounding import LAMBDA, exact
from diptych.auditing.kinds.windows import (
    PADDING,
    STRIDES,
    Padding,
    fitting_paddings,
    inside,
    mirrored_padding,
    offsets,
    output_sizes,
    padded,
    window_differences,
)

Sizes = tuple[int, ...]


@primitive
def maximum(x: np.ndarray, size: Sizes, strides: Sizes, padding: Padding) -> np.ndarray:
    """The maximum of each window. Its gradient goes to the first of equal numbers, as it does in
    the frameworks."""
    x = padded(x, padding, -np.inf)
    ones = (1,) * len(size)
    lengths = output_sizes(x.shape[1:-1], size, strides, ones)
    y = np.full((len(x), *lengths, x.shape[-1]), -np.inf)
    for _, pixels in offsets(size, strides, ones, lengths):
        np.maximum(y, x[pixels], out=y)
    return y


def _maximum_vjp(
    y: np.ndarray, x: np.ndarray, size: Sizes, strides: Sizes, padding: Padding
) -> Callable[[np.ndarray], np.ndarray]:
    ones = (1,) * len(size)

    def back(gradient: np.ndarray) -> np.ndarray:
        whole = padded(x, padding, -np.inf)
        spread, taken = np.zeros_like(whole), np.zeros(y.shape, bool)
        for _, pixels in offsets(size, strides, ones, y.shape[1:-1]):
            hit = (whole[pixels] == y) & ~taken
            taken |= hit
            spread[pixels] += hit * gradient
        return spread[inside(padding, x.shape[1:-1])]

    return back


defvjp(maximum, _maximum_vjp)


@primitive
def total(x: np.ndarray, size: Sizes, strides: Sizes, padding: Padding) -> np.ndarray:
    """The sum of each window, with zeros for padding."""
    x = padded(x, padding)
    ones = (1,) * len(size)
    lengths = output_sizes(x.shape[1:-1], size, strides, ones)
    y = np.zeros((len(x), *lengths, x.shape[-1]))
    for _, pixels in offsets(size, strides, ones, lengths):
        y += x[pixels]
    return y


def _total_vjp(
    y: np.ndarray, x: np.ndarray, size: Sizes, strides: Sizes, padding: Padding
) -> Callable[[np.ndarray], np.ndarray]:
    ones = (1,) * len(size)

    def back(gradient: np.ndarray) -> np.ndarray:
        spread = padded(np.zeros_like(x), padding)
        for _, pixels in offsets(size, strides, ones, y.shape[1:-1]):
            spread[pixels] += gradient
        return spread[inside(padding, x.shape[1:-1])]

    return back


defvjp(total, _total_vjp)


def _window(node: Node) -> tuple[Sizes, Sizes, Padding]:
    attributes = node.attributes
    return tuple(attributes["size"]), tuple(attributes["strides"]), attributes["padding"]


def _max_pool(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return maximum(inputs[0], *_window(node))


def _average_pool(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    (x,) = inputs
    size, strides, padding = _window(node)
    counts = float(np.prod(size))
    if not node.attributes.get("count_padding"):
        counts = total(np.ones((1, *x.shape[1:-1], 1)), size, strides, padding)
    return total(x, size, strides, padding) / counts


def with_padding_before(node: Node, pad: Node, positive: bool) -> Node | None:
    """The pool merged with the preceding padding, if that acts like its own: the smallest values
    before a maximum (zeros if nothing is negative), zeros that count in an average."""
    own = node.attributes["padding"]
    if node.kind == "average_pool":
        if not is_of_zeros(pad) or (np.any(own) and not node.attributes["count_padding"]):
            return None
        return with_attributes(node, padding=joined(node, pad), count_padding=True)
    lowest = pad.attributes.get("mode", "constant") == "constant" and (
        pad.attributes.get("value", 0.0) == -np.inf or (is_of_zeros(pad) and positive)
    )
    both = joined(node, pad)
    # A window that is nothing but padding has no maximum.
    fits = all(max(p) < size for p, size in zip(both, node.attributes["size"], strict=True))
    return with_attributes(node, padding=both) if lowest and fits else None


def _spans(size: int, wanted: int) -> list[tuple[int, int]]:
    """The first and last pixels of the windows of an adaptive pool along one axis (PyTorch)."""
    return [(i * size // wanted, -(-(i + 1) * size // wanted)) for i in range(wanted)]


def _adaptive_average(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    (y,) = inputs
    for axis, wanted in enumerate(node.attributes["size"], 1):
        weights = np.zeros((wanted, y.shape[axis]))
        for row, (start, end) in zip(weights, _spans(y.shape[axis], wanted), strict=True):
            row[start:end] = 1 / (end - start)
        y = anp.moveaxis(anp.tensordot(y, weights, ((axis,), (1,))), -1, axis)
    return y


def _adaptive_max(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    (y,) = inputs
    for axis, wanted in enumerate(node.attributes["size"], 1):
        before = (slice(None),) * axis
        parts = [
            anp.max(y[(*before, slice(*span))], axis=axis) for span in _spans(y.shape[axis], wanted)
        ]
        y = anp.stack(parts, axis=axis)
    return y


def _adaptive_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    (x,) = inputs
    terms = float(np.prod(x.shape[1:-1]) / max(1, np.prod(y.shape[1:-1]))) + 1
    return 2 * LAMBDA * np.sqrt(terms) * _adaptive_average(node, {}, [np.abs(x)], training)


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))


def _global_average(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    return anp.mean(inputs[0], axis=_spatial(inputs[0]))


def _global_max(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    return anp.max(inputs[0], axis=_spatial(inputs[0]))


def _average_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    (x,) = inputs
    terms = float(np.prod(x.shape[1:-1]) / max(1, np.prod(y.shape[1:-1]))) + 1
    compute = _global_average if node.kind == "global_average_pool" else _average_pool
    return LAMBDA * np.sqrt(terms) * compute(node, {}, [np.abs(x)], training)


def _words(node: Node) -> str:
    name = "max pooling" if node.kind == "max_pool" else "average pooling"
    return f"{name} {times(node.attributes['size'])}"


def _adaptive_words(node: Node) -> str:
    name = "max pooling" if node.kind == "adaptive_max_pool" else "average pooling"
    return f"adaptive {name} to {times(node.attributes['size'])}"


def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """The kind of pool, its windows, and whether padding counts."""
    differences = []
    if a.kind != b.kind:
        as_b = replace(b, name=a.name, inputs=a.inputs)
        words = [POOLS[node.kind].words(node) for node in (a, b)]
        differences.append(Difference("pooling", *words, changed=as_b))
    adaptive = [node.kind.startswith("adaptive") for node in (a, b)]
    if all(adaptive) and list(a.attributes["size"]) != list(b.attributes["size"]):
        words = [POOLS[node.kind].words(node) for node in (a, b)]
        differences.append(Difference("kernel-size", *words))
    if any("strides" not in node.attributes for node in (a, b)):
        return differences
    differences += window_differences(a, b, a.attributes["size"], b.attributes["size"])
    counts = [node.attributes.get("count_padding", False) for node in (a, b)]
    if a.kind == b.kind == "average_pool" and counts[0] != counts[1]:
        words = [
            "padding counts in the average" if counted else "padding does not count"
            for counted in counts
        ]
        changed = with_those_of(a, b, "count_padding")
        differences.append(Difference("pooling", *words, changed=changed))
    return differences


def _usual(node: Node, shape: Shape) -> Node:
    """A pool over the whole input, as a global pool."""
    covers = list(node.attributes["size"]) == list(shape[:-1])
    if covers and not np.any(node.attributes["padding"]):
        kind = "global_max_pool" if node.kind == "max_pool" else "global_average_pool"
        return replace(node, kind=kind, shape=node.shape[-1:], attributes={})
    return node


def common_windows(node: Node, x: Shape, y: Shape) -> list[Node]:
    """Pools of both kinds with common windows that turn the shape x into the shape y."""
    candidates = []
    axes = len(x) - 2
    for size in (2, 3, 4, 5):
        for stride in dict.fromkeys((size, 2, 1)):
            for kind in ("max_pool", "average_pool"):
                for padding in fitting_paddings(x[1:-1], y[1:-1], [size] * axes, [stride] * axes):
                    attributes = {
                        "size": [size] * axes,
                        "strides": [stride] * axes,
                        "padding": padding,
                    }
                    if kind == "average_pool":
                        attributes["count_padding"] = False
                    candidates.append(replace(node, kind=kind, attributes=attributes))
    return candidates


def _hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """The other kind of pool, other windows, and padding on the other side."""
    other = "average_pool" if node.kind == "max_pool" else "max_pool"
    return [
        ("pooling", replace(node, kind=other)),
        *(("pooling", candidate) for candidate in common_windows(node, x.shape, y.shape)),
        *mirrored_padding(node),
    ]


def _guesses(kind: str) -> Guesses:
    def guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
        (x, *others) = inputs
        if others or not (x.ndim == y.ndim > 2 and x.shape[-1] == y.shape[-1]):
            return []
        return [c for c in common_windows(node, x.shape, y.shape) if c.kind == kind]

    return guesses


def _global_guesses(kind: str) -> Guesses:
    def guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
        (x, *others) = inputs
        if others or x.ndim < 3 or y.shape != (len(x), x.shape[-1]):
            return []
        return [replace(node, kind=kind, attributes={})]

    return guesses


_NAMES = ("global_average_pool", "global_max_pool", "max_pool", "average_pool")
_NAMES += ("adaptive_average_pool", "adaptive_max_pool")
_WINDOW = {"size": "list of int, one per spatial axis", "strides": STRIDES, "padding": PADDING}

GLOBAL_AVERAGE_POOL = Kind(
    name="global_average_pool",
    attributes={},
    words=lambda node: "global average pooling",
    keeps_sign=True,
    compute=_global_average,
    rounding=_average_rounding,
    differences=differences,
    guesses=_global_guesses("global_average_pool"),
    comparable=_NAMES,
)
"""The average over all spatial axes."""

GLOBAL_MAX_POOL = Kind(
    name="global_max_pool",
    attributes={},
    words=lambda node: "global max pooling",
    keeps_sign=True,
    compute=_global_max,
    rounding=exact,
    differences=differences,
    guesses=_global_guesses("global_max_pool"),
    comparable=_NAMES,
)
"""The maximum over all spatial axes."""

MAX_POOL = Kind(
    name="max_pool",
    attributes=_WINDOW,
    words=_words,
    compute=_max_pool,
    rounding=exact,
    differences=differences,
    hypotheses=_hypotheses,
    guesses=_guesses("max_pool"),
    comparable=_NAMES,
    usual=_usual,
    absorbs={"pad": with_padding_before},
    keeps_sign=True,
)
"""The maximum of each window; padding never is the maximum."""

AVERAGE_POOL = Kind(
    name="average_pool",
    attributes=_WINDOW | {"count_padding": "bool, whether padding counts in the average"},
    words=_words,
    compute=_average_pool,
    rounding=_average_rounding,
    differences=differences,
    hypotheses=_hypotheses,
    guesses=_guesses("average_pool"),
    comparable=_NAMES,
    usual=_usual,
    absorbs={"pad": with_padding_before},
    keeps_sign=True,
)
"""The average of each window."""

_ADAPTIVE = {"size": "the output's, list of int, one per spatial axis"}

ADAPTIVE_AVERAGE_POOL = Kind(
    name="adaptive_average_pool",
    attributes=_ADAPTIVE,
    words=_adaptive_words,
    compute=_adaptive_average,
    rounding=_adaptive_rounding,
    differences=differences,
    comparable=_NAMES,
    keeps_sign=True,
)
"""The average of windows that overlap if the input's size is not a multiple of the output's."""

ADAPTIVE_MAX_POOL = Kind(
    name="adaptive_max_pool",
    attributes=_ADAPTIVE,
    words=_adaptive_words,
    compute=_adaptive_max,
    rounding=exact,
    differences=differences,
    comparable=_NAMES,
    keeps_sign=True,
)
"""The maximum of windows that overlap if the input's size is not a multiple of the output's."""

KINDS = (
    GLOBAL_AVERAGE_POOL,
    GLOBAL_MAX_POOL,
    MAX_POOL,
    AVERAGE_POOL,
    ADAPTIVE_AVERAGE_POOL,
    ADAPTIVE_MAX_POOL,
)
POOLS = {kind.name: kind for kind in KINDS}
