"""Outcomes of audits in a file, a line of JSON each: a long suite goes on where it ended."""

import json
from pathlib import Path
from typing import Any


def read(path: Path | None) -> list[dict[str, Any]]:
    """The outcomes of an earlier run; none where there is no file."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def append(path: Path | None, outcome: dict[str, Any]) -> None:
    """Adds an outcome, where there is a file for it."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(outcome) + "\n")
