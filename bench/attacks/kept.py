"""Results of earlier calls, as lines of JSON."""

import json
from collections import Counter
from pathlib import Path

from attack import Attack, Tally


def append(file: Path, tally: Tally) -> None:
    """Adds what came of one attack in one call."""
    line = {
        "attack": tally.attack.name,
        "seed": tally.seed,
        "tries": tally.tries,
        "outcomes": tally.outcomes,
        "failures": tally.failures,
        "seconds": tally.seconds,
    }
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(file: Path, attacks: list[Attack]) -> list[Tally]:
    """The results in the file; none if there is no file."""
    if not file.exists():
        return []
    by_name = {attack.name: attack for attack in attacks}
    return [
        Tally(
            by_name[line["attack"]],
            line["tries"],
            Counter(line["outcomes"]),
            line["failures"],
            line["seconds"],
            line["seed"],
        )
        for line in map(json.loads, file.read_text(encoding="utf-8").splitlines())
    ]
