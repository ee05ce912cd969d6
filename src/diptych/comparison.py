"""Runs side by side: what each workflow reached, at what cost, and whether the difference means
anything."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from diptych import training
from diptych.data import Data, load_data
from diptych.errors import InputError, command
from diptych.evaluation import accuracy_interval
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import SCHEMA, Run, new_folder, write_json
from diptych.scripts.counting import lines_of_code
from diptych.scripts.files import MNIST, files_like
from diptych.scripts.script import write as write_script
from diptych.worker import Report
from diptych.workflows import registry

LEAST_SECONDS = 10
"""Times of trainings that are all shorter say more about the machine's mood than the workflow."""


@dataclass(frozen=True)
class Side:
    """One workflow's part of a comparison: means of accuracies over its seeds, medians of times."""

    workflow: str
    precision: str
    """The arithmetic of its training; the test images are always read in float32."""
    runs: list[str]
    seeds: list[int]
    test_accuracy: float
    """The mean over the seeds."""
    test_accuracies: list[float]
    deviation: float | None
    """The standard deviation between seeds; None for one seed."""
    interval: tuple[float, float] | None
    """95%: of one run's accuracy (Wilson), or of the mean over seeds (Student's t); None where all
    seeds have the same accuracy, which says nothing about their spread."""
    validation_accuracy: float
    epochs: float
    train_seconds: float
    seconds_an_epoch: float
    images_per_second: float
    start_seconds: float
    peak_memory_mib: float
    """The most of any seed."""
    lines_of_code: int
    """Of the plain script of this training in this workflow, as ``diptych code`` writes it."""


@dataclass(frozen=True)
class Difference:
    """Two workflows' answers on the same test images."""

    first: str
    second: str
    test: str
    """The name of the test."""
    p_value: float | None
    only_first_right: int
    """Images, over all seeds, that the first reads rightly and the second does not."""
    only_second_right: int
    both_wrong: int
    significance: float = 0.05
    """A p-value below this is taken to be more than chance."""

    @property
    def means_something(self) -> bool:
        return self.p_value is not None and self.p_value < self.significance


@dataclass(frozen=True)
class Disagreement:
    """A test image that one workflow reads rightly and another does not, for the first seed."""

    image: int
    """Its number among the test images, from 0."""
    label: str
    answers: dict[str, str]


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several workflows' runs of one network by one recipe on the same data and seeds."""

    folder: str
    network: str
    recipe: str
    data: str
    sides: list[Side]
    differences: list[Difference]
    disagreements: list[Disagreement]
    conclusion: str
    machine: dict[str, Any] | None
    """The runs' machine; None if they are of several, whose times do not compare."""
    versions: dict[str, str]
    audits: list[dict[str, Any]] = field(default_factory=list)
    """What `diptych.audit` found, where it was asked, as plain data with its ``conclusion``."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` writes them."""
        return {"schema": SCHEMA, **asdict(self)}

    def __repr__(self) -> str:
        """The table: what a person wants to see who calls `compare` at a prompt."""
        from diptych import terminal

        return terminal.plain(terminal.comparison(self))

    def _repr_html_(self) -> str:
        from diptych import terminal

        return terminal.html(terminal.comparison(self))


