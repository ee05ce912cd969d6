"""Augmentation: changes of real examples in the batches. The target of each example is its number.

If only one side changes examples, or one side always in the same way, one comparison shows it. If
both draw random numbers, their changes are compared as distributions, over the first epoch and over
all.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from diptych.auditing.distributions import (
    Drawn,
    Statistics,
    differing,
    p_value,
    share_of_alarms,
)
from diptych.auditing.examples import Examples, effective, leading_rescale
from diptych.auditing.findings import Reporter
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes.images import statistics
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.data import load_data

NAME = "augmentation"
COUNT, FEWEST = 230, 33
"""The number of examples, and the minimum for large ones."""
EPOCHS, MORE = 6, 16
"""The numbers of epochs of the first and the second sample."""
BUDGET = 50_000_000
"""The maximum number of values in all epochs."""
CLOSE = 1e-5
"""The relative difference that rounding explains."""


@dataclass
class Seen:
    """The examples that a side trains on, in order."""

    x: np.ndarray
    """(n, …): the input of the first layer that is not a scaling, in A's shape."""
    numbers: np.ndarray
    """(n,): the number of the original example."""
    labels: np.ndarray
    """(n,): the number in its target; not an integer if targets are mixed."""
    epoch: np.ndarray
    batch: np.ndarray


def check(pair: Pair, examples: Examples, report: Reporter) -> Stage:
    """Compares the changes of the examples."""
    stage = Stage(NAME)
    try:
        x = _examples(pair, examples)
        seen = {which: _seen(pair, examples, which, x, EPOCHS) for which in SIDES}
    except (Failed, Unable) as reason:
        stage.ok, stage.note = None, str(reason)
        return stage
    original = effective(pair.graphs["a"], x["a"])
    stage.coverage.compared(2, real_examples=len(original), epochs=EPOCHS)
    changed = {which: _changed(each, original) for which, each in seen.items()}
    if not any(np.any(each) for each in changed.values()):
        stage.note = "neither side changes the examples"
        return stage
    fixed = {which: _is_fixed(each) for which, each in seen.items()}
    if any(not np.any(each) for each in changed.values()):
        words = [_words(seen[which], changed[which]) for which in SIDES]
        report("augmentation", a=words[0], b=words[1], effect=_effect(seen, original))
    elif fixed["a"] != fixed["b"]:
        words = [
            "the same change in every epoch" if fixed[which] else "changed at random"
            for which in SIDES
        ]
        report("augmentation", a=words[0], b=words[1], effect=_effect(seen, original))
    elif fixed["a"]:
        _compare_fixed(seen, report)
    else:
        _compare_drawn(pair, examples, stage, x, original, report)
    stage.ok = not report.has(NAME)
    return stage


