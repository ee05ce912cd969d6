"""Data and descriptions that the tests of studies share."""

from pathlib import Path

import numpy as np
import pytest

from diptych.data import load_data
from diptych.data.dataset import Data, Split
from diptych.data.saving import save_idx_folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of MNIST's images, as a folder."""
    whole = load_data("mnist")

    def few(split: Split, count: int) -> Split:
        return Split(np.asarray(split.images[:count]), split.labels[:count])

    folder = tmp_path_factory.mktemp("data") / "digits"
    splits = few(whole.train, 440), few(whole.validation, 40), few(whole.test, 200)
    save_idx_folder(Data("digits", "digits", *splits, whole.class_names), folder)
    return folder
