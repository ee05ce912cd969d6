"""A table with a row per figure and a column per side, cut into several where it is too wide."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from diptych.render.terminal import PIPE_WIDTH, table

PIPE_COLUMNS = 80
"""How wide tables are where nobody says how wide the reader's screen is."""
GAP = 2


@dataclass(frozen=True)
class Column:
    """A heading and a cell for each row."""

    heading: str
    cells: Sequence[str | Text]

    @property
    def width(self) -> int:
        """Characters of the widest cell."""
        return max(cell_len(str(cell)) for cell in (self.heading, *self.cells))


@dataclass(frozen=True)
class Columns:
    """Renders as one table, or as several below each other, each with the first columns again.

    No word is cut: where the first columns and a single one are too wide already, the lines are.
    """

    first: Sequence[Column]
    """Repeated in each table."""
    others: Sequence[Column]
    left: int = 1
    """How many of the first columns are aligned to the left."""

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
        """The other columns, in as few groups as fit that many characters side by side."""
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
