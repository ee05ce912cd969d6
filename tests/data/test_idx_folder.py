import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych.data import load_data
from diptych.data.idx import write_idx
from diptych.data.idx_folder import IDX_NAMES
from diptych.errors import InputError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = IDX_NAMES


def refused(folder: Path) -> str:
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        load_data(folder)
    return str(raised.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_real_digits(
    tmp_path: Path, arrays: dict[str, np.ndarray], suffix: str, dotted: bool
) -> None:
    for name, array in arrays.items():
        write_idx(tmp_path / ((name.replace("-idx", ".idx") if dotted else name) + suffix), array)
    data = load_data(tmp_path)
    assert data.name == tmp_path.name
    assert data.image_shape == (28, 28, 1)
    assert data.classes == 10
    assert (len(data.validation), len(data.train), len(data.test)) == (5, 55, 20)
    read = np.concatenate([data.validation.images, data.train.images])[..., 0]
    assert np.array_equal(read, arrays[TRAIN_IMAGES])
    assert np.array_equal(data.test.images[..., 0], arrays[TEST_IMAGES])
    assert data.validation.labels.tolist() == arrays[TRAIN_LABELS][:5].tolist()
    for split in (data.train, data.validation, data.test):
        assert isinstance(split.images, np.memmap) == (not suffix)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert not split.images.flags.writeable


@given(
    side=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([None, 1, 2, 3, 4]),
    count=st.integers(2, 40),
    tests=st.integers(1, 9),
    classes=st.integers(2, 1000),
)
@settings(max_examples=40)
def test_any_size_channels_and_classes(
    side: tuple[int, int], channels: int | None, count: int, tests: int, classes: int
) -> None:
    rng = np.random.default_rng(count)
    shape = (*side, channels) if channels else side
    labels = rng.integers(classes, size=count)
    labels[:2] = 0, classes - 1
    with tempfile.TemporaryDirectory() as folder:
        images = rng.integers(256, size=(count, *shape)).astype(np.uint8)
        write_idx(Path(folder, TRAIN_IMAGES), images)
        write_idx(Path(folder, TRAIN_LABELS), labels.astype(np.int32))
        write_idx(Path(folder, TEST_IMAGES), images[:1].repeat(tests, axis=0))
        write_idx(Path(folder, TEST_LABELS), labels[:1].astype(np.int16).repeat(tests))
        data = load_data(folder)
        assert data.image_shape == (*side, channels or 1)
        assert data.classes == classes
        assert len(data.validation) == max(1, count // 12)
        assert len(data.train) == count - len(data.validation)
        assert data.train.labels.tolist() == labels[len(data.validation) :].tolist()
        assert data.train.images.tobytes() == images[len(data.validation) :].tobytes()


def test_class_names(digits: Path) -> None:
    assert load_data(digits).class_names == tuple("0123456789")
    words = [*(f"digit {number}" for number in range(10)), "none"]
    (digits / "classes.txt").write_text("\n".join(words) + "\n\n", "utf-8")
    assert load_data(digits).class_names == tuple(words)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"zero\none\ntwo\n", "out of range: classes.txt gives 3 classes, 0 to 2"),
        (b"zero\n", "at least two class names"),
        (b"", "at least two class names"),
        (b"zero\nzero\n", "all different"),
        (b"zero\n\none\n", "at least two class names"),
        (b"\xff\xfe\x00", "cannot be read as UTF-8"),
    ],
)
def test_bad_class_names(digits: Path, contents: bytes, said: str) -> None:
    (digits / "classes.txt").write_bytes(contents)
    assert said in refused(digits)


@pytest.mark.parametrize("name", IDX_NAMES)
def test_a_missing_file_is_named(digits: Path, name: str) -> None:
    (digits / name).unlink()
    assert f"lacks {name} (or .gz of it)" in refused(digits)


def test_several_missing_files_are_named(digits: Path) -> None:
    for name in IDX_NAMES[1:]:
        (digits / name).unlink()
    assert f"lacks {', '.join(IDX_NAMES[1:])}" in refused(digits)


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TEST_IMAGES])
def test_counts_that_do_not_match(digits: Path, arrays: dict[str, np.ndarray], name: str) -> None:
    write_idx(digits / name, arrays[name][:-1])
    message = refused(digits)
    assert "the counts must match" in message
    assert f"{len(arrays[name]) - 1} images" in message
    assert f"{len(arrays[name])} labels" in message