def _examples(pair: Pair, examples: Examples) -> dict[Which, np.ndarray]:
    """The same examples for both sides, in the form that each takes."""
    own = examples.x["a"]
    shape = own.shape[1:]
    count = int(np.clip(BUDGET // (EPOCHS * max(1, int(np.prod(shape)))), FEWEST, COUNT))
    x = own
    if not examples.random:
        mnist = load_data("mnist").test
        images, labels = np.array(mnist.images[:count]), np.array(mnist.labels[:count])
        giver = pair.sides["a"]
        with suppress(Failed):
            x, _ = giver.prepare(images, labels)
    x = x if x.shape[1:] == shape and x.dtype == own.dtype else own
    x = x[np.arange(count) % len(x)] if len(x) < FEWEST else x[:count]
    scale, offset = leading_rescale(pair.graphs["b"])
    like = examples.x["b"]
    of_b = (examples.of_b(effective(pair.graphs["a"], x)) - offset) / scale
    return {"a": x, "b": (np.rint(of_b) if like.dtype.kind in "ui" else of_b).astype(like.dtype)}


def _seen(
    pair: Pair, examples: Examples, which: Which, x: dict[Which, np.ndarray], epochs: int
) -> Seen:
    """The examples in the batches of a side."""
    side, count = pair.sides[which], len(x[which])
    like = examples.y[which]
    y = np.arange(count).reshape(-1, *(1 for _ in like.shape[1:]))
    y = np.broadcast_to(y, (count, *like.shape[1:])).astype(like.dtype)
    found = side.batches_of(x[which], np.ascontiguousarray(y), epochs)
    if found is None:
        raise Unable(f"{side.label} does not define its batches")
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
    shape = examples.x["a"].shape[1:]
    if values[0].size != int(np.prod(shape)):
        raise Unable(f"the batches of {side.label} have examples of a different size")
    numbers = np.clip(np.rint(labels), 0, count - 1).astype(int)
    values = values.reshape(-1, *shape) if which == "a" else examples.of_a(values)
    return Seen(values, numbers, labels, epoch, batch)


def _changed(seen: Seen, original: np.ndarray) -> np.ndarray:
    """The examples that were changed."""
    away = np.abs(seen.x - original[seen.numbers]).reshape(len(seen.x), -1).max(1)
    mixed = np.abs(seen.labels - seen.numbers) > 1e-6
    return (away > CLOSE * float(np.abs(original).max(initial=1e-12))) | mixed


def _is_fixed(seen: Seen) -> bool:
    """True if each example is always changed in the same way."""
    order = np.argsort(seen.numbers, kind="stable")
    numbers, x = seen.numbers[order], seen.x[order].reshape(len(order), -1)
    again = np.flatnonzero(numbers[1:] == numbers[:-1])
    size = float(np.abs(x).max(initial=1e-12))
    return bool(len(again)) and bool(np.abs(x[again + 1] - x[again]).max(initial=0) <= CLOSE * size)


def _words(seen: Seen, changed: np.ndarray) -> str:
    if not np.any(changed):
        return "examples unchanged"
    first = int(seen.epoch[changed].min()) + 1
    begins = f", from epoch {first}" if first > 1 else ""
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


def _compare_fixed(seen: dict[Which, Seen], report: Reporter) -> None:
    """Compares fixed changes, which are the same in every epoch on both sides."""
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
        words = [f"examples from {x.min():.4g} to {x.max():.4g}" for x in (a, b)]
        effect = f"the same examples differ by up to {difference:.3g}"
        report("augmentation", a=words[0], b=words[1], effect=effect)


def _compare_drawn(
    pair: Pair,
    examples: Examples,
    stage: Stage,
    x: dict[Which, np.ndarray],
    original: np.ndarray,
    report: Reporter,
) -> None:
    """Compares random changes of both sides as distributions."""
    drawn_before = 0

    def seen(epochs: int) -> dict[Which, Seen]:
        return {which: _seen(pair, examples, which, x, epochs) for which in SIDES}

    def draw(epochs: int) -> Drawn:
        nonlocal drawn_before
        # If each call begins with the same seed, its first epochs have been seen already.
        later = {w: _later(each, drawn_before) for w, each in seen(drawn_before + epochs).items()}
        drawn_before += epochs
        a, b = (_statistics(each, original) for each in later.values())
        return a, b, (later["a"].batch, later["b"].batch)

    stage.note = "changes of the examples compared as distributions"
    different = differing(draw, EPOCHS, MORE, CLOSE, least=1.0)
    first = _repeated(lambda: seen(EPOCHS))
    changed = {which: _changed(each, original) for which, each in first.items()}
    words = [_words(first[which], changed[which]) for which in SIDES]
    if different:
        name, p = different
        effect = f"{_effect(first, original)}; the distributions of {name} differ, p = {p:.1g}"
        report("augmentation", a=words[0], b=words[1], effect=effect)
        return
    for epoch in range(EPOCHS):  # It may begin later on one side.
        rows = {which: first[which].epoch == epoch for which in SIDES}
        a, b = (changed[which][rows[which]].astype(float) for which in SIDES)
        clusters = (first["a"].batch[rows["a"]], first["b"].batch[rows["b"]])
        if p_value(a, b, CLOSE, clusters) < share_of_alarms(EPOCHS):
            effect = f"in epoch {epoch + 1}, {a.mean():.0%} and {b.mean():.0%} are changed"
            report("augmentation", a=words[0], b=words[1], effect=effect)
            return


def _repeated(ask: Callable[[], dict[Which, Seen]]) -> dict[Which, Seen]:
    """The first epochs, drawn often enough for `COUNT` versions of each example, unless they are
    the same every time."""
    parts = [ask()]
    while sum(int(np.sum(part["a"].epoch == 0)) for part in parts) < COUNT:
        again = ask()
        if any(np.array_equal(again[which].x, parts[-1][which].x) for which in SIDES):
            break
        for which, part in again.items():
            part.batch = part.batch + 1 + parts[-1][which].batch.max()
        parts.append(again)
    return {
        which: Seen(*(np.concatenate(columns) for columns in zip(
            *(vars(part[which]).values() for part in parts), strict=True
        )))
        for which in SIDES
    }  # fmt: skip


def _later(seen: Seen, epochs: int) -> Seen:
    """Without the first epochs."""
    kept = seen.epoch >= epochs
    return Seen(*(part[kept] for part in vars(seen).values()))


def _statistics(seen: Seen, original: np.ndarray) -> Statistics:
    size = float(np.abs(original).max(initial=1e-12))
    found = statistics(seen.x / size, original[seen.numbers] / size)
    found["the mixing of targets"] = seen.labels - seen.numbers
    return found
