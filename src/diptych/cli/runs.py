"""The commands that train, compare and use runs."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli.answers import answer, to_standard_output, training_view
from diptych.cli.app import WRONG_REQUEST, app
from diptych.cli.options import (
    Adapt,
    BatchSize,
    Changes,
    CheckpointEvery,
    DataSource,
    EarlyStopping,
    Epochs,
    Json,
    Live,
    NetworkName,
    Processes,
    RayAddress,
    RecipeName,
    RunFolder,
    Runs,
    Seed,
    Size,
    Snapshots,
    TensorBoard,
    Workflow,
)
from diptych.errors import InputError, command
from diptych.printing import say

if TYPE_CHECKING:
    from diptych.comparison import Comparison
    from diptych.runs import Run


@app.command()
def train(
    workflow: Workflow,
    network: NetworkName = "article",
    recipe: RecipeName = None,
    data: DataSource = "mnist",
    size: Size = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    early_stopping: EarlyStopping = None,
    settings: Changes = None,
    adapt: Adapt = False,
    checkpoint_every: CheckpointEvery = None,
    snapshots: Snapshots = False,
    live: Live = False,
    tensorboard: TensorBoard = False,
    processes: Processes = 1,
    ray: RayAddress = None,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Train a network in one workflow."""
    from diptych import changes, training
    from diptych.data.sizes import with_size
    from diptych.defaults import default_recipe
    from diptych.network import Network
    from diptych.recipe import Recipe
    from diptych.snapshots import keep_snapshots

    if tensorboard:
        training.check_tensorboard()
    training.check_ray(ray, processes, workflow)
    values = changes.single(
        changes.with_options(
            changes.parse(settings or []),
            epochs=epochs,
            batch_size=batch_size,
            early_stopping=early_stopping,
        )
    )
    data = with_size(data, size)
    base = Recipe.load(recipe) if recipe else default_recipe(Network.load(network), data)
    run = training.create(
        workflow,
        network,
        base.with_changes(**values) if values else base,
        data,
        seed,
        runs=runs,
        adapt=adapt,
        checkpoint_every=checkpoint_every,
        processes=processes,
    )
    if snapshots or live:
        keep_snapshots(run)
    if live:
        _carry_out_live(run, json_file, tensorboard, processes, ray)
    else:
        _carry_out(run, json_file, tensorboard, processes, ray)


