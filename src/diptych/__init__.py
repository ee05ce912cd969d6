"""One convolutional network, built in several workflows, trained and compared side by side.

>>> from diptych import compare
>>> compare()  # doctest: +SKIP
"""

import importlib
from typing import Any

from diptych.public import homes

_HOMES = homes()
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for, so that the command line starts at once."""
    if name == "__version__":
        from importlib.metadata import version

        value = version("diptych")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
