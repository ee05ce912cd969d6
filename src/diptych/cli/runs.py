"""The commands that train, compare and use runs."""

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli.answers import answer, to_standard_output, training_view
from diptych.cli.app import app
from diptych.cli.options import (
    Adapt,
    BatchSize,
    Changes,
    CheckpointEvery,
    DataSource,
    EarlyStopping,
    Epochs,
    Json,
    NetworkName,
    RecipeName,
    RunFolder,
    Runs,
    Seed,
    TensorBoard,
    Workflow,
)
from diptych.errors import InputError, command

if TYPE_CHECKING:
    from diptych.comparison import Comparison
    from diptych.recipe import Recipe
    from diptych.runs import Run


@app.command()
def train(
    workflow: Workflow,
    network: NetworkName = "article",
    recipe: RecipeName = None,
    data: DataSource = "mnist",
    seed: Seed = 0,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    early_stopping: EarlyStopping = None,
    changes: Changes = None,
    adapt: Adapt = False,
    checkpoint_every: CheckpointEvery = None,
    tensorboard: TensorBoard = False,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Train a network in one workflow."""
    from diptych import training

    if tensorboard:
        training.check_tensorboard()
    run = training.create(
        workflow,
        network,
        _recipe(recipe, network, epochs, batch_size, early_stopping, changes),
        data,
        seed,
        runs=runs,
        adapt=adapt,
        checkpoint_every=checkpoint_every,
    )
    _carry_out(run, json_file, tensorboard)


@app.command()
def resume(run: RunFolder, runs: Runs = Path("runs"), json_file: Json = None) -> None:
    """Go on with a run that was stopped or killed."""
    from diptych.runs import Run

    found = Run.open(run, runs)
    if found.status == "done":
        raise InputError(f"run {found.folder}: it has ended; there is nothing to resume")
    _carry_out(found, json_file)


@app.command()
def compare(
    context: typer.Context,
    trained: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="Runs to take instead of new ones; those that have not ended are resumed.",
        ),
    ] = None,
    workflows: Annotated[
        str, typer.Option(metavar="A,B", help="Two or more workflows, or all that are installed.")
    ] = "tensorflow,keras",
    network: NetworkName = "article",
    recipe: RecipeName = None,
    data: DataSource = "mnist",
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to train each with.")] = 1,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    early_stopping: EarlyStopping = None,
    changes: Changes = None,
    adapt: Adapt = False,
    checkpoint_every: CheckpointEvery = None,
    tensorboard: TensorBoard = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Also audit the runs of the first seed.")
    ] = False,
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in the browser.")
    ] = False,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Train a network in several workflows, or take runs there are, and hold them side by side."""
    from diptych import comparison
    from diptych.runs import Run
    from diptych.workflows.registry import chosen

    if trained:
        _refuse_others(
            context, "trained", "tensorboard", "audit", "open_report", "runs", "json_file"
        )
        made = [Run.open(run, runs) for run in trained]
        unfinished = sum(run.status != "done" for run in made)
        with training_view(json_file, unfinished) as view:
            found = comparison.compare_runs(
                made, runs=runs, tensorboard=tensorboard, audit=audit, report=view
            )
        _answer_comparison(found, json_file, open_report)
        return
    names = chosen([name.strip() for name in workflows.split(",") if name.strip()])
    with training_view(json_file, len(names) * seeds) as view:
        found = comparison.compare(
            names,
            network,
            _recipe(recipe, network, epochs, batch_size, early_stopping, changes),
            data,
            range(seed, seed + seeds),
            runs=runs,
            adapt=adapt,
            checkpoint_every=checkpoint_every,
            tensorboard=tensorboard,
            audit=audit,
            report=view,
        )
    _answer_comparison(found, json_file, open_report)


@app.command("runs")
def list_runs(runs: Runs = Path("runs"), json_file: Json = None) -> None:
    """List the runs."""
    from diptych import terminal
    from diptych.runs import find

    found = find(runs)
    listed = [
        {"folder": str(run.folder), **run.description(), "status": run.status_now}
        | {"result": run.result()}
        for run in found
    ]
    shown = (
        terminal.runs(found)
        if found
        else f"No runs in {runs}/ yet: {command('compare')} makes some"
    )
    answer({"schema": 1, "runs": listed}, shown, json_file)


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Option("--data", help="Other data than the run's own.")
    ] = None,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Accuracy, precision and recall of each class, and the confusion matrix."""
    from diptych import evaluation, terminal
    from diptych.runs import Run

    found = evaluation.evaluate(Run.open(run, runs), data)
    answer(found.to_dict(), terminal.evaluation(found), json_file)


@app.command()
def predict(
    run: RunFolder,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Pictures or folders; - for standard input."),
    ],
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Read pictures: PNG, JPEG and others, any size, dark on light or light on dark."""
    from diptych import evaluation, terminal
    from diptych.runs import Run

    found = evaluation.predict_pictures(Run.open(run, runs), images)
    answer({"schema": 1, "predictions": found}, terminal.predictions(found), json_file)


def _recipe(
    name: str | None,
    network: str,
    epochs: int | None,
    batch_size: int | None,
    early_stopping: int | None,
    changes: list[str] | None,
) -> "Recipe":
    """The recipe that the options describe."""
    from diptych.network import Network
    from diptych.recipe import Recipe

    recipe = Recipe.load(name or Network.load(network).recipe or "fast")
    values: dict[str, Any] = {}
    for change in changes or []:
        key, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--set {change}: expected KEY=VALUE, such as learning_rate=0.002")
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text.strip()
    options = {"epochs": epochs, "batch_size": batch_size, "early_stopping": early_stopping}
    for key, value in options.items():
        if value is None:
            continue
        if key in values:
            option = "--" + key.replace("_", "-")
            raise InputError(
                f"{option} {value} and --set {key}={values[key]}: expected one of them"
            )
        values[key] = value
    return recipe.with_changes(**values) if values else recipe


def _refuse_others(context: typer.Context, *allowed: str) -> None:
    """Raises InputError where an option was given that `compare RUN...` has no use for."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in allowed and source and source.name == "COMMANDLINE":
            raise InputError(
                f"{parameter.opts[0]}: given with runs, which have their own; "
                "expected only --tensorboard, --audit, --open, --runs and --json"
            )


def _answer_comparison(found: "Comparison", json_file: Path | None, open_report: bool) -> None:
    from diptych import terminal

    path = _report(found)
    values = found.to_dict() | {"report": str(path) if path else None}
    answer(values, terminal.comparison(found), json_file)
    if not to_standard_output(json_file):
        print("\nRuns:")
        for side in found.sides:
            print(*(f"  {folder}" for folder in side.runs), sep="\n")
        print(f"Comparison:\n  {found.folder}")
        if path:
            print(f"Report:\n  {path}")
    if path and open_report:
        typer.launch(path.absolute().as_uri())


def _report(found: "Comparison") -> Path | None:
    """The report's file; a comparison is worth something without one."""
    try:
        from diptych.look import report

        return report(found)
    except InputError as problem:
        print(f"No report: {problem}", file=sys.stderr)
        return None


def _carry_out(run: "Run", json_file: Path | None, tensorboard: bool = False) -> None:
    from diptych import training

    with training_view(json_file) as view:
        training.carry_out(run, view, tensorboard)
    values = {"schema": 1, "run": str(run.folder), "result": run.result(), "epochs": run.metrics()}
    answer(values, f"Run: {run.folder}", json_file)
