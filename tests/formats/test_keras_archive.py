"""Keras' own files, opened for Keras to build the model, without running code from them."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from diptych.errors import InputError
from diptych.formats.keras.archive import from_file


def saved(path: Path, *more: keras.Layer) -> Path:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="out"), *more])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.save(path)
    return path


def with_weights(path: Path, config: bytes, write: Callable[[h5py.File], Any]) -> Path:
    """A file with the given description and weights."""
    contents = io.BytesIO()
    with h5py.File(contents, "w") as file:
        write(file)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", config)
        file.writestr("model.weights.h5", contents.getvalue())
    return path


def test_a_file_is_built_as_it_was_saved(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.keras")
    model = from_file(path)()
    assert model.compiled
    x, expected = np.ones((2, 3), np.float32), cast(Any, keras.saving.load_model(path))
    np.testing.assert_array_equal(model(x), expected(x))


@keras.saving.register_keras_serializable("ours")
class Doubled(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 2


def test_a_file_never_runs_code(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    trap = layers.Lambda(lambda x, path=str(ran): (Path(path).touch(), x)[1], name="trap")
    path = saved(tmp_path / "model.keras", trap)
    ran.unlink()
    with pytest.raises(InputError, match=r"Lambda 'trap', and loading a file never runs code"):
        from_file(path)()
    assert not ran.exists()
    own = saved(tmp_path / "own.keras", Doubled(name="twice"))
    with pytest.raises(InputError, match=r"code of its own for Doubled 'twice'"):
        from_file(own)()


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, content in (("text.keras", b"text"), ("empty.keras", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is damaged, or not what its name says"):
            from_file(tmp_path / name)()
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as file:
        file.writestr("config.txt", "{}")
    with pytest.raises(InputError, match=r"not a whole \.keras file"):
        from_file(tmp_path / "other.keras")()
    whole = saved(tmp_path / "whole.keras")
    with zipfile.ZipFile(whole) as file, zipfile.ZipFile(tmp_path / "part.keras", "w") as part:
        part.writestr("config.json", file.read("config.json"))
        part.writestr("metadata.json", file.read("metadata.json"))
    with pytest.raises(InputError, match=r"not a whole \.keras file .*model\.weights\.h5"):
        from_file(tmp_path / "part.keras")()
    (tmp_path / "model.h5").write_bytes(b"\x89HDF")
    with pytest.raises(InputError, match=r"not a \.keras file, and others \(HDF5, pickle\)"):
        from_file(tmp_path / "model.h5")
    with pytest.raises(InputError, match="is not a file"):
        from_file(tmp_path / "none.keras")


@pytest.mark.parametrize(
    "config, array, said",
    [
        (bytes(130 * 2**20), 4, "config.json would be 130 MiB unpacked"),
        (b"{}", 2**40, "its arrays would be 4,194,304 MiB, but 0.0 are in the file"),
        (b"[" * 100_000, 4, r"not a whole \.keras file"),
    ],
)
def test_files_that_would_take_too_much(
    config: bytes, array: int, said: str, tmp_path: Path
) -> None:
    def write(file: h5py.File) -> None:
        # Nothing is stored of an array in chunks until it is written to.
        file.create_dataset("layers/dense/vars/0", (array,), "f4", chunks=True, compression=9)

    path = with_weights(tmp_path / "x.keras", config, write)
    assert path.stat().st_size < 2**18
    with pytest.raises(InputError, match=said):
        from_file(path)()


def test_weights_that_are_elsewhere(tmp_path: Path) -> None:
    """Keras would follow them to files of the person's."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["k"] = np.ones((4, 2), np.float32)
    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "k", (4, 2))
    outside = [(str(secret), 0, 32)]
    writers: list[Callable[[h5py.File], Any]] = [
        lambda file: file.__setitem__("layers/dense", h5py.ExternalLink(str(secret), "/")),
        lambda file: file.__setitem__("layers/dense", h5py.SoftLink("/")),
        lambda file: file.create_dataset("layers/dense", (4, 2), "f4", external=outside),
        lambda file: file.create_virtual_dataset("layers/dense", layout),
    ]
    for write in writers:
        path = with_weights(tmp_path / "x.keras", b"{}", write)
        with pytest.raises(InputError, match="weights layers/dense are not in the file itself"):
            from_file(path)()


def test_weights_that_contain_themselves(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        group = file.create_group("layers")
        group["layers"] = group

    path = with_weights(tmp_path / "x.keras", b"{}", write)
    with pytest.raises(InputError, match="cannot be loaded"):
        from_file(path)()
