"""Data sets: MNIST inside the package, Fashion-MNIST, and folders of people's own images."""

from diptych.data.dataset import Data, Split
from diptych.data.loading import KnownData, known_data, load_data

__all__ = ["Data", "KnownData", "Split", "known_data", "load_data"]
