"""Proves that two builds are the same network and training, or names where they differ and why.

Each side runs in its own process behind an adapter (`frameworks`). Both are held against a float64
reference that needs no framework (`reference`). The stages (`stages`) go through them in the order
in which a mistake would show. A difference counts only if rounding does not explain it.
"""

from diptych.auditing.audit import audit
from diptych.auditing.report import Audit, Finding, Stage

__all__ = ["Audit", "Finding", "Stage", "audit"]
