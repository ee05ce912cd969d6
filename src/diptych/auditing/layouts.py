"""Inputs that one side has reshaped where it should have transposed them.

Images of (14, 12, 3) and of (3, 14, 12) have equally many numbers. A reshape turns one shape into
the other and leaves every number where it is, so that the data of both sides look the same; what
the networks make of them does not. The networks' outputs decide, because a network of dense layers
may take its numbers in any shape.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diptych.auditing.axes import SWAPPED, Shape, alike, order_of_all
from diptych.auditing.endings import as_one
from diptych.auditing.examples import Examples, in_order, shapes_of
from diptych.auditing.match import turns
from diptych.auditing.pair import SIDES, Pair
from diptych.auditing.settling import CLOSE, largest_distance
from diptych.auditing.weights import stirred


def as_taken(pair: Pair, examples: Examples) -> Examples:
    """The examples, with B's transposed if the networks agree on those and not on reshaped ones.

    Args:
        pair: both sides, with their own weights.
        examples: what they are asked with.
    """
    shapes = [shapes_of(pair.sides[which]) for which in SIDES]
    raw = [examples.raw_x[which] for which in SIDES]
    columns = reshaped(raw[0], raw[1], *shapes) if examples.columns is None else None
    if columns is None or not pair.whole:
        return examples
    turned = in_order(examples, pair.sides, columns)
    weights = stirred(pair)
    try:
        pair.load({"a": weights, "b": pair.transfer.to_b(weights)})
        if _apart(pair, examples) > CLOSE and _apart(pair, turned) <= CLOSE:
            return replace(turned, reshaped=True)
        return examples
    finally:
        pair.load({which: side.own for which, side in pair.sides.items()})


def reshaped(
    a: np.ndarray, b: np.ndarray, of_a: Sequence[Shape], of_b: Sequence[Shape]
) -> np.ndarray | None:
    """The order of A's flattened inputs that B's would have if they were transposed, where they are
    in A's order and in a shape with other axes; None if no input is so.

    Args:
        a, b: the same examples as each side takes them, (n, …).
        of_a, of_b: the shapes of the inputs that are packed in them, without the batch.
    """
    return order_of_all(a, b, of_a, of_b, _transposed)


def _transposed(one: np.ndarray, other: np.ndarray, of_a: Shape, of_b: Shape) -> np.ndarray:
    """The order of one input's numbers; as they are if they have not been reshaped."""
    numbers, axes = np.arange(one.shape[1]), tuple(range(len(of_b)))
    for users in (axes, (*axes[-1:], *axes[:-1])):  # PyTorch's users have the last axis second.
        shape = tuple(of_b[axis] for axis in users)
        orders = [order for order in turns(of_a, shape) if order not in SWAPPED]
        back = other.reshape(-1, *of_b).transpose(0, *(axis + 1 for axis in users))
        if orders and _sizes(of_a) != _sizes(shape) and alike(one, back.reshape(one.shape)):
            turned = numbers.reshape(of_a).transpose(min(orders, key=_moved_axes))
            return turned.transpose(np.argsort(users)).ravel()
    return numbers


def _sizes(shape: Shape) -> list[int]:
    """The sizes without ones, which change no order."""
    return [size for size in shape if size != 1]


def _moved_axes(order: tuple[int, ...]) -> int:
    """The number of axes that move: 0, 1 if one moves past others, as that of the channels does, or
    2 for more."""
    count = len(order)
    if order == tuple(range(count)):
        return 0
    rests = ([n for n in order if n != axis] for axis in range(count))
    return 1 if any(rest == sorted(rest) for rest in rests) else 2


def _apart(pair: Pair, examples: Examples) -> float:
    outputs = {w: side.outputs(examples.x[w], training=False)[0] for w, side in pair.sides.items()}
    return largest_distance(*as_one(pair, outputs))
