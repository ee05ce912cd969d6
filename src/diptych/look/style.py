"""Shared style of all pictures: colours, sizes, and how a picture is written.

The colours are those of Okabe and Ito (2008), "Color Universal Design", which are distinct for any
kind of colour vision; numbers are shown in matplotlib's ``cividis`` (Nuñez et al., 2018), signed
ones in ``PuOr`` and counts in ``Blues`` (Brewer). No letter is smaller than `SMALL` points on a
picture of `WIDTH` inches, so that it can be read on a slide, or at half size on a screen.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.figure import Figure

from diptych.errors import InputError
from diptych.whole_files import write_whole

WIDTH, HEIGHT = 10.0, 5.6
"""Inches of a whole slide's picture."""
DPI = 160
SMALL, TEXT, LARGE = 10, 11, 14
"""Points of details, of text, and of a picture's title."""

BLACK, GREY, LIGHT = "#1a1a1a", "#6b6b6b", "#d9d9d9"
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY)
"""For things that differ in kind, such as workflows, in this order."""
SEQUENTIAL, SIGNED, COUNTS = "cividis", "PuOr", "Blues"

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": LIGHT,
    "text.color": BLACK,
    "axes.labelcolor": BLACK,
    "axes.titlecolor": BLACK,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "figure.titlesize": LARGE,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "savefig.facecolor": "white",
    "lines.linewidth": 2.2,
    "text.parse_math": False,  # Classes may be named `$5`.
    "svg.hashsalt": "diptych",  # The same picture is the same file.
}

Parameters = ParamSpec("Parameters")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Picture:
    """A picture that is drawn but not written yet; a notebook shows it."""

    name: str
    """The name of its files, without the suffix."""
    figure: Figure
    facts: dict[str, Any] = field(default_factory=dict)
    """The shown values, as plain data."""

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Writes ``NAME.png`` and ``NAME.svg`` into a folder, which is made if need be.

        Returns:
            The two files, as ``png`` and ``svg``.

        Raises:
            InputError: the folder cannot be written to.
        """
        written = {}
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for kind in ("png", "svg"):
                written[kind] = Path(folder) / f"{self.name}.{kind}"
                # Letters stay text in a file, so that a drawing program can change them.
                write_whole(written[kind], self.rendered(kind, "none"))
        except OSError as problem:
            raise InputError(f"--out {folder}: {problem.strerror or problem}") from None
        return written

    def rendered(self, kind: str, letters: str = "path") -> bytes:
        """The bytes of a ``png`` or ``svg`` file.

        Args:
            kind: which of the two.
            letters: of an SVG, ``path`` for outlines that look the same everywhere, or ``none`` for
                text, which can be edited and needs the font.
        """
        contents = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        with matplotlib.rc_context(RC | {"svg.fonttype": letters}), warnings.catch_warnings():
            # A class name in letters that the font lacks is shown as boxes.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            self.figure.savefig(contents, format=kind, metadata=metadata)
        return contents.getvalue()

    def _repr_png_(self) -> bytes:
        return self.rendered("png")


def styled(draw: Callable[Parameters, Made]) -> Callable[Parameters, Made]:
    """Has a function draw in the one style, whatever the person's own matplotlib looks like."""

    @wraps(draw)
    def drawn(*arguments: Parameters.args, **options: Parameters.kwargs) -> Made:
        with matplotlib.rc_context(matplotlib.rcParamsDefault | RC | {"backend": "agg"}):
            return draw(*arguments, **options)

    return drawn


def figure(height: float = HEIGHT, title: str = "") -> Figure:
    """An empty figure as wide as a slide, whose parts make room for each other."""
    made = Figure(figsize=(WIDTH, height), layout="constrained")
    made.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr]
    if title:
        made.suptitle(title, x=0.012, ha="left", weight="bold", size=LARGE)
    return made


def footer(made: Figure, text: str) -> None:
    """A line of explanation below everything."""
    made.supxlabel(text, x=0.012, ha="left", size=SMALL, color=GREY)


def bare(axes: Any) -> None:
    """Leaves an image alone: no ticks, no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def short(text: str, length: int) -> str:
    """The text, its end cut off where it is longer than that."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shape_of(shape: tuple[int, ...]) -> str:
    """``28×28×64``."""
    return "×".join(map(str, shape))
