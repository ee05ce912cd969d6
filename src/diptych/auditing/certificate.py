"""The certificate: what an audit compared, and what it did not compare.

Each stage has a `Coverage`. The last line of an audit is built from them, so that it never claims
more than was compared.
"""

from dataclasses import dataclass, field

TWINS = "float64 twins"
FLOAT32 = "float32"
RATES = "schedule"
"""The stage whose steps are only those of the learning rates; other stages train."""
DRAWN = "statistics"
"""The extent that is present if random draws were compared as distributions."""

LATER = "random draws after step"
"""The extent that has the step after which they were compared again."""


@dataclass
class Coverage:
    """The comparisons of one stage."""

    probes: int = 0
    """The number of probes. A stage without probes has compared nothing."""
    precision: str = ""
    """`TWINS`, `FLOAT32`, or empty if no numbers of the sides are compared."""
    steps: int = 0
    """The training step up to which both sides were compared."""
    extents: dict[str, list[str]] = field(default_factory=dict)
    """The values of each subject over all probes, such as ``{"inputs": ["×0.01", "×1"]}``."""
    left_out: list[str] = field(default_factory=list)
    """Everything that was not compared, with the reason."""

    def compared(self, probes: int = 1, **extents: object) -> None:
        """Counts probes and adds their extents."""
        self.probes += probes
        for subject, value in extents.items():
            values = self.extents.setdefault(subject.replace("_", " "), [])
            if str(value) not in values:
                values.append(str(value))

    def leave_out(self, what: str, reason: str) -> None:
        """Adds something that was not compared."""
        line = f"{what}: {reason}"
        if line not in self.left_out:
            self.left_out.append(line)

    def __str__(self) -> str:
        """A line such as ``12 probes on float64 twins, to step 40: inputs ×0.01, ×1; batches of 1,
        7``."""
        if not self.probes:
            return "nothing compared"
        text = f"{self.probes:,} probe{'s' if self.probes != 1 else ''}"
        if self.precision:
            text += f" on {self.precision}" if self.precision == TWINS else f" in {self.precision}"
        if self.steps:
            text += f", to step {self.steps:,}"
        extents = [f"{subject} {', '.join(values)}" for subject, values in self.extents.items()]
        return text + (f": {'; '.join(extents)}" if extents else "")


def summary(coverages: dict[str, Coverage], absent: dict[str, str], no_twins: list[str]) -> str:
    """The end of the sentence that begins with "No difference found".

    Args:
        coverages: of the stages that compared something, by name.
        absent: by name, why a stage compared nothing.
        no_twins: why there are no float64 twins, where there are none.
    """
    probes = sum(coverage.probes for coverage in coverages.values())
    twins = [name for name, coverage in coverages.items() if coverage.precision == TWINS]
    coarse = [name for name, coverage in coverages.items() if coverage.precision == FLOAT32]
    reach = {name: coverage.steps for name, coverage in coverages.items() if coverage.steps}
    rates = reach.pop(RATES, 0)
    steps = max(reach.values(), default=0)
    text = f"{probes:,} probes in {len(coverages)} stages"
    if twins:
        text += ", on float64 twins"
    if twins and coarse:
        text += f" (in float32: {', '.join(coarse)})"
    elif coarse:
        text += f", in float32 ({'; '.join(no_twins)})"
    if steps:
        text += f", training up to step {steps:,}"
    if rates:
        text += f", learning rates up to step {rates:,}"
    if 0 < steps < rates:
        text += f". After step {steps:,} only the learning rates were compared"
    if DRAWN in coverages.get("randomness", Coverage()).extents:
        later = coverages.get("trajectory", Coverage()).extents.get(LATER)
        when = f"before the first step and after step {later[0]}" if later else ""
        text += f". Random draws were compared {when or 'only before the first step'}"
    missing = [f"{name} ({reason})" for name, reason in absent.items()]
    missing += [
        f"{name}: {line}" for name, coverage in coverages.items() for line in coverage.left_out
    ]
    if missing:
        text += f". Not compared: {'; '.join(missing)}"
    return text + "."
