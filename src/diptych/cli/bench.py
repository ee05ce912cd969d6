"""The commands that time training and inference on this machine."""

from typing import Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import app
from diptych.cli.options import Json, NetworkName

Names = Annotated[
    str | None,
    typer.Option("--workflows", metavar="A,B", help="Only these. Default: all installed ones."),
]
Rounds = Annotated[int, typer.Option(min=1, help="The number of measurements per side.")]

bench_app = typer.Typer(
    help="Time training steps, or inference, on this machine.",
    invoke_without_command=True,
)
app.add_typer(bench_app, name="bench", short_help="Time training and inference on this machine.")


@bench_app.callback()
def bench(
    context: typer.Context,
    names: Names = None,
    network: NetworkName = "article",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 50,
    steps: Annotated[int, typer.Option(min=20, help="Steps to time.")] = 200,
    rounds: Rounds = 3,
    json_file: Json = None,
) -> None:
    """Time a training step in every workflow and precision, beside each framework's stock code."""
    if context.invoked_subcommand:
        return
    from diptych.benchmarks.benchmark import bench_steps
    from diptych.render.benchmark import benchmark_table
    from diptych.render.terminal import working

    with working("starting") as say:
        found = bench_steps(
            _names(names), network, batch_size=batch_size, steps=steps, rounds=rounds, say=say
        )
    answer(found.to_dict(), benchmark_table(found), json_file)


@bench_app.command()
def inference(
    names: Annotated[
        str | None,
        typer.Option(
            "--workflows",
            metavar="A,B",
            help="Only these, or onnxruntime. Default: all installed ones.",
        ),
    ] = None,
    network: NetworkName = "article",
    rounds: Rounds = 3,
    json_file: Json = None,
) -> None:
    """Time inference, one image and 256 images at a time, in every workflow and ONNX Runtime."""
    from diptych.benchmarks.benchmark import bench_inference
    from diptych.render.benchmark import benchmark_table
    from diptych.render.terminal import working

    with working("starting") as say:
        found = bench_inference(_names(names), network, rounds=rounds, say=say)
    answer(found.to_dict(), benchmark_table(found), json_file)


def _names(given: str | None) -> list[str] | None:
    return [name.strip() for name in given.split(",") if name.strip()] if given else None
