"""Audits every pair in a folder of cases, and prints which of them are told right.

A case is a folder with `a.py`, `b.py` (each with a function `build`) and `expect`, which holds
`same` or `differ`:

    python bench/soundness.py FOLDER [NAME ...]
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from diptych.auditing import audit
from diptych.errors import InputError


@dataclass
class Row:
    """How one case ended."""

    name: str
    expected: str
    told: str
    """``same``, ``differ`` or ``refused``."""
    codes: str
    seconds: float

    @property
    def right(self) -> bool:
        return self.expected == self.told


def run(case: Path, timeout: float) -> Row:
    """Audits one case."""
    expected = (case / "expect").read_text().split()[0]
    start = time.perf_counter()
    try:
        result = audit(f"{case / 'a.py'}:build", f"{case / 'b.py'}:build", timeout)
    except InputError as problem:
        return Row(case.name, expected, "refused", str(problem), time.perf_counter() - start)
    codes = [f"{finding.stage}: {finding.code}" for finding in result.findings]
    codes += [f"FAULT in {stage.name}: {stage.note}" for stage in result.stages if stage.fault]
    if result.same:
        codes.append(result.conclusion)
    told = "same" if result.same else "differ"
    seconds = time.perf_counter() - start
    return Row(case.name, expected, told, "; ".join(dict.fromkeys(codes)), seconds)


def main() -> None:
    """Prints a table with one line per case, and the count of those that are right."""
    parser = argparse.ArgumentParser(description="Audits every pair in a folder of cases.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="only cases whose name begins with one of these")
    parser.add_argument("--timeout", type=float, default=300)
    options = parser.parse_args()
    cases = sorted(path.parent for path in options.folder.glob("*/expect"))
    rows = []
    for case in cases:
        if options.names and not case.name.startswith(tuple(options.names)):
            continue
        row = run(case, options.timeout)
        mark = "right" if row.right else "WRONG"
        print(f"{mark}  {row.name:40} {row.told:8} {row.seconds:6.1f} s  {row.codes}", flush=True)
        rows.append(row)
    print(f"{sum(row.right for row in rows)} of {len(rows)} right")


if __name__ == "__main__":
    main()
