"""Consoles and tables: colours and bars on a terminal, plain lines into a pipe."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from diptych.printing import escaped

PIPE_WIDTH = 10_000
"""Columns where nobody says how many there are: no line is broken in two, and no path cut off."""
AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""Folders and classes may be named ``[red]`` or ``:smile:``."""


class Output(Console):
    """A console that prints nothing of a name that a terminal would obey (`diptych.printing`).

    It tells its caller when the reader of a pipe, such as `head`, has gone.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **options)  # Before its width is measured.

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None:  # Texts that were styled before; not Rich's own codes.
                segment = Segment(escaped(segment.text), segment.style)
            yield segment

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """Where to print; wide enough for whole lines if it is not a terminal."""
    found = Output(stderr=stderr, **AS_IT_IS)
    if found.is_terminal:
        return found
    return Output(stderr=stderr, width=PIPE_WIDTH, soft_wrap=True, **AS_IT_IS)


@contextmanager
def working(first: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; yields what is called with the next step's name."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield lambda step: None
        return
    with shown.status(first) as status:
        yield status.update


def plain(shown: RenderableType) -> str:
    """The same as plain text, for a pipe or ``print``."""
    text = io.StringIO()
    lines = Output(file=text, width=PIPE_WIDTH, force_terminal=False, no_color=True, **AS_IT_IS)
    lines.print(shown, soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def html(shown: RenderableType, width: int = PIPE_WIDTH) -> str:
    """The same as HTML, for a notebook or a page.

    Args:
        shown: what a terminal shows.
        width: characters in a line.
    """
    recorder = Output(file=io.StringIO(), width=width, record=True, **AS_IT_IS)
    recorder.print(shown)
    return recorder.export_html(code_format="<pre>{code}</pre>", inline_styles=True)


def table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """An empty table whose first ``left`` columns hold words and whose others hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(
            column, justify="left" if number < left else "right", no_wrap=True, style=""
        )
    return made


def words(made: Table, column: int) -> None:
    """Lets a column of words take more lines where the screen is narrow: the others stay whole."""
    made.columns[column].justify = "left"
    made.columns[column].no_wrap = False
    made.columns[column].overflow = "fold"
