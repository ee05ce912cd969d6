"""The effect of a difference on the outputs."""

from dataclasses import dataclass, replace

import numpy as np

from diptych.auditing import reference
from diptych.auditing.graph import Node
from diptych.auditing.pair import Pair, without_final


@dataclass(frozen=True)
class Effect:
    """The change of side A's outputs if some of its nodes are replaced."""

    moved: float
    """The largest change of an output."""
    words: str


def effect_of(pair: Pair, x: np.ndarray, changes: dict[str, Node]) -> Effect | None:
    """The effect of replacing nodes of side A, with A's own weights; None if it cannot be computed.

    Args:
        pair: the two sides.
        x: A's inputs, (n, …).
        changes: by name, the nodes that take the place of A's.
    """
    if not pair.computable("a"):
        return None
    side = pair.sides["a"]
    graph = without_final(pair.graphs["a"])
    changed = replace(graph, nodes=tuple(changes.get(n.name, n) for n in graph.nodes))
    try:
        before, after = (reference.outputs(each, side.own, x) for each in (graph, changed))
    except reference.DOES_NOT_FIT:
        return None  # The layers after it do not take its new shape.
    if before.shape != after.shape:
        return None
    moved = float(np.max(np.abs(after - before), initial=0.0))
    words = f"outputs change by up to {moved:.2g} (they span {np.ptp(before):.2g})"
    if before.ndim == 2 and before.shape[1] > 1 and side.targets != "values":
        count = int(np.sum(before.argmax(1) != after.argmax(1)))
        words += f", {count} of {len(before)} predictions change, with A's current weights"
    return Effect(moved, words)
