"""How many of the known causes are found, and how many findings are known causes."""

from dataclasses import dataclass
from typing import Any

from subjects import CODES, SUBJECTS, Subject

HEAD = (
    "| subject | known causes | findings, first first | known ones found | seconds |\n"
    "| --- | --- | --- | ---: | ---: |"
)
Results = dict[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Score:
    """Counts of one subject or of several."""

    known: int = 0
    """Known causes."""
    hit: int = 0
    """Those that a finding names."""
    findings: int = 0
    right: int = 0
    """Findings that name a known cause."""

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.known + other.known,
            self.hit + other.hit,
            self.findings + other.findings,
            self.right + other.right,
        )


def score(subject: Subject, result: dict[str, Any]) -> Score:
    """The counts of one audit; one that failed has found nothing."""
    codes = [code for code, _ in result.get("findings", [])]
    allowed = {code for label in subject.labels for code in CODES[label]}
    hit = sum(any(code in CODES[label] for code in codes) for label in subject.labels)
    return Score(len(subject.labels), hit, len(codes), sum(code in allowed for code in codes))


def written(results: Results) -> str:
    """The table of all subjects, and both sums."""
    lines, total = [HEAD], Score()
    for subject in SUBJECTS:
        result = results.get((subject.name,))
        known = ", ".join(subject.labels) or "none: rounding"
        if result is None:
            lines.append(f"| {subject.name} | {known} | not run | | |")
            continue
        counts = score(subject, result)
        total += counts
        codes = ", ".join(f"`{code}`" for code, _ in result.get("findings", []))
        words = codes or ("no difference" if "findings" in result else result["error"])
        share = f"{counts.hit} of {counts.known}" if counts.known else ""
        lines.append(f"| {subject.name} | {known} | {words} | {share} | {result['seconds']:.0f} |")
    lines.append("")
    if total.known:
        lines.append(f"- Recall: {total.hit} of {total.known} known causes are found.")
    if total.findings:
        lines.append(f"- Precision: {total.right} of {total.findings} findings are known causes.")
    return "\n".join(lines)
