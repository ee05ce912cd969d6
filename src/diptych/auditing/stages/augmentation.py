"""Augmentation: what batches make of real examples, whose targets are their numbers.

Where only one side changes examples, or one always in the same way, that is seen at once. Where
both draw random numbers, how they change the examples is compared as distributions, over the first
epoch and over all.
"""

from dataclasses import dataclass

import numpy as np

from diptych.auditing.distributions import (
    ALARMS,
    QUESTIONS,
    Drawn,
    Statistics,
    differing,
    p_value,
)
from diptych.auditing.pair import SIDES, Pair, Which, effective, leading_rescale
from diptych.auditing.probes.images import statistics
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.data import load_data

NAME = "batches"
COUNT, FEWEST = 230, 33
"""Examples, and the fewest where they are large."""
EPOCHS, MORE = 6, 16
"""Epochs of the first sample, and of the second one."""
BUDGET = 50_000_000
"""Numbers that all epochs together may hold."""
CLOSE = 1e-5
"""The relative distance that rounding explains."""


@dataclass
class Seen:
    """A side's examples as they are trained on, in the order in which they come."""

    x: np.ndarray
    """(n, …): what reaches the first layer that is more than scaling, in A's shape."""
    numbers: np.ndarray
    """(n,): the example that each was made of."""
    labels: np.ndarray
    """(n,): the number that its target says; it is not whole where targets are mixed."""
    epoch: np.ndarray
    batch: np.ndarray


def compare(pair: Pair, stage: Stage) -> None:
    """Compares how the examples are changed; notes what could not be."""
    try:
        x = _examples(pair)
        seen = {which: _seen(pair, which, x, EPOCHS) for which in SIDES}
    except (Failed, Unable) as reason:
        stage.coverage.leave_out("what is done to real examples", str(reason))
        return
    original = effective(pair.graphs["a"], x["a"])
    stage.coverage.compared(2, real_examples=len(original), epochs=EPOCHS)
    changed = {which: _changed(each, original) for which, each in seen.items()}
    if not any(np.any(each) for each in changed.values()):
        stage.note = "examples as they are, on both sides"
        return
    if any(not np.any(each) for each in changed.values()):
        said = [_words(seen[which], changed[which]) for which in SIDES]
        pair.found(NAME, "augmentation", None, *said, _effect(seen, original))
        return
    fixed = {which: _is_fixed(each) for which, each in seen.items()}
    if fixed["a"] != fixed["b"]:
        said = [
            "the same change in every epoch" if fixed[w] else "changed at random" for w in SIDES
        ]
        pair.found(NAME, "augmentation", None, *said, _effect(seen, original))
        return
    if fixed["a"]:
        _compare_fixed(pair, seen, original)
        return
    _compare_drawn(pair, stage, x, original)


