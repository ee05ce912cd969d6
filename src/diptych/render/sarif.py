"""An audit as SARIF 2.1.0, which code hosts and editors show beside the code.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from typing import Any

from diptych import __version__
from diptych.auditing.locations import Location, locations
from diptych.auditing.report import Audit, Finding

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(audit: Audit) -> dict[str, Any]:
    """A log of one run, with one rule per cause and one result per finding.

    Accepted findings are suppressed results. Stages that compared nothing are notifications.
    """
    findings = [*audit.findings, *audit.accepted]
    codes = list(dict.fromkeys(finding.code for finding in findings))
    results = [_result(audit, finding, codes) for finding in audit.findings]
    suppressed = {"suppressions": [{"kind": "external", "justification": "accepted by the user"}]}
    results += [_result(audit, finding, codes) | suppressed for finding in audit.accepted]
    notifications = [
        {"level": "warning", "message": {"text": f"{stage.name} was not compared: {stage.note}"}}
        for stage in audit.stages
        if stage.ok is None
    ]
    driver = {"name": "diptych audit", "version": __version__, "rules": _rules(findings)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [
                    {"executionSuccessful": True, "toolExecutionNotifications": notifications}
                ],
                "results": results,
                "properties": {"a": audit.a, "b": audit.b, "conclusion": audit.conclusion},
            }
        ],
    }


def _rules(findings: list[Finding]) -> list[dict[str, Any]]:
    """The causes, each with the fix of its first finding."""
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.code, finding)
    return [
        {
            "id": code,
            "shortDescription": {"text": f"The two builds differ: {code}"},
            "help": {"text": finding.advice or code},
        }
        for code, finding in first.items()
    ]


def _result(audit: Audit, finding: Finding, codes: list[str]) -> dict[str, Any]:
    return {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": "error",
        "message": {"text": finding.sentence},
        "locations": [_location(place) for place in locations(audit, finding)],
    }


def _location(place: Location) -> dict[str, Any]:
    file = place.file.as_uri() if place.file.is_absolute() else place.file.as_posix()
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": file},
            "region": {"startLine": place.line},
        }
    }
