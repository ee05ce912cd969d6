"""Audits: compares two builds, and names where they differ and why.

No module here has the name of a public function, since importing it would replace the function.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.auditing.report import Audit, Finding, Stage
    from diptych.auditing.running import audit

__all__ = ["Audit", "Finding", "Stage", "audit"]

_HOMES = {"Audit": "report", "Finding": "report", "Stage": "report", "audit": "running"}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use. The process of a side imports modules of this package
    with only NumPy and its framework installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
