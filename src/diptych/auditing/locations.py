"""The places in the users' files that an audit's findings are about."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from diptych.auditing.report import Audit, Finding

PLACE = re.compile(r"\(([^()\s]+\.py):(\d+)\)")
"""How a finding names a place: the file without its folder, and the line."""


@dataclass(frozen=True)
class Location:
    """A line of a file."""

    file: Path
    """Relative to the working folder where it is in it."""
    line: int


def locations(audit: Audit, finding: Finding) -> list[Location]:
    """The lines that a finding is about, side A's first.

    The finding names them; where it names none, they are the functions that build the sides. Empty
    where the sides are no Python files.
    """
    sides = [side for side in (_of_side(audit.a), _of_side(audit.b)) if side]
    found = []
    for name, line in PLACE.findall(f"{finding.layer or ''} {finding.a} {finding.b}"):
        folders = [side.file.parent for side in sides]
        files = [folder / name for folder in folders if (folder / name).is_file()]
        found += [Location(file, int(line)) for file in files[:1]]
    return list(dict.fromkeys(found or sides))


def _of_side(given: str) -> Location | None:
    """The function of ``FILE.py:FUNCTION``."""
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