def compare(
    workflow_names: Sequence[str] = ("tensorflow", "keras"),
    network: Network | str = "article",
    recipe: Recipe | str | None = None,
    data: str | Data = "mnist",
    seeds: Sequence[int] = (0,),
    *,
    runs: str | Path = "runs",
    adapt: bool = False,
    checkpoint_every: int | None = None,
    tensorboard: bool = False,
    audit: bool = False,
    report: Report | None = None,
) -> Comparison:
    """Trains the network in each workflow with each seed, one after the other, and compares.

    Args:
        workflow_names: two or more of `diptych.workflows.registry.NAMES`, or ``all`` alone.
        seeds: a run of each workflow for each; two runs with the same seed start from the same
            weights and see the same batches.
        audit: also audit the first seed's runs, the first workflow's against each other one's.
        network, recipe, data, runs, adapt, checkpoint_every, tensorboard, report: as
            `diptych.train` takes them.

    Returns:
        The comparison, which is also written to ``comparison.json`` in a folder below ``runs``.

    Raises:
        InputError: something given is wrong; nothing has been trained then.
        KeyboardInterrupt: Ctrl-C; the run under way has been saved.
    """
    names, seeds = registry.chosen(workflow_names), list(seeds)
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"workflows {', '.join(names) or 'none'}: a comparison needs two or more different "
            "ones, such as tensorflow,keras"
        )
    for seed in seeds:
        training.check_seed(seed)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds {seeds}: expected one or more different ones")
    if tensorboard:
        training.check_tensorboard()
    loaded = data if isinstance(data, Data) else load_data(data)
    made = [
        training.create(
            name,
            network,
            recipe,
            loaded,
            seed,
            runs=runs,
            adapt=adapt,
            checkpoint_every=checkpoint_every,
        )
        for seed in seeds
        for name in names
    ]
    return compare_runs(made, runs=runs, tensorboard=tensorboard, audit=audit, report=report)


def compare_runs(
    made: Sequence[Run],
    *,
    runs: str | Path = "runs",
    tensorboard: bool = False,
    audit: bool = False,
    report: Report | None = None,
) -> Comparison:
    """Compares runs of the same network, recipe, data and seeds by several workflows.

    Args:
        made: the runs; those that have not ended are trained to their end first.
        audit: as `compare` takes it.
        runs, tensorboard, report: as `diptych.train` takes them.

    Raises:
        InputError: the runs are not of the same thing; nothing has been trained then.
        KeyboardInterrupt: Ctrl-C; the run under way has been saved.
    """
    by_workflow: dict[str, dict[int, Run]] = {}
    for run in made:
        of = by_workflow.setdefault(run.workflow, {})
        if run.seed in of:
            raise InputError(
                f"runs {of[run.seed].folder} and {run.folder}: both are {run.workflow} with seed "
                f"{run.seed}, expected one of each"
            )
        of[run.seed] = run
    _check_comparable(made, by_workflow)
    try:
        for run in made:
            training.carry_out(run, report, tensorboard)
    except KeyboardInterrupt:
        again = command("compare", *(run.folder for run in made))
        raise KeyboardInterrupt(f"Stopped and saved. {again} goes on.") from None
    sides = [_side(name, list(of.values())) for name, of in by_workflow.items()]
    names = list(by_workflow)
    differences = [
        _difference(by_workflow[first], by_workflow[second])
        for i, first in enumerate(names)
        for second in names[i + 1 :]
    ]
    descriptions = [run.description() for run in made]
    description, seed = descriptions[0], made[0].seed
    one_machine = all(other["machine"] == description["machine"] for other in descriptions)
    audits = []
    if audit:
        audits = _audits([of[made[0].seed] for of in by_workflow.values()], report)
    folder = new_folder(Path(runs), f"comparison-{'-'.join(names)}-{made[0].network.name}")
    comparison = Comparison(
        folder=str(folder),
        network=made[0].network.name,
        recipe=made[0].recipe.name,
        data=description["data"]["name"],
        sides=sides,
        differences=differences,
        disagreements=_disagreements(
            {name: of[seed] for name, of in by_workflow.items()},
            description["data"]["class_names"],
        ),
        conclusion=_conclusion(sides, differences, one_machine),
        machine=description["machine"] if one_machine else None,
        versions=_versions([other["versions"] for other in descriptions]),
        audits=audits,
    )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / "comparison.json", comparison.to_dict() | {"created": created})
    return comparison


