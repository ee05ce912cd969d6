"""The pairs of `pairs.txt`: sides that train differently where that hides, by family, each with a
twin that trains the same in other words."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
FILES = {"T": "torch_sides.py", "K": "keras_sides.py", "F": "tensorflow_sides.py"}
NONE, ANY = "-", "any"


@dataclass(frozen=True)
class Pair:
    """Two sides, and what an audit of them must find."""

    family: str
    a: str
    b: str
    code: str = ""
    """The first finding's code, alternatives separated by commas, or `ANY`; empty where the two are
    the same."""

    @property
    def name(self) -> str:
        return f"{self.a} | {self.b}"

    def specs(self) -> tuple[str, str]:
        """What `diptych audit` takes."""
        return _spec(self.a), _spec(self.b)


def _spec(side: str) -> str:
    framework, _, ingredients = side.partition(":")
    return f"{FOLDER / FILES[framework]}:{ingredients}"


def pairs() -> list[Pair]:
    """All pairs: those that differ, and those that are the same."""
    result, family = [], ""
    for line in (FOLDER / "pairs.txt").read_text().splitlines():
        if line.startswith("["):
            family = line.strip("[]")
        elif line and not line.startswith("#"):
            side, other, again, code = line.split(" | ")
            if other != NONE:
                result.append(Pair(family, side, other, code))
            if again != NONE:
                result.append(Pair(family, side, again))
    return list(dict.fromkeys(result))
