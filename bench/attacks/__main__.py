"""Attacks Diptych for some minutes, and keeps a table of tries and failures.

    python bench/attacks --minutes 30 --seed 1
    python bench/attacks --minutes 5 --only flips,pictures
    python bench/attacks --minutes 60 --kept /tmp/attacks.jsonl     goes on after what is there

Each attack has a share of the time, or ends earlier, where it has tried as often as it is meant to.
All that is random comes from the seed, so a failure can be had again (but for what depends on when
the system switches between processes). With ``--kept`` each call adds to what a file has, with the
next seed: many hours can be had in pieces. The last table is in ``docs/results/attacks.md``.
"""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / folder) for folder in ("tests", "tests/serving", "src")]

import clients  # noqa: E402
import flips  # noqa: E402
import kills  # noqa: E402
import pictures  # noqa: E402
import sides  # noqa: E402
import sockets  # noqa: E402
from attack import Attack, Tally, summed  # noqa: E402
from kept import append, read  # noqa: E402
from table import written  # noqa: E402

ATTACKS: list[Attack] = [
    flips.ATTACK,
    pictures.ATTACK,
    sockets.ATTACK,
    sides.ATTACK,
    clients.FEW,
    clients.MANY,
    kills.ATTACK,
]
"""The quick ones first: what they leave of their time goes to those after them."""
TABLE = PROJECT / "docs" / "results" / "attacks.md"


def main() -> int:
    """Runs the attacks that are asked for, and prints their table; 1 where something failed."""
    logging.getLogger("diptych").setLevel(logging.ERROR)  # Damaged runs are left out with a line.
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="some of: " + ", ".join(a.name for a in ATTACKS))
    parser.add_argument("--kept", type=Path, help="a file of what earlier calls tried")
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    chosen = [a for a in ATTACKS if not arguments.only or a.name in arguments.only.split(",")]
    parts = read(arguments.kept, ATTACKS) if arguments.kept else []
    missing = [a for a in chosen if sum(p.tries for p in parts if p.attack is a) < a.bar]
    end = time.monotonic() + 60 * arguments.minutes
    for number, attack in enumerate(missing):
        shares = sum(other.share for other in missing[number:])
        seconds = (end - time.monotonic()) * attack.share / shares
        before = [part for part in parts if part.attack is attack]
        bar = attack.bar - sum(part.tries for part in before)
        seed = max([arguments.seed, *(part.seed + 1 for part in before)])
        part = tried(attack, max(1.0, seconds), seed, bar)
        print(f"{attack.name}: {part.tries:,} tries, {len(part.failures)} failures", flush=True)
        parts.append(part)
        if arguments.kept:
            append(arguments.kept, part)
    tallies = [summed(a, parts) for a in ATTACKS if any(part.attack is a for part in parts)]
    left_out = [a for a in ATTACKS if not any(part.attack is a for part in parts)]
    text = written(tallies, left_out, arguments.minutes, arguments.seed, bool(arguments.kept))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, encoding="utf-8")
    print(text)
    return int(any(tally.failures for tally in tallies))


def tried(attack: Attack, seconds: float, seed: int, bar: int) -> Tally:
    """One attack, until its time is over or it has tried often enough."""
    generator = np.random.default_rng([seed, *attack.name.encode()])
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        tally = attack.carry_out(Path(folder), generator, seconds, bar)
    tally.seconds, tally.seed = time.monotonic() - began, seed
    return tally


if __name__ == "__main__":
    sys.exit(main())
