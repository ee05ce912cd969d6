"""The picture of a search: its trials as lines across one axis per value (parallel coordinates).

It is drawn in a process of its own. Optuna draws by pyplot, whose backend the caller has chosen.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.worker import Arrays, Report, Worker

if TYPE_CHECKING:
    import optuna


def draw(study: "optuna.Study", file: Path) -> None:
    """Draws the complete trials of a search, as a PNG."""
    from optuna.distributions import distribution_to_json
    from optuna.trial import TrialState

    trials = [
        {
            "value": trial.value,
            "params": trial.params,
            "distributions": {k: distribution_to_json(d) for k, d in trial.distributions.items()},
        }
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ]
    direction = study.direction.name.lower()
    with Worker() as worker:
        parameters = {"trials": trials, "direction": direction, "file": str(file.absolute())}
        worker.call(draw_job, parameters, stops=False)


def draw_job(
    parameters: dict[str, Any], _: Arrays, report: Report, stopping: Callable[[], bool]
) -> tuple[dict[str, Any], Arrays]:
    """Draws trials that are given as plain data."""
    import matplotlib

    matplotlib.use("Agg")
    import optuna
    from matplotlib import pyplot
    from optuna.distributions import json_to_distribution
    from optuna.visualization.matplotlib import plot_parallel_coordinate

    study = optuna.create_study(direction=parameters["direction"])
    for trial in parameters["trials"]:
        spans = {key: json_to_distribution(text) for key, text in trial["distributions"].items()}
        study.add_trial(
            optuna.trial.create_trial(
                params=trial["params"], distributions=spans, value=trial["value"]
            )
        )
    plot_parallel_coordinate(study)
    figure = pyplot.gcf()
    figure.set_size_inches(12, 5)
    figure.savefig(parameters["file"], dpi=110, bbox_inches="tight")
    return {}, {}
