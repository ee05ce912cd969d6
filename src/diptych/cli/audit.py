"""The command that audits."""

from typing import Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import DONE, NO, app
from diptych.cli.options import SIDE, Json
from diptych.errors import InputError


@app.command(short_help="Find where two builds differ, and why.")
def audit(
    a: Annotated[str, typer.Argument(metavar="A", help=SIDE)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a side may take for one answer.")
    ] = 60.0,
    json_file: Json = None,
) -> int:
    """Prove that two builds are the same network and training, or name where they part and why.

    Exit code: 0 where they are the same, 1 where they part, 2 where they cannot be audited.
    """
    from diptych import terminal
    from diptych.auditing import audit

    try:
        with terminal.working("opening both sides") as say:
            found = audit(a, b, timeout, say)
    except InputError:
        raise
    except Exception as problem:  # Exit code 1 would say that they part.
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise InputError(f"{a} and {b}: could not be audited, by a fault here: {what}") from problem
    answer(found.to_dict(), found, json_file)
    return DONE if found.same else NO
