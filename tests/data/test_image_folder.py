"""Folders of pictures, one subfolder for each class."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych import cli
from diptych.data import Data, load_data
from diptych.data.drawing import prepare_image
from diptych.data.sizes import with_size
from diptych.errors import InputError


def refused(folder: Path) -> str:
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        load_data(folder)
    return str(raised.value)


def fill(folder: Path, mnist: Data, digits: str = "013", count: int = 12, to: str = ".png") -> Path:
    """A folder a digit with real images of it."""
    for digit in digits:
        (folder / digit).mkdir(parents=True, exist_ok=True)
        chosen = np.flatnonzero(mnist.test.labels == int(digit))[:count]
        for number, at in enumerate(chosen):
            Image.fromarray(mnist.test.images[at, ..., 0]).save(folder / digit / f"{number}{to}")
    return folder


def as_set(*parts: np.ndarray) -> set[bytes]:
    return {image.tobytes() for part in parts for image in part}


def test_real_digits(tmp_path: Path, mnist: Data) -> None:
    data = load_data(fill(tmp_path / "few", mnist))
    assert data.name == "few"
    assert data.source == str(tmp_path / "few")
    assert data.class_names == ("0", "1", "3")
    assert data.image_shape == (28, 28, 1)
    # Of 12 a class: 1 tests, 1 validates, 10 train.
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 3, 3)
    for split in (data.train, data.validation, data.test):
        assert isinstance(split.images, np.memmap)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert len(np.unique(split.labels)) == 3
        for image, label in zip(split.images, split.labels, strict=True):
            matches = (mnist.test.images[:400] == image).all(axis=(1, 2, 3))
            assert str(mnist.test.labels[:400][matches][0]) == data.class_names[label]
    everything = as_set(data.train.images, data.validation.images, data.test.images)
    assert len(everything) == 36
    assert data.train.labels.tolist() != sorted(data.train.labels)


def test_the_split_is_the_same_every_time_and_anywhere(
    tmp_path: Path, mnist: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_data(fill(tmp_path / "a", mnist))
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "another cache"))
    second = load_data(fill(tmp_path / "b", mnist))
    for split in ("train", "validation", "test"):
        assert np.array_equal(getattr(first, split).images, getattr(second, split).images)
        assert np.array_equal(getattr(first, split).labels, getattr(second, split).labels)


def test_pictures_are_decoded_once(
    tmp_path: Path, mnist: Data, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "few", mnist)
    before = load_data(folder)
    monkeypatch.setattr("diptych.data.pictures.open_picture", pytest.fail)
    assert np.array_equal(load_data(folder).train.images, before.train.images)
    monkeypatch.undo()
    monkeypatch.setenv("DIPTYCH_CACHE", str(cache))
    (folder / "0" / "0.png").unlink()
    after = load_data(folder)
    count = sum(len(split) for split in (after.train, after.validation, after.test))
    assert count == 35
    assert len(before.train.images[:]) == 30, "an open map outlives the conversion it is from"
    (shelf,) = (cache / "folders").iterdir()
    assert len(list(shelf.iterdir())) == 1


def test_train_and_test_folders_are_kept(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path / "train", mnist, count=24)
    fill(tmp_path / "test", mnist, count=5)
    data = load_data(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (66, 6, 15)
    assert np.bincount(data.validation.labels).tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", ["validation", "val"])
def test_a_validation_folder_is_kept(tmp_path: Path, mnist: Data, name: str) -> None:
    for part, count in (("train", 8), (name, 3), ("test", 2)):
        fill(tmp_path / part, mnist, count=count)
    data = load_data(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 9, 6)


def test_a_test_class_that_training_lacks(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path / "train", mnist, "01")
    fill(tmp_path / "test", mnist, "012")
    assert f"{tmp_path / 'test' / '2'} is a class that the folder train" in refused(tmp_path)


def test_classes_count_as_people_do(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist, "12")
    (tmp_path / "2").rename(tmp_path / "10")
    (tmp_path / "1").rename(tmp_path / "9")
    fill(tmp_path, mnist, "0").joinpath("0").rename(tmp_path / "none")
    assert load_data(tmp_path).class_names == ("9", "10", "none")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tif", ".webp", ".pgm", ".PNG"])
def test_forms_of_pictures(tmp_path: Path, mnist: Data, suffix: str) -> None:
    fill(tmp_path, mnist, "01", 5)
    for path in list(tmp_path.rglob("*.png")):
        with Image.open(path) as image:
            image.load()
        path.unlink()
        image.save(path.with_suffix(suffix), lossless=True)
    data = load_data(tmp_path)
    # WebP has no grey form.
    assert data.image_shape == (28, 28, 3 if suffix == ".webp" else 1)
    originals = {image.tobytes() for image in mnist.test.images[:400]}
    assert as_set(data.train.images[..., :1]) <= originals


def test_one_colour_picture_makes_all_colour(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist, "01", 5)
    path = tmp_path / "1" / "3.png"
    with Image.open(path) as grey:
        image = grey.convert("RGB")
    image.putpixel((0, 0), (255, 0, 0))
    image.save(path)
    data = load_data(tmp_path)
    assert data.image_shape == (28, 28, 3)
    images = np.concatenate([data.train.images, data.validation.images, data.test.images])
    assert sum(image[0, 0].tolist() == [255, 0, 0] for image in images) == 1
    assert (images[:, 1:] == images[:, 1:, :, :1]).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "I;16", "I"])
def test_grey_forms_have_one_channel(tmp_path: Path, mnist: Data, mode: str) -> None:
    fill(tmp_path, mnist, "01", 5)
    for path in tmp_path.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
        if mode in ("I;16", "I"):
            deep = np.asarray(image).astype(np.uint16) * 257
            changed = Image.fromarray(deep)
        elif mode == "P":
            changed = image.convert("L").copy()
            changed = Image.fromarray(np.asarray(changed)).convert("P")
            changed.putpalette([value for value in range(256) for _ in range(3)])
        else:
            changed = image.convert(mode)
        changed.save(path)
    data = load_data(tmp_path)
    assert data.image_shape == (28, 28, 1)
    if mode != "1":
        originals = {image.tobytes() for image in mnist.test.images[:400]}
        assert as_set(data.train.images) <= originals


def test_hidden_and_other_files_are_left_out(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist, "01", 5)
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").write_text("digits")
    (tmp_path / "0" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "0" / "._0.png").write_bytes(b"\0")
    (tmp_path / "0" / "Thumbs.db").write_bytes(b"\0")
    data = load_data(tmp_path)
    assert data.class_names == ("0", "1")
    assert len(data.train) + len(data.validation) + len(data.test) == 10


def test_an_empty_folder(tmp_path: Path) -> None:
    assert f"{tmp_path} is empty; expected the four IDX files" in refused(tmp_path)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    assert f"{tmp_path} holds no data" in refused(tmp_path)


def test_pictures_without_class_folders(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist, "0")
    assert "pictures but not in class folders" in refused(tmp_path / "0")


def test_one_class_only(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist, "0")
    assert "has one class only (0)" in refused(tmp_path)


def test_an_empty_class(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist)
    (tmp_path / "4").mkdir()
    assert f"the class folder {tmp_path / '4'} holds no pictures" in refused(tmp_path)


def test_too_few_pictures_of_a_class(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist)
    fill(tmp_path, mnist, "4", 2)
    assert "the class 4" in refused(tmp_path)
    assert "too few pictures (2)" in refused(tmp_path)


def test_mixed_sizes_name_the_first_two_that_differ(tmp_path: Path, mnist: Data) -> None:
    fill(tmp_path, mnist)
    for name in ("1/10.png", "3/2.png"):
        Image.new("L", (30, 28)).save(tmp_path / name)
    assert (
        f"different sizes: {tmp_path / '0/0.png'} is 28x28, {tmp_path / '1/10.png'} is 30x28"
        in refused(tmp_path)
    )
    assert "--size 28x28" in refused(tmp_path)


def photographs(folder: Path) -> Path:
    """Pictures of different sizes and colours, two classes of three."""
    sizes = [(40, 30), (30, 40), (64, 64), (7, 5), (28, 28), (100, 20)]
    draw = np.random.Generator(np.random.Philox(0))
    for number, (width, height) in enumerate(sizes):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[number % 2] / f"{number}.png")
    return folder


def test_pictures_of_different_sizes_are_scaled_as_predict_scales_them(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photographs")
    data = load_data(folder, size=(24, 16))
    assert data.image_shape == (16, 24, 3)
    assert (data.name, data.source) == ("photographs", f"{folder}@24x16")
    scaled, expected = set(), set()
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            expected.add(prepare_image(image, (16, 24, 3), data.name).tobytes())
    for split in (data.train, data.validation, data.test):
        scaled |= as_set(split.images)
    assert scaled == expected
    assert len(scaled) == 6


def test_scaling_keeps_what_is_even_and_halves_what_is_twice_as_large(tmp_path: Path) -> None:
    for number, grey in enumerate([10, 90, 200] * 2):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        pixels = np.full((20 + number, 31, 1), grey, np.uint8)[..., 0]
        pixels[:, 16:] = 0
        Image.fromarray(pixels).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    images = load_data(tmp_path, size=8).train.images
    assert images.shape[1:] == (8, 8, 1)
    assert set(images[:, :, :2].ravel()) <= {10, 90, 200}
    assert not images[:, :, 6:].any()


def test_a_source_with_a_size_gives_the_same_data_again(tmp_path: Path) -> None:
    data = load_data(photographs(tmp_path / "few"), size=12)
    again = load_data(data.source)
    assert again.source == data.source
    assert np.array_equal(again.train.images, data.train.images)
    other = load_data(tmp_path / "few", size=13)
    assert other.image_shape == (13, 13, 3)
    assert np.array_equal(load_data(data.source).test.images, data.test.images)
    assert other.files[0].exists()
    assert data.files[0].exists(), "a training may be reading it"


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (0, "size 0x0: expected between 1 and 64,000,000 pixels"),
        ((-3, -3), "size -3x-3: expected between 1"),
        ((8_001, 8_000), "size 8001x8000: expected between 1"),
        ("12 x 4", "size 12 x 4: expected a number of pixels, or WIDTHxHEIGHT"),
        ("x4", "size x4: expected a number"),
    ],
)
def test_a_size_that_is_none(tmp_path: Path, size: Any, problem: str) -> None:
    with pytest.raises(InputError, match=f"^{problem}"):
        load_data(with_size(photographs(tmp_path), size))


def test_what_has_one_size_is_not_scaled(tmp_path: Path, few_digits: Path) -> None:
    for source in ("mnist", few_digits):
        with pytest.raises(InputError, match="have one size already"):
            load_data(source, size=14)
    (tmp_path / "photographs@9x9").mkdir()
    folder = photographs(tmp_path / "photographs@9x9")
    assert load_data(folder, size=7).image_shape == (7, 7, 3), "a folder of that name comes first"


def test_the_command_line_takes_a_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photographs(tmp_path / "photographs")
    monkeypatch.chdir(tmp_path)
    for size, shape in (("12x8", "12x8"), ("9", "9x9")):
        with pytest.raises(SystemExit) as ended:
            cli.main(["data", "info", "photographs", "--size", size, "--json", "-"])
        assert ended.value.code == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["source"] == f"{folder}@{shape}"


def test_a_picture_cut_short_is_named(tmp_path: Path, mnist: Data, cache: Path) -> None:
    path = fill(tmp_path, mnist, to=".bmp") / "1" / "4.bmp"
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} cannot be read as a picture" in refused(tmp_path)
    (shelf,) = (cache / "folders").iterdir()
    assert not list(shelf.iterdir()), "nothing half-done is left"


def test_something_that_is_no_picture_is_named(tmp_path: Path, mnist: Data) -> None:
    path = fill(tmp_path, mnist) / "1" / "4.png"
    path.write_text("not a picture")
    assert f"{path} is not a picture" in refused(tmp_path)


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, mnist: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache should be")
    monkeypatch.setenv("DIPTYCH_CACHE", str(blocked))
    assert "set DIPTYCH_CACHE" in refused(fill(tmp_path / "few", mnist))
