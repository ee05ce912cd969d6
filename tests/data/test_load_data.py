import hashlib
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diptych.data import Data, known_data, load_data
from diptych.data.embedded import FOLDER
from diptych.errors import InputError

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@pytest.mark.parametrize("name", SHA256)
def test_the_embedded_files_are_the_authors(name: str) -> None:
    contents = lzma.decompress((FOLDER / f"{name}.xz").read_bytes())
    assert hashlib.sha256(contents).hexdigest() == SHA256[name]


def test_mnist_is_split_as_the_article_split_it(mnist: Data) -> None:
    assert (mnist.name, mnist.source) == ("mnist", "mnist")
    assert mnist.image_shape == (28, 28, 1)
    assert mnist.classes == 10
    assert mnist.class_names == tuple("0123456789")
    for split, count in ((mnist.train, 55_000), (mnist.validation, 5_000), (mnist.test, 10_000)):
        assert split.images.shape == (count, 28, 28, 1)
        assert split.images.dtype == np.uint8
        assert split.labels.shape == (count,)
        assert split.labels.dtype == np.int64
        assert len(split) == count
        assert not split.images.flags.writeable
        assert not split.labels.flags.writeable
        assert set(np.unique(split.labels)) == set(range(10))
    # The first labels of the original training and test files.
    assert mnist.validation.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert mnist.test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]


def test_mnist_says_whose_it_is(mnist: Data) -> None:
    notice = (FOLDER / "NOTICE").read_text()
    for word in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0"):
        assert word in notice
        assert word in mnist.notice


def test_importing_is_quick_and_imports_nothing_heavy() -> None:
    heavy = ["tensorflow", "keras", "torch", "jax", "PIL", "scipy", "platformdirs", "http"]
    code = f"import sys, diptych.data; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr


def test_known_data_are_listed() -> None:
    known = {each.name: each for each in known_data()}
    assert set(known) == {"mnist", "fashion-mnist"}
    assert known["mnist"].offline


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mnits", "did you mean mnist?"),
        ("MNIST", "did you mean mnist?"),
        ("fashion_mnist", "did you mean fashion-mnist?"),
        ("cifar", "known are mnist, fashion-mnist"),
        ("", "known are mnist, fashion-mnist"),
        ("no/such/folder", "no folder 'no/such/folder'"),
        ("nul\0byte", "no data set or folder"),
        ("x" * 5000, "no data set or folder"),
        (Path("mnits"), "did you mean mnist?"),
        (__file__, "is a file, expected a folder"),
    ],
)
def test_unknown_data(given: str | Path, said: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        load_data(given)
    assert said in str(raised.value)


def test_a_folder_is_given_relative_and_kept_absolute(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(digits.parent)
    data = load_data(os.path.join(".", "digits", ""))  # noqa: PTH118
    assert data.name == "digits"
    assert data.source == str(digits)
    monkeypatch.chdir("/")
    assert np.array_equal(load_data(data.source).train.images, data.train.images)


def test_a_name_wins_over_a_folder(
    digits: Path, mnist: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.rename(digits.with_name("mnist"))
    monkeypatch.chdir(digits.parent)
    assert len(load_data("mnist").train) == len(mnist.train)
    assert len(load_data("./mnist").train) == 55
