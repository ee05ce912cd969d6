"""Trains runs: each in its workflow's own process, watched, saved, resumed where it was left."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from diptych import machine, parallel
from diptych.data import Data, load_data
from diptych.defaults import default_recipe, mismatch
from diptych.errors import InputError, command
from diptych.events import Report, from_plain
from diptych.lines import print_line
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import TENSORBOARD, Run
from diptych.snapshots import keep_snapshots
from diptych.training_job import train_job
from diptych.worker import Worker, WorkerError
from diptych.workflows import registry

logger = logging.getLogger(__name__)


class TrainingFailed(RuntimeError):
    """The training itself came to nothing, such as a loss that is no number any more."""


def train(
    workflow: str,
    network: Network | str = "article",
    recipe: Recipe | str | None = None,
    data: str | Data = "mnist",
    seed: int = 0,
    *,
    runs: str | Path = "runs",
    adapt: bool = False,
    checkpoint_every: int | None = None,
    snapshots: bool = False,
    tensorboard: bool = False,
    processes: int = 1,
    ray: str | None = None,
    report: Report | None = None,
) -> Run:
    """Trains a network by one workflow, in a process of its own.

    Args:
        workflow: one of `diptych.workflows.registry.NAMES`.
        network: a network, or its name in the zoo, or a TOML file.
        recipe: a recipe, or its name, or a TOML file; by default the one that the network names,
            else ``fast`` where it is made for the network and the data, else ``plain``.
        data: a data set's name or folder, as `diptych.load_data` takes it, or what that gave.
        seed: where all random numbers come from.
        runs: the folder in which the run gets its folder.
        adapt: fit the network's input shape and number of classes to the data.
        checkpoint_every: save a checkpoint every so many steps, not only after each epoch.
        snapshots: keep the weights after 0, 1, 3, 9, … steps, for `diptych serve` to show.
        tensorboard: write event files for TensorBoard into the run's folder.
        processes: how many processes share each batch; their number changes the result by no more
            than rounding. Only some workflows can train in more than one.
        ray: the address of a Ray cluster, as ``ray.init`` takes it, on whose machines the
            processes are; they must see the folder of runs.
        report: called with each `diptych.events.Event` as the training goes on; prints a line
            per epoch by default.

    Returns:
        The finished run.

    Raises:
        InputError: something given is wrong, or the network and the data don't fit.
        KeyboardInterrupt: Ctrl-C; the run has been saved and can be resumed.
        TrainingFailed: the loss stopped being a number.
    """
    if tensorboard:
        check_tensorboard()
    check_ray(ray, processes, workflow)
    run = create(
        workflow,
        network,
        recipe,
        data,
        seed,
        runs=runs,
        adapt=adapt,
        checkpoint_every=checkpoint_every,
        processes=processes,
    )
    if snapshots:
        keep_snapshots(run)
    return carry_out(run, report, tensorboard, processes, ray)


def create(
    workflow: str,
    network: Network | str = "article",
    recipe: Recipe | str | None = None,
    data: str | Data = "mnist",
    seed: int = 0,
    *,
    runs: str | Path = "runs",
    adapt: bool = False,
    checkpoint_every: int | None = None,
    processes: int = 1,
) -> Run:
    """A new run that is ready to be carried out; the arguments are those of `train`."""
    workflow = registry.check(workflow)
    check_seed(seed)
    if not isinstance(network, Network):
        network = Network.load(network)
    if recipe is not None and not isinstance(recipe, Recipe):
        recipe = Recipe.load(recipe)
    if not isinstance(data, Data):
        data = load_data(data)
    network, recipe = fitted(network, recipe, data, adapt)
    registry.check_processes(workflow, network, processes)
    return Run.create(Path(runs), network, recipe, workflow, data, seed, checkpoint_every)


def fitted(
    network: Network, recipe: Recipe | None, data: Data, adapt: bool = False
) -> tuple[Network, Recipe]:
    """The network and the recipe as they train on the data.

    Logs one line where the recipe is tuned to other networks or data.

    Args:
        recipe: the network's default for the data, if None.
        adapt: as `train` takes it.

    Raises:
        InputError: the network does not fit the data, or cannot be trained by the recipe.
    """
    if adapt:
        network = network.adapted(data.image_shape, data.classes)
    try:
        network.check_data(data.image_shape, data.classes, data.name)
    except InputError as problem:
        raise InputError(f"{problem}: give --adapt to fit the network to the data") from None
    recipe = recipe or default_recipe(network, data.source)
    if warning := mismatch(recipe, network, data.source):
        logger.warning("warning: %s", warning)
    check_cropping(network, recipe)
    return network, with_known_precision(recipe)


def with_known_precision(recipe: Recipe) -> Recipe:
    """The same recipe, where its precision is ``auto`` with the one that this machine is for."""
    if recipe.precision != "auto":
        return recipe
    return recipe.with_changes(precision="bfloat16" if machine.has_bfloat16() else "float32")


def check_cropping(network: Network, recipe: Recipe) -> None:
    """Raises InputError unless the network can be trained on what the recipe crops."""
    height, width, channels = network.input_shape
    rows, columns = recipe.cropped(height, width)
    network.check_cropped((rows.stop - rows.start, columns.stop - columns.start, channels))


def check_seed(seed: int) -> None:
    """Raises InputError unless it is a seed."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise InputError(f"seed {seed!r}: expected a whole number from 0 to {2**31 - 1}")


