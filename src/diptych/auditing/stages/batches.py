"""Batches: their size and order, the last batch, and the examples in them."""

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.pair import Pair
from diptych.auditing.report import Stage

NAME = "batches"
COUNT = 230
"""The number of examples of the compared epochs; no common batch size divides it."""
Epochs = list[list[tuple[np.ndarray, np.ndarray]]]


def check(pair: Pair, report: Reporter) -> Stage:
    """Compares two epochs of each side, with examples that are their own number."""
    stage = Stage(NAME)
    a, b = (side.batches(COUNT, 2) for side in pair.sides.values())
    if a is None or b is None:
        who = "neither side defines" if a is b else "only one side defines"
        stage.ok, stage.note = None, f"{who} its batches"
        return stage
    stage.coverage.compared(3, epochs=2, examples=COUNT)
    _sizes(a, b, report)
    _examples(a, b, report)
    _order(a, b, report)
    stage.ok = not report.has(NAME)
    return stage


def numbers(batch: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The numbers of the examples in a batch, from their targets."""
    y = np.asarray(batch[1], np.float64).reshape(len(batch[1]), -1)
    return np.rint(y[:, 0]).astype(int)


def _sizes(a: Epochs, b: Epochs, report: Reporter) -> None:
    sizes = [[len(y) for _, y in epochs[0]] for epochs in (a, b)]
    if sizes[0][0] != sizes[1][0]:
        report("batch-size", a=f"batches of {sizes[0][0]}", b=f"batches of {sizes[1][0]}")
        return
    partial = [s[-1] != s[0] for s in sizes]
    dropped = [sum(s) < COUNT and not p for s, p in zip(sizes, partial, strict=True)]
    if partial[0] != partial[1] and any(dropped):
        of_a, of_b = (
            f"a last batch of {s[-1]}" if p else f"the last {COUNT - sum(s)} of {COUNT} left out"
            for s, p in zip(sizes, partial, strict=True)
        )
        report("last-batch", a=of_a, b=of_b)


def _examples(a: Epochs, b: Epochs, report: Reporter) -> None:
    seen = [len(set(np.concatenate([numbers(x) for x in epochs[0]]))) for epochs in (a, b)]
    if seen[0] != seen[1] and not report.has(NAME):
        of_a, of_b = (f"{number} of {COUNT} examples per epoch" for number in seen)
        report("examples", a=of_a, b=of_b)


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
