"""The commands that draw pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import app
from diptych.cli.options import Json, RunFolder, Runs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diptych.look import Picture
    from diptych.runs import Run

look_app = typer.Typer(help="Draw networks and what runs have learned, as PNG and SVG.")
app.add_typer(look_app, name="look", short_help="Draw networks and what they have learned.")

Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder for the pictures.")]
IMAGE = "A picture, - for standard input, or test:N for test image number N."
Image = Annotated[str, typer.Argument(metavar="IMAGE", help=IMAGE)]
PICTURES = Path("pictures")


@look_app.command()
def network(
    network: Annotated[str, typer.Argument(help="A name in the zoo, or a TOML file.")] = "article",
    out: Out = PICTURES,
    json_file: Json = None,
) -> None:
    """Draw the architecture to scale, with shapes and parameters."""
    from diptych import look

    _save(look.network(network), out, json_file)


@look_app.command()
def edges(
    image: Annotated[str, typer.Argument(help="Any picture, or - for standard input.")],
    kernels: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel",
            metavar="NAME",
            help="edges, laplace, sobel-x, sobel-y, emboss, sharpen, blur, identity, or all; "
            "repeatable.",
        ),
    ] = None,
    out: Out = PICTURES,
    json_file: Json = None,
) -> None:
    """Draw a picture before and after the article's edge kernel, or another kernel."""
    from diptych import look

    _save(look.edges(image, kernels or ["edges"]), out, json_file)


@look_app.command()
def filters(
    run: RunFolder,
    layer: Annotated[
        str | None, typer.Option(help="The layer. Default: the first one with kernels.")
    ] = None,
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Draw a layer's initial and learned kernels, and show the change of each layer."""
    from diptych import look
    from diptych.render.filters import change_table

    picture = look.filters(_run(run, runs), layer)
    _save(picture, out, json_file, change_table(picture.facts["changes"]))


@look_app.command()
def maps(
    run: RunFolder,
    image: Image,
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Draw the feature maps of every layer for one image."""
    from diptych import look

    _save(look.maps(_run(run, runs), image), out, json_file)


@look_app.command()
def padding(
    size: Annotated[int, typer.Option(help="Side length of the image in pixels.")] = 6,
    kernel: Annotated[int, typer.Option(help="Side length of the window in pixels.")] = 3,
    stride: Annotated[int, typer.Option(help="Pixels between neighbouring windows.")] = 1,
    out: Out = PICTURES,
    json_file: Json = None,
) -> None:
    """Draw same and valid padding side by side."""
    from diptych import look

    _save(look.padding(size, kernel, stride), out, json_file)


@look_app.command()
def curves(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="One or several runs.")],
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Draw loss and accuracy in training and validation, and where overfitting starts."""
    from diptych import look

    _save(look.curves([_run(each, runs) for each in run]), out, json_file)


@look_app.command()
def mistakes(
    run: RunFolder,
    limit: Annotated[int, typer.Option(help="Show at most this many.")] = 30,
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Draw the misclassified test images, with label and prediction."""
    from diptych import look

    _save(look.mistakes(_run(run, runs), limit), out, json_file)


@look_app.command()
def confusion(
    run: RunFolder, out: Out = PICTURES, runs: Runs = Path("runs"), json_file: Json = None
) -> None:
    """Draw the confusion matrix."""
    from diptych import look

    _save(look.confusion(_run(run, runs)), out, json_file)


@look_app.command()
def saliency(
    run: RunFolder,
    image: Image,
    of: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Default: the predicted class."),
    ] = None,
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Draw where the network looks, by Grad-CAM and by occlusion."""
    from diptych import look

    _save(look.saliency(_run(run, runs), image, of), out, json_file)


def _run(name: str, runs: Path) -> "Run":
    from diptych.runs import Run

    return Run.open(name, runs)


def _save(picture: "Picture", out: Path, json_file: Path | None, *below: "RenderableType") -> None:
    """Writes the picture and prints its files, followed by ``below``."""
    from rich.console import Group

    files = {kind: str(path) for kind, path in picture.save(out).items()}
    shown = Group(*files.values(), *below)
    answer({"schema": 1, **files, **picture.facts}, shown, json_file)
