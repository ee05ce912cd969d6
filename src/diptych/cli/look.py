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

look_app = typer.Typer(help="Pictures, as PNG and SVG, of networks and of what runs have learned.")
app.add_typer(
    look_app, name="look", short_help="Pictures of networks and of what they have learned."
)

Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the pictures go.")]
IMAGE = "A picture, - for standard input, or test:N for the test image of that number."
Image = Annotated[str, typer.Argument(metavar="IMAGE", help=IMAGE)]
PICTURES = Path("pictures")


@look_app.command()
def network(
    network: Annotated[str, typer.Argument(help="A name in the zoo, or a TOML file.")] = "article",
    out: Out = PICTURES,
    json_file: Json = None,
) -> None:
    """The architecture, to scale, with shapes and parameters."""
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
    """A picture before and after the article's kernel for edges, or another."""
    from diptych import look

    _save(look.edges(image, kernels or ["edges"]), out, json_file)


@look_app.command()
def filters(
    run: RunFolder,
    layer: Annotated[
        str | None, typer.Option(help="The layer; by default the first with kernels.")
    ] = None,
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """A layer's kernels, initial and learned, and how far training moved each layer."""
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
    """Every layer's feature maps for one image."""
    from diptych import look

    _save(look.maps(_run(run, runs), image), out, json_file)


@look_app.command()
def padding(
    size: Annotated[int, typer.Option(help="Side of the image in pixels.")] = 6,
    kernel: Annotated[int, typer.Option(help="Side of the window in pixels.")] = 3,
    stride: Annotated[int, typer.Option(help="Pixels from one window to the next.")] = 1,
    out: Out = PICTURES,
    json_file: Json = None,
) -> None:
    """Padding same against padding valid."""
    from diptych import look

    _save(look.padding(size, kernel, stride), out, json_file)


@look_app.command()
def curves(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="One or several runs.")],
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Loss and accuracy, training against validation, and where overfitting starts."""
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
    """The test images that are classified wrongly, with label and answer."""
    from diptych import look

    _save(look.mistakes(_run(run, runs), limit), out, json_file)


@look_app.command()
def confusion(
    run: RunFolder, out: Out = PICTURES, runs: Runs = Path("runs"), json_file: Json = None
) -> None:
    """How often each class is classified as each."""
    from diptych import look

    _save(look.confusion(_run(run, runs)), out, json_file)


@look_app.command()
def saliency(
    run: RunFolder,
    image: Image,
    of: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="By default the predicted class.")
    ] = None,
    out: Out = PICTURES,
    runs: Runs = Path("runs"),
    json_file: Json = None,
) -> None:
    """Where the network looks, by Grad-CAM and by occlusion."""
    from diptych import look

    _save(look.saliency(_run(run, runs), image, of), out, json_file)


def _run(name: str, runs: Path) -> "Run":
    from diptych.runs import Run

    return Run.open(name, runs)


def _save(picture: "Picture", out: Path, json_file: Path | None, *below: "RenderableType") -> None:
    """Writes the picture and prints its files, and what is to stand below them."""
    from rich.console import Group

    files = {kind: str(path) for kind, path in picture.save(out).items()}
    shown = Group(*files.values(), *below)
    answer({"schema": 1, **files, **picture.facts}, shown, json_file)
