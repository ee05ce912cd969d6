"""The commands that measure this machine."""

from typing import Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import app
from diptych.cli.options import Json, NetworkName

Names = Annotated[
    str | None,
    typer.Option(
        "--workflows", metavar="A,B", help="Only these; by default all that are installed."
    ),
]
Rounds = Annotated[int, typer.Option(min=1, help="How many turns each side has.")]

bench_app = typer.Typer(
    help="What a training step, or reading an image, costs on this machine.",
    invoke_without_command=True,
)
app.add_typer(bench_app, name="bench", short_help="What training and reading cost on this machine.")


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
    """A training step: every workflow and precision beside each framework's stock way."""
    if context.invoked_subcommand:
        return
    from diptych.benchmarks import bench_steps
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
            help="Only these, or onnxruntime; by default all that are installed.",
        ),
    ] = None,
    network: NetworkName = "article",
    rounds: Rounds = 3,
    json_file: Json = None,
) -> None:
    """Reading images, one at a time and 256 at a time: every workflow, and ONNX Runtime."""
    from diptych.benchmarks import bench_inference
    from diptych.render.benchmark import benchmark_table
    from diptych.render.terminal import working

    with working("starting") as say:
        found = bench_inference(_names(names), network, rounds=rounds, say=say)
    answer(found.to_dict(), benchmark_table(found), json_file)


def _names(given: str | None) -> list[str] | None:
    return [name.strip() for name in given.split(",") if name.strip()] if given else None
