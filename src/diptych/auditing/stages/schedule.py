"""Schedule: the learning rates of all steps, and the length of training.

The rates are read by moving counters, without training: as far as the side trains, or else for
`FAR` steps.
"""

from typing import Any

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import Unable

NAME = "schedule"
FAR = 100_000
"""The number of steps to follow if a side does not define its length of training."""
CLOSE = 1e-5
"""The allowed relative difference of two rates."""
OF_LARGEST = 3e-7
"""The same, relative to the largest rate: a cosine that ends near zero is rounded in float32."""
Table = np.ndarray
"""The step and the rates at each change, float64 (changes, 1 + groups)."""


def check(pair: Pair, report: Reporter) -> Stage:
    """Compares horizons, then the rates at every step where either changes."""
    stage = Stage(NAME)
    lengths = {which: _length(pair, which) for which in SIDES}
    _horizons(stage, lengths, report)
    known = [length for length, _ in lengths.values() if length]
    steps = max(known) if len(known) == 2 else max([FAR, *known])
    tables: dict[Which, Table] = {}
    reached: list[int] = []
    for which, side in pair.sides.items():
        try:
            tables[which], reach, reason = side.rates(steps)
        except Unable as problem:
            stage.coverage.leave_out(f"the learning rates of {side.label}", str(problem))
            continue
        if reach < steps:
            left = f"the learning rates of {side.label} after step {reach:,}"
            stage.coverage.leave_out(left, reason)
        reached.append(reach)
    if len(tables) == 2:
        steps = min(reached)
        _rates(stage, tables, steps, report)
    stage.ok = not report.has(NAME)
    if not stage.coverage.probes and stage.ok:
        stage.ok, stage.note = None, "; ".join(stage.coverage.left_out)
        stage.coverage.left_out.clear()
    return stage


def _length(pair: Pair, which: Which) -> tuple[int | None, str]:
    """The number of steps that a side trains, and its source."""
    horizon: dict[str, Any] = pair.sides[which].plan()["horizon"]
    return horizon.get("steps"), horizon.get("source", "")


def _horizons(stage: Stage, lengths: dict[Which, tuple[int | None, str]], report: Reporter) -> None:
    (a, source_a), (b, source_b) = lengths["a"], lengths["b"]
    if a and b:
        stage.coverage.compared(1, length="of training")
        if a != b:
            said = [f"{n:,} steps ({source})" for n, source in ((a, source_a), (b, source_b))]
            report("training-length", a=said[0], b=said[1])
    elif a or b:
        silent, other = ("B", a) if a else ("A", b)
        stage.coverage.leave_out(
            "the length of training",
            f"{silent} does not define it; the other trains {other:,} steps",
        )
    else:
        stage.coverage.leave_out("the length of training", "neither side defines it")


def _rates(stage: Stage, tables: dict[Which, Table], steps: int, report: Reporter) -> None:
    a, b = tables["a"], tables["b"]
    places = np.unique(np.concatenate([a[:, 0], b[:, 0]])).astype(int)
    places = places[places < steps]
    rates = [_at(table, places) for table in (a, b)]
    stage.coverage.compared(len(places), rates="at every change")
    stage.coverage.steps = steps
    rates = _grouped(rates)
    if rates[0].shape != rates[1].shape:
        stage.coverage.leave_out(
            "the rates of each parameter group",
            f"A has {rates[0].shape[1]} groups and B {rates[1].shape[1]}; see the stage update",
        )
        return
    moves = [np.isfinite(each) for each in rates]
    size = np.maximum(*(np.nan_to_num(np.abs(each)) for each in rates))
    bound = CLOSE * size + OF_LARGEST * size.max(initial=0.0)
    away = np.nan_to_num(np.abs(rates[0] - rates[1])) + np.where(moves[0] != moves[1], np.inf, 0)
    if away.size:
        at = np.unravel_index(np.argmax(away / np.maximum(bound, 1e-300)), away.shape)
        stage.saw(float(away[at]), float(bound[at]))
    wrong = np.flatnonzero((away > bound).any(axis=1))
    if not len(wrong):
        return
    first = int(wrong[0])
    constant = all(_is_constant(each) for each in rates)
    code = "learning-rate" if constant else "schedule"
    found = {finding.code for finding in report.audit.findings}
    if "schedule" in found or (constant and "learning-rate" in found):
        return
    said = [_words(each, places) for each in rates]
    effect = f"from step {places[first]:,} of {steps:,}"
    report(code, a=said[0], b=said[1], effect="" if constant else effect)


def _at(table: Table, steps: np.ndarray) -> np.ndarray:
    """The rates in force at these steps, (steps, groups)."""
    rows = np.searchsorted(table[:, 0], steps, side="right") - 1
    return table[np.maximum(rows, 0), 1:]


def _grouped(rates: list[np.ndarray]) -> list[np.ndarray]:
    """One column for groups that always have the same rate, on both sides."""
    alike = [
        each[:, :1]
        if each.shape[1] and np.allclose(each, each[:, :1], rtol=1e-12, atol=0, equal_nan=True)
        else each
        for each in rates
    ]
    return alike if alike[0].shape == alike[1].shape else rates


def _is_constant(rates: np.ndarray) -> bool:
    return bool(np.all(np.nan_to_num(rates) == np.nan_to_num(rates[:1])))


def _words(rates: np.ndarray, steps: np.ndarray) -> str:
    """Words such as ``from 0.001 to 0.0005, 20 changes, the first at step 1,000``."""
    if not rates.size:
        return "no rate"
    row = rates[:, 0]
    changes = np.flatnonzero(np.diff(np.nan_to_num(row)))
    if not len(changes):
        groups = dict.fromkeys(f"{rate:.6g}" for rate in rates[0])
        return f"{' and '.join(groups)} throughout"
    first = int(steps[changes[0] + 1])
    return (
        f"from {row[0]:.6g} to {row[-1]:.6g}, {len(changes):,} changes, the first at step {first:,}"
    )
