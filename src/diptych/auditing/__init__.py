"""Compares two builds: no difference is found, or it is named where they differ and why."""

from diptych.auditing.audit import audit
from diptych.auditing.report import Audit, Finding, Stage

__all__ = ["Audit", "Finding", "Stage", "audit"]
