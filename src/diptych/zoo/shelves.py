"""The shelves of the zoo: their names, and the files on them.

A person's own file works wherever a name does.
"""

import difflib
from importlib import resources
from pathlib import Path
from typing import Literal

from diptych.errors import InputError
from diptych.reading import read_regular
from diptych.toml import MOST_BYTES

Shelf = Literal["networks", "recipes", "studies", "searches"]
ONE_OF: dict[Shelf, str] = {
    "networks": "network",
    "recipes": "recipe",
    "studies": "study",
    "searches": "search",
}
"""The singular names of the shelves."""


def names(shelf: Shelf) -> list[str]:
    """The names on that shelf of the zoo, in alphabetical order."""
    files = (resources.files("diptych.zoo") / shelf).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def hint(name: str, known: list[str]) -> str:
    """The end of a message about a name that is not known: the one that was meant, or all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def read(shelf: Shelf, name_or_file: str | Path) -> tuple[str, str]:
    """The TOML text of that name or file, and what to call its source in a message.

    Raises:
        InputError: there is neither such a name nor such a file, or it cannot be read.
    """
    given = str(name_or_file)
    if given in names(shelf):
        file = resources.files("diptych.zoo") / shelf / f"{given}.toml"
        return file.read_text(encoding="utf-8"), given
    what = ONE_OF[shelf]
    path = Path(given)
    if path.suffix != ".toml":
        meant = hint(given, names(shelf))
        raise InputError(f"{what} {given!r}: no such name ({meant}), and not a .toml file")
    try:
        text = read_regular(path, MOST_BYTES).decode("utf-8-sig")  # Windows' editors begin so.
        return text.replace("\r\n", "\n"), given
    except InputError as problem:
        raise InputError(f"{what} {problem}") from None
    except UnicodeDecodeError:
        raise InputError(f"{what} {given}: not a text file (UTF-8 expected)") from None
