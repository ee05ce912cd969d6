"""A table with a row per figure and a column per side, split into several if it is too wide."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from diptych.render.terminal import PIPE_WIDTH, table

PIPE_COLUMNS = 80
"""The width of tables in a pipe, whose reader's screen is unknown."""
GAP = 2


@dataclass(frozen=True)
class Column:
    """A heading and one cell per row."""

    heading: str
    cells: Sequence[str | Text]

    @property
    def width(self) -> int:
        """The number of characters of the widest cell."""
        return max(cell_len(str(cell)) for cell in (self.heading, *self.cells))


@dataclass(frozen=True)
class Columns:
    """Renders as one table, or as several below each other that repeat the first columns.

    No word is truncated. If the first columns and a single other one are too wide, the lines are.
    """

    first: Sequence[Column]
    """The columns that each table repeats."""
    others: Sequence[Column]
    left: int = 1
    """The number of first columns that are aligned to the left."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        width = PIPE_COLUMNS if options.max_width >= PIPE_WIDTH else options.max_width
        for number, columns in enumerate(self.parts(width)):
            if number:
                yield ""
            shown = [*self.first, *columns]
            rows = table(*(column.heading for column in shown), left=self.left)
            for cells in zip(*(column.cells for column in shown), strict=True):
                rows.add_row(*cells)
            yield rows

    def parts(self, width: int) -> list[list[Column]]:
        """The other columns, in as few groups as possible that each fit this width."""
        room = width - sum(column.width + GAP for column in self.first)
        parts: list[list[Column]] = [[]]
        left = room
        for column in self.others:
            if parts[-1] and column.width > left:
                parts.append([])
                left = room
            parts[-1].append(column)
            left -= column.width + GAP
        return parts
