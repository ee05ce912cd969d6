"""The stages and findings of an audit, and their display."""

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diptych.auditing.certificate import Coverage, summary
from diptych.auditing.harm import LARGE

SCHEMA = 1
"""The number of the schema of `Audit.to_dict`."""
STAGES = {
    "structure": "layers, shapes and parameters",
    "input": "the data as each side prepares it",
    "initial weights": "the initial values of parameters",
    "forward": "every layer's output with the same weights",
    "predictions": "the whole network in inference",
    "mode": "dropout and batch normalisation in training",
    "randomness": "random draws in training, as distributions",
    "loss": "the loss function, its reduction and penalties",
    "gradients": "the gradient of every parameter",
    "update": "the optimiser's steps with the same gradients",
    "schedule": "learning rates and the length of training",
    "settings": "callbacks and other arguments",
    "batches": "size and order of the batches",
    "augmentation": "changes of the examples in the batches",
    "trajectory": "both trainings side by side",
    "numerics": "each side compared with its own float64 twin",
}
"""The stages, in the order in which a mistake would show, and what each of them compares."""


@dataclass(frozen=True)
class Finding:
    """One proven difference between the two sides."""

    stage: str
    code: str
    """One of `diptych.auditing.causes.CAUSES`."""
    layer: str | None
    """The layer, by the name of the first side; with file and line if known."""
    a: str
    b: str
    """The value on each side."""
    effect: str
    """The measured effect."""
    advice: str
    """The fix."""
    harm: str = LARGE
    """The harm of such a difference to a training: one of `diptych.auditing.harm.ORDER`."""

    @property
    def sentence(self) -> str:
        """The finding as one paragraph."""
        where = f" at {self.layer}" if self.layer else ""
        text = f"{self.code}{where} ({self.stage}). A: {self.a}. B: {self.b}."
        if self.effect:
            text += f" Effect: {self.effect}."
        return f"{text} Fix: {self.advice}." if self.advice else text


@dataclass
class Stage:
    """The result of one stage."""

    name: str
    ok: bool | None = True
    """None if nothing was compared; `note` has the reason."""
    largest_difference: float | None = None
    rounding_bound: float | None = None
    """The difference that rounding explains."""
    note: str = ""
    coverage: Coverage = field(default_factory=Coverage)
    """The comparisons that were made."""
    fault: bool = False
    """True if the stage failed by an error in the audit itself; `note` describes it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data. Numbers that are not finite become None, since JSON has no infinities."""
        numbers = ("largest_difference", "rounding_bound")
        return {
            name: None if name in numbers and value is not None and not isfinite(value) else value
            for name, value in asdict(self).items()
        }

    def saw(self, difference: float, bound: float) -> None:
        """Adds a measured difference; the one that rounding explains least is kept."""
        known, bounded = self.largest_difference, self.rounding_bound
        if known is None or bounded is None or difference * bounded > known * bound:
            self.largest_difference, self.rounding_bound = difference, bound


