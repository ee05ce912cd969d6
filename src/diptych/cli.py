"""The command line: parses, calls, prints. No logic of its own, and nothing imported early."""

import json
import logging
import os
import signal
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.errors import InputError, command

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diptych.comparison import Comparison
    from diptych.recipe import Recipe
    from diptych.runs import Run
    from diptych.terminal import TrainingView

DONE, NO, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="diptych",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="The data sets, and what a folder of your own holds.")
app.add_typer(data_app, name="data")

Workflow = Annotated[str, typer.Argument(help="tensorflow, keras or numpy.")]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name.")]
NetworkName = Annotated[str, typer.Option("--network", help="A name in the zoo, or a TOML file.")]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A name in the zoo, or a TOML file; where not given, the network's own, or fast.",
    ),
]
DataSource = Annotated[
    str, typer.Option("--data", help="mnist, fashion-mnist, or a folder of IDX files or images.")
]
SIDE = (
    "A workflow and network (keras:article), a run's folder, a .keras or .onnx file, or your own "
    "code as path/to/file.py:function."
)
Seed = Annotated[int, typer.Option(help="Where all random numbers come from.")]
Epochs = Annotated[int | None, typer.Option(help="Instead of the recipe's.")]
BatchSize = Annotated[int | None, typer.Option(help="Instead of the recipe's.")]
EarlyStopping = Annotated[
    int | None,
    typer.Option(
        metavar="PATIENCE",
        help="Stop after so many epochs without a smaller validation loss; keep the best weights.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other value of the recipe; repeatable."),
]
Adapt = Annotated[
    bool, typer.Option("--adapt", help="Fit the network to the data's images and classes.")
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="STEPS",
        help="Save so often, not only after each epoch; tensorflow rounds up to a multiple of 20.",
    ),
]


