"""The commands that export and import files of other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import NO, app
from diptych.cli.options import DataSource, Json, RunFolder, Runs, Size
from diptych.printing import say

if TYPE_CHECKING:
    from diptych.formats.exporting import Export
    from diptych.runs import Run


@app.command(short_help="Export a run's network to a file for other tools.")
def export(
    run: RunFolder,
    to: Annotated[str, typer.Option(help="keras, savedmodel, onnx, litert, torch or safetensors.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: exports/RUN with the format's suffix."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute in 8-bit integers (onnx, litert).")
    ] = False,
    uint8_input: Annotated[
        bool,
        typer.Option(
            "--uint8-input", help="Take pixels from 0 to 255 and scale them in the network."
        ),
    ] = False,
    check: Annotated[
        int,
        typer.Option(
            metavar="IMAGES",
            help="The number of test images to compare the file with the run on; 0 for no check.",
        ),
    ] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> int | None:
    """Export a run's network to a file for another tool, with a model card.

    Exit code 1: the format's own tool computes other outputs from the file, which is deleted.
    """

    from diptych.formats.exporting import NotTheSame
    from diptych.formats.exporting import export as write
    from diptych.render import terminal
    from diptych.runs import Run

    try:
        with terminal.working(f"starting to write {to}") as working:
            made = write(
                Run.open(run, runs),
                to,
                out,
                int8=int8,
                uint8_input=uint8_input,
                check=check,
                force=force,
                report=working,
            )
    except NotTheSame as problem:
        say(f"diptych: {problem}", error=True)
        return NO
    answer(made.to_dict(), _exported(made), json_file)
    return None


@app.command("import", short_help="Import a network from a file as a run.")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .keras, .onnx or .safetensors file.")
    ],
    workflow: Annotated[
        str | None,
        typer.Option(help="The run's workflow. Default: the one that the file names, if any."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="For .safetensors weights that do not name their network."),
    ] = None,
    data: DataSource = "mnist",
    size: Size = None,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Import a network from a file as a finished run. No code in the file is run."""
    from diptych.data.sizes import with_size
    from diptych.formats.importing import import_file
    from diptych.render import terminal

    with terminal.working("reading the file and classifying the test images"):
        run = import_file(file, workflow, with_size(data, size), network=network, runs=runs)
    values = {"schema": 1, "run": str(run.folder), **run.description(), "result": run.result()}
    answer(values, _imported(run), json_file)


def _exported(made: "Export") -> str:
    lines = [f"Wrote {made.file} ({made.bytes:,} bytes)"]
    lines += [f"      {file}" for file in made.files[1:]]
    check = made.check
    if check is None:
        return "\n".join([*lines, f"Not checked: {made.unchecked}"])
    lines.append(
        f"{check.tool}: {check.correct:,} of {check.images:,} test images correct, the run "
        f"{check.run_correct:,}; {check.different:,} predictions differ, logits differ by up to "
        f"{check.logits:.1e} (the largest is {check.span:.3g})"
    )
    return "\n".join(lines)


def _imported(run: "Run") -> str:
    result, network, data = run.result() or {}, run.network, run.description()["data"]
    return (
        f"Run: {run.folder}\n"
        f"Network {network.name}: {len(network.layers)} layers, {network.parameters:,} "
        f"parameters, in {run.workflow}\n"
        f"Accuracy on {result['test_images']:,} test images of {data['name']}: "
        f"{100 * result['test_accuracy']:.2f}%"
    )
