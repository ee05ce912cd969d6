"""The plugin for pytest: prints the findings of a failed `assert_same_training`, and annotates them
on GitHub.

pytest loads it by its entry point. It imports neither a framework nor the audit until a test has
failed by a `diptych.testing.TrainingDiffers`.
"""

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

PROPERTY = "diptych_annotation"
"""The user property of a test's report that holds one annotation for GitHub."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the findings in place of a traceback through this package."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    testing = sys.modules.get("diptych.testing")
    if report.outcome != "failed" or testing is None:
        return report
    audit = getattr(error, "audit", None)
    if not isinstance(error, testing.TrainingDiffers) or audit is None:
        return report
    from diptych.auditing.locations import Location
    from diptych.render.github import annotations

    file, line = _place(item, call)
    report.longrepr = f"{file}:{line}: {error}"
    for text in annotations(audit, Location(Path(file), line)):
        report.user_properties.append((PROPERTY, text))
    return report


def _place(item: pytest.Item, call: pytest.CallInfo[Any]) -> tuple[str, int]:
    """The test's line that asserts, relative to the working folder where it is in it."""
    assert call.excinfo
    entries = [entry for entry in call.excinfo.traceback if Path(entry.path) == item.path]
    line = entries[-1].lineno + 1 if entries else (item.location[1] or 0) + 1
    inside = item.path.is_relative_to(Path.cwd())
    return str(item.path.relative_to(Path.cwd()) if inside else item.path), line


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the annotations, each at the start of a line, where GitHub reads them."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    failed = terminalreporter.stats.get("failed", [])
    for report in failed:
        for name, text in report.user_properties:
            if name == PROPERTY:
                terminalreporter.write_line(text)
