from pathlib import Path

import numpy as np
import pytest

from diptych.data import Data
from diptych.data.idx import write_idx
from diptych.data.idx_folder import IDX_NAMES


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DIPTYCH_CACHE", str(folder))
    monkeypatch.setenv("no_proxy", "*")  # The mirrors of the tests are on this machine.
    return folder


@pytest.fixture(scope="session")
def arrays(mnist: Data) -> dict[str, np.ndarray]:
    """The four arrays of a small data set of real digits, under their files' names."""
    train = np.concatenate([mnist.validation.images[:24], mnist.train.images[:36]])[..., 0]
    train_labels = np.concatenate([mnist.validation.labels[:24], mnist.train.labels[:36]])
    return dict(
        zip(
            IDX_NAMES,
            (
                train,
                train_labels.astype(np.uint8),
                mnist.test.images[:20, ..., 0],
                mnist.test.labels[:20].astype(np.uint8),
            ),
            strict=True,
        )
    )


@pytest.fixture
def digits(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A folder with the four plain IDX files of ``arrays``."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for name, array in arrays.items():
        write_idx(folder / name, array)
    return folder
