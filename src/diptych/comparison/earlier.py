"""Comparisons that were made before, so that the same one is known again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.comparison.sides import setting
from diptych.reading import MOST_JSON_BYTES, read_regular
from diptych.runs import Run

FILE = "comparison.json"


@dataclass(frozen=True)
class Identity:
    """The description by which two comparisons are recognised as the same."""

    settings: str
    """The networks, recipes, data, workflows and seeds that were trained."""
    results: str
    """The very runs: their folders, and the predictions in them."""

    def to_dict(self) -> dict[str, str]:
        return {"settings": self.settings, "results": self.results}


def identity(runs: Sequence[Run]) -> Identity:
    """The identity of the comparison of these finished runs, in whatever order."""
    settings = sorted(f"{setting(run.description())} {run.seed}" for run in runs)
    results = sorted(
        f"{run.folder.resolve()} {_digest((run.folder / 'predictions.safetensors').read_bytes())}"
        for run in runs
    )
    return Identity(_digest("\n".join(settings).encode()), _digest("\n".join(results).encode()))


def find(root: Path, wanted: Identity, audited: bool) -> tuple[Path | None, dict[str, Any]]:
    """The newest comparison below ``root`` of the same runs, else of the same settings.

    Args:
        audited: only a comparison with an audit will do as one of the same runs.

    Returns:
        Its folder, and what its file says if it is of the same runs, else nothing.
    """
    of_settings = None
    for folder, written in _comparisons(root):
        known = written.get("identity") or {}
        if known.get("results") == wanted.results and (written.get("audits") or not audited):
            return folder, written
        if known.get("settings") == wanted.settings:
            of_settings = of_settings or folder
    return of_settings, {}


def _comparisons(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The comparisons below a folder, newest first; those that cannot be read are left out."""
    files = [file for file in root.glob(f"*/{FILE}") if file.is_file()]
    files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files:
        try:
            written = json.loads(read_regular(file, MOST_JSON_BYTES))
        except (ValueError, RecursionError):  # An InputError is a ValueError.
            continue
        if isinstance(written, dict):
            yield file.parent, written


def _digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()[:16]
