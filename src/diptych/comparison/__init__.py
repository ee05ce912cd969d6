"""Runs side by side: what each reached, at what cost, and whether the difference is more than
chance."""

from diptych.comparison.code import script_of
from diptych.comparison.compare import compare, compare_runs
from diptych.comparison.results import (
    Comparison,
    Difference,
    Disagreement,
    LeftOut,
    Side,
    Training,
)

__all__ = [
    "Comparison",
    "Difference",
    "Disagreement",
    "LeftOut",
    "Side",
    "Training",
    "compare",
    "compare_runs",
    "script_of",
]
