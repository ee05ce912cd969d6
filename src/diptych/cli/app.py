"""The command-line application that all commands belong to."""

from typing import Annotated

import typer

from diptych.printing import say

DONE, NO, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done (or the same), the answer is no, the request was wrong, Ctrl-C."""

app = typer.Typer(
    name="diptych",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Plain help: typer's panels take a third of the time to render.
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from diptych import __version__

        say(f"diptych {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """One convolutional network, built in several workflows, trained and compared."""
