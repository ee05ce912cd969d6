"""The report of a comparison: one HTML file that needs nothing else, to read, send or print."""

import base64
import importlib.resources
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from diptych.auditing.report import STAGES
from diptych.comparison import Comparison, script_of
from diptych.data import Data
from diptych.data.pictures import to_png
from diptych.errors import InputError, command
from diptych.look.answers import confusion, mistakes
from diptych.look.architecture import network
from diptych.look.history import curves
from diptych.look.images import data_of
from diptych.look.style import COLOURS, Picture
from diptych.render.comparison import difference_line, head_lines, side_rows
from diptych.runs import Run
from diptych.whole_files import write_whole

NAME = "report.html"
DISAGREEMENTS = 60
"""Images that are shown; the rest is in ``comparison.json``."""
MISTAKES = 30


def report(comparison: Comparison) -> Path:
    """Writes ``report.html`` into the comparison's folder.

    Pictures and images are of the first seed's runs; the figures are of all.

    Args:
        comparison: as `diptych.compare` gives it; its runs must still be in their folders.

    Returns:
        The file.

    Raises:
        InputError: a run or its data are not there any more, or the file cannot be written.
    """
    path = Path(comparison.folder) / NAME
    page = html(comparison)
    try:
        write_whole(path, page.encode())
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror or problem}") from None
    return path


def html(comparison: Comparison) -> str:
    """The report's page."""
    runs = [Run.open(side.runs[0]) for side in comparison.sides]
    every = [Run.open(run) for side in comparison.sides for run in side.runs]
    shown = every if len(every) <= len(COLOURS) else runs[: len(COLOURS)]
    several = any(len(side.seeds) > 1 for side in comparison.sides)
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source = importlib.resources.files("diptych.look").joinpath("report.html.jinja")
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        comparison=comparison,
        several=several,
        rows=[
            (name, [cell(side) for side in comparison.sides])
            for name, cell in side_rows(comparison.sides)
        ],
        differences=[difference_line(one, several) for one in comparison.differences],
        stages=STAGES,
        number=_number,
        curves=_embedded(curves(shown)),
        all_curves=len(shown) == len(every),
        head=head_lines(comparison),
        networks=[
            (name, _embedded(network(run.network))) for name, run in _networks(comparison, runs)
        ],
        confusions=[
            (side, _embedded(confusion(run)))
            for side, run in zip(comparison.sides, runs, strict=True)
        ],
        mistakes=[
            (side, _embedded(mistakes(run, MISTAKES)))
            for side, run in zip(comparison.sides, runs, strict=True)
        ],
        disagreements=list(_disagreements(comparison, data_of(runs[0]))),
        scripts=[
            (side, _highlighted(script_of(run), side.name))
            for side, run in zip(comparison.sides, runs, strict=True)
        ],
        # Every colour has a contrast of 4.5 or more to the panel that the code stands on.
        code_style=_code_style("xcode"),
        code_style_dark=_code_style("monokai"),
        again=command("compare", *(run.folder for run in every)).strip("`"),
        created=runs[0].description()["created"],
    )


def _networks(comparison: Comparison, runs: list[Run]) -> Iterator[tuple[str, Run]]:
    """The first run of each network, with its name."""
    names = comparison.differs.get("network") or [comparison.alike["network"]] * len(runs)
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        if name not in names[:number]:
            yield name, run


def _embedded(picture: Picture) -> str:
    """A picture as an address that holds all of it.

    An image of its own rather than SVG elements of the page: those of several would share names.
    """
    return "data:image/svg+xml;base64," + base64.b64encode(picture.rendered("svg")).decode()


def _disagreements(comparison: Comparison, data: Data) -> Iterator[dict[str, Any]]:
    for one in comparison.disagreements[:DISAGREEMENTS]:
        pixels = np.asarray(data.test.images[one.image])
        image = "data:image/png;base64," + base64.b64encode(to_png(pixels)).decode()
        yield {"number": one.image, "label": one.label, "answers": one.answers, "image": image}


def _highlighted(script: str, name: str) -> str:
    """A script as HTML, in a part of the page that scrolls, also by keyboard."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    code = highlight(script, PythonLexer(stripnl=False), HtmlFormatter(cssclass="code"))
    label = escape(f"The script of {name}")
    focusable = f'<div class="code" tabindex="0" role="group" aria-label="{label}">'
    return code.replace('<div class="code">', focusable, 1)


def _code_style(name: str) -> str:
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(style=name).get_style_defs(".code")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