def _examples(pair: Pair) -> dict[Which, np.ndarray]:
    """The same examples for both sides, each as it takes them."""
    shape = pair.x["a"].shape[1:]
    count = int(np.clip(BUDGET // (EPOCHS * max(1, int(np.prod(shape)))), FEWEST, COUNT))
    side = pair.sides["a"]
    mnist = load_data("mnist").test
    x = pair.x["a"]
    if len(pair.raw_x["a"]) == len(x) and pair.x["a"] is pair.raw_x["a"]:
        try:
            x, _ = side.prepare(np.array(mnist.images[:count]), np.array(mnist.labels[:count]))
        except Failed:
            x = pair.x["a"]
    if x.shape[1:] != shape:
        x = pair.x["a"]
    x = x[np.arange(count) % len(x)] if len(x) < FEWEST else x[:count]
    scale, offset = leading_rescale(pair.graphs["b"])
    of_b = (effective(pair.graphs["a"], x) - offset) / scale
    like = pair.x["b"]
    of_b = of_b.reshape(len(x), *like.shape[1:])
    return {"a": x, "b": (np.rint(of_b) if like.dtype.kind in "ui" else of_b).astype(like.dtype)}


def _seen(pair: Pair, which: Which, x: dict[Which, np.ndarray], epochs: int) -> Seen:
    """What a side's batches make of the examples."""
    side, count = pair.sides[which], len(x[which])
    like = pair.y[which]
    y = np.arange(count).reshape(-1, *(1 for _ in like.shape[1:]))
    y = np.broadcast_to(y, (count, *like.shape[1:])).astype(like.dtype)
    found = side.batches_of(x[which], np.ascontiguousarray(y), epochs)
    if found is None:
        raise Unable(f"{side.label} does not say how it makes batches")
    parts: list[list[np.ndarray]] = [[], [], [], []]
    number = 0
    for epoch, batches in enumerate(found):
        for inputs, targets in batches:
            labels = np.asarray(targets, np.float64).reshape(len(targets), -1)[:, 0]
            parts[0].append(effective(pair.graphs[which], np.asarray(inputs)))
            parts[1].append(labels)
            parts[2].append(np.full(len(labels), epoch))
            parts[3].append(np.full(len(labels), number))
            number += 1
    values, labels, epoch, batch = (np.concatenate(part) for part in parts)
    shape = pair.x["a"].shape[1:]
    if values[0].size != int(np.prod(shape)):
        raise Unable(f"{side.label}'s batches have examples of another size")
    numbers = np.clip(np.rint(labels), 0, count - 1).astype(int)
    return Seen(values.reshape(-1, *shape), numbers, labels, epoch, batch)


def _changed(seen: Seen, original: np.ndarray) -> np.ndarray:
    """Which examples are not what they were."""
    away = np.abs(seen.x - original[seen.numbers]).reshape(len(seen.x), -1).max(1)
    mixed = np.abs(seen.labels - seen.numbers) > 1e-6
    return (away > CLOSE * float(np.abs(original).max(initial=1e-12))) | mixed


def _is_fixed(seen: Seen) -> bool:
    """Whether an example is changed in the same way whenever it comes."""
    order = np.argsort(seen.numbers, kind="stable")
    numbers, x = seen.numbers[order], seen.x[order].reshape(len(order), -1)
    again = np.flatnonzero(numbers[1:] == numbers[:-1])
    size = float(np.abs(x).max(initial=1e-12))
    return bool(len(again)) and bool(np.abs(x[again + 1] - x[again]).max(initial=0) <= CLOSE * size)


def _words(seen: Seen, changed: np.ndarray) -> str:
    if not np.any(changed):
        return "examples as they are"
    first = int(seen.epoch[changed].min()) + 1
    begins = f", from epoch {first} on" if first > 1 else ""
    return f"{np.mean(changed):.0%} of the examples are changed{begins}"


def _effect(seen: dict[Which, Seen], original: np.ndarray) -> str:
    sizes = [
        float(np.sqrt(np.mean(np.square(each.x - original[each.numbers]))))
        for each in seen.values()
    ]
    span = float(np.ptp(original))
    return (
        f"root mean square changes of {sizes[0]:.3g} and {sizes[1]:.3g} (examples span {span:.3g})"
    )


def _compare_fixed(pair: Pair, seen: dict[Which, Seen], original: np.ndarray) -> None:
    """Both always change an example in the same way: the two ways are compared."""
    first: dict[Which, dict[int, np.ndarray]] = {
        which: {int(n): x for n, x in zip(each.numbers[::-1], each.x[::-1], strict=True)}
        for which, each in seen.items()
    }
    both = sorted(first["a"].keys() & first["b"].keys())
    if not both:
        return
    a, b = (np.stack([first[which][number] for number in both]) for which in SIDES)
    difference = float(np.abs(a - b).max(initial=0.0))
    if difference > CLOSE * float(np.abs(a).max(initial=1e-12)):
        said = [f"examples from {x.min():.4g} to {x.max():.4g}" for x in (a, b)]
        effect = f"the same examples differ by up to {difference:.3g}"
        pair.found(NAME, "augmentation", None, *said, effect)


def _compare_drawn(
    pair: Pair, stage: Stage, x: dict[Which, np.ndarray], original: np.ndarray
) -> None:
    drawn_before = 0

    def draw(epochs: int) -> Drawn:
        nonlocal drawn_before
        # Where each call begins with the same seed, its first epochs have been seen already.
        found = [
            _later(_seen(pair, which, x, drawn_before + epochs), drawn_before) for which in SIDES
        ]
        drawn_before += epochs
        a, b = (_statistics(each, original) for each in found)
        return a, b, (found[0].batch, found[1].batch)

    different = differing(draw, EPOCHS, MORE, CLOSE)
    stage.note = "changes of the examples compared as distributions"
    if different:
        name, p = different
        seen = {which: _seen(pair, which, x, EPOCHS) for which in SIDES}
        said = [_words(seen[which], _changed(seen[which], original)) for which in SIDES]
        effect = f"{_effect(seen, original)}; the distributions of {name} differ, p = {p:.1g}"
        pair.found(NAME, "augmentation", None, *said, effect)
        return
    _compare_epochs(pair, x, original)


def _compare_epochs(pair: Pair, x: dict[Which, np.ndarray], original: np.ndarray) -> None:
    """Whether both begin to change examples in the same epoch."""
    seen = {which: _seen(pair, which, x, EPOCHS) for which in SIDES}
    changed = {which: _changed(each, original) for which, each in seen.items()}
    for epoch in range(EPOCHS):
        rows = {which: seen[which].epoch == epoch for which in SIDES}
        a, b = (changed[which][rows[which]].astype(float) for which in SIDES)
        clusters = (seen["a"].batch[rows["a"]], seen["b"].batch[rows["b"]])
        if p_value(a, b, CLOSE, clusters) < ALARMS / QUESTIONS / EPOCHS:
            said = [_words(seen[which], changed[which]) for which in SIDES]
            effect = f"in epoch {epoch + 1}, {a.mean():.0%} and {b.mean():.0%} are changed"
            pair.found(NAME, "augmentation", None, *said, effect)
            return


def _later(seen: Seen, epochs: int) -> Seen:
    """Without the first epochs."""
    kept = seen.epoch >= epochs
    return Seen(*(part[kept] for part in vars(seen).values()))


def _statistics(seen: Seen, original: np.ndarray) -> Statistics:
    found = statistics(seen.x, original[seen.numbers])
    found["the mixing of targets"] = seen.labels - seen.numbers
    return found
