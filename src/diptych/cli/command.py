"""The entry point: runs a command, and makes one line and an exit code of what goes wrong.

The modules beside this one define the commands; importing them adds them to the app, in this order.
"""

import errno
import logging
import os
import signal
import sys
from typing import TextIO

import typer

from diptych import processes

# In the order in which users need them.
# isort: off
from diptych.cli import runs, audit, study, code, look, serve, files, describe, bench  # noqa: F401

# isort: on
from diptych.cli.app import DONE, INTERRUPTED, NO, WRONG_REQUEST, app
from diptych.errors import InputError, explained
from diptych.printing import EscapedFormatter, say


def main(arguments: list[str] | None = None) -> None:
    """The entry point: runs the command and exits with its code."""
    # A request to end, as from a batch system, and a closed terminal act like Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores hangups.
            signal.signal(number, signal.default_int_handler)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EscapedFormatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("diptych").setLevel(logging.INFO)
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: the words after ``diptych``; by default those of this process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        processes.check_address_space(processes.LEAST_FOR_A_COMMAND)
        code = app(given or ["--help"], standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except InputError as problem:
        say(f"diptych: {problem}", error=True)
        return WRONG_REQUEST
    except typer.TyperException as problem:
        from pydantic import ValidationError

        words = " ".join(problem.format_message().split())
        if isinstance(problem.__cause__, ValidationError):
            words += f", given {problem.__cause__.errors()[0]['input']!r}"
        where = (
            " ".join(["diptych", *given[:1]]) if given and given[0] in _commands() else "diptych"
        )
        say(f"diptych: {words} (see `{where} --help`)", error=True)
        return WRONG_REQUEST
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has ended; Python would flush again at exit.
        _lead_nowhere(sys.stdout)
        return DONE
    except Exception as problem:
        return _failed(problem)


def _failed(problem: Exception) -> int:
    """Prints an unexpected error in one line if it is a known one; otherwise raises it again."""
    is_ours = isinstance(problem, OSError) and not problem.filename
    if is_ours and getattr(problem, "errno", None) == errno.EIO:  # The terminal has been closed.
        _lead_nowhere(sys.stdout)
        _lead_nowhere(sys.stderr)
        return INTERRUPTED
    if known := explained(problem):
        if is_ours:  # Standard output may be what failed; Python would flush it again at exit.
            _lead_nowhere(sys.stdout)
        say(f"diptych: {known}", error=True)
        return WRONG_REQUEST
    from diptych.training import TrainingFailed
    from diptych.worker import WorkerError

    if not isinstance(problem, TrainingFailed | WorkerError):
        raise problem
    say(f"diptych: {problem}", error=True)
    return NO


def _lead_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _commands() -> set[str | None]:
    names = {
        command.name or getattr(command.callback, "__name__", None)
        for command in app.registered_commands
    }
    return names | {group.name for group in app.registered_groups}
