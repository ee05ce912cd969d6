"""Audits all planted cases and writes what was found to docs/results/planted-faults.md.

python tests/auditing/suite.py             all of them
python tests/auditing/suite.py pooling     those whose name has this in it; nothing is written
python tests/auditing/suite.py --kept FILE keeps the outcomes in a file, and goes on after those
                                           that are there

Frameworks are imported once for a dozen audits.
"""

import argparse
import platform
import random
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

import kept_outcomes
from cases import Case, cases
from kept_workers import end_workers, keep_workers

from diptych import InputError, machine
from diptych.auditing import audit

TABLE = Path(__file__).parents[2] / "docs" / "results" / "planted-faults.md"


@dataclass
class Outcome:
    """What an audit of a case gave."""

    case: Case
    seconds: float
    codes: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def first(self) -> bool:
        """True if the first finding is a planted one; for the same, if there is none.

        Of two planted faults, the one that does more harm comes first.
        """
        if self.problem or not self.case.expected:
            return not self.problem and not self.codes
        return self.codes[:1] in [[code] for code in self.case.expected]

    @property
    def complete(self) -> bool:
        """Whether all that was planted was found."""
        return not self.problem and set(self.case.expected) <= set(self.codes)

    @property
    def others(self) -> list[str]:
        """Found, though not planted."""
        return [code for code in dict.fromkeys(self.codes) if code not in self.case.expected]


def run(case: Case) -> Outcome:
    """Audits one case."""
    start = time.perf_counter()
    codes: list[str] = []
    problem = ""
    try:
        found = audit(*case.specs())
        codes = [finding.code for finding in found.findings]
        if not found.same and not codes:
            problem = "a stage failed without a finding"
    except InputError as error:
        problem = str(error)
    except Exception as error:  # A crash in one case must not lose the others.
        problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if problem:
        end_workers()  # One of them may not answer any more.
    return Outcome(case, time.perf_counter() - start, codes, problem)


def read(path: Path | None) -> dict[str, Outcome]:
    """The outcomes in a file that an earlier run has written, by the name of their case."""
    by_name = {case.name: case for case in cases()}
    rows = kept_outcomes.read(path)
    outcomes = [Outcome(by_name[row.pop("case")], **row) for row in rows]
    return {outcome.case.name: outcome for outcome in outcomes}


def main() -> None:
    parser = argparse.ArgumentParser(description="Audits the planted cases.")
    parser.add_argument("names", nargs="*", help="parts of the names of cases")
    parser.add_argument("--kept", type=Path, help="a file for the outcomes, a line of JSON each")
    options = parser.parse_args()
    chosen = [
        case for case in cases() if not options.names or any(n in case.name for n in options.names)
    ]
    done = read(options.kept)
    keep_workers()
    # In any order, so that what was done before Ctrl-C is a sample of all.
    try:
        for number, case in enumerate(random.Random(0).sample(chosen, len(chosen)), 1):
            if case.name not in done:
                done[case.name] = outcome = run(case)
                kept_outcomes.append(options.kept, asdict(outcome) | {"case": case.name})
            print(line(done[case.name], number, len(chosen)), flush=True)
    except KeyboardInterrupt:
        pass
    end_workers()
    text = table([done[case.name] for case in chosen if case.name in done], len(chosen))
    print(text)
    if not options.names:
        TABLE.write_text(text, encoding="utf-8")


def line(outcome: Outcome, number: int, count: int) -> str:
    """An outcome, as it comes."""
    good = outcome.first and outcome.complete
    mark = "ok " if good and not outcome.others else "+  " if good else "BAD"
    also = f"  found: {', '.join(outcome.codes)}" if not good or outcome.others else ""
    return (
        f"{mark} {number}/{count} {outcome.seconds:3.0f}s {outcome.case.name}{also}  "
        f"{outcome.problem}"
    ).rstrip()


def table(outcomes: list[Outcome], count: int) -> str:
    """The results of so many of ``count`` cases as Markdown."""
    faults = [o for o in outcomes if o.case.expected]
    same = [o for o in outcomes if not o.case.expected]
    first = sum(o.first for o in faults)
    complete = sum(o.complete for o in faults)
    alarms = [o for o in same if not o.first]
    lines = [
        "# The planted suite",
        "",
        f"Of the {count} pairs that `make audit-suite` audits (`tests/auditing/cases.py`), "
        + ("all" if len(outcomes) == count else f"{len(outcomes)}, drawn at random,")
        + f" were audited: {len(faults)} in which one or two faults are "
        f"planted and {len(same)} that are the same.",
        "",
        f"- the planted cause comes first in {first} of {len(faults)}"
        + (f" ({first / len(faults):.1%})" if faults else ""),
        f"- all that was planted is found in {complete} of {len(faults)}",
        f"- false alarms: {len(alarms)} of {len(same)}",
        f"- an audit took {median(outcomes):.0f} s in the median and "
        f"{max((o.seconds for o in outcomes), default=0):.0f} s at most, frameworks imported once "
        "for a dozen audits",
        "",
        f"{machine.describe()['processor']}, {machine.describe()['cores']} cores, Python "
        f"{platform.python_version()}.",
        "",
        "| cause | planted in | audits | first | found |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in faults:
        groups[" and ".join(outcome.case.expected)].append(outcome)
    for code, group in groups.items():
        where = ", ".join(dict.fromkeys(o.case.framework for o in group))
        lines.append(
            f"| {code} | {where} | {len(group)} | {sum(o.first for o in group)} | "
            f"{sum(o.complete for o in group)} |"
        )
    missed = [o for o in outcomes if not (o.first and o.complete)]
    if missed:
        lines += ["", "Not as planted:", ""]
        lines += [
            f"- `{o.case.name}`: {o.problem or ', '.join(o.codes) or 'the same'}" for o in missed
        ]
    more = [o for o in faults if o.first and o.others]
    if more:
        lines += [
            "",
            "With further findings, which follow from the planted cause or are beside it:",
        ]
        lines += ["", *(f"- `{o.case.name}`: {', '.join(o.others)}" for o in more)]
    return "\n".join(lines) + "\n"


def median(outcomes: list[Outcome]) -> float:
    seconds = sorted(outcome.seconds for outcome in outcomes)
    return seconds[len(seconds) // 2] if seconds else 0.0


if __name__ == "__main__":
    main()
