"""Batches: their size and order, the last batch, and the examples in them.

The examples are their own number. How often each is drawn may depend on its class, so the batches
of real examples are compared too, by their targets.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from diptych.auditing.distributions import p_value, share_of_alarms
from diptych.auditing.examples import Examples, effective
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Graph
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Side, Unable, at_once

NAME = "batches"
COUNT = 230
"""The number of examples of the compared epochs; no common batch size divides it."""
EPOCHS = 8
"""The number of compared epochs: a curriculum may begin after some of them."""
REAL_EPOCHS = 16
"""The same for real examples, of which there are fewer."""
COMPARED = 4
"""The number of compared distributions."""
SIGMAS = 6.0
"""The number of standard deviations by which two sums of random numbers may differ."""
CLOSE = 1e-5
"""The relative difference of two numbers that rounding explains."""
Batch = tuple[np.ndarray, np.ndarray]
Epochs = list[list[Batch]]


def check(pair: Pair, examples: Examples, report: Reporter) -> Stage:
    """Compares the first epochs of each side, with examples that are their own number and with
    real ones."""
    stage = Stage(NAME)
    a, b = at_once(pair.sides, lambda which: pair.sides[which].batches(COUNT, EPOCHS)).values()
    if a is None or b is None:
        who = "neither side defines" if a is b else "only one side defines"
        stage.ok, stage.note = None, f"{who} its batches"
        return stage
    stage.coverage.compared(3, epochs=EPOCHS, examples=COUNT)
    _sizes(a, b, report)
    _examples(pair, a, b, report)
    _order(a, b, report)
    if not report.has(NAME):
        drawn = [_drawn(epochs, numbers) for epochs in (a, b)]
        _compare(drawn, "the numbers of the drawn examples", report)
    if not report.has(NAME):
        _real(pair, examples, stage, report)
    stage.ok = not report.has(NAME)
    return stage


def numbers(batch: Batch) -> np.ndarray:
    """The numbers of the examples in a batch, from their targets."""
    y = np.asarray(batch[1], np.float64).reshape(len(batch[1]), -1)
    return np.rint(y[:, 0]).astype(int)


def _sizes(a: Epochs, b: Epochs, report: Reporter) -> None:
    for epoch, batches in enumerate(zip(a, b, strict=True)):
        sizes = [[len(y) for _, y in own] for own in batches]
        when = f" in epoch {epoch + 1}" if epoch else ""
        if sizes[0][:1] != sizes[1][:1]:
            of_a, of_b = (f"batches of {own[0]}" if own else "no batches" for own in sizes)
            report("batch-size", a=of_a + when, b=of_b + when)
            return
        partial = [own[-1:] != own[:1] for own in sizes]
        dropped = [sum(s) < COUNT and not p for s, p in zip(sizes, partial, strict=True)]
        if partial[0] != partial[1] and any(dropped):
            of_a, of_b = (
                f"a last batch of {s[-1]}"
                if p
                else f"the last {COUNT - sum(s)} of {COUNT} left out"
                for s, p in zip(sizes, partial, strict=True)
            )
            report("last-batch", a=of_a + when, b=of_b + when)
            return


def _examples(pair: Pair, a: Epochs, b: Epochs, report: Reporter) -> None:
    """Compares the number of different examples in each epoch; it varies if they are drawn with
    replacement."""
    if report.has(NAME):
        return
    shown = np.array([[_shown(batches) for batches in epochs] for epochs in (a, b)], float)
    different = np.flatnonzero(shown[0] != shown[1])
    if not len(different):
        return
    again = np.array([_shown_again(side) for side in pair.sides.values()])
    variance = float(np.mean(np.square(again - shown)) / 2)
    if variance:  # Of the sum over all epochs of both sides.
        away = abs(float(np.sum(shown[0] - shown[1])))
        if away <= SIGMAS * np.sqrt(2 * EPOCHS * variance):
            return
    epoch = int(different[0])
    of_a, of_b = (f"{n:.0f} of {COUNT} examples in epoch {epoch + 1}" for n in shown[:, epoch])
    report("examples", a=of_a, b=of_b)


def _shown_again(side: Side) -> list[int]:
    """The numbers of different examples in the epochs of another build."""
    return [_shown(batches) for batches in side.batches(COUNT, EPOCHS) or []]


def _real(pair: Pair, examples: Examples, stage: Stage, report: Reporter) -> None:
    """Compares the targets in batches of real examples, and what inputs and targets share: a change
    of the one may go with one of the other."""
    own = {which: (examples.x[which], examples.y[which]) for which in SIDES}
    columns = (
        {which: partial(_inputs, pair.graphs[which], examples, which) for which in SIDES},
        dict.fromkeys(SIDES, _targets),
    )
    if not all(_are_one([column[which](own[which]) for which in SIDES]) for column in columns):
        reason = "the sides have them in different forms"
        stage.coverage.leave_out("the targets in batches of real examples", reason)
        return
    try:
        epochs = at_once(
            pair.sides, lambda which: pair.sides[which].batches_of(*own[which], REAL_EPOCHS) or []
        )
    except (Failed, Unable) as problem:
        stage.coverage.leave_out("the targets in batches of real examples", str(problem))
        return
    x, y = ([_drawn(epochs[which], column[which]) for which in SIDES] for column in columns)
    stage.coverage.compared(2, real_examples=len(examples.x["a"]))
    _compare(y, "the targets in batches of real examples", report)
    means = [np.concatenate([values for values, _ in both]).mean() for both in (x, y)]
    shared = [
        ((of_x - means[0]) * (of_y - means[1]), batches)
        for (of_x, batches), (of_y, _) in zip(x, y, strict=True)
    ]
    if not report.has(NAME):
        _compare(shared, "what inputs and targets of real examples share", report)
    dense = examples.columns is None and all(map(_is_dense, own.values()))
    if not report.has(NAME) and dense:
        agreeing = [
            _drawn(epochs[which], partial(_agreement, pair.graphs[which])) for which in SIDES
        ]
        _compare(agreeing, "the agreement of inputs and targets, place by place,", report)


def _inputs(graph: Graph, examples: Examples, which: Which, batch: Batch) -> np.ndarray:
    """One number for each input."""
    x = effective(graph, np.asarray(batch[0]))
    x = (x if which == "a" else examples.of_a(x)).reshape(len(x), -1)
    return np.nan_to_num(x @ np.random.default_rng(3).normal(size=x.shape[1]))


def _targets(batch: Batch) -> np.ndarray:
    """One number for each target, which is its class also if that is one-hot."""
    y = np.asarray(batch[1], np.float64).reshape(len(batch[1]), -1)
    return np.nan_to_num(y @ (np.arange(y.shape[1]) if y.shape[1] > 1 else np.ones(1)))


def _is_dense(batch: Batch) -> bool:
    """True if there is a target at each place of the input, such as a mask of an image."""
    x, y = batch
    places = x.shape[1:-1]
    return len(places) > 0 and y.shape[1 : 1 + len(places)] == places


def _agreement(graph: Graph, batch: Batch) -> np.ndarray:
    """The sum of the products of inputs and targets over all places, for each example."""
    x, y = effective(graph, np.asarray(batch[0])), np.asarray(batch[1], np.float64)
    places = x.shape[1:-1]
    y = y.reshape(len(y), *places, -1)
    parts = [part.mean(-1).reshape(len(part), -1) for part in (x, y)]
    parts = [part - part.mean(axis=1, keepdims=True) for part in parts]
    return np.nan_to_num(np.sum(parts[0] * parts[1], axis=1))


def _are_one(values: list[np.ndarray]) -> bool:
    """True if both sides have the same numbers, up to rounding."""
    a, b = values
    size = float(np.abs(a).max(initial=0.0))
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0.0) <= 1e-5 * size)


Drawn = tuple[np.ndarray, np.ndarray]
"""A number for each drawn example, and the number of its batch."""


def _drawn(epochs: Epochs, number: Callable[[Batch], np.ndarray]) -> Drawn:
    values = [number(batch) for epoch in epochs for batch in epoch]
    sizes = [len(part) for part in values]
    return np.concatenate([np.zeros(0), *values]), np.repeat(np.arange(len(sizes)), sizes)


def _compare(drawn: list[Drawn], what: str, report: Reporter) -> None:
    """Reports a difference of the distributions of both sides' values."""
    (of_a, batches_a), (of_b, batches_b) = drawn
    p = p_value(of_a, of_b, CLOSE, (batches_a, batches_b))
    if p < share_of_alarms(COMPARED):
        words = [f"a mean of {values.mean():.4g}" for values in (of_a, of_b)]
        effect = f"the distributions of {what} differ, p = {p:.1g}"
        report("examples", a=words[0], b=words[1], effect=effect)


def _shown(batches: list[Batch]) -> int:
    """The number of different examples in an epoch."""
    return len({int(number) for batch in batches for number in numbers(batch)})


def _order(a: Epochs, b: Epochs, report: Reporter) -> None:
    of_a, of_b = _ordering(a), _ordering(b)
    if of_a != of_b:
        report("batch-order", a=of_a, b=of_b)


def _ordering(epochs: Epochs) -> str:
    orders = [np.concatenate([numbers(batch) for batch in epoch]) for epoch in epochs]
    if all(np.all(np.diff(order) > 0) for order in orders):
        return "in order in every epoch"
    if len(orders[0]) == len(orders[1]) and np.array_equal(orders[0], orders[1]):
        return "shuffled once, in the same order in every epoch"
    if any(np.all(np.diff(order) > 0) for order in orders):
        return "in order in some epochs, shuffled in others"
    moved = np.abs(orders[0] - np.arange(len(orders[0])))
    if moved.mean() < len(orders[0]) / 8:  # A full shuffle moves an example by a third.
        return "shuffled only locally (a small buffer)"
    return "shuffled again in every epoch"
