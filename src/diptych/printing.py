"""The one place that prints: what comes from files is shown, and never obeyed by the terminal.

Names of networks, classes, runs and files, and messages of a user's exceptions, may hold any
characters. Those that a terminal obeys (escape sequences, which can rename the window, hide text or
paste commands), those that reorder text, and halves of characters, which cannot be encoded, are
printed as Python would write them: ``\\x1b``. Line breaks and tabs stay.
"""

import json
import logging
import re
import sys
from typing import Any

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tab and line feed
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # those that turn or break the text around them
    "\ud800-\udfff]"  # halves of characters, such as Python makes of a name that is not UTF-8
)


def escaped(text: str) -> str:
    """The text with what a terminal would obey written out.

    >>> escaped("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return OBEYED.sub(_written_out, text)


def say(*lines: object, error: bool = False) -> None:
    """Prints lines, escaped, at once; to standard error where they are no answer."""
    stream = sys.stderr if error else sys.stdout
    print(*(escaped(str(line)) for line in lines), sep="\n", file=stream, flush=True)


def as_json(value: Any) -> str:
    """Plain data as indented JSON text that can be encoded and printed; there is no NaN in it."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    return OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class EscapedFormatter(logging.Formatter):
    """Formats log records as their message alone, escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # A byte that is not UTF-8, see PEP 383.
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
