"""The commands that audit and record."""

import os
from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.answers import answer, to_standard_output
from diptych.cli.app import DONE, NO, app
from diptych.cli.options import SIDE, Json, writable
from diptych.errors import InputError
from diptych.printing import say


@app.command(short_help="Find where two builds differ, and why.")
def audit(
    a: Annotated[str, typer.Argument(metavar="A", help=SIDE)],
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="The other side.")] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a side may take for one answer.")
    ] = 120.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything could not be compared.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compiled", help="Compare A (FILE.py:FUNCTION) with itself, compiled. Takes no B."
        ),
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="CAUSE", help="Do not count findings of this cause; repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Run only this stage; repeatable."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the findings as SARIF (.sarif) or JUnit (.xml)."),
    ] = None,
    command_a: Annotated[
        str,
        typer.Option(metavar="COMMAND", help="Run A with this command, such as 'ssh host python'."),
    ] = "",
    command_b: Annotated[
        str, typer.Option(metavar="COMMAND", help="Run B with this command.")
    ] = "",
    json_file: Json = None,
) -> int:
    """Compare two builds, and find where their training differs and why.

    Exit code: 0 if no difference is found, 1 if they differ, 2 if they cannot be audited. The last
    line says what was compared and what was not; with --strict, the exit code is 1 if anything was
    not. Accepted findings are listed but do not count. In GitHub Actions each finding is also
    printed as an annotation of its line.
    """
    from diptych.auditing import audit
    from diptych.render import audit_files, github, terminal

    if report is not None:
        writable(audit_files.checked(report), "--report")

    try:
        with terminal.working("opening both sides") as working:
            result = audit(
                a,
                b,
                timeout,
                working,
                compiled,
                accept=accept or (),
                only=only or (),
                commands=(command_a, command_b),
            )
    except InputError:
        raise
    except KeyboardInterrupt:
        say("diptych: stopped; the processes of both sides have ended", error=True)
        raise
    except Exception as problem:  # Exit code 1 would mean that they differ.
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        sides = f"{a} and {b}" if b else a
        raise InputError(f"{sides}: could not be audited, by a fault here: {what}") from problem
    if report is not None:
        audit_files.write(result, report)
    answer(result.to_dict(), result, json_file)
    if os.environ.get("GITHUB_ACTIONS") == "true" and not to_standard_output(json_file):
        say(*github.annotations(result))
    return DONE if result.same and (result.complete or not strict) else NO


@app.command(short_help="Record a side's answers in a file for later audits.")
def record(
    side: Annotated[str, typer.Argument(metavar="SIDE", help=SIDE)],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="The file to write, FILE.diptych.")
    ],
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that the side may take for one answer.")
    ] = 120.0,
) -> int:
    """Record the answers of one build to the questions of an audit.

    `diptych audit FILE OTHER` compares another build with them later, on another machine, or in
    continuous integration. Exit code: 0 if the file was written, 1 if the build differs from
    itself, 2 if it cannot be audited.
    """
    from diptych.auditing.recording import record as write
    from diptych.render import terminal

    with terminal.working("opening the side") as working:
        result = write(side, out, timeout, working)
    say(f"{out}: {out.stat().st_size / 2**20:.1f} MiB")
    if not result.same:
        say(f"The side against itself: {result.conclusion}")
    return DONE if result.same else NO
