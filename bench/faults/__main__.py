"""Audits pairs of programs whose causes others have labelled, and prints recall and precision.

The faulty program is held against the repaired one. Results are appended to a file of JSON lines;
what is in it is not run again:

    python bench/faults --only 48385830 --out faults.jsonl
    python bench/faults --table --out faults.jsonl

An audit sees both programs, where published fault finders see one: its recall and precision are not
to be held against theirs without saying so.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import audits  # noqa: E402
from scores import written  # noqa: E402
from subjects import SUBJECTS  # noqa: E402


def main() -> None:
    """Runs what is asked for, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", default=[], help="a subject's name, or a part")
    parser.add_argument("--out", type=Path, default=Path("faults.jsonl"))
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for an audit")
    parser.add_argument("--again", action="store_true", help="also what is in the file already")
    parser.add_argument("--table", action="store_true", help="only print the table")
    arguments = parser.parse_args()
    there = {} if arguments.again else audits.read(arguments.out, "subject")
    for subject in () if arguments.table else SUBJECTS:
        chosen = not arguments.only or any(part in subject.name for part in arguments.only)
        if not chosen or (subject.name,) in there:
            continue
        result = audits.run(subject.pair, HERE / "sides", arguments.timeout)
        audits.append(arguments.out, {"subject": subject.name} | result)
        print(f"{subject.name}: {result['seconds']:.0f} s", file=sys.stderr)
    print(written(audits.read(arguments.out, "subject")))


if __name__ == "__main__":
    main()
