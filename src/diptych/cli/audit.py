"""The command that audits."""

from typing import Annotated

import typer

from diptych.cli.answers import answer
from diptych.cli.app import DONE, NO, app
from diptych.cli.options import SIDE, Json
from diptych.errors import InputError
from diptych.printing import say


@app.command(short_help="Find where two builds differ, and why.")
def audit(
    a: Annotated[str, typer.Argument(metavar="A", help=SIDE)],
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The other one.")] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a side may take for one answer.")
    ] = 60.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where something could not be compared.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compiled", help="Audit A, FILE.py:FUNCTION, against itself, compiled; without B."
        ),
    ] = False,
    json_file: Json = None,
) -> int:
    """Compare two builds: find no difference in their training, or name where they differ and why.

    Exit code: 0 where no difference is found, 1 where they differ, 2 where they cannot be audited.
    The last line says what was compared and what was not; with --strict, the exit code is 1 where
    something was not.
    """
    from diptych.auditing import audit
    from diptych.render import terminal

    try:
        with terminal.working("opening both sides") as working:
            result = audit(a, b, timeout, working, compiled)
    except InputError:
        raise
    except KeyboardInterrupt:
        say("diptych: stopped; the processes of both sides have ended", error=True)
        raise
    except Exception as problem:  # Exit code 1 would say that they differ.
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        sides = f"{a} and {b}" if b else a
        raise InputError(f"{sides}: could not be audited, by a fault here: {what}") from problem
    answer(result.to_dict(), result, json_file)
    return DONE if result.same and (result.complete or not strict) else NO
