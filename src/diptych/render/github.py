"""Findings as GitHub annotations, which are shown beside the lines of code.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from diptych.auditing.locations import Location, locations
from diptych.auditing.report import Audit, Finding


def annotations(audit: Audit, otherwise: Location | None = None) -> list[str]:
    """One line ``::error file=…,line=…::…`` per location of each finding.

    Args:
        audit: the audit.
        otherwise: the location of findings without one, such as that of the test.
    """
    lines = []
    for finding in audit.findings:
        places: list[Location | None] = [*locations(audit, finding)] or [otherwise]
        lines += [_annotation(finding, place) for place in places]
    return lines


def _annotation(finding: Finding, place: Location | None) -> str:
    properties = {"title": f"{finding.code} ({finding.stage})"}
    if place:
        properties = {"file": place.file.as_posix(), "line": str(place.line)} | properties
    given = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in properties.items())
    return f"::error {given}::{_escaped(finding.sentence)}"


def _escaped(text: str, more: str = "") -> str:
    for letter in f"%\r\n{more}":  # The percent sign comes first: the others are replaced by it.
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text
