"""Trains what is to be compared, or takes runs there are, and puts them side by side."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diptych import training
from diptych.comparison import earlier, figures
from diptych.comparison.audits import audits
from diptych.comparison.conclusion import conclusion
from diptych.comparison.results import Comparison
from diptych.comparison.sides import Grouping, grouped
from diptych.comparison.variants import variants
from diptych.data import Data
from diptych.errors import InputError, command
from diptych.events import Planned, Report
from diptych.folders import new_folder
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.whole_files import write_json

LONGEST_NAME = 80
"""Characters of a comparison's folder."""


def compare(
    workflow_names: Sequence[str] | None = None,
    network: Network | str | Sequence[Network | str] = "article",
    recipe: Recipe | str | Sequence[Recipe | str] | None = None,
    data: str | Data | Sequence[str | Data] = "mnist",
    seeds: Sequence[int] = (0,),
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    runs: str | Path = "runs",
    adapt: bool = False,
    checkpoint_every: int | None = None,
    tensorboard: bool = False,
    audit: bool = False,
    report: Report | None = None,
) -> Comparison:
    """Trains every combination of the given things, one after the other, and compares.

    >>> compare(["tensorflow", "keras"])  # doctest: +SKIP
    >>> compare(network=["article", "dense"], seeds=range(3))  # doctest: +SKIP
    >>> compare(["torch"], values={"dropout_scale": [0, 1]})  # doctest: +SKIP

    Args:
        workflow_names: some of `diptych.workflows.registry.NAMES`, or ``all`` alone. By default
            low-level TensorFlow and Keras, or TensorFlow alone where something else is compared.
        network: one or several, as `diptych.train` takes it.
        recipe: one or several, as `diptych.train` takes it. By default one recipe for all networks
            that do not name their own: their default if it is the same for all, else ``plain``.
        data: one or several, as `diptych.train` takes it.
        seeds: a run of each combination for each; two runs of a network with the same seed start
            from the same weights and see the same batches.
        values: other values for keys of the recipe, several for each.
        audit: also audit the first seed's runs, those of the first side against each other one's.
        runs: as `diptych.train` takes it, like the other parameters below.
        adapt: as there.
        checkpoint_every: as there.
        tensorboard: as there.
        report: as there.

    Returns:
        The comparison, which is also written to ``comparison.json`` in a folder below ``runs``.

    Raises:
        InputError: something given is wrong; nothing has been trained then.
        KeyboardInterrupt: Ctrl-C; the run under way has been saved.
    """
    seeds = list(seeds)
    for seed in seeds:
        training.check_seed(seed)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds {seeds}: expected one or more different ones")
    if tensorboard:
        training.check_tensorboard()
    planned = variants(workflow_names, network, recipe, data, values, adapt)
    if len(planned) * len(seeds) < 2:
        raise InputError(
            "a comparison needs two or more different workflows, networks, recipes, data, values "
            "or seeds, such as --workflows tensorflow,keras"
        )
    created = [
        Run.create(
            Path(runs),
            variant.network,
            variant.recipe,
            variant.workflow,
            variant.data,
            seed,
            checkpoint_every,
        )
        for seed in seeds
        for variant in planned
    ]
    return compare_runs(created, runs=runs, tensorboard=tensorboard, audit=audit, report=report)


def compare_runs(
    compared: Sequence[Run | str | Path],
    *,
    runs: str | Path = "runs",
    tensorboard: bool = False,
    audit: bool = False,
    report: Report | None = None,
) -> Comparison:
    """Compares any runs, whatever they differ in.

    Runs that differ in their seeds alone are one side. What cannot be compared is left out with its
    reason. A comparison of the same runs that was made before is not written again.

    Args:
        compared: the runs, their folders, or their names below ``runs``; those that have not ended
            are trained to their end first.
        runs: as `diptych.train` takes it.
        tensorboard: as `diptych.train` takes it.
        audit: as `compare` takes it.
        report: as `diptych.train` takes it.

    Raises:
        InputError: there are fewer than two runs, or one of them is not there or is damaged;
            nothing has been trained then.
        KeyboardInterrupt: Ctrl-C; the run under way has been saved.
    """
    opened = [run if isinstance(run, Run) else Run.open(run, runs) for run in compared]
    _check(opened)
    if report:
        left = sum(run.status != "done" for run in opened)
        report(Planned(left))
    try:
        for run in opened:
            training.carry_out(run, report, tensorboard)
    except KeyboardInterrupt:
        again = command("compare", *(run.folder for run in opened))
        raise KeyboardInterrupt(f"Stopped and saved. {again} continues.") from None
    grouping = grouped(opened)
    groups = grouping.groups
    sides = [figures.side(group) for group in groups]
    differences, untested = figures.differences(groups)
    disagreements, unseen = figures.disagreements(groups)
    descriptions = [run.description() for run in opened]
    one_machine = all(one["machine"] == descriptions[0]["machine"] for one in descriptions)
    identity = earlier.identity(opened)
    before, written = earlier.find(Path(runs), identity, audit)
    found = written.get("audits", [])
    if audit and not found:
        found = audits(groups, report)
    folder = before if written and before else new_folder(Path(runs), _name(grouping))
    comparison = Comparison(
        folder=str(folder),
        differs=grouping.differs,
        alike=grouping.alike,
        sides=sides,
        differences=differences,
        disagreements=disagreements,
        left_out=[*untested, *unseen],
        conclusion=conclusion(sides, differences, one_machine),
        machine=descriptions[0]["machine"] if one_machine else None,
        versions=_versions([one["versions"] for one in descriptions]),
        audits=found,
        same_as=str(before) if before else None,
    )
    if not written:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"created": created, "identity": identity.to_dict()}
        try:
            write_json(folder / earlier.FILE, comparison.to_dict() | about)
        except OSError:
            folder.rmdir()
            raise
    return comparison


def _check(compared: Sequence[Run]) -> None:
    """Raises InputError unless there are two or more different runs that can be read."""
    if len(compared) < 2:
        given = compared[0].folder if compared else "none"
        raise InputError(f"a comparison needs two or more runs, given {given}")
    folders = [run.folder.resolve() for run in compared]
    for number, run in enumerate(compared):
        if folders[number] in folders[:number]:
            raise InputError(f"run {run.folder}: given twice, expected different runs")
        if run.status == "done" and run.result() is None:
            raise InputError(f"run {run.folder}: it has ended, but its result.json is missing")


def _name(grouping: Grouping) -> str:
    """The name of the comparison's folder: its sides, and the network if it is the same."""
    parts = [group.name for group in grouping.groups]
    if "network" in grouping.alike:
        parts.append(grouping.alike["network"])
    return re.sub(r"[^\w.+-]+", "_", f"comparison-{'-'.join(parts)}")[:LONGEST_NAME]


def _versions(of_runs: list[dict[str, str]]) -> dict[str, str]:
    """Each package's version, or its versions where the runs have several."""
    packages = dict.fromkeys(package for versions in of_runs for package in versions)
    return {
        package: " and ".join(dict.fromkeys(v[package] for v in of_runs if package in v))
        for package in packages
    }
