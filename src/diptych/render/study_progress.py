"""The progress of a study or a search: a bar on a terminal, a line per run into a pipe."""

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diptych.printing import say
from diptych.render.terminal import console


class StudyProgress:
    """Shows how many runs of a study, or trials of a search, have ended.

    Args:
        name: the name of the study, such as ``study epochs``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console(stderr=True),
            transient=True,
            disable=not console(stderr=True).is_terminal,
        )
        self.task = self.bar.add_task(name, total=None)

    def __enter__(self) -> "StudyProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, ended: int, total: int, what: str = "runs") -> None:
        self.bar.update(self.task, completed=ended, total=total)
        if self.bar.disable:
            say(f"{self.name}: {ended} of {total} {what} have ended", error=True)
