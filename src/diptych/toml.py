"""Parses TOML that may come from anywhere, in a bounded time and memory."""

import tomllib
from typing import Any

MOST_BYTES = 2**18
"""Of a file: a network of a thousand layers has less than half of it."""
MOST_DOTS = 500
"""In a line. Python's parser takes quadratic time and memory for a key of many dotted parts."""


def parse(text: str) -> dict[str, Any]:
    """The tables of a TOML document.

    Raises:
        ValueError: it is not TOML, or no TOML that anybody means: a number of thousands of digits,
            lists within lists within lists, a key of hundreds of parts.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"more than {MOST_DOTS} dots (at line {number})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("lists or tables nested too deep") from None
