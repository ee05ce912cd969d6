"""The output of a command: its progress, its result, and the result as JSON."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.errors import InputError
from diptych.printing import as_json, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diptych.render.training import TrainingView


@contextmanager
def training_view(json_file: Path | None, trainings: int = 1) -> "Iterator[TrainingView]":
    from diptych.render import terminal
    from diptych.render.training import TrainingView

    lines = terminal.console(to_standard_output(json_file))
    try:
        with TrainingView(lines, trainings) as view:
            yield view
    except KeyboardInterrupt as stopped:
        say("", str(stopped) or "Stopped.", error=True)
        raise


def to_standard_output(json_file: Path | None) -> bool:
    return json_file is not None and str(json_file) == "-"


def answer(value: dict[str, Any], shown: "RenderableType", json_file: Path | None) -> None:
    """Prints the result, and writes it as JSON if asked to."""
    from diptych.render import terminal

    text = as_json(value)
    if to_standard_output(json_file):
        say(text)
        return
    console = terminal.console()
    if console.is_terminal:
        console.print(shown)
    else:
        console.print(terminal.plain(shown), soft_wrap=True)
    if json_file is not None:
        try:
            json_file.write_text(text + "\n", encoding="utf-8")
        except OSError as problem:
            raise InputError(f"--json {json_file}: {problem.strerror or problem}") from None
