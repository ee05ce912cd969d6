"""Imports of TensorFlow and Keras without the packages that they import for side uses alone.

Where scikit-learn, Matplotlib and JAX are installed, ``import tensorflow`` imports them too: for
Keras' wrappers, pictures and checkpoints, and for TensorFlow Lite. This takes 40% of the time of
the import, and an audit uses none of it. Each of them is optional there.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

USES = {
    "sklearn": (("keras.src.wrappers.",), "SKLearn"),
    "matplotlib": (("keras.src.visualization.",), "plot_"),
    "jax": (("tensorflow.lite.", "keras.src.callbacks.orbax_checkpoint"), "lite"),
}
"""By package, the prefixes of the modules that import it, and a word that a user's file has if it
uses those modules."""


class _Refusing:
    """A finder of modules that finds nothing, and refuses the packages to those modules."""

    def __init__(self, refused: dict[str, tuple[str, ...]]) -> None:
        self.refused = refused

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        prefixes = self.refused.get(name)
        if prefixes and _importer(sys._getframe(1)).startswith(prefixes):
            raise ModuleNotFoundError(f"an audit does not import {name} here", name=name)


def _importer(frame: FrameType | None) -> str:
    """The name of the module whose code imports."""
    while frame and frame.f_globals.get("__name__", "").startswith("importlib"):
        frame = frame.f_back
    return frame.f_globals.get("__name__", "") if frame else ""


@contextmanager
def left_out(source: str = "") -> Iterator[None]:
    """Leaves out what `USES` names, except for what the user's source code uses."""
    finder = _Refusing({name: of for name, (of, word) in USES.items() if word not in source})
    sys.meta_path.insert(0, finder)  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # pyright: ignore[reportArgumentType]
