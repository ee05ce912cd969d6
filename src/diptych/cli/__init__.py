"""The command line: parses, calls, prints. No logic of its own, and nothing imported early.

Each module here holds some of the commands; importing it hangs them from the app, in this order.
"""

import logging
import os
import signal
import sys

import typer

# In the order in which people meet them.
# isort: off
from diptych.cli import runs, audit, study, code, look, serve, files, describe, bench  # noqa: F401

# isort: on
from diptych.cli.app import DONE, INTERRUPTED, NO, WRONG_REQUEST, app
from diptych.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    """The entry point: runs the command and exits with its code."""
    # A polite request to end, as from a batch system, is Ctrl-C by another name.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("diptych").setLevel(logging.INFO)
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(given or ["--help"], standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except InputError as problem:
        print(f"diptych: {problem}", file=sys.stderr)
        return WRONG_REQUEST
    except typer.TyperException as problem:
        from pydantic import ValidationError

        words = " ".join(problem.format_message().split())
        if isinstance(problem.__cause__, ValidationError):
            words += f", given {problem.__cause__.errors()[0]['input']!r}"
        where = (
            " ".join(["diptych", *given[:1]]) if given and given[0] in _commands() else "diptych"
        )
        print(f"diptych: {words} (`{where} --help` lists what there is)", file=sys.stderr)
        return WRONG_REQUEST
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough; Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as problem:
        from diptych.training import TrainingFailed
        from diptych.worker import WorkerError

        if not isinstance(problem, TrainingFailed | WorkerError):
            raise
        print(f"diptych: {problem}", file=sys.stderr)
        return NO


def _commands() -> set[str | None]:
    names = {
        command.name or getattr(command.callback, "__name__", None)
        for command in app.registered_commands
    }
    return names | {group.name for group in app.registered_groups}
