import hashlib
from pathlib import Path

import numpy as np
import pytest
from mirror import Mirror, serving

from diptych.data import fashion, known_data, load_data
from diptych.data.idx import open_idx
from diptych.errors import InputError

needs_debian = pytest.mark.skipif(
    not fashion._debian_has_it(), reason="Debian's package dataset-fashion-mnist is not installed"
)


@pytest.fixture
def no_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "not installed")


def offline() -> bool:
    return next(each.offline for each in known_data() if each.name == "fashion-mnist")


@needs_debian
def test_debians_files() -> None:
    data = load_data("fashion-mnist")
    assert (data.name, data.source) == ("fashion-mnist", "fashion-mnist")
    assert data.image_shape == (28, 28, 1)
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    assert data.class_names[0] == "T-shirt/top"
    assert data.class_names[9] == "Ankle boot"
    assert data.classes == 10
    assert "Zalando" in data.notice
    assert "MIT" in data.notice
    # The first labels of the original training and test files.
    assert data.validation.labels[:8].tolist() == [9, 0, 0, 3, 0, 2, 7, 2]
    assert data.test.labels[:8].tolist() == [9, 2, 1, 1, 6, 1, 4, 6]
    assert offline()


@needs_debian
def test_debians_files_are_the_published_ones() -> None:
    for name, size, sha256 in fashion.FILES:
        file = open_idx(fashion.DEBIAN_FOLDER / f"{name}.gz")
        assert file.promised_bytes == size
        header = 4 + 4 * len(file.shape)
        assert file.offset == header
        magic = bytes([0, 0, 8, len(file.shape)]) + np.array(file.shape, ">u4").tobytes()
        assert hashlib.sha256(magic + file.read().tobytes()).hexdigest() == sha256


@needs_debian
def test_a_download_gives_the_same_and_is_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = load_data("fashion-mnist")
    names = [f"{name}.gz" for name, _, _ in fashion.FILES]
    holds = {name: (fashion.DEBIAN_FOLDER / name).read_bytes() for name in names}
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", tmp_path / "not installed")
    assert not offline()
    with serving(Mirror(holds)) as mirror:
        monkeypatch.setattr(fashion, "MIRRORS", (mirror.url,))
        downloaded = load_data("fashion-mnist")
    assert sorted(name for name, _ in mirror.requests) == sorted(names)
    assert offline()
    again = load_data("fashion-mnist")
    for data in (downloaded, again):
        assert isinstance(data.train.images, np.memmap)
        assert np.array_equal(data.train.images, installed.train.images)
        assert np.array_equal(data.test.labels, installed.test.labels)
        assert data.class_names == fashion.CLASS_NAMES
        assert data.source == "fashion-mnist"


@pytest.mark.usefixtures("no_debian")
def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion, "MIRRORS", ("http://one.invalid", "http://two.invalid/data"))
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        load_data("fashion-mnist")
    for word in ("one.invalid", "two.invalid", "dataset-fashion-mnist", "folder"):
        assert word in str(raised.value)


@pytest.mark.usefixtures("no_debian")
def test_asking_what_is_known_leaves_no_trace(cache: Path) -> None:
    assert not offline()
    assert not list(cache.iterdir())
