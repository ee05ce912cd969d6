"""Locations in the users' files of an audit's findings."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from diptych.auditing.report import Audit, Finding

PLACE = re.compile(r"\(([^()\s]+\.py):(\d+)\)")
"""The form of a location in a finding: the file name without its folder, and the line."""


@dataclass(frozen=True)
class Location:
    """A line of a file."""

    file: Path
    """Relative to the working folder if it is inside."""
    line: int


def locations(audit: Audit, finding: Finding) -> list[Location]:
    """The lines of code of a finding, side A's first.

    If the finding names none, they are those of the functions that build the sides. Empty if the
    sides are not Python files.
    """
    sides = [side for side in (_of_side(audit.a), _of_side(audit.b)) if side]
    found = []
    for name, line in PLACE.findall(f"{finding.layer or ''} {finding.a} {finding.b}"):
        folders = [side.file.parent for side in sides]
        files = [folder / name for folder in folders if (folder / name).is_file()]
        found += [Location(file, int(line)) for file in files[:1]]
    return list(dict.fromkeys(found or sides))


def _of_side(given: str) -> Location | None:
    """The location of the function in ``FILE.py:FUNCTION``."""
    name, _, function = given.rpartition(":")
    if not name.endswith(".py") or not Path(name).is_file():
        return None
    file = Path(name).absolute()
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return Location(file, 1)
    lines = [
        node.lineno
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    return Location(file, lines[-1] if lines else 1)
