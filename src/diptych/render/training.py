"""The progress of trainings: a bar on a terminal, and the article's lines."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from diptych.events import (
    Auditing,
    Done,
    Evaluating,
    Event,
    Loading,
    Planned,
    Started,
    Stepped,
)
from diptych.lines import line_of
from diptych.render.terminal import console


class TrainingView:
    """Shows the progress of trainings: a bar on a terminal, and the article's lines.

    Args:
        lines: the console for the lines.
        trainings: the number of trainings.
    """

    def __init__(self, lines: Console, trainings: int = 1) -> None:
        self.lines, self.trainings, self.training = lines, trainings, 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]}  accuracy {task.fields[accuracy]}"),
            console=console(stderr=True),
            transient=True,
            disable=not Console(stderr=True).is_terminal,
        )
        self.task = self.bar.add_task("", total=None, loss="–", accuracy="–", visible=False)

    def __enter__(self) -> "TrainingView":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Planned():
                self.trainings = event.trainings
            case Loading():
                self.training += 1
                self._bar(f"{event.workflow}: loading", total=None, completed=0)
            case Started():
                if event.epoch > 1 or event.step:
                    self._print(f"Resumed in epoch {event.epoch}, after step {event.step}")
            case Stepped():
                self._bar(
                    f"epoch {event.epoch}/{event.epochs}",
                    total=event.steps * event.epochs,
                    completed=event.steps * (event.epoch - 1) + event.step,
                    loss=f"{event.loss:.4f}",
                    accuracy=f"{event.accuracy:.4f}",
                )
            case Evaluating():
                self._bar("test images", total=None, completed=0)
            case Auditing():
                self._bar(f"audit: {event.stage}", total=None, completed=0)
            case Done():
                self.bar.update(self.task, visible=False)
        if line := line_of(event):
            counted = isinstance(event, Loading) and self.trainings > 1
            self._print(f"({self.training} of {self.trainings}) {line}" if counted else line)

    def _bar(self, description: str, **values: Any) -> None:
        self.bar.update(self.task, description=description, visible=True, **values)

    def _print(self, line: str) -> None:
        # On a terminal only the bar's own console can print above the bar.
        shared = self.lines.is_terminal and not self.bar.disable
        try:
            (self.bar.console if shared else self.lines).print(line)
        except BrokenPipeError:
            self.lines.quiet = True  # The training goes on without a reader.
