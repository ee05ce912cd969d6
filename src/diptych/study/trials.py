"""The trials of a search: Optuna's study, its storage, and what a trial does.

The trials train on data without the test images, so that no search can see them.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from diptych import training
from diptych.errors import InputError
from diptych.events import EpochEnded, Event
from diptych.runs import Run
from diptych.study.measures import measured
from diptych.study.plan import Prepared, SharedRuns
from diptych.study.space import Range, Search, Value

if TYPE_CHECKING:
    import optuna

SEED = 1_000
"""Of the trials; the seeds at the end are counted from 0 and never reach it."""
HEARTBEAT, GRACE = 10, 60
"""Seconds between two signs of life of a trial, and without one until it counts as lost."""
RETRIES = 5
"""The number of times that a lost trial is repeated."""
SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "qmc": "QMCSampler"}
"""Optuna's samplers by the names that ``--sampler`` takes."""
FEWEST = 5
"""Complete trials that it takes to say which values matter."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Optuna from printing a line per trial, and from warning of what it calls new."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def opened(search: Search, quick: bool, url: str, sampler: str, seed: int | None) -> "optuna.Study":
    """Optuna's study of the search in its storage, made where it is not there.

    Args:
        search, quick: what is searched; they name the study.
        url: of the storage.
        sampler: one of `SAMPLERS`.
        seed: of the sampler; None for one that differs from process to process.

    Raises:
        InputError: the storage cannot be opened, or has another search of that name.
    """
    import optuna
    from optuna.storages import RDBStorage, RetryFailedTrialCallback
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=RetryFailedTrialCallback(max_retry=RETRIES),
        )
        study = optuna.create_study(
            storage=storage,
            pruner=optuna.pruners.MedianPruner(),
            study_name=search.name + "-quick" * quick,
            direction=search.direction,
            load_if_exists=True,
        )
    except (SQLAlchemyError, ImportError, ValueError, RuntimeError) as problem:
        reason = str(problem).splitlines()[0]
        raise InputError(
            f"--storage {url}: Optuna cannot open it ({reason}): expected a database, such as "
            "sqlite:///search.db"
        ) from None
    # After an interruption it must not propose once more what it has proposed before.
    own = None if seed is None else seed + len(study.trials)
    study.sampler = getattr(optuna.samplers, SAMPLERS[sampler])(seed=own)
    described = search.model_dump(mode="json", exclude_unset=True, exclude={"trials", "seeds"})
    known = study.user_attrs.get("search")
    if known is None:
        study.set_user_attr("search", described)
    elif known != described:
        raise InputError(
            f"search {search.name}: {url} holds another search of that name: give this one another "
            "name or --storage"
        )
    return study


def ended(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """The trials that have ended in a value, or were pruned."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def pruned(study: "optuna.Study") -> int:
    """The number of pruned trials."""
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))


def take_up(study: "optuna.Study") -> None:
    """Has trials that were stopped made again: their runs go on from their checkpoints."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    known = [trial.params for trial in trials if trial.state != TrialState.FAIL]
    known += [t.system_attrs.get("fixed_params", {}) for t in trials if not t.state.is_finished()]
    for trial in trials:
        stopped = trial.state == TrialState.FAIL and "failed" not in trial.user_attrs
        if stopped and trial.params not in known:
            known.append(trial.params)
            study.enqueue_trial(trial.params)


def objective_of(
    search: Search, base: Prepared, shared: SharedRuns
) -> "Callable[[optuna.Trial], float]":
    """A function of a trial that trains the base with the proposed values, and validates."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        values = {key: _suggested(trial, key, span) for key, span in search.space.items()}
        recipe = base.recipe.with_changes(**values)
        run = shared.run(replace(base, recipe=recipe), SEED)
        trial.set_user_attr("run", run.name)
        if run.is_training:
            raise optuna.TrialPruned("another trial has the same values, and is at it")
        try:
            training.carry_out(run, _pruning(trial, run, search.measure))
        except optuna.TrialPruned:
            run.set_status("stopped")
            raise
        except training.TrainingFailed as problem:
            trial.set_user_attr("failed", str(problem))
            raise
        return measured(run, search.measure)

    return objective


def _suggested(trial: "optuna.Trial", key: str, span: Range) -> Value:
    if span.choices is not None:
        choice: Any = trial.suggest_categorical(key, span.choices)
        return choice
    low, high = span.ends
    if span.whole:
        return trial.suggest_int(key, int(low), int(high), log=span.log)
    return trial.suggest_float(key, float(low), float(high), log=span.log)


def _pruning(trial: "optuna.Trial", run: Run, measure: str) -> Callable[[Event], None]:
    """Tells Optuna of each epoch's validation, and stops the trial where it is worse than half of
    the others were after that epoch."""
    import optuna

    for epoch in run.metrics():
        trial.report(epoch[measure], epoch["epoch"])

    def report(event: Event) -> None:
        if isinstance(event, EpochEnded):
            trial.report(getattr(event.measured, measure), event.measured.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

    return report


def importance(study: "optuna.Study") -> dict[str, float]:
    """The importance of each value for being among the best tenth of the trials, by PED-ANOVA
    (Watanabe et al., 2023); empty if there are too few trials, or all are alike."""
    import optuna

    states = (optuna.trial.TrialState.COMPLETE,)
    values = {trial.value for trial in study.get_trials(deepcopy=False, states=states)}
    if len(values) < FEWEST:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in shares.items()}