def _writable(file: Path | None) -> Path | None:
    """Says before the work that an answer could not be written after it."""
    if file is None or str(file) == "-":
        return file
    if file.is_dir():
        raise InputError(f"--json {file}: this is a folder, expected a file")
    if not file.absolute().parent.is_dir():
        raise InputError(f"--json {file}: there is no folder {file.parent} to write it in")
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise InputError(f"--json {file}: it cannot be written there")
    return file


Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs.")]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=_writable,
        help="Write the answer as JSON; - for standard output.",
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from diptych import __version__

        print(f"diptych {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """One convolutional network, built in several workflows, trained and compared."""


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
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Train a network in one workflow."""
    from diptych import training

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
    _carry_out(run, json_file)


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
        str, typer.Option(metavar="A,B", help="Two or more workflows.")
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
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Train a network in several workflows, or take runs there are, and hold them side by side."""
    from diptych import comparison
    from diptych.runs import Run

    if trained:
        _refuse_others(context, "trained", "runs", "json_file")
        made = [Run.open(run, runs) for run in trained]
        unfinished = sum(run.status != "done" for run in made)
        with _training_view(json_file, unfinished) as view:
            found = comparison.compare_runs(made, runs=runs, report=view)
        _answer_comparison(found, json_file)
        return
    names = [name.strip() for name in workflows.split(",") if name.strip()]
    with _training_view(json_file, len(names) * seeds) as view:
        found = comparison.compare(
            names,
            network,
            _recipe(recipe, network, epochs, batch_size, early_stopping, changes),
            data,
            range(seed, seed + seeds),
            runs=runs,
            adapt=adapt,
            checkpoint_every=checkpoint_every,
            report=view,
        )
    _answer_comparison(found, json_file)


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
    _answer({"schema": 1, "runs": listed}, shown, json_file)


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
    _answer(found.to_dict(), terminal.evaluation(found), json_file)


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
    _answer({"schema": 1, "predictions": found}, terminal.predictions(found), json_file)


@app.command()
def audit(
    a: Annotated[str, typer.Argument(metavar="A", help=SIDE)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a side may take for one answer.")
    ] = 60.0,
    json_file: Json = None,
) -> int:
    """Prove that two builds are the same network and training, or name where they part and why.

    Exit code: 0 where they are the same, 1 where they part, 2 where they cannot be audited.
    """
    from diptych import terminal
    from diptych.auditing import audit

    try:
        with terminal.working("opening both sides") as say:
            found = audit(a, b, timeout, say)
    except InputError:
        raise
    except Exception as problem:  # Exit code 1 would say that they part.
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise InputError(f"{a} and {b}: could not be audited, by a fault here: {what}") from problem
    _answer(found.to_dict(), found, json_file)
    return DONE if found.same else NO


@app.command()
def summary(
    network: Annotated[str, typer.Argument(help="A name in the zoo, or a TOML file.")] = "article",
    json_file: Json = None,
) -> None:
    """The layers of a network, their shapes, parameters and multiply-adds."""
    from dataclasses import asdict

    from diptych import terminal
    from diptych.network import Network

    found = Network.load(network)
    layers = [asdict(layer) for layer in found.summary()]
    answer = {
        "schema": 1,
        "network": found.to_dict(),
        "layers": layers,
        "parameters": found.parameters,
        "trained_parameters": found.trained_parameters,
    }
    _answer(answer, terminal.summary(found), json_file)


@app.command()
def zoo(json_file: Json = None) -> None:
    """The networks and recipes that have a name."""
    from diptych import terminal, zoo
    from diptych.network import Network
    from diptych.recipe import Recipe

    networks = [Network.load(name) for name in zoo.names("networks")]
    recipes = [Recipe.load(name) for name in zoo.names("recipes")]
    answer = {
        "schema": 1,
        "networks": [network.to_dict() for network in networks],
        "recipes": [recipe.model_dump(mode="json") for recipe in recipes],
    }
    _answer(answer, terminal.zoo(networks, recipes), json_file)


@data_app.command("list")
def data_list(json_file: Json = None) -> None:
    """The data sets that have a name."""
    from dataclasses import asdict

    from diptych import terminal
    from diptych.data import known_data

    found = known_data()
    answer = {"schema": 1, "data": [asdict(one) for one in found]}
    _answer(answer, terminal.data_list(found), json_file)


@data_app.command("info")
def data_info(
    name: Annotated[str, typer.Argument(help="A data set's name, or a folder.")],
    json_file: Json = None,
) -> None:
    """Sizes, classes, how many images of each, and where a data set is from."""
    from diptych import terminal
    from diptych.data import load_data

    found = load_data(name)
    _answer(terminal.data_facts(found), terminal.data_info(found), json_file)


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
                "expected only --runs and --json"
            )


def _answer_comparison(found: "Comparison", json_file: Path | None) -> None:
    from diptych import terminal

    _answer(found.to_dict(), terminal.comparison(found), json_file)
    if not _to_standard_output(json_file):
        print("\nRuns:")
        for side in found.sides:
            print(*(f"  {folder}" for folder in side.runs), sep="\n")
        print(f"Comparison:\n  {found.folder}")


def _carry_out(run: "Run", json_file: Path | None) -> None:
    from diptych import training

    with _training_view(json_file) as view:
        training.carry_out(run, view)
    answer = {"schema": 1, "run": str(run.folder), "result": run.result(), "epochs": run.metrics()}
    _answer(answer, f"Run: {run.folder}", json_file)


@contextmanager
def _training_view(json_file: Path | None, trainings: int = 1) -> "Iterator[TrainingView]":
    from diptych import terminal

    lines = terminal.console(_to_standard_output(json_file))
    try:
        with terminal.TrainingView(lines, trainings) as view:
            yield view
    except KeyboardInterrupt as stopped:
        print(f"\n{str(stopped) or 'Stopped.'}", file=sys.stderr)
        raise


def _to_standard_output(json_file: Path | None) -> bool:
    return json_file is not None and str(json_file) == "-"


def _answer(answer: dict[str, Any], shown: "RenderableType", json_file: Path | None) -> None:
    """Prints the answer, and writes it as JSON where that is asked for."""
    from diptych import terminal

    text = json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False)
    if _to_standard_output(json_file):
        print(text)
        return
    console = terminal.console()
    if console.is_terminal:
        console.print(shown)
    else:
        console.print(terminal.plain(shown), soft_wrap=True)
    if json_file is not None:
        try:
            json_file.write_text(text + "\n", encoding="utf-8")
        except OSError as problem:
            raise InputError(f"--json {json_file}: {problem.strerror or problem}") from None


def main(arguments: list[str] | None = None) -> None:
    """The entry point: runs the command and exits with its code."""
    # A polite request to end, as from a batch system, is Ctrl-C by another name.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("diptych").setLevel(logging.INFO)
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(given or ["--help"], standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except InputError as problem:
        print(f"diptych: {problem}", file=sys.stderr)
        return WRONG_REQUEST
    except typer.TyperException as problem:
        from pydantic import ValidationError

        words = " ".join(problem.format_message().split())
        if isinstance(problem.__cause__, ValidationError):
            words += f", given {problem.__cause__.errors()[0]['input']!r}"
        where = (
            " ".join(["diptych", *given[:1]]) if given and given[0] in _commands() else "diptych"
        )
        print(f"diptych: {words} (`{where} --help` lists what there is)", file=sys.stderr)
        return WRONG_REQUEST
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough; Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as problem:
        from diptych.training import TrainingFailed
        from diptych.worker import WorkerError

        if not isinstance(problem, TrainingFailed | WorkerError):
            raise
        print(f"diptych: {problem}", file=sys.stderr)
        return NO


def _commands() -> set[str | None]:
    names = {
        command.name or getattr(command.callback, "__name__", None)
        for command in app.registered_commands
    }
    return names | {group.name for group in app.registered_groups}


if __name__ == "__main__":
    main()