def script_of(run: Run) -> str:
    """The plain script of a run's workflow, network and recipe.

    Where its data are not MNIST, the script reads IDX files in a folder ``data``.
    """
    mnist = run.description()["data"]["source"] == "mnist"
    files = MNIST if mnist else files_like(run.network)
    return write_script(run.workflow, run.network, run.recipe, files)


def _check_comparable(made: Sequence[Run], by_workflow: dict[str, dict[int, Run]]) -> None:
    if len(by_workflow) < 2:
        given = ", ".join(by_workflow)
        raise InputError(f"a comparison needs runs of two or more workflows, given {given}")
    for run in made:
        if "imported" in run.description():
            raise InputError(
                f"run {run.folder}: it was imported, so there is no training of it to compare; "
                f"{command('evaluate', run.folder)} says how well it reads"
            )
        if run.status == "done" and run.result() is None:
            raise InputError(f"run {run.folder}: it has ended, but its result.json is missing")
    first = made[0].description()
    for run in made[1:]:
        other = run.description()
        for what in ("network", "recipe"):
            if other[what] != first[what]:
                raise InputError(
                    f"runs {made[0].name} and {run.name}: their {what} differs, expected the same"
                )
        if other["data"]["fingerprint"] != first["data"]["fingerprint"]:
            raise InputError(
                f"runs {made[0].name} and {run.name}: their data differ, expected the same"
            )
    seeds = {name: sorted(of) for name, of in by_workflow.items()}
    if len({tuple(s) for s in seeds.values()}) > 1:
        raise InputError(f"runs: each workflow needs the same seeds, given {seeds}")


def _side(workflow: str, runs: list[Run]) -> Side:
    results = [run.result() or {} for run in runs]
    accuracies = [result["test_accuracy"] for result in results]
    mean = statistics.fmean(accuracies)

    def median(key: str) -> float:
        return statistics.median(result[key] for result in results)

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
        workflow=workflow,
        precision=registry.precision(workflow, runs[0].recipe),
        runs=[str(run.folder) for run in runs],
        seeds=[run.seed for run in runs],
        test_accuracy=mean,
        test_accuracies=accuracies,
        deviation=deviation,
        interval=interval,
        validation_accuracy=statistics.fmean(result["validation_accuracy"] for result in results),
        epochs=statistics.fmean(result["epochs"] for result in results),
        train_seconds=median("train_seconds"),
        seconds_an_epoch=statistics.median(r["train_seconds"] / r["epochs"] for r in results),
        images_per_second=median("images_per_second"),
        start_seconds=median("start_seconds"),
        peak_memory_mib=max(result["peak_memory_mib"] for result in results),
        lines_of_code=lines_of_code(script_of(runs[0])),
    )


def _difference(first: dict[int, Run], second: dict[int, Run]) -> Difference:
    """McNemar's exact test for one seed; over several, the paired t-test of the accuracies.

    McNemar (1947): of the images that exactly one side reads rightly, each side's share is one half
    if the sides are equally good. Over seeds the same images come again, so their readings are not
    independent; the accuracies of different seeds are.
    """
    only_first = only_second = neither = 0
    gaps = []
    for seed in first:
        logits_a, labels = first[seed].predictions()
        logits_b, _ = second[seed].predictions()
        right_a, right_b = np.argmax(logits_a, 1) == labels, np.argmax(logits_b, 1) == labels
        only_first += int(np.sum(right_a & ~right_b))
        only_second += int(np.sum(~right_a & right_b))
        neither += int(np.sum(~right_a & ~right_b))
        gaps.append(int(right_a.sum()) - int(right_b.sum()))  # Whole numbers: equal is equal.
    if len(gaps) == 1:
        test, differing = "McNemar's exact test", only_first + only_second
        p_value = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    else:
        test = "paired t-test over seeds"
        spread = statistics.stdev(gaps)
        p_value = float(np.asarray(stats.ttest_1samp(gaps, 0.0))[1]) if spread else None
    a, b = next(iter(first.values())), next(iter(second.values()))
    return Difference(a.workflow, b.workflow, test, p_value, only_first, only_second, neither)


