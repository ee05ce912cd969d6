"""The options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from diptych.errors import InputError


def _workflows(incomplete: str) -> list[str]:
    from diptych.workflows import registry

    return [name for name in registry.NAMES if name.startswith(incomplete)]


def _networks(incomplete: str) -> list[str]:
    from diptych import zoo

    return [name for name in zoo.names("networks") if name.startswith(incomplete)]


def _recipes(incomplete: str) -> list[str]:
    from diptych import zoo

    return [name for name in zoo.names("recipes") if name.startswith(incomplete)]


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """The names of runs that start with this text, for shell completion."""
    root = Path(context.params.get("runs") or "runs")
    names = sorted(file.parent.name for file in root.glob("*/run.json"))
    return [name for name in names if name.startswith(incomplete)]


Workflow = Annotated[
    str,
    typer.Argument(
        help="tensorflow, keras, keras@jax, keras@torch, torch, jax or numpy.",
        autocompletion=_workflows,
    ),
]
RunFolder = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's folder, or its name.", autocompletion=run_names),
]
NetworkName = Annotated[
    str,
    typer.Option("--network", help="A name in the zoo, or a TOML file.", autocompletion=_networks),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A name in the zoo, or a TOML file. Default: the network's own recipe, else fast if "
        "it is made for the network and the data, else plain.",
        autocompletion=_recipes,
    ),
]
DataSource = Annotated[
    str, typer.Option("--data", help="mnist, fashion-mnist, or a folder of IDX files or images.")
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="WIDTHxHEIGHT",
        help="Scale the pictures of class folders to this size; one number for a square.",
    ),
]
SIDE = (
    "A workflow and network (keras:article), a run's folder, a .keras or .onnx file, a recorded "
    "side, or your own code as path/to/file.py:function or package.module:function."
)
Seed = Annotated[int, typer.Option(help="The seed of all random numbers.")]
Epochs = Annotated[int | None, typer.Option(help="The number of epochs. Default: the recipe's.")]
BatchSize = Annotated[int | None, typer.Option(help="Images per batch. Default: the recipe's.")]
EarlyStopping = Annotated[
    int | None,
    typer.Option(
        metavar="PATIENCE",
        help="Stop after this many epochs without a lower validation loss, and keep the best "
        "weights.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; repeatable."),
]
Adapt = Annotated[
    bool, typer.Option("--adapt", help="Fit the network to the data's images and classes.")
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="STEPS",
        help="Also save a checkpoint every STEPS steps; tensorflow and jax up to 19 steps later.",
    ),
]

Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Processes that share each batch, on this machine or, with --ray, on a cluster. Their "
        "number changes the result only by rounding. For tensorflow, torch and jax.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="ADDRESS", help="A Ray cluster: its address, auto, or local for a new one."
    ),
]
Snapshots = Annotated[
    bool,
    typer.Option(
        "--snapshots", help="Keep the weights after 0, 1, 3, 9, … steps for diptych serve."
    ),
]
Live = Annotated[
    bool,
    typer.Option(
        "--live", help="Open a page that shows the training as it runs; implies --snapshots."
    ),
]
TensorBoard = Annotated[
    bool,
    typer.Option("--tensorboard", help="Write event files for TensorBoard into each run's folder."),
]


def writable(file: Path | None, option: str = "--json") -> Path | None:
    """Returns the file. Raises InputError if it cannot be written, before any work is done."""
    if file is None or (option == "--json" and str(file) == "-"):
        return file
    if file.is_dir():
        raise InputError(f"{option} {file}: this is a folder, expected a file")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{option} {file}: there is no folder {file.parent} to write it in")
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise InputError(f"{option} {file}: it cannot be written there")
    return file


Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs.")]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=lambda file: writable(file),
        help="Write the answer as JSON; - for standard output.",
    ),
]
