"""Writes an audit as a file for other programs: SARIF or JUnit XML."""

import json
from pathlib import Path

from diptych.auditing.report import Audit
from diptych.errors import InputError
from diptych.render.junit import junit
from diptych.render.sarif import sarif

FORMS = {".sarif": "SARIF", ".xml": "JUnit"}
"""The formats, by the suffix of the file."""


def checked(file: Path) -> Path:
    """Returns the file. Raises InputError if its suffix is not one of `FORMS`."""
    if file.suffix.lower() not in FORMS:
        forms = " or ".join(f"{suffix} ({form})" for suffix, form in FORMS.items())
        raise InputError(f"--report {file}: expected a file with the suffix {forms}")
    return file


def write(audit: Audit, file: Path) -> None:
    """Writes an audit in the format of the file's suffix.

    Raises:
        InputError: the file cannot be written.
    """
    if file.suffix.lower() == ".sarif":
        text = json.dumps(sarif(audit), indent=2, ensure_ascii=False) + "\n"
    else:
        text = junit(audit)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise InputError(f"--report {file}: {problem.strerror or problem}") from None