def _disagreements(runs: dict[str, Run], class_names: list[str]) -> list[Disagreement]:
    answers, labels = {}, np.empty(0, np.int64)
    for name, run in runs.items():
        logits, labels = run.predictions()
        answers[name] = np.argmax(logits, axis=1)
    right = np.stack([read == labels for read in answers.values()])
    differing = np.flatnonzero(right.any(axis=0) & ~right.all(axis=0))
    return [
        Disagreement(
            int(image),
            class_names[labels[image]],
            {name: class_names[read[image]] for name, read in answers.items()},
        )
        for image in differing
    ]


def _audits(runs: list[Run], report: Report | None) -> list[dict[str, Any]]:
    """The audits of the first run against each other one."""
    from diptych.auditing import audit

    def say(stage: str) -> None:
        if report:
            report({"event": "auditing", "stage": stage})

    audits, first = [], runs[0].folder
    for other in runs[1:]:
        try:
            found = audit(first, other.folder, progress=say)
            audits.append(found.to_dict() | {"conclusion": found.conclusion})
        except Exception as problem:  # The trainings are worth more than their audit.
            why = (str(problem) or type(problem).__name__).splitlines()[0]
            audits.append(
                {"a": str(first), "b": str(other.folder), "same": None, "stages": []}
                | {"findings": [], "notes": [], "conclusion": f"could not be audited: {why}"}
            )
    return audits


def _versions(of_runs: list[dict[str, str]]) -> dict[str, str]:
    """Each package's version, or its versions where the runs have several."""
    packages = dict.fromkeys(package for versions in of_runs for package in versions)
    return {
        package: " and ".join(dict.fromkeys(v[package] for v in of_runs if package in v))
        for package in packages
    }


def _conclusion(sides: list[Side], differences: list[Difference], one_machine: bool) -> str:
    """One sentence in plain words."""
    ranked = sorted(sides, key=lambda side: side.test_accuracy, reverse=True)
    best, worst = ranked[0], ranked[-1]
    real = [d for d in differences if d.means_something]
    points = 100 * (best.test_accuracy - worst.test_accuracy)
    if real:
        pairs = "; ".join(
            f"{d.first} and {d.second} differ (p = {d.p_value:.3g}, {d.test})" for d in real
        )
        accuracy = f"{best.workflow} reads {points:.2f} points more than {worst.workflow}: {pairs}"
    elif points == 0:
        accuracy = (
            "the workflows are equally accurate as far as this can tell: they read as many test "
            "images"
        )
    else:
        known = [d.p_value for d in differences if d.p_value is not None]
        accuracy = (
            f"the workflows are equally accurate as far as this can tell: {points:.2f} points "
            f"between {best.workflow} and {worst.workflow} are "
        ) + (f"within chance (p = {min(known):.2g})" if known else "too few seeds to test")
    ranked = sorted(sides, key=lambda side: side.train_seconds)
    fast, slow = ranked[0], ranked[-1]
    ratio = slow.train_seconds / fast.train_seconds
    speed = f"{fast.workflow} trained {ratio:.2f} times as fast as {slow.workflow} here"
    if not one_machine:
        speed = "they ran on several machines, so their times say nothing"
    elif slow.train_seconds < LEAST_SECONDS:
        speed = "they trained too briefly to compare their times"
    elif ratio < 1.05:
        speed = "they took the same time"
    short = min(sides, key=lambda side: side.lines_of_code)
    long = max(sides, key=lambda side: side.lines_of_code)
    lines = f"the plain script has {short.lines_of_code} lines in {short.workflow} and "
    lines += f"{long.lines_of_code} in {long.workflow}"
    if short.lines_of_code == long.lines_of_code:
        lines = f"the plain scripts have {short.lines_of_code} lines each"
    return f"{accuracy[0].upper()}{accuracy[1:]}; {speed}, and {lines}."
