"""Reporting of differences by the stages."""

from dataclasses import dataclass

from diptych.auditing.causes import advice
from diptych.auditing.harm import of_cause
from diptych.auditing.match import Match
from diptych.auditing.report import Audit, Finding


def place(match: Match) -> str:
    """A layer's name on both sides, with the lines of code that create it if known."""
    nodes = [node for node in (match.a, match.b) if node]
    names = [node.name + (f" ({node.where})" if node.where else "") for node in nodes]
    return " / ".join(dict.fromkeys(names))


APART = ("initial weights", "schedule", "settings", "batches", "augmentation")
"""Stages that no other depends on: their differences do not affect other stages."""


@dataclass(frozen=True)
class Reporter:
    """Takes the findings and notes of one stage."""

    audit: Audit
    stage: str
    accept: tuple[str, ...] = ()
    """Causes that the user accepts."""

    def __call__(
        self,
        code: str,
        *,
        a: str,
        b: str,
        at: Match | str | None = None,
        effect: str = "",
        stage: str | None = None,
        harm: str = "",
    ) -> None:
        """Reports a difference.

        Args:
            code: its cause, one of `diptych.auditing.causes.CAUSES`.
            a: what side A has.
            b: what side B has.
            at: where: two matched layers, a layer's name, or None for the whole.
            effect: how much it matters, if that is known.
            stage: the stage that it belongs to, if it is not the one that reports it.
            harm: how much it does to a training, if that is not as its cause's is as a rule.
        """
        layer = place(at) if isinstance(at, Match) else at
        nodes = [node for node in (at.a, at.b) if node] if isinstance(at, Match) else []
        about = [*(node.kind for node in nodes), *self.audit.optimisers]
        fix = advice(code, *self.audit.frameworks, about=about)
        finding = Finding(
            stage or self.stage, code, layer, a, b, effect, fix, harm or of_cause(code)
        )
        self.audit.findings.append(finding)

    def note(self, text: str) -> None:
        """Adds a note about a difference by convention, or about something that was left out."""
        if text not in self.audit.notes:
            self.audit.notes.append(text)

    def has(self, *stages: str) -> bool:
        """True if any of these stages has a finding, or any stage at all if none is named.

        If no stage is named, accepted findings of the stages in `APART` do not count.
        """
        return any(
            finding.stage in stages or (not stages and not self._stands_apart(finding))
            for finding in self.audit.findings
        )

    def _stands_apart(self, finding: Finding) -> bool:
        return finding.code in self.accept and finding.stage in APART

    def has_at(self, at: Match | str, code: str | None = None) -> bool:
        """True if there is a finding at a layer, of this cause if one is named."""
        layer = place(at) if isinstance(at, Match) else at
        return any(
            finding.layer == layer and code in (None, finding.code)
            for finding in self.audit.findings
        )
