"""Searches for better values of a recipe: Optuna proposes them, validation decides.

The trials train on data without the test images. Only when the best trial is settled are its
values and the base trained on the whole data, with seeds that the search has not used.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from diptych import extras, training, zoo
from diptych.errors import InputError, command
from diptych.study import trials as optuna_trials
from diptych.study.description import Answer
from diptych.study.executors import Local, train_all
from diptych.study.measures import measured
from diptych.study.picture import draw
from diptych.study.plan import SharedRuns, folder_of, prepared, untested
from diptych.study.space import Search, Value
from diptych.study.trials import SAMPLERS, SEED
from diptych.study.verdict import Verdict, verdict
from diptych.whole_files import read_json, write_json

if TYPE_CHECKING:
    import optuna

RESULT, STORAGE, PICTURE = "search.json", "search.db", "trials.png"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it has ended, and of how much."""


@dataclass(frozen=True)
class SearchOutcome:
    """A search that has been made."""

    name: str
    question: str
    quick: bool
    measure: str
    sampler: str
    storage: str
    folder: str
    trials: int
    """That ended, pruned ones included."""
    pruned: int
    default: dict[str, Value]
    """The base's own values, which the first trial has."""
    default_value: float
    """The measure of the trial with the default values."""
    best: dict[str, Value]
    best_value: float
    best_trial: int
    importance: dict[str, float]
    """As `trials.importance` says."""
    seeds: int
    verdict: Verdict | None
    """Of the best values against the default ones, with seeds that the search has not used; None
    where both are the same."""
    test_accuracy: dict[str, list[float]]
    """For the best values and the default ones, that of each seed."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` writes them."""
        return {"schema": 1, **asdict(self)}


def run_search(
    search: Search,
    *,
    runs: str | Path = "runs",
    quick: bool = False,
    trials: int | None = None,
    seeds: int | None = None,
    sampler: str = "tpe",
    storage: str | None = None,
    at_once: int = 1,
    progress: Progress = lambda what, ended, total: None,
) -> SearchOutcome:
    """Makes a search, or what is left of it.

    Args:
        search: what is searched.
        runs: the folder of all runs; the search gets a folder there.
        quick: with fewer trials and seeds, and what else the search says of ``--quick``.
        trials: another number of trials; those of all machines that share the storage count.
        seeds: another number of seeds at the end.
        sampler: who proposes values: one of `SAMPLERS`.
        storage: where Optuna keeps the trials, a URL as SQLAlchemy takes it; a file in the
            search's folder by default.
        at_once: how many trials run at once on this machine.
        progress: called as trials and runs end.

    Raises:
        InputError: the search, its storage or its sampler is wrong; nothing has been trained then.
        KeyboardInterrupt: Ctrl-C; the search goes on when it is made again.
    """
    extras.require("a search", "optuna", "statsmodels", "matplotlib")
    if sampler not in SAMPLERS:
        raise InputError(f"--sampler {sampler}: {zoo.hint(sampler, list(SAMPLERS))}")
    root = Path(runs)
    base = prepared(search.name, search.complete_base(quick), root)
    default = search.default_values(base.recipe)
    count = trials or (search.quick_trials if quick else search.trials)
    seeds = seeds or (search.quick_seeds if quick else search.seeds)
    folder = folder_of(root, search.name, quick)
    folder.mkdir(parents=True, exist_ok=True)
    url = storage or f"sqlite:///{folder.absolute() / STORAGE}"
    shared = SharedRuns(root)
    with optuna_trials.quiet():
        # Machines that share a storage must not propose the same values.
        study = optuna_trials.opened(search, quick, url, sampler, None if storage else SEED)
        if not study.trials:
            study.enqueue_trial(default)
        optuna_trials.take_up(study)
        data = untested(base.data, root / "without-test-images" / base.data.name)
        objective = optuna_trials.objective_of(search, replace(base, data=data), shared)
        _make(study, objective, count, at_once, progress)
        first = _first(search, study, default)
        draw(study, folder / PICTURE)
        importance = optuna_trials.importance(study)
    best = study.best_trial
    arms = {"best": dict(best.params), "default": default}
    if best.params == default:
        del arms["best"]
    ending = {
        name: [
            shared.run(replace(base, recipe=base.recipe.with_changes(**values)), seed)
            for seed in range(seeds)
        ]
        for name, values in arms.items()
    }
    final = [run for of_arm in ending.values() for run in of_arm]
    train_all(final, Local(at_once), partial(progress, "final runs"))
    better = "lower" if search.direction == "minimize" else "higher"
    figures = {arm: [measured(run, search.measure) for run in of] for arm, of in ending.items()}
    outcome = SearchOutcome(
        name=search.name,
        question=search.question,
        quick=quick,
        measure=search.measure,
        sampler=sampler,
        storage=url,
        folder=str(folder),
        trials=len(optuna_trials.ended(study)),
        pruned=optuna_trials.pruned(study),
        default=default,
        default_value=first,
        best=dict(best.params),
        best_value=float(study.best_value),
        best_trial=best.number,
        importance=importance,
        seeds=seeds,
        verdict=(
            verdict(Answer(kind=better, measure=search.measure), figures)
            if "best" in arms
            else None
        ),
        test_accuracy={
            arm: [measured(run, "test_accuracy") for run in of] for arm, of in ending.items()
        },
    )
    write_json(folder / RESULT, outcome.to_dict())
    return outcome


def shown_search(name: str, runs: str | Path = "runs", quick: bool = False) -> SearchOutcome:
    """The outcome of a search that has been made.

    Raises:
        InputError: it has not been made, or not to its end.
    """
    file = folder_of(Path(runs), name, quick) / RESULT
    if not file.exists():
        again = command("study", "run", name)
        raise InputError(f"search {name}: no {file}; {again} makes the search or goes on with it")
    content = read_json(file)
    content.pop("schema", None)
    try:
        return TypeAdapter(SearchOutcome).validate_python(content)
    except ValidationError:
        raise InputError(f"{file}: the file is damaged") from None


def _make(
    study: "optuna.Study",
    objective: "Callable[[optuna.Trial], float]",
    count: int,
    at_once: int,
    progress: Progress,
) -> None:
    """Has so many trials made, those that have ended included."""
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    def told(*_: object) -> None:
        progress("trials", min(len(optuna_trials.ended(study)), count), count)

    told()
    if len(optuna_trials.ended(study)) < count:
        enough = MaxTrialsCallback(count, (TrialState.COMPLETE, TrialState.PRUNED))
        study.optimize(
            objective,
            n_jobs=at_once,
            catch=(training.TrainingFailed,),
            callbacks=[told, enough],
        )


def _first(search: Search, study: "optuna.Study", default: dict[str, Value]) -> float:
    """The measure of the trial with the default values."""
    for trial in optuna_trials.ended(study):
        if trial.params == default and trial.value is not None:
            return trial.value
    raise InputError(
        f"search {search.name}: the trial with the default values has not ended: the base cannot "
        "be trained, or another machine is still at it"
    )
