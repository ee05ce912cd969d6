"""Audits the pairs of `families`, and writes what was found to docs/results/soundness.md.

python tests/auditing/soundness/run_pairs.py             all of them
python tests/auditing/soundness/run_pairs.py batches T:  those whose family or name has one of these
                                                         in it; the table is printed, not written
python tests/auditing/soundness/run_pairs.py --kept FILE keeps the outcomes in a file, and goes on
                                                         after those that are there
"""

import argparse
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
import kept_outcomes
from families import ANY, Pair, pairs
from kept_workers import end_workers, keep_workers

from diptych import machine
from diptych.auditing import audit
from diptych.errors import InputError

TABLE = Path(__file__).parents[3] / "docs" / "results" / "soundness.md"


@dataclass
class Outcome:
    """What an audit of a pair gave."""

    pair: Pair
    codes: list[str]
    conclusion: str
    problem: str
    seconds: float

    @property
    def right(self) -> bool:
        """Whether a difference was found where there is one, the expected one first, and none was
        where there is none."""
        if self.problem:
            return False
        if not self.pair.code:
            return not self.codes
        expected = self.pair.code.split(",")
        return bool(self.codes) and (expected == [ANY] or self.codes[0] in expected)


def run(pair: Pair) -> Outcome:
    """Audits one pair."""
    start = time.perf_counter()
    codes, conclusion, problem = [], "", ""
    try:
        result = audit(*pair.specs())
        codes = [finding.code for finding in result.findings]
        conclusion = result.conclusion
        faults = [f"{stage.name}: {stage.note}" for stage in result.stages if stage.fault]
        failed = [stage.name for stage in result.stages if stage.ok is False]
        problem = "; ".join(faults) or ("" if codes or not failed else f"{failed} without finding")
    except InputError as error:
        problem = str(error)
        end_workers()  # One of them may not answer any more.
    return Outcome(pair, codes, conclusion, problem, time.perf_counter() - start)


def kept(path: Path | None) -> dict[Pair, Outcome]:
    """The outcomes in a file that an earlier run has written."""
    rows = kept_outcomes.read(path)
    outcomes = [Outcome(Pair(**row.pop("pair")), **row) for row in rows]
    return {outcome.pair: outcome for outcome in outcomes}


def main() -> None:
    parser = argparse.ArgumentParser(description="Audits the pairs of all families.")
    parser.add_argument("names", nargs="*", help="parts of the names of families or sides")
    parser.add_argument("--kept", type=Path, help="a file for the outcomes, a line of JSON each")
    options = parser.parse_args()
    chosen = [
        pair
        for pair in pairs()
        if not options.names or any(n in f"{pair.family} {pair.name}" for n in options.names)
    ]
    before = kept(options.kept)
    keep_workers()
    outcomes = []
    for pair in chosen:
        outcome = before.get(pair)
        if outcome is None:
            outcome = run(pair)
            kept_outcomes.append(options.kept, asdict(outcome))
        outcomes.append(outcome)
        print(line(outcome), flush=True)
    end_workers()
    print(counted(outcomes))
    if not options.names:
        TABLE.write_text(page(outcomes))


def line(outcome: Outcome) -> str:
    mark = "right" if outcome.right else "WRONG"
    told = outcome.problem or ", ".join(dict.fromkeys(outcome.codes)) or "same"
    return f"{mark} {outcome.seconds:5.1f} s  {outcome.pair.name}: {told}"


def counted(outcomes: list[Outcome]) -> str:
    """How many of either kind were told right."""
    differ = [outcome for outcome in outcomes if outcome.pair.code]
    same = [outcome for outcome in outcomes if not outcome.pair.code]
    found = sum(bool(outcome.codes) for outcome in differ)
    first = sum(outcome.right for outcome in differ)
    alarms = sum(bool(outcome.codes) for outcome in same)
    return (
        f"Of {len(differ)} pairs that train differently, {found} were told so, {first} with the "
        f"expected finding first. Of {len(same)} that train the same, {alarms} were told to differ."
    )


def page(outcomes: list[Outcome]) -> str:
    """The table for the documentation."""
    rows = [
        f"| {o.pair.family} | `{o.pair.a}` | `{o.pair.b}` | "
        f"{'differ' if o.pair.code else 'same'} | "
        f"{o.problem or ', '.join(dict.fromkeys(o.codes)) or 'no difference found'} | "
        f"{'yes' if o.right else '**no**'} |"
        for o in outcomes
    ]
    spent = sum(outcome.seconds for outcome in outcomes)
    return (
        "# Soundness of the audit\n\n"
        "Pairs that train differently where that hides, and pairs that train the same in other "
        "words or in another framework. `T` is PyTorch, `K` Keras, `F` TensorFlow; the ingredients "
        "of the sides are in `tests/auditing/soundness/`.\n\n"
        f"{counted(outcomes)} It took {spent / 60:.0f} minutes on "
        f"{machine.describe()['processor']} with Python {platform.python_version()}.\n\n"
        "| family | A | B | in truth | told | right |\n| --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + "\n"
    )


if __name__ == "__main__":
    main()