def check_ray(ray: str | None, processes: int, workflow: str) -> None:
    """Raises InputError where a cluster is asked for one process, or for another workflow than
    those that have been tested there."""
    if ray is None:
        return
    if processes == 1:
        raise InputError("--ray: it is for several processes: give --processes 2 or more too")
    if workflow in set(registry.PARALLEL) - set(registry.ON_CLUSTERS):
        raise InputError(
            f"--ray: workflow {workflow} has not been tested on several machines; "
            f"{' and '.join(registry.ON_CLUSTERS)} train on a cluster"
        )


def check_tensorboard() -> None:
    """Raises InputError where TensorBoard, which is an extra, is not installed."""
    from diptych.tensorboard import check

    check()


def resume(
    run: Run | str | Path,
    report: Report | None = None,
    *,
    processes: int = 1,
    ray: str | None = None,
) -> Run:
    """Goes on with a run that was stopped or killed, and ends as if it had not been.

    Args:
        run: the run, or its folder.
        report: as `train` takes it.
        processes: as `train` takes it; the run may have begun with another number.
        ray: as `train` takes it; the run may have begun without a cluster, or with another one.

    Raises:
        InputError: there is no such run, it is being trained, or its data changed.
        KeyboardInterrupt: Ctrl-C; the run has been saved and can be resumed.
        TrainingFailed: the loss stopped being a number.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    return carry_out(run, report, processes=processes, ray=ray)


def carry_out(
    run: Run,
    report: Report | None = None,
    tensorboard: bool = False,
    processes: int = 1,
    ray: str | None = None,
    worker: Worker | None = None,
) -> Run:
    """Trains a run from where it is to its end, in a process of its own; see `train`.

    A run that has event files for TensorBoard already gets more of them; one that has ended gets
    them from what is in its folder.

    Args:
        run, report, tensorboard, processes, ray: as `train` takes them.
        worker: a process for the run's workflow, which stays; it may be interrupted.
    """
    registry.check_processes(run.workflow, run.network, processes)
    check_ray(ray, processes, run.workflow)
    has_events = (run.folder / TENSORBOARD).is_dir()
    if run.status == "done" and (has_events or not tensorboard):
        return run
    with ExitStack() as stack:
        reports = [report or print_line]
        if tensorboard or has_events:
            from diptych.tensorboard import Events

            events = stack.enter_context(Events(run))
            if run.status == "done":
                events.write_ending()
                return run
            reports.append(events)
        return _carry_out(run, reports, processes, ray, worker)


def _carry_out(
    run: Run, reports: list[Report], processes: int, ray: str | None, worker: Worker | None
) -> Run:
    parameters = {
        "run": str(run.folder.absolute()),
        "shown_as": str(run.folder),
        "asked_at": time.time(),
        "histograms": len(reports) > 1,
    }

    def report(plain: dict[str, Any]) -> None:
        event = from_plain(plain)
        for each in reports:
            each(event)

    try:
        if ray is not None:
            from diptych import parallel_ray

            answer = parallel_ray.train(run, parameters, processes, report, ray)
        elif processes > 1:
            answer = parallel.train(run, parameters, processes, report)
        else:
            with ExitStack() as stack:
                worker = worker or stack.enter_context(Worker(registry.environment(run.workflow)))
                answer, _ = worker.call(train_job, parameters, report=report)
    except KeyboardInterrupt:
        if run.status == "done":
            raise KeyboardInterrupt(f"Stopped; run {run.folder} had just ended.") from None
        saved = "Stopped and saved." if run.status == "stopped" else "Stopped."
        raise KeyboardInterrupt(f"{saved} {command('resume', run.folder)} continues.") from None
    except WorkerError as problem:
        raise WorkerError(f"run {run.folder}: {problem}") from None
    if answer["status"] == "failed":
        raise TrainingFailed(f"run {run.folder}: {answer['reason']}")
    return run
