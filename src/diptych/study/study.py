"""Runs a study from its plan to its verdict, and shows one that has been run."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diptych import extras
from diptych.errors import InputError
from diptych.study.description import Study
from diptych.study.executors import Executor, Local, train_all
from diptych.study.measures import measured
from diptych.study.plan import Plan, folder_of, planned, read
from diptych.study.verdict import Verdict, verdict
from diptych.whole_files import write_json

RESULT = "study.json"
MEASURED = "measured.json"
Progress = Callable[[int, int], None]
"""Called with how many runs have ended, of how many."""


@dataclass(frozen=True)
class Outcome:
    """A study that has been run."""

    study: Study
    quick: bool
    seeds: int
    verdict: Verdict
    folder: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` writes them."""
        return {
            "schema": 1,
            "name": self.study.name,
            "question": self.study.question,
            "claim": self.study.claim,
            "quick": self.quick,
            "seeds": self.seeds,
            "measure": self.study.answer.measure,
            "answer": self.study.answer.model_dump(exclude_none=True),
            "folder": self.folder,
            **asdict(self.verdict),
        }


def run_study(
    study: Study | str | Path,
    *,
    runs: str | Path = "runs",
    quick: bool = False,
    seeds: int | None = None,
    executor: Executor | None = None,
    progress: Progress = lambda ended, all_of_them: None,
) -> Outcome:
    """Runs a study, or what is left of it.

    Args:
        study: a study, its name in the zoo, or a TOML file.
        runs: the folder of all runs; the study gets a folder there.
        quick: with fewer seeds, and what else the study says of ``--quick``.
        seeds: another number of seeds.
        executor: who carries out the runs; this machine, one at a time, by default.
        progress: called as runs end.

    Raises:
        InputError: the study or an arm is wrong; nothing has been trained then.
        KeyboardInterrupt: Ctrl-C; runs under way have been saved, and the study goes on when it is
            run again.
    """
    extras.require("a study", "statsmodels")
    described = study if isinstance(study, Study) else Study.load(study)
    plan = planned(described, Path(runs), quick, seeds)
    train_all([run for _, run in plan.opened()], executor or Local(), progress)
    return outcome(plan)


def shown(name: str | Path, runs: str | Path = "runs", quick: bool = False) -> Outcome:
    """The outcome of a study that has been run.

    Raises:
        InputError: it has not been run, or not to its end.
    """
    extras.require("a study", "statsmodels")
    plan = read(folder_of(Path(runs), str(name), quick))
    left = plan.unfinished()
    if left:
        raise InputError(
            f"study {name}: {len(left)} of {len(plan.runs)} runs have not ended; "
            f"`diptych study run {name}` goes on"
        )
    return outcome(plan)


def outcome(plan: Plan) -> Outcome:
    """Measures the runs of a study and decides it; the outcome is written into its folder."""
    answer = plan.study.answer
    values: dict[str, list[float]] = {name: [] for name in plan.study.arms}
    known = _known(plan.folder / MEASURED)
    for planned_run, run in plan.opened():
        key = f"{planned_run.run} {answer.measure}"
        if key not in known:
            known[key] = measured(run, answer.measure)
        values[planned_run.arm].append(known[key])
    write_json(plan.folder / MEASURED, known)
    seeds = len({run.seed for run in plan.runs})
    result = Outcome(plan.study, plan.quick, seeds, verdict(answer, values), str(plan.folder))
    write_json(plan.folder / RESULT, result.to_dict())
    return result


def _known(file: Path) -> dict[str, float]:
    """The cached measurements; some measures take a while."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
