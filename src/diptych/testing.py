"""Assertions for a test suite: two builds of a network must train alike.

>>> from diptych.testing import assert_same_training
>>> assert_same_training("old.py:build", "new.py:build")  # doctest: +SKIP
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.auditing import Audit

__all__ = ["TrainingDiffers", "assert_same_training"]
LIMIT = 120.0
"""Seconds that a side may take for one answer."""


class TrainingDiffers(AssertionError):
    """Two builds do not train alike, or that could not be compared; the message says how."""

    def __init__(self, message: str, audit: "Audit") -> None:
        super().__init__(message)
        self.audit = audit


def assert_same_training(
    a: Any,
    b: Any,
    *,
    accept: Iterable[str] = (),
    only: Iterable[str] = (),
    strict: bool = False,
    timeout: float = LIMIT,
) -> "Audit":
    """Asserts that an audit finds no difference between two builds.

    Args:
        a: a side as `diptych.audit` takes it: ``"FILE.py:FUNCTION"`` or another side of the command
            line, a function without arguments that builds the side, or a live object: a compiled
            Keras model, ``(module, loss, optimizer)``.
        b: the other side.
        accept: causes that do not count, such as ``["kernel-initialiser"]``.
        only: the stages to compare, such as ``["forward", "loss"]``; all of them if not given. A
            stage that is named here must be comparable.
        strict: whether the assertion fails where anything could not be compared.
        timeout: seconds that a side may take for one answer.

    Returns:
        The audit, with what it compared and what it did not.

    Raises:
        TrainingDiffers: an AssertionError with the findings.
        InputError: a side cannot be audited, or there is no such cause or stage.
    """
    __tracebackhide__ = True
    from diptych.auditing import audit

    only = [only] if isinstance(only, str) else list(only)
    result = audit(a, b, timeout=timeout, accept=accept, only=only)
    if not result.same:
        raise TrainingDiffers(_told(result, result.conclusion), result)
    absent = [stage for stage in result.stages if stage.ok is None]
    if absent and only:
        reasons = "; ".join(f"{stage.name} ({stage.note})" for stage in absent)
        raise TrainingDiffers(_told(result, f"Not compared, though asked for: {reasons}"), result)
    if strict and not result.complete:
        raise TrainingDiffers(_told(result, f"With strict: {result.conclusion}"), result)
    return result


def _told(result: "Audit", conclusion: str) -> str:
    """The conclusion, the two sides and the findings, a few lines each."""
    lines = [
        conclusion,
        f"A: {result.a} ({result.frameworks[0]})",
        f"B: {result.b} ({result.frameworks[1]})",
    ]
    for number, finding in enumerate(result.findings, 1):
        where = f" at {finding.layer}" if finding.layer else ""
        lines += ["", f"{number}. {finding.code}{where} ({finding.stage})"]
        rows = {"A": finding.a, "B": finding.b, "Effect": finding.effect, "Fix": finding.advice}
        lines += [f"   {name}: {text}" for name, text in rows.items() if text]
    return "\n".join(lines)
