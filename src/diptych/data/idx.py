"""The IDX file format: a big-endian header, then the array as C lays it out.

Two zero bytes, a byte for the element's type, a byte for the number of dimensions, each dimension
as four bytes, then the elements (Y. LeCun, "The MNIST database of handwritten digits",
http://yann.lecun.com/exdb/mnist/, section "the IDX file format").

Files come from anywhere, so nothing that a header says is believed before it is checked, and
nothing is decompressed past what the header promises.
"""

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.errors import InputError

ELEMENTS = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

# Deflate spends at least 1 bit on 129 bytes of output, so 1032:1 is the most it can ever do
# (M. Adler, zlib technical details). A header that promises more is lying.
MOST_INFLATION = 1032
# A gzipped file has to be held in memory whole. Beyond this it should be unpacked and mapped.
MOST_INFLATED_BYTES = 4 * 2**30


@dataclass(frozen=True)
class IdxFile:
    """An IDX file whose header has been read and checked against the file's size.

    Attributes:
        path: where it is.
        shape: the array's shape, one to four dimensions, each at least 1.
        dtype: the elements' type, big-endian.
        offset: where the elements begin, in bytes, once decompressed.
        gzipped: whether the file is compressed.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    gzipped: bool

    @property
    def promised_bytes(self) -> int:
        """The file's size, decompressed, if its header is right."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """The array, read-only: a memory map of a plain file, else decompressed into memory.

        Raises:
            InputError: the compressed contents are damaged, or not as long as promised.
        """
        if not self.gzipped:
            try:
                return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
            except (OSError, ValueError) as error:
                raise InputError(f"{self.path} cannot be memory-mapped: {error}") from error
        contents = _gunzip(self.path, self.promised_bytes)
        array = np.frombuffer(contents, self.dtype, offset=self.offset).reshape(self.shape)
        array.flags.writeable = False
        return array


def open_idx(path: Path) -> IdxFile:
    """Read and check the header of an IDX file, plain or gzipped (by its first bytes).

    Raises:
        InputError: not readable, not an IDX file, a dimension of zero, or a plain file that is
            shorter or longer than its header says, or a gzipped one that cannot be that long.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(20)
        gzipped = head[:2] == b"\x1f\x8b"
        if gzipped:
            with gzip.open(path, "rb") as file:
                head = file.read(20)
        elif path.suffix == ".gz" and size:
            raise InputError(f"{path} is not a gzip file; unpacked already? Then drop the .gz")
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    file = parse_header(head, path, gzipped=gzipped)
    if gzipped:
        _check_promise(file, size)
    elif size != file.promised_bytes:
        raise InputError(_wrong_length(path, file.promised_bytes, size))
    return file


def parse_header(head: bytes, path: Path, *, gzipped: bool = False) -> IdxFile:
    """Read an IDX header from the first bytes of a file (20 are enough for four dimensions).

    Raises:
        InputError: a wrong magic number, too few bytes, or a dimension of zero.
    """
    if len(head) < 4:
        raise InputError(f"{path} is truncated: {len(head)} bytes, an IDX header has at least 8")
    zeros, element, dimensions = head[:2], head[2], head[3]
    if zeros != b"\0\0" or element not in ELEMENTS or not 1 <= dimensions <= 4:
        raise InputError(
            f"{path} has the wrong magic number 0x{head[:4].hex()}, expected an IDX file: "
            "0x00000801 for labels, 0x00000803 or 0x00000804 for images"
        )
    offset = 4 + 4 * dimensions
    if len(head) < offset:
        raise InputError(f"{path} is truncated: {len(head)} bytes, its header has {offset}")
    shape = tuple(int(size) for size in np.frombuffer(head[4:offset], ">u4"))
    if 0 in shape:
        raise InputError(f"{path} holds nothing: its header gives the shape {_times(shape)}")
    return IdxFile(path, shape, ELEMENTS[element], offset, gzipped)


def parse_idx(contents: bytes, path: Path) -> np.ndarray:
    """The array in the contents of a whole IDX file, read-only and not copied.

    Raises:
        InputError: as ``open_idx``.
    """
    file = parse_header(contents[:20], path)
    if len(contents) != file.promised_bytes:
        raise InputError(_wrong_length(path, file.promised_bytes, len(contents)))
    return np.frombuffer(contents, file.dtype, offset=file.offset).reshape(file.shape)


def idx_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The header of an IDX file that holds an array of this shape and type."""
    big_endian = np.dtype(dtype).newbyteorder(">")
    element = next(code for code, known in ELEMENTS.items() if known == big_endian)
    return bytes([0, 0, element, len(shape)]) + np.array(shape, ">u4").tobytes()


def write_idx(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write an array of one to four dimensions as an IDX file, gzipped if the name ends in .gz."""
    contents = array.astype(array.dtype.newbyteorder(">")).tobytes()
    path = Path(path)
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        file.write(idx_header(array.shape, array.dtype) + contents)


def _check_promise(file: IdxFile, size: int) -> None:
    promised = file.promised_bytes
    if promised > MOST_INFLATION * size:
        raise InputError(
            f"{file.path} is truncated or made up: its header promises {promised:,} bytes, "
            f"more than gzip can pack into its {size:,}"
        )
    if promised > MOST_INFLATED_BYTES:
        raise InputError(
            f"{file.path} unpacks to {promised:,} bytes, more than is read into memory; "
            f"unpack it first (gunzip {file.path.name}), then it is memory-mapped"
        )


def _gunzip(path: Path, promised: int) -> bytearray:
    filled = 0
    try:
        contents = bytearray(promised)
        with gzip.open(path, "rb") as file, memoryview(contents) as view:
            while filled < promised and (count := file.readinto(view[filled : filled + 2**20])):
                filled += count
            # One byte more shows whether there is more, and makes gzip check its checksum.
            too_long = bool(file.read(1))
    except MemoryError as error:
        raise InputError(f"{path} unpacks to {promised:,} bytes, more than memory has") from error
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path} is damaged or truncated: {error}") from error
    if too_long:
        raise InputError(f"{path} is longer than the {promised:,} bytes its header promises")
    if filled < promised:
        raise InputError(_wrong_length(path, promised, filled))
    return contents


def _wrong_length(path: Path, promised: int, size: int) -> str:
    what = "is truncated" if size < promised else "is longer than its header says"
    return f"{path} {what}: {size:,} bytes, its header promises {promised:,}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