@app.command()
def resume(
    run: RunFolder,
    processes: Processes = 1,
    ray: RayAddress = None,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Resume a run that was stopped or killed."""
    from diptych.runs import Run

    found = Run.open(run, runs)
    if found.status == "done":
        raise InputError(f"run {found.folder}: it has ended; there is nothing to resume")
    _carry_out(found, json_file, processes=processes, ray=ray)


@app.command(short_help="Train a network in several workflows, and compare them.")
def compare(
    context: typer.Context,
    trained: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="Compare these runs instead of training new ones; unfinished runs are resumed.",
        ),
    ] = None,
    workflows: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Workflows, or all for all installed ones. Default: tensorflow,keras; tensorflow "
            "if something else is compared.",
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(metavar="A,B", help="Names in the zoo, or TOML files.")
    ] = "article",
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Names in the zoo, or TOML files. Default: the networks' own recipes, else one "
            "for all: fast if it is made for all of them, else plain.",
        ),
    ] = None,
    data: Annotated[
        str,
        typer.Option(metavar="A,B", help="mnist, fashion-mnist, or folders of images or IDX."),
    ] = "mnist",
    size: Size = None,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="The number of seeds per side.")] = 1,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    early_stopping: EarlyStopping = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUES",
            help="Change a value of the recipe, or compare several (dropout_scale=0,1); "
            "repeatable.",
        ),
    ] = None,
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
    """Train with several workflows, networks, recipes, data or values, and compare the runs."""
    from diptych import changes, comparison
    from diptych.data.sizes import with_size

    if trained:
        _refuse_others(
            context, "trained", "tensorboard", "audit", "open_report", "runs", "json_file"
        )
    values = changes.with_options(
        changes.parse(settings or []),
        epochs=epochs,
        batch_size=batch_size,
        early_stopping=early_stopping,
    )
    with training_view(json_file) as view:
        if trained:
            found = comparison.compare_runs(
                trained, runs=runs, tensorboard=tensorboard, audit=audit, report=view
            )
        else:
            found = comparison.compare(
                None if workflows is None else _names(workflows),
                _names(network),
                None if recipe is None else _names(recipe),
                [with_size(name, size) for name in _names(data)],
                range(seed, seed + seeds),
                values=values,
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
    """List the runs, with their changes, progress and accuracy."""
    from diptych import changes
    from diptych.render.runs import run_table
    from diptych.runs import find

    found = find(runs)
    listed = [
        {"folder": str(run.folder), **run.description(), "status": run.status_now}
        | {"result": run.result(), "changes": changes.of_run(run)}
        for run in found
    ]
    shown = (
        run_table(found) if found else f"No runs in {runs}/ yet: {command('compare')} makes some"
    )
    answer({"schema": 1, "runs": listed}, shown, json_file)


@app.command(short_help="Show accuracy, scores per class, and the confusion matrix.")
def evaluate(
    run: RunFolder,
    data: Annotated[str | None, typer.Option("--data", help="Default: the run's data.")] = None,
    size: Size = None,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Show accuracy, precision and recall per class, and the confusion matrix."""
    from diptych import evaluation
    from diptych.data.sizes import with_size
    from diptych.render.evaluation import evaluation_tables
    from diptych.runs import Run

    if size and not data:
        raise InputError(f"--size {size}: it is for other data; add --data FOLDER")
    data = data and with_size(data, size)
    found = evaluation.evaluate(Run.open(run, runs), data)
    answer(found.to_dict(), evaluation_tables(found), json_file)


@app.command(short_help="Classify pictures: PNG, JPEG and others, of any size.")
def predict(
    run: RunFolder,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Pictures or folders; - for standard input."),
    ],
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Classify pictures: PNG, JPEG and others, any size, dark on light or light on dark.

    If some pictures cannot be classified, they are named and the exit code is 2.
    """
    from diptych import evaluation
    from diptych.render.evaluation import prediction_table
    from diptych.runs import Run

    found = evaluation.predict_pictures(Run.open(run, runs), images)
    answer({"schema": 1, "predictions": found}, prediction_table(found), json_file)
    problems = [one["problem"] for one in found if "problem" in one]
    for problem in problems:
        say(f"diptych: {problem}", error=True)
    if problems:
        raise typer.Exit(WRONG_REQUEST)


def _names(text: str) -> list[str]:
    """The names in a comma-separated list, or the name of one existing file with commas."""
    if Path(text).exists():
        return [text]
    return [name.strip() for name in text.split(",") if name.strip()]


def _refuse_others(context: typer.Context, *allowed: str) -> None:
    """Raises InputError for options that `compare RUN...` does not use."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in allowed and source and source.name == "COMMANDLINE":
            raise InputError(
                f"{parameter.opts[0]}: given with runs, which have their own; "
                "expected only --tensorboard, --audit, --open, --runs and --json"
            )


def _answer_comparison(comparison: "Comparison", json_file: Path | None, open_report: bool) -> None:
    from diptych.render.comparison import comparison_tables

    path = _report(comparison)
    values = comparison.to_dict() | {"report": str(path) if path else None}
    answer(values, comparison_tables(comparison), json_file)
    if not to_standard_output(json_file):
        say("", "Runs:")
        for side in comparison.sides:
            say(*(f"  {folder}" for folder in side.runs))
        again = comparison.same_as == comparison.folder
        note = " (made before from the same runs; nothing was written)" if again else ""
        say(f"Comparison{note}:", f"  {comparison.folder}")
        if comparison.same_as and not again:
            say("Made before, with the same settings:", f"  {comparison.same_as}")
        if path:
            say("Report:", f"  {path}")
    if path and open_report:
        typer.launch(path.absolute().as_uri())


def _report(comparison: "Comparison") -> Path | None:
    """The report's file; None, with a message, if it cannot be written."""
    try:
        from diptych.look.report import NAME, report

        path = Path(comparison.folder) / NAME
        return path if path.is_file() else report(comparison)
    except InputError as problem:
        say(f"No report: {problem}", error=True)
        return None


def _carry_out(
    run: "Run",
    json_file: Path | None,
    tensorboard: bool = False,
    processes: int = 1,
    ray: str | None = None,
) -> None:
    from diptych import training

    with training_view(json_file) as view:
        training.carry_out(run, view, tensorboard, processes, ray)
    values = {"schema": 1, "run": str(run.folder), "result": run.result(), "epochs": run.metrics()}
    answer(values, f"Run: {run.folder}", json_file)


def _carry_out_live(
    run: "Run", json_file: Path | None, tensorboard: bool, processes: int, ray: str | None
) -> None:
    """Trains with a page in the browser, which stays open until Ctrl-C."""
    import webbrowser

    from diptych.serving.live import live_page

    def ready(address: str) -> None:
        say(f"Page: {address}/", error=True)
        webbrowser.open(address)

    with live_page(run, ready) as wait:
        _carry_out(run, json_file, tensorboard, processes, ray)
        say("The page stays open until Ctrl-C.", error=True)
        with suppress(KeyboardInterrupt):
            wait()
