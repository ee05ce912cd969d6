"""Pictures of networks and runs, and the report of a comparison.

Each function here mirrors a command ``diptych look ...`` and returns a `Picture`, which a notebook
shows and whose `save` writes PNG and SVG. They need the extra ``look``.

>>> from diptych import look
>>> look.network("article").save("pictures")  # doctest: +SKIP
"""

from diptych import extras

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError:
    extras.require("a picture or a report", "matplotlib")
    raise

from diptych.look.answers import confusion, mistakes
from diptych.look.architecture import network
from diptych.look.borders import padding
from diptych.look.filters import filters
from diptych.look.history import curves, overfitting
from diptych.look.kernels import KERNELS, edges
from diptych.look.layers import maps
from diptych.look.report import report
from diptych.look.saliency import saliency
from diptych.look.style import Picture

__all__ = [
    "KERNELS",
    "Picture",
    "confusion",
    "curves",
    "edges",
    "filters",
    "maps",
    "mistakes",
    "network",
    "overfitting",
    "padding",
    "report",
    "saliency",
]
