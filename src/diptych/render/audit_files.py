"""An audit as a file that other programs show: SARIF or JUnit's XML."""

import json
from pathlib import Path

from diptych.auditing.report import Audit
from diptych.errors import InputError
from diptych.render.junit import junit
from diptych.render.sarif import sarif

FORMS = {".sarif": "SARIF", ".xml": "JUnit"}
"""The forms by the file's ending."""


def checked(file: Path) -> Path:
    """Raises InputError unless the file's ending says in which form it is to be written."""
    if file.suffix.lower() not in FORMS:
        forms = " or ".join(f"{suffix} ({form})" for suffix, form in FORMS.items())
        raise InputError(f"--report {file}: expected a file that ends in {forms}")
    return file


def write(audit: Audit, file: Path) -> None:
    """Writes an audit in the form that the file's ending says.

    Raises:
        InputError: it cannot be written there.
    """
    if file.suffix.lower() == ".sarif":
        text = json.dumps(sarif(audit), indent=2, ensure_ascii=False) + "\n"
    else:
        text = junit(audit)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise InputError(f"--report {file}: {problem.strerror or problem}") from None
