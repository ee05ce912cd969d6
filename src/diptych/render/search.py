"""Searches: the best values beside the default ones, and the test of their difference."""

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from diptych.render.study import STYLES, value_of
from diptych.render.terminal import table
from diptych.study.search import SearchOutcome


def outcome(result: SearchOutcome) -> RenderableType:
    """The outcome of one search."""
    lines: list[RenderableType] = [Text(result.question, style="bold"), _values(result)]
    if not result.importance:
        lines.append(Text("Too few trials to estimate which values matter.", style="dim"))
    lines += [Text(trials_sentence(result)), Text(sentence(result), style=_style(result))]
    lines.append(Text(test_sentence(result)))
    if result.quick:
        lines.append(Text("This is the quick search: fewer trials and seeds.", style="dim"))
    return Group(*lines)


def _style(result: SearchOutcome) -> str:
    return STYLES[result.verdict.word if result.verdict else "not decided"]


def _values(result: SearchOutcome) -> RenderableType:
    rows = table("Value", "Default", "Best", "Importance")
    for key, default in result.default.items():
        share = result.importance.get(key)
        rows.add_row(
            key, _plain(default), _plain(result.best[key]), "–" if share is None else f"{share:.0%}"
        )
    return rows


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trials_sentence(result: SearchOutcome) -> str:
    """The number of trials, and the measure of the best one."""
    what = result.measure.replace("_", " ")
    pruned = f" ({result.pruned} of them stopped early)" if result.pruned else ""
    return (
        f"{result.trials} trials{pruned} by {result.sampler}: the {what} of the best one, trial "
        f"{result.best_trial}, is {value_of(result.measure, result.best_value)}; that of the "
        f"default values is {value_of(result.measure, result.default_value)}. The best of many "
        "trials is partly luck."
    )


def sentence(result: SearchOutcome) -> str:
    """The difference of best and default values with new seeds, and whether it may be chance."""
    if result.verdict is None:
        return "No trial was better than the default values."
    what = result.measure.replace("_", " ")
    best, default = result.verdict.arms
    [contrast] = result.verdict.contrasts
    means = (
        f"the {what} is {value_of(result.measure, best.mean)} with the best values and "
        f"{value_of(result.measure, default.mean)} with the default ones"
    )
    seeds = f"With {result.seeds} new seed{'s' if result.seeds > 1 else ''}"
    if contrast.interval is None or contrast.p_value is None:
        return f"{seeds} {means}; one seed does not show whether this is chance."
    ends = " to ".join(value_of(result.measure, end) for end in contrast.interval)
    word = {
        "yes": "better, and hardly by chance",
        "no": "worse, and hardly by chance",
        "not decided": "and the difference may be chance",
    }[result.verdict.word]
    return (
        f"{seeds} {means}: {word} (difference {value_of(result.measure, contrast.difference)}, "
        f"95% interval {ends}, p = {contrast.p_value:.2g})."
    )


def test_sentence(result: SearchOutcome) -> str:
    """The accuracy on the test set, which only the runs at the end use."""
    parts = []
    for arm, values in result.test_accuracy.items():
        spread = f" ± {100 * np.std(values, ddof=1):.2f}%" if len(values) > 1 else ""
        parts.append(f"{np.mean(values):.2%}{spread} with the {arm} values")
    return f"Test accuracy, measured only at the end: {', '.join(parts)}."
