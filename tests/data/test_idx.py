import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from diptych.data.idx import ELEMENTS, open_idx, parse_idx, write_idx
from diptych.errors import InputError

SOME_ARRAYS = st.sampled_from([element.newbyteorder("=") for element in ELEMENTS.values()]).flatmap(
    lambda dtype: arrays_of.arrays(
        dtype, arrays_of.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9)
    )
)


@given(SOME_ARRAYS, st.sampled_from(["images", "images.gz"]))
def test_what_is_written_is_read(array: np.ndarray, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_idx(path, array)
        read = open_idx(path).read()
        assert read.shape == array.shape
        assert read.dtype == array.dtype.newbyteorder(">")
        assert read.tobytes() == array.astype(read.dtype).tobytes()
        assert not read.flags.writeable
        assert isinstance(read, np.memmap) == (name == "images")
        contents = gzip.decompress(path.read_bytes()) if path.suffix else path.read_bytes()
        assert parse_idx(contents, path).tobytes() == read.tobytes()


@given(SOME_ARRAYS, st.booleans(), st.data())
def test_any_truncation_is_told(array: np.ndarray, gzipped: bool, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.gz" if gzipped else "images")
        write_idx(path, array)
        contents = path.read_bytes()
        path.write_bytes(contents[: data.draw(st.integers(0, len(contents) - 1))])
        with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
            open_idx(path).read()
        assert str(path) in str(raised.value)


@settings(max_examples=200)
@given(SOME_ARRAYS, st.booleans(), st.data())
def test_any_damage_is_told_or_harmless(
    array: np.ndarray, gzipped: bool, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.gz" if gzipped else "images")
        write_idx(path, array)
        contents = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(contents + data.draw(st.binary(max_size=3)))
        try:
            read = open_idx(path).read()
        except InputError as error:
            assert str(path) in str(error)
        else:
            # A gzip file proves its contents; only its header's name and date can have changed.
            assert not gzipped or read.tobytes() == array.astype(read.dtype).tobytes()


def _idx(*shape: int, magic: int = 0x0803) -> bytes:
    return struct.pack(f">i{len(shape)}I", magic, *shape)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "wrong magic number 0x89504e47"),
        (_idx(2, 2, 2, magic=0x0A03) + bytes(8), "wrong magic number 0x00000a03"),
        (_idx(2, 2, 2, magic=0x0805) + bytes(99), "wrong magic number 0x00000805"),
        (_idx(2, 2, 2) + bytes(7), "is truncated: 23 bytes, its header promises 24"),
        (_idx(2, 2, 2) + bytes(9), "is longer than its header says: 25 bytes"),
        (_idx(0, 2, 2), "holds nothing: its header gives the shape 0x2x2"),
        (_idx(1, 0, 2), "holds nothing: its header gives the shape 1x0x2"),
        (_idx(2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(8), "is truncated"),
        (_idx(2, 2), "is truncated"),
        (gzip.compress(_idx(2, 2, 2) + bytes(7), mtime=0), "is truncated"),
        (gzip.compress(_idx(2, 2, 2) + bytes(9), mtime=0), "is longer than the 24 bytes"),
        (gzip.compress(_idx(2, 2, 2) + bytes(8), mtime=0)[:-9], "damaged or truncated"),
        (b"\x1f\x8b", "cannot be read"),
        (b"\x1f\x8b\x08" + bytes(20), "cannot be read"),
    ],
)
def test_bad_files_get_one_line(tmp_path: Path, contents: bytes, said: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        open_idx(path).read()
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_plain_file_called_gz(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(_idx(2, magic=0x0801) + bytes(2))
    with pytest.raises(InputError, match="not a gzip file"):
        open_idx(path)


def test_a_promise_that_gzip_cannot_keep_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(_idx(60_000, 28, 28) + bytes(1000)))
    with pytest.raises(InputError, match="more than gzip can pack into"):
        open_idx(path)


def test_a_promise_beyond_memory_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.data.idx.MOST_INFLATED_BYTES", 10_000)
    path = tmp_path / "images.gz"
    write_idx(path, np.zeros((100, 28, 28), np.uint8))
    with pytest.raises(InputError, match="unpack it first"):
        open_idx(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MB of zeros after a header that promises 8 bytes: next to none of them is read."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(_idx(2, 2, 2) + bytes(2**26)))
    taken = []
    read = gzip.GzipFile.read

    def counting(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        chunk = read(self, size)
        taken.append(len(chunk))
        return chunk

    monkeypatch.setattr(gzip.GzipFile, "read", counting)
    file = open_idx(path)
    with pytest.raises(InputError, match="longer than the 24 bytes"):
        file.read()
    assert sum(taken) < 100


def test_gzip_in_several_members_and_with_padding(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(_idx(2, 2, 2)) + gzip.compress(bytes(range(8))) + bytes(5))
    assert open_idx(path).read().tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