@dataclass
class Audit:
    """An audit of two sides: its stages and the differences that they found."""

    a: str
    b: str
    frameworks: tuple[str, str]
    stages: list[Stage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    accepted: list[Finding] = field(default_factory=list)
    """Differences that the user accepts; they do not count."""
    only: tuple[str, ...] = ()
    """The stages that the user chose; all of them if empty."""
    notes: list[str] = field(default_factory=list)
    """Differences by the frameworks' conventions, which do not count, and anything that was left
    out."""
    optimisers: tuple[str, ...] = ()
    """The kinds of both sides' optimisers, if known."""
    no_twins: list[str] = field(default_factory=list)
    """The reasons why the whole functions were compared in float32, if they were."""

    @property
    def same(self) -> bool:
        """True if no stage found a difference beyond rounding, apart from accepted ones.

        This does not mean that everything was compared; see `complete`.
        """
        return not self.findings and all(stage.ok is not False for stage in self.stages)

    @property
    def complete(self) -> bool:
        """True if every stage compared everything."""
        return all(stage.ok is not None and not stage.coverage.left_out for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, in the form of ``--json``."""
        return {
            "schema": SCHEMA,
            "a": self.a,
            "b": self.b,
            "frameworks": list(self.frameworks),
            "optimisers": list(self.optimisers),
            "same": self.same,
            "complete": self.complete,
            "conclusion": self.conclusion,
            "no_twins": self.no_twins,
            "stages": [stage.to_dict() for stage in self.stages],
            "findings": [asdict(finding) for finding in self.findings],
            "accepted": [asdict(finding) for finding in self.accepted],
            "only": list(self.only),
            "notes": self.notes,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text.assemble(
            ("A  ", "bold"), self.a, f"  ({self.frameworks[0]})\n",
            ("B  ", "bold"), self.b, f"  ({self.frameworks[1]})\n",
        )  # fmt: skip
        yield self._table()
        for number, alike in enumerate(_gathered(self.findings), 1):
            yield Text()
            yield _shown(number, *alike)
        for finding in self.accepted:
            where = f" at {finding.layer}" if finding.layer else ""
            text = f"Accepted: {finding.code}{where}: A {finding.a}; B {finding.b}"
            yield Padding(Text(text, style="dim"), (1, 0, 0, 0))
        for note in self.notes:
            yield Padding(Text(f"Note: {note}", style="dim"), (1, 0, 0, 0))
        yield Text()
        yield Text(self.conclusion, style="bold")

    def _table(self) -> Table:
        """A table with one row per stage."""
        table = Table.grid(padding=(0, 1))
        marks = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "dim")}
        for stage in self.stages:
            text = Text(STAGES[stage.name])
            if stage.largest_difference is not None and stage.rounding_bound is not None:
                text.append(
                    f": max difference {stage.largest_difference:.1e}, "
                    f"rounding explains up to {stage.rounding_bound:.1e}"
                )
            if stage.note:
                text.append(f" ({stage.note})", "dim")
            if stage.coverage.probes:
                text.append(f"\n{stage.coverage}", "dim")
            for line in stage.coverage.left_out:
                text.append(f"\nnot compared: {line}", "yellow")
            table.add_row(Text(*marks[stage.ok]), Text(stage.name, no_wrap=True), text)
        return table

    @property
    def conclusion(self) -> str:
        """The result in one line."""
        if self.same:
            compared = {stage.name: stage.coverage for stage in self.stages if stage.ok}
            absent = {stage.name: stage.note for stage in self.stages if stage.ok is None}
            answer = "No difference found"
            if self.accepted:
                accepted = dict.fromkeys(finding.code for finding in self.accepted)
                answer += f" apart from accepted causes ({', '.join(accepted)})"
            if self.only:
                answer += f" in {', '.join(self.only)} (only stages run)"
            return f"{answer}: {summary(compared, absent, self.no_twins)}"
        codes = list(dict.fromkeys(finding.code for finding in self.findings))
        failed = [stage.name for stage in self.stages if stage.ok is False]
        first = self.findings[0].stage if self.findings else failed[0]
        return f"They differ, above all in {first}: {', '.join(codes) or 'see the findings'}."

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        from html import escape

        rows = "".join(
            f"<tr><td>{'–' if s.ok is None else '✓' if s.ok else '✗'}</td><td>{escape(s.name)}</td>"
            f"<td>{_number(s.largest_difference)}</td><td>{_number(s.rounding_bound)}</td>"
            f"<td>{escape(s.note)}</td><td>{escape(str(s.coverage))}</td>"
            f"<td>{escape('; '.join(s.coverage.left_out))}</td></tr>"
            for s in self.stages
        )
        accepted = [(f"{f.code} (accepted)", f) for f in self.accepted]
        found = "".join(
            "<tr>"
            + "".join(f"<td>{escape(str(v))}</td>" for v in (code, f.layer or "", f.a, f.b))
            + f"<td>{escape(f.effect)}</td><td>{escape(f.advice)}</td></tr>"
            for code, f in [*((f.code, f) for f in self.findings), *accepted]
        )
        findings = (
            "<table><tr><th>cause</th><th>where</th><th>A</th><th>B</th><th>effect</th>"
            f"<th>fix</th></tr>{found}</table>"
            if found
            else ""
        )
        return (
            f"<p><b>{escape(self.conclusion)}</b><br>A: {escape(self.a)}<br>B: {escape(self.b)}</p>"
            "<table><tr><th></th><th>stage</th><th>largest difference</th><th>rounding explains"
            f"</th><th></th><th>compared</th><th>not compared</th></tr>{rows}</table>{findings}"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


MANY = 3
"""The number of layers with equal findings from which they are shown as one."""


def _gathered(findings: list[Finding]) -> list[list[Finding]]:
    """The findings in order; equal findings at many layers are grouped."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for each in findings:
        groups.setdefault((each.stage, each.code, each.a, each.b), []).append(each)
    shown: list[list[Finding]] = []
    for group in groups.values():
        shown += [group] if len(group) >= MANY else [[each] for each in group]
    return sorted(shown, key=lambda group: next(i for i, f in enumerate(findings) if f is group[0]))


def _shown(number: int, finding: Finding, *alike: Finding) -> Group:
    where = f" at {finding.layer}" if finding.layer else ""
    title = Text.assemble((f"{number}. {finding.code}", "bold"), f"{where} ({finding.stage})")
    table = Table.grid(padding=(0, 1))
    rows = {
        "A": finding.a,
        "B": finding.b,
        "Effect": finding.effect,
        "Fix": finding.advice,
        "Also at": ", ".join(str(each.layer) for each in alike),
    }
    for name, text in rows.items():
        if text:
            table.add_row(f"   {name}", Text(text))
    return Group(title, table)
