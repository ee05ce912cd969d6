"""The figures of each side, and whether the sides differ by more than chance."""

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from diptych.comparison.code import script_of
from diptych.comparison.results import Difference, Disagreement, LeftOut, Side, Training
from diptych.comparison.sides import Group
from diptych.evaluation import accuracy_interval
from diptych.runs import Run
from diptych.scripts.counting import lines_of_code
from diptych.workflows import registry


def side(group: Group) -> Side:
    """The figures of one side, from the results of its runs."""
    runs, first = list(group.runs.values()), group.first.description()
    results = [run.result() or {} for run in runs]
    accuracies = [result["test_accuracy"] for result in results]
    mean = statistics.fmean(accuracies)
    if len(runs) == 1:
        deviation = None
        interval = accuracy_interval(results[0]["test_correct"], results[0]["test_images"])
    else:
        deviation = statistics.stdev(accuracies)
        error = deviation / len(runs) ** 0.5
        half = float(stats.t.ppf(0.975, len(runs) - 1)) * error
        # Student's t knows nothing of the ends: few seeds that are far apart reach beyond them.
        interval = (max(mean - half, 0.0), min(mean + half, 1.0)) if deviation else None
    return Side(
        name=group.name,
        workflow=group.first.workflow,
        network=first["network"]["name"],
        recipe=first["recipe"]["name"],
        data=first["data"]["name"],
        precision=registry.precision(group.first.workflow, group.first.recipe),
        runs=[str(run.folder) for run in runs],
        seeds=list(group.runs),
        test_accuracy=mean,
        test_accuracies=accuracies,
        deviation=deviation,
        interval=interval,
        validation_accuracy=statistics.fmean(result["validation_accuracy"] for result in results),
        lines_of_code=lines_of_code(script_of(group.first)),
        training=None if "imported" in first else _training(results),
    )


def _training(results: list[dict[str, Any]]) -> Training:
    def median(key: str) -> float:
        return statistics.median(result[key] for result in results)

    return Training(
        epochs=statistics.fmean(result["epochs"] for result in results),
        seconds=median("train_seconds"),
        seconds_per_epoch=statistics.median(r["train_seconds"] / r["epochs"] for r in results),
        images_per_second=median("images_per_second"),
        start_seconds=median("start_seconds"),
        peak_memory_mib=max(result["peak_memory_mib"] for result in results),
    )


def differences(groups: Sequence[Group]) -> tuple[list[Difference], list[LeftOut]]:
    """Each pair's difference, and the pairs that have none with the reason."""
    tested, left_out = [], []
    for first, second in itertools.combinations(groups, 2):
        if reason := _why_not(first, second):
            what = f"the difference between {first.name} and {second.name}"
            left_out.append(LeftOut(what, reason))
        else:
            tested.append(_difference(first, second))
    return tested, left_out


def _why_not(first: Group, second: Group) -> str | None:
    """The reason why two sides cannot be tested against each other."""
    a, b = (group.first.description()["data"] for group in (first, second))
    if a["fingerprint"] != b["fingerprint"]:
        return (
            f"they were tested on different images ({a['name']} with {len(a['class_names'])} "
            f"classes, {b['name']} with {len(b['class_names'])} classes)"
        )
    if not _pairs(first, second) and min(len(first.runs), len(second.runs)) == 1:
        return "they have no seed in common, and one of them has a single seed"
    return None


def _pairs(first: Group, second: Group) -> list[tuple[Run, Run]]:
    """The pairs of runs that are compared: those of the same seed, or one run of each side if there
    is only one, with any seeds."""
    common = [seed for seed in first.runs if seed in second.runs]
    if not common and len(first.runs) == len(second.runs) == 1:
        return [(first.first, second.first)]
    return [(first.runs[seed], second.runs[seed]) for seed in common]


def _difference(first: Group, second: Group) -> Difference:
    """McNemar's exact test for one pair of runs; over several seeds, the paired t-test of the
    accuracies; Welch's t-test where no seed is in common.

    McNemar (1947): of the images that exactly one side classifies correctly, each side's share is
    one half if the sides are equally good. Over seeds the same images come again, so predictions
    are not independent; the accuracies of different seeds are.
    """
    pairs = _pairs(first, second)
    only_first = only_second = neither = 0
    gaps = []
    for a, b in pairs:
        right_a, right_b = _right(a), _right(b)
        only_first += int(np.sum(right_a & ~right_b))
        only_second += int(np.sum(~right_a & right_b))
        neither += int(np.sum(~right_a & ~right_b))
        gaps.append(int(right_a.sum()) - int(right_b.sum()))  # Whole numbers: equal is equal.
    if not pairs:
        test = "Welch's t-test over seeds"
        counts = [
            [int(_right(run).sum()) for run in group.runs.values()] for group in (first, second)
        ]
        spread = max(statistics.stdev(of) for of in counts)
        p_value = float(np.asarray(stats.ttest_ind(*counts, equal_var=False))[1])
        p_value = p_value if spread else None
    elif len(gaps) == 1:
        test, differing = "McNemar's exact test", only_first + only_second
        p_value = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    else:
        test = "paired t-test over seeds"
        spread = statistics.stdev(gaps)
        p_value = float(np.asarray(stats.ttest_1samp(gaps, 0.0))[1]) if spread else None
    return Difference(first.name, second.name, test, p_value, only_first, only_second, neither)


def _right(run: Run) -> np.ndarray:
    """Which test images the run classifies correctly, as bool (n,)."""
    logits, labels = run.predictions()
    return np.argmax(logits, axis=1) == labels


def disagreements(groups: Sequence[Group]) -> tuple[list[Disagreement], list[LeftOut]]:
    """The test images that not all sides classify alike, for the first seed of each; of the sides
    that were tested on the images of the first side."""
    data = [group.first.description()["data"] for group in groups]
    same = [
        group
        for group, one in zip(groups, data, strict=True)
        if one["fingerprint"] == data[0]["fingerprint"]
    ]
    left_out = [
        LeftOut(f"the predictions of {group.name}", "its test images are not those of the others")
        for group in groups
        if group not in same and len(same) > 1
    ]
    if len(same) < 2:
        return [], [LeftOut("where they disagree", "they were tested on different images")]
    class_names = data[0]["class_names"]
    answers, labels = {}, np.empty(0, np.int64)
    for group in same:
        logits, labels = group.first.predictions()
        answers[group.name] = np.argmax(logits, axis=1)
    right = np.stack([predicted == labels for predicted in answers.values()])
    differing = np.flatnonzero(right.any(axis=0) & ~right.all(axis=0))
    found = [
        Disagreement(
            int(image),
            class_names[labels[image]],
            {name: class_names[predicted[image]] for name, predicted in answers.items()},
        )
        for image in differing
    ]
    return found, left_out
