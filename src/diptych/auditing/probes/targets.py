"""Outputs chosen by the audit, with targets that cover every class, for the loss alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diptych.auditing.examples import Examples, random_targets, takes_own, targets_as
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.randomness import generator

CLASSES = 8
"""The number of classes in one batch, small enough for a difference in one of them to show in the
mean."""
SCALES = (2.0, 0.01, 30.0)
"""Standard deviations of the outputs: ordinary, small, and saturating ones."""
SPREADS = (1.0, 100.0)
"""Standard deviations of numeric targets, to reach the threshold of a robust loss."""
SIZES = (1, 6, 4)
"""The batch sizes that distinguish a mean from a sum."""


@dataclass(frozen=True)
class Batch:
    """Outputs before the final activation, and targets, the same for both sides."""

    name: str
    scale: float
    """The standard deviation of the outputs."""
    logits: np.ndarray
    """(n, …), float64."""
    targets: dict[Which, np.ndarray]

    @property
    def size(self) -> int:
        return len(self.logits)


def batches(pair: Pair, examples: Examples) -> Iterator[Batch]:
    """Batches that cover each class, each scale of outputs and each batch size.

    Args:
        pair: both sides.
        examples: with targets in the shape of each side's own.
    """
    first = pair.sides["a"]
    shape = pair.a.nodes[-1].shape
    spreads = SPREADS if first.targets == "values" else (1.0,)
    for size in SIZES:
        for scale in SCALES:
            for spread in spreads:
                chance = generator(0, "audit/outputs", size)
                z = scale * spread * chance.standard_normal((size, *shape))
                name = f"batches of {size}, outputs with a standard deviation of {scale * spread:g}"
                if takes_own(*pair.sides.values()):
                    rows = chance.integers(min(map(len, examples.raw_y.values())), size=size)
                    own = {which: examples.raw_y[which][rows] for which in SIDES}
                    yield Batch(name, scale * spread, z, own)
                    continue
                targets = random_targets(first, chance, size)
                targets = targets * spread if first.targets == "values" else targets
                yield Batch(name, scale * spread, z, of_both(pair, examples, targets))
    if first.targets in ("classes", "one_hot") and not takes_own(*pair.sides.values()):
        yield from _classes(pair, examples, shape)


def _classes(pair: Pair, examples: Examples, shape: tuple[int, ...]) -> Iterator[Batch]:
    """Every class, and every other label that the sides' own data have."""
    side, count = pair.sides["a"], shape[-1]
    labels = np.arange(-(-count // CLASSES) * CLASSES) % count
    if side.targets == "classes":
        known = [label for one in pair.sides.values() for label in one.data.get("labels", [])]
        own = np.union1d(examples.y["a"].astype(np.int64), np.array(known, np.int64))
        others = own[(own < 0) | (own >= count)]
        if others.size:  # Such as a label that the loss ignores.
            labels = np.concatenate([labels, np.resize(others, CLASSES)])
    for number, part in enumerate(labels.reshape(-1, CLASSES)):
        chance = generator(0, "audit/classes", number)
        z = 2 * chance.standard_normal((CLASSES, *shape))
        targets = np.broadcast_to(
            part.reshape(-1, *(1 for _ in shape[:-1])), (CLASSES, *shape[:-1])
        )
        if side.targets == "one_hot":
            targets = np.eye(count, dtype=np.float32)[targets]
        yield Batch(
            f"labels {part.min()} to {part.max()}",
            2.0,
            z,
            of_both(pair, examples, np.array(targets)),
        )


def of_both(pair: Pair, examples: Examples, targets: np.ndarray) -> dict[Which, np.ndarray]:
    """A's targets for both sides, each in the form and shape of its own."""
    first = pair.sides["a"]
    found = {}
    for which in SIDES:
        own = targets_as(targets, pair.sides[which].targets, first)
        like = examples.raw_y[which]  # As the side prepares them: (n,) is not (n, 1).
        if own.size == len(targets) * int(np.prod(like.shape[1:])):
            own = own.reshape(len(targets), *like.shape[1:])
        found[which] = own
    return found