def test_counts_are_compared_before_anything_is_unpacked(
    digits: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    (digits / TRAIN_IMAGES).unlink()
    write_idx(digits / f"{TRAIN_IMAGES}.gz", arrays[TRAIN_IMAGES][:-1])
    monkeypatch.setattr("diptych.data.idx._gunzip", pytest.fail)
    assert "the counts must match" in refused(digits)


def test_images_and_labels_swapped(digits: Path) -> None:
    images, labels = digits / TRAIN_IMAGES, digits / TRAIN_LABELS
    images.rename(digits / "aside")
    labels.rename(images)
    (digits / "aside").rename(labels)
    assert f"{images} holds a 1-dimensional array of uint8, expected images" in refused(digits)


def test_images_of_floats(digits: Path, arrays: dict[str, np.ndarray]) -> None:
    write_idx(digits / TRAIN_IMAGES, arrays[TRAIN_IMAGES].astype(np.float32))
    assert "3-dimensional array of float32, expected images" in refused(digits)


def test_test_images_of_another_size(digits: Path, arrays: dict[str, np.ndarray]) -> None:
    write_idx(digits / TEST_IMAGES, arrays[TEST_IMAGES][:, :20])
    assert "has images of 20x28, but train-images-idx3-ubyte has 28x28" in refused(digits)


def test_a_test_label_that_training_never_saw(digits: Path, arrays: dict[str, np.ndarray]) -> None:
    labels = arrays[TEST_LABELS].copy()
    labels[7] = 12
    write_idx(digits / TEST_LABELS, labels)
    assert "has the label 12 at position 7, out of range: the training labels give" in refused(
        digits
    )


@pytest.mark.parametrize(("label", "said"), [(-3, "the label -3"), (10**6, "out of range")])
def test_training_labels_out_of_range(
    digits: Path, arrays: dict[str, np.ndarray], label: int, said: str
) -> None:
    labels = arrays[TRAIN_LABELS].astype(np.int32)
    labels[5] = label
    write_idx(digits / TRAIN_LABELS, labels)
    assert said in refused(digits)


def test_one_class_only(digits: Path, arrays: dict[str, np.ndarray]) -> None:
    for name in (TRAIN_LABELS, TEST_LABELS):
        write_idx(digits / name, np.full_like(arrays[name], 3))
    assert "one class only (3)" in refused(digits)


def test_one_training_image(digits: Path, arrays: dict[str, np.ndarray]) -> None:
    for name in (TRAIN_IMAGES, TRAIN_LABELS):
        write_idx(digits / name, arrays[name][:1])
    assert "holds one image" in refused(digits)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(digits: Path) -> None:
    (digits / TRAIN_IMAGES).chmod(0)
    assert "cannot be read" in refused(digits)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_any_damage_to_any_file_is_told_or_gives_valid_data(
    tmp_path: Path, arrays: dict[str, np.ndarray], data: st.DataObject
) -> None:
    victim = data.draw(st.sampled_from(IDX_NAMES))
    gzipped = data.draw(st.booleans())
    for name, array in arrays.items():
        write_idx(tmp_path / name, array)
    (tmp_path / f"{victim}.gz").unlink(missing_ok=True)
    contents = bytearray((tmp_path / victim).read_bytes())
    # Mostly the header, where every byte matters.
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, 16) | st.integers(0, len(contents) - 1))
        contents[min(at, len(contents) - 1)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(contents)) | st.integers(0, len(contents)))
    damaged = bytes(contents[:cut])
    if gzipped:
        (tmp_path / victim).unlink()
        (tmp_path / f"{victim}.gz").write_bytes(gzip.compress(damaged, 1))
    else:
        (tmp_path / victim).write_bytes(damaged)
    try:
        loaded = load_data(tmp_path)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for split in (loaded.train, loaded.validation, loaded.test):
        assert split.images.shape == (len(split), *loaded.image_shape)
        assert 0 <= split.labels.min() <= split.labels.max() < loaded.classes
        assert split.images.sum() >= 0
