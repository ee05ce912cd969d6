"""Trainings of the article's network, and what several seeds of them read, for the scripts here."""

import math
import statistics
from typing import Any

from rich.console import Console

from diptych import Recipe, train


def result_of(
    workflow: str,
    recipe: Recipe | str,
    seed: int,
    runs: str,
    console: Console,
    name: str | None = None,
) -> dict[str, Any]:
    """What a training measured, as its run's ``result.json`` has it; printed under that name, or
    the workflow's."""
    run = train(workflow, "article", recipe, seed=seed, runs=runs, report=lambda _: None)
    result = run.result() or {}
    console.print(
        f"{name or workflow}, seed {seed}: {result['train_seconds']:.1f} s, validation "
        f"{result['validation_accuracy']:.4f}, test {result['test_accuracy']:.4f}"
    )
    return result


def standard_error(accuracies: list[float]) -> str:
    """Of their mean, in percent; a dash if there is only one."""
    if len(accuracies) == 1:
        return "–"
    return f"{statistics.stdev(accuracies) / math.sqrt(len(accuracies)):.3%}"


def mean_and_error(accuracies: list[float]) -> str:
    """Their mean and its standard error, in percent."""
    return f"{statistics.mean(accuracies):.3%} ± {standard_error(accuracies)}"
