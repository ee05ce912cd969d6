"""The command line: parses, calls, prints. It has no logic of its own and imports late."""

from diptych.cli.command import main, run

__all__ = ["main", "run"]
