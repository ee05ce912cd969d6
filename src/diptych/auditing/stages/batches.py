"""Batches: their size and order, the last one, and what is done to the examples in them."""

import numpy as np

from diptych.auditing.pair import Pair
from diptych.auditing.report import Stage
from diptych.auditing.stages import augmentation

NAME = "batches"
COUNT = 230
"""Examples of the epochs that are looked at; no common batch size divides it."""
Epochs = list[list[tuple[np.ndarray, np.ndarray]]]


def check(pair: Pair) -> Stage:
    """Compares two epochs over examples that are their own number, then some over real ones."""
    stage = Stage(NAME)
    a, b = (side.batches(COUNT, 2) for side in pair.sides.values())
    if a is None or b is None:
        who = "neither side says" if a is b else "only one side says"
        stage.ok, stage.note = None, f"{who} how it makes batches"
        return stage
    stage.coverage.compared(4, epochs=2, examples=COUNT)
    before = len(pair.audit.findings)
    _sizes(pair, a, b)
    _examples(pair, a, b)
    _order(pair, a, b)
    augmentation.compare(pair, stage)
    stage.ok = len(pair.audit.findings) == before
    return stage


def numbers(batch: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The numbers of a batch's examples, by their targets."""
    y = np.asarray(batch[1], np.float64).reshape(len(batch[1]), -1)
    return np.rint(y[:, 0]).astype(int)


def _sizes(pair: Pair, a: Epochs, b: Epochs) -> None:
    sizes = [[len(y) for _, y in epochs[0]] for epochs in (a, b)]
    if sizes[0][0] != sizes[1][0]:
        pair.found(NAME, "batch-size", None, *(f"batches of {s[0]}" for s in sizes))
        return
    partial = [s[-1] != s[0] for s in sizes]
    dropped = [sum(s) < COUNT and not p for s, p in zip(sizes, partial, strict=True)]
    if partial[0] != partial[1] and any(dropped):
        said = [
            f"a last batch of {s[-1]}" if p else f"the last {COUNT - sum(s)} of {COUNT} left out"
            for s, p in zip(sizes, partial, strict=True)
        ]
        pair.found(NAME, "last-batch", None, *said)


def _examples(pair: Pair, a: Epochs, b: Epochs) -> None:
    seen = [len(set(np.concatenate([numbers(x) for x in epochs[0]]))) for epochs in (a, b)]
    already = any(f.stage == NAME for f in pair.audit.findings)
    if seen[0] != seen[1] and not already:
        pair.found(NAME, "examples", None, *(f"{n} of {COUNT} examples an epoch" for n in seen))


def _order(pair: Pair, a: Epochs, b: Epochs) -> None:
    said = [_ordering(epochs) for epochs in (a, b)]
    if said[0] != said[1]:
        pair.found(NAME, "batch-order", None, *said)


def _ordering(epochs: Epochs) -> str:
    orders = [np.concatenate([numbers(batch) for batch in epoch]) for epoch in epochs]
    if all(np.all(np.diff(order) > 0) for order in orders):
        return "in order, every epoch"
    if len(orders[0]) == len(orders[1]) and np.array_equal(orders[0], orders[1]):
        return "shuffled once, the same order every epoch"
    if any(np.all(np.diff(order) > 0) for order in orders):
        return "in order in some epochs, shuffled in others"
    moved = np.abs(orders[0] - np.arange(len(orders[0])))
    if moved.mean() < len(orders[0]) / 8:  # A full shuffle moves an example by a third.
        return "shuffled only among neighbours (a small buffer)"
    return "shuffled anew every epoch"
