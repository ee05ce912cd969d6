"""The findings that the user accepts, and the stages to run."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from diptych.auditing.causes import CAUSES
from diptych.auditing.report import STAGES, Audit
from diptych.errors import InputError


@dataclass(frozen=True)
class Choices:
    """The choices for one audit."""

    accept: tuple[str, ...] = ()
    """Causes whose findings do not count as differences."""
    only: tuple[str, ...] = ()
    """The stages to run; all of them if empty."""

    @classmethod
    def of(cls, accept: Iterable[str] = (), only: Iterable[str] = ()) -> "Choices":
        """Checks the names of causes and stages.

        Raises:
            InputError: there is no such cause or stage.
        """
        causes = tuple(_known("accept", code, CAUSES, "cause") for code in _several(accept))
        stages = tuple(_known("only", name, STAGES, "stage") for name in _several(only))
        return cls(causes, stages)

    def wants(self, stage: str) -> bool:
        """True if a stage is to be run."""
        return not self.only or stage in self.only

    def apply(self, audit: Audit) -> None:
        """Moves the accepted findings of an audit to where they do not count.

        A stage passes if all its findings are accepted. A stage that failed without findings, while
        all findings are accepted, counts as not compared, since the accepted causes may explain it.
        """
        accepted = [finding for finding in audit.findings if finding.code in self.accept]
        audit.accepted = accepted
        audit.findings = [finding for finding in audit.findings if finding.code not in self.accept]
        counted = {finding.stage for finding in audit.findings}
        for stage in audit.stages:
            codes = dict.fromkeys(f.code for f in accepted if f.stage == stage.name)
            if codes and stage.name not in counted:
                note = f"accepted: {', '.join(codes)}"
                stage.ok, stage.note = True, f"{stage.note}; {note}" if stage.note else note
            elif stage.ok is False and accepted and not audit.findings:
                stage.ok, stage.note = None, "it differs, which the accepted causes may explain"


def _several(names: Iterable[str]) -> Iterable[str]:
    return [names] if isinstance(names, str) else names


def _known(option: str, name: str, names: Iterable[str], what: str) -> str:
    if name in names:
        return name
    close = difflib.get_close_matches(name, list(names), n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    raise InputError(f"{option} {name!r}: no such {what} ({hint})")
