"""Audits of a comparison's runs: the first side's against each other one's."""

from collections.abc import Sequence
from typing import Any

from diptych.comparison.sides import Group
from diptych.events import Auditing, Report


def audits(groups: Sequence[Group], report: Report | None) -> list[dict[str, Any]]:
    """The audits of the first seed's runs, as plain data.

    An audit that fails is reported as such: the trainings are worth more than their audit.
    """
    from diptych.auditing import audit

    def say(stage: str) -> None:
        if report:
            report(Auditing(stage))

    results, first = [], groups[0].first.folder
    for other in groups[1:]:
        folder = other.first.folder
        try:
            result = audit(first, folder, progress=say)
            results.append(result.to_dict() | {"conclusion": result.conclusion})
        except Exception as problem:
            why = (str(problem) or type(problem).__name__).splitlines()[0]
            results.append(
                {"a": str(first), "b": str(folder), "same": None, "stages": []}
                | {"findings": [], "notes": [], "conclusion": f"could not be audited: {why}"}
            )
    return results
