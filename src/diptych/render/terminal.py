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
"""The width of output to a pipe, in which no line is wrapped and no path is truncated."""
AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""Names of folders and classes, such as ``[red]`` or ``:smile:``, are printed unchanged."""


class Output(Console):
    """A console that escapes control sequences in names (see `diptych.printing`).

    It raises BrokenPipeError when the reader of a pipe, such as `head`, has ended.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(escaped(text), **options)  # Before its width is measured.

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None:  # Styled texts, but not Rich's own codes.
                segment = Segment(escaped(segment.text), segment.style)
            yield segment

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """A console for standard output or error, wide enough for whole lines if it is a pipe."""
    terminal = Output(stderr=stderr, **AS_IT_IS)
    if terminal.is_terminal:
        return terminal
    return Output(stderr=stderr, width=PIPE_WIDTH, soft_wrap=True, **AS_IT_IS)


@contextmanager
def working(first: str) -> Iterator[Callable[[str], None]]:
    """Shows the current step on a terminal; yields a function to call with the next step's name."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield lambda step: None
        return
    with shown.status(first) as status:
        yield status.update


def plain(shown: RenderableType) -> str:
    """Renders as plain text, for a pipe or ``print``."""
    text = io.StringIO()
    lines = Output(file=text, width=PIPE_WIDTH, force_terminal=False, no_color=True, **AS_IT_IS)
    lines.print(shown, soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def html(shown: RenderableType, width: int = PIPE_WIDTH) -> str:
    """Renders as HTML, for a notebook or a page.

    Args:
        shown: the content.
        width: the width of a line in characters.
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
    """Lets a column of words wrap on a narrow screen, so that other columns keep their width."""
    made.columns[column].justify = "left"
    made.columns[column].no_wrap = False
    made.columns[column].overflow = "fold"
