"""Layers that select or repeat values, or stack arrays: slices, rolls, stacks."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Callable, Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Differences,
    Kind,
    Parameters,
    Shape,
    Shapes,
    times,
    with_attributes,
)
from diptych.auditing.kinds.rounding import LAMBDA, exact


def same_attributes(words: Callable[[Node], str]) -> Differences:
    """The differences of kinds whose attributes all describe where values go."""

    def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
        if a.attributes == b.attributes:
            return []
        own = {name: b.attributes[name] for name in a.attributes}
        return [Difference("axis", words(a), words(b), changed=with_attributes(a, **own))]

    return differences


def _slice(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    dropped = node.attributes["dropped"]
    index = tuple(
        limits[0] if axis in dropped else slice(*limits)
        for axis, limits in enumerate(node.attributes["slices"])
    )
    return inputs[0][(slice(None), *index)]


def _slice_words(node: Node) -> str:
    def word(limits: Sequence[int | None]) -> str:
        start, stop, step = limits
        if step == 1:
            return f"{start}:{stop}"
        return f"{start if start else ''}:{'' if stop is None else stop}:{step}"

    return f"slice [{', '.join(word(limits) for limits in node.attributes['slices'])}]"


def _slice_does_nothing(node: Node, shape: Shape) -> bool:
    whole = [[0, size, 1] for size in shape]
    return not node.attributes["dropped"] and node.attributes["slices"] == whole


SLICE = Kind(
    name="slice",
    attributes={
        "slices": "[[start, stop, step], …] for each axis without the batch; a step of -1 with a "
        "stop of None turns the axis round",
        "dropped": "the axes, without the batch, that the output lacks; one place of each is taken",
    },
    words=_slice_words,
    compute=_slice,
    rounding=exact,
    differences=same_attributes(_slice_words),
    does_nothing=_slice_does_nothing,
    keeps_sign=True,
)
"""A selection of the values: cropping, splitting, taking the last step, reversing an axis."""


def _roll(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    (x,) = inputs
    for axis, shift in enumerate(node.attributes["shifts"], 1):
        x = anp.roll(x, shift, axis)
    return x


def _roll_words(node: Node) -> str:
    return f"roll by {', '.join(map(str, node.attributes['shifts']))}"


ROLL = Kind(
    name="roll",
    attributes={"shifts": "list of int, one for each axis without the batch"},
    words=_roll_words,
    compute=_roll,
    rounding=exact,
    differences=same_attributes(_roll_words),
    does_nothing=lambda node, shape: not any(node.attributes["shifts"]),
    keeps_sign=True,
)
"""All values shifted along an axis, cyclically."""


def _repeat(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    (x,) = inputs
    x = anp.reshape(x, (len(x), *node.attributes["shape"]))
    if not node.attributes["each"]:
        return anp.tile(x, (1, *node.attributes["counts"]))
    for axis, count in enumerate(node.attributes["counts"], 1):
        x = anp.repeat(x, count, axis)
    return x


def _repeat_words(node: Node) -> str:
    how = "each number" if node.attributes["each"] else "everything"
    return f"{how} repeated {times(node.attributes['counts'])} times"


REPEAT = Kind(
    name="repeat",
    attributes={
        "shape": "the input's, without the batch, with the axes of one that are put in",
        "counts": "list of int, how often along each axis of that shape",
        "each": "bool, whether each number is repeated where it is, or all of them one after the "
        "other",
    },
    words=_repeat_words,
    compute=_repeat,
    rounding=exact,
    differences=same_attributes(_repeat_words),
    does_nothing=lambda node, shape: set(node.attributes["counts"]) <= {1},
    keeps_sign=True,
)
"""The same values, repeated."""


def _stack(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return anp.stack(list(inputs), axis=node.attributes["axis"] + 1)


def _stack_words(node: Node) -> str:
    return f"stack along axis {node.attributes['axis'] + 1}"


STACK = Kind(
    name="stack",
    attributes={"axis": "the output's new axis, counted without the batch"},
    words=_stack_words,
    compute=_stack,
    rounding=exact,
    differences=same_attributes(_stack_words),
    keeps_sign=True,
)
"""Inputs of the same shape, stacked along a new axis."""


# Functions over axes.


def _reduce(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    axes = tuple(axis + 1 for axis in node.attributes["over"])
    function = {"mean": anp.mean, "sum": anp.sum, "max": anp.max, "min": anp.min}
    return function[node.attributes["function"]](
        inputs[0], axis=axes, keepdims=node.attributes["keepdims"]
    )


def _reduce_rounding(
    node: Node,
    parameters: Parameters,
    inputs: Sequence[np.ndarray],
    y: np.ndarray,
    training: bool,
) -> np.ndarray:
    if node.attributes["function"] in ("max", "min"):
        return exact(node, {}, inputs, y, training)
    terms = inputs[0].size / max(1, y.size) + 1
    return LAMBDA * np.sqrt(terms) * _reduce(node, {}, [np.abs(inputs[0])], training)


def _reduce_words(node: Node) -> str:
    axes = ", ".join(str(axis + 1) for axis in node.attributes["over"])
    return f"{node.attributes['function']} over axis {axes}"


def _reduce_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """The function and the axes; kept axes of size 1 only affect the shape."""
    names = ("function", "over")
    if all(a.attributes[name] == b.attributes[name] for name in names):
        return []
    own = {name: b.attributes[name] for name in names}
    return [Difference("axis", *map(_reduce_words, (a, b)), changed=with_attributes(a, **own))]


def _usual_reduction(node: Node, shape: Shape) -> Node:
    """A mean or a maximum over all spatial axes, as a global pool."""
    pools = {"mean": "global_average_pool", "max": "global_max_pool"}
    function = node.attributes["function"]
    if function not in pools or node.attributes["over"] != list(range(len(shape) - 1)):
        return node
    return replace(node, kind=pools[function], shape=node.shape[-1:], attributes={})


REDUCE = Kind(
    name="reduce",
    attributes={
        "function": "mean, sum, max or min",
        "over": "the axes that it is over, counted without the batch, in order",
        "keepdims": "bool, whether they stay with length 1",
    },
    words=_reduce_words,
    compute=_reduce,
    rounding=_reduce_rounding,
    differences=_reduce_differences,
    usual=_usual_reduction,
)
"""A reduction over some axes."""

KINDS = (SLICE, ROLL, REPEAT, STACK, REDUCE)
