"""The order of the axes in which two sides take the same inputs.

Graphs have the channels of images last. Other axes may be anywhere: the frames of a film, the two
images of a pair, or the channels of several inputs that are packed in one. If both sides bring the
same examples, those show the order.
"""

from collections.abc import Callable, Sequence

import numpy as np

from diptych.auditing.kinds.arithmetic import line
from diptych.auditing.match import turns

CLOSE = 2e-5
"""The difference that rounding explains, relative to the largest number."""
SWAPPED = ((1, 0, 2), (2, 1, 0))
"""The orders of an image's axes in which height and width are swapped, with the channels behind or
in front. They are a mistake, which the stage input names."""
Shape = tuple[int, ...]


def columns_of(
    a: np.ndarray, b: np.ndarray, of_a: Sequence[Shape], of_b: Sequence[Shape]
) -> np.ndarray | None:
    """The order of A's flattened inputs in which they are B's, up to a scale and an offset.

    Only the order of axes is looked for, and only where the shapes differ. In one and the same
    shape, axes in another order are a mistake.

    Args:
        a, b: the same examples as each side takes them, (n, …).
        of_a, of_b: the shapes of the inputs that are packed in them, without the batch.

    Returns:
        (numbers,): for each of B's, where A has it. None if both have the same order, or if none
        is found.
    """
    return order_of_all(a, b, of_a, of_b, _order)


def order_of_all(
    a: np.ndarray,
    b: np.ndarray,
    of_a: Sequence[Shape],
    of_b: Sequence[Shape],
    order_of: Callable[[np.ndarray, np.ndarray, Shape, Shape], np.ndarray],
) -> np.ndarray | None:
    """The order of all packed inputs' numbers, as `columns_of` takes and returns them.

    Args:
        a, b, of_a, of_b: as `columns_of`.
        order_of: gives the order of one input's numbers, from those of both sides, (n, numbers),
            and both shapes.
    """
    count = min(len(a), len(b))
    one, other = a[:count].reshape(count, -1), b[:count].reshape(count, -1)
    sizes = [[int(np.prod(shape)) for shape in shapes] for shapes in (of_a, of_b)]
    if not count or one.shape != other.shape or sizes[0] != sizes[1]:
        return None
    starts = np.cumsum([0, *sizes[0]])
    order = np.concatenate(
        [
            start + order_of(one[:, start:stop], other[:, start:stop], *shapes)
            for start, stop, *shapes in zip(starts, starts[1:], of_a, of_b, strict=False)
        ]
    )
    return None if np.array_equal(order, np.arange(len(order))) else order


def _order(one: np.ndarray, other: np.ndarray, of_a: Shape, of_b: Shape) -> np.ndarray:
    """The order of one input's numbers; as they are if no order of the axes fits."""
    numbers = np.arange(one.shape[1])
    if of_a == of_b or alike(one, other):
        return numbers
    for axes in turns(of_a, of_b):
        turned = numbers.reshape(of_a).transpose(axes).ravel()
        if axes not in SWAPPED and alike(one[:, turned], other):
            return turned
    return numbers


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """True if the second are the first times a number plus another one."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    scale, offset = line(one, other)
    size = float(np.abs(other).max(initial=1e-12))
    return bool(np.abs(one * scale + offset - other).max(initial=0.0) <= CLOSE * size)
