"""What an attack is, and what came of one."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Tally:
    """The result of an attack."""

    attack: "Attack"
    tries: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """How often each thing that may happen has happened."""
    failures: list[str] = field(default_factory=list)
    """A line for each try after which something was not as it must be."""
    seconds: float = 0.0
    seed: int = 0


def summed(attack: "Attack", tallies: list[Tally]) -> Tally:
    """The result of an attack in several calls."""
    total = Tally(attack)
    for part in (tally for tally in tallies if tally.attack is attack):
        total.tries += part.tries
        total.outcomes += part.outcomes
        total.failures += [f"seed {part.seed}, {failure}" for failure in part.failures]
        total.seconds += part.seconds
    return total


@dataclass(frozen=True)
class Attack:
    """Something that must not break anything, tried over and over."""

    name: str
    tried: str
    """What one try is."""
    expected: str
    """What must be the case after each."""
    bar: int
    """Tries that are meant to be made."""
    share: float
    """Of the time, relative to the other attacks."""
    carry_out: Callable[[Path, np.random.Generator, float, int], Tally]
    """Takes a folder of its own, where chance comes from, the seconds it has, and the bar."""


Try = Callable[[int], str]
"""Takes the try's number; returns what happened, or raises AssertionError with what failed."""


def repeated(attack: "Attack", attempt: Try, seconds: float, bar: int) -> Tally:
    """Tries one after the other, until the time is over or the bar is reached."""
    tally, end = Tally(attack), time.monotonic() + seconds
    for number in range(bar):
        if time.monotonic() >= end:
            break
        tally.tries += 1
        try:
            tally.outcomes[attempt(number)] += 1
        except Exception as problem:  # Whatever comes out of it is a failure to be told of.
            what = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
            tally.failures.append(f"try {number}: {what}")
    return tally


def damaged(contents: bytes, generator: np.random.Generator) -> bytes:
    """The contents with a bit flipped, bytes overwritten, cut out, doubled, or the end cut off."""
    if not contents:
        return bytes(generator.integers(0, 256, 10, np.uint8))
    changed = bytearray(contents)
    at = int(generator.integers(len(changed)))
    length = int(generator.integers(1, 1 + min(64, len(changed) - at)))
    match int(generator.integers(6)):
        case 0 | 1:
            changed[at] ^= 1 << int(generator.integers(8))
        case 2:
            changed[at : at + length] = generator.integers(0, 256, length, np.uint8).tobytes()
        case 3:
            del changed[at : at + length]
        case 4:
            changed[at:at] = changed[at : at + length]
        case _:
            del changed[at:]
    return bytes(changed)
