"""Messages between a worker's parent and its child: a JSON header and arrays, with NumPy alone.

Arrays travel in the layout of safetensors
(https://huggingface.co/docs/safetensors/index#format), never as pickle. It is written and read
here so that a child needs no more than NumPy and its own framework; tests hold it to the library.
"""

import json
import math
import struct
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

Arrays = dict[str, np.ndarray]

LENGTHS = struct.Struct("!QQ")
LENGTH = struct.Struct("<Q")
LONGEST_HEADER = 100_000_000
"""Bytes of a header, as the safetensors library limits it."""
METADATA = "__metadata__"
"""The key of a safetensors header that is no array's name."""
TYPES = {
    **{"BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "F16": "<f2"},
    **{"U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8"},
    "C64": "<c8",
}
"""NumPy's types by the format's names. NumPy has no bfloat16 and no float8."""
NAMES = {np.dtype(name): key for key, name in TYPES.items()}


class Sink(Protocol):
    """The end of a pipe that is written to."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


class Source(Protocol):
    """The end of a pipe that is read from."""

    def read(self, size: int, /) -> bytes:
        """Reads so many bytes, or fewer where the other end was closed."""
        ...


def send(pipe: Sink, header: dict[str, Any], arrays: Arrays | None = None) -> None:
    """Writes one message: two lengths, the header as JSON, the arrays as safetensors."""
    text = json.dumps(header).encode()
    body = list(pack(arrays)) if arrays else []
    lengths = LENGTHS.pack(len(text), sum(map(len, body)))
    pipe.write(b"".join([lengths, text, *body]))  # At once, or two threads' messages could mix.
    pipe.flush()


def receive(pipe: Source) -> tuple[dict[str, Any], Arrays] | None:
    """Reads one message; None where the other process has gone.

    Raises:
        ValueError: what came is no message.
    """
    lengths = pipe.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    header_length, body_length = LENGTHS.unpack(lengths)
    header, body = pipe.read(header_length), pipe.read(body_length)
    if len(header) < header_length or len(body) < body_length:
        return None
    return json.loads(header), unpack(body) if body else {}


def pack(arrays: Arrays) -> Iterator[bytes | memoryview]:
    """Gives the pieces of a safetensors file: its length, its header, and each array.

    Raises:
        TypeError: an array has a type that NumPy and the format don't share. Send bfloat16 as
            uint16, by a name that says so.
        ValueError: the header is longer than the format allows, or an array has its reserved name.
    """
    if METADATA in arrays:
        raise ValueError(f"an array cannot be called {METADATA}: the format has that name already")
    # Wide numbers first, so that each array starts at a multiple of its item's size.
    given = [(name, np.asarray(array)) for name, array in arrays.items()]
    header, start, contents = {}, 0, []
    for name, array in sorted(given, key=lambda item: (-item[1].itemsize, item[0])):
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise TypeError(f"array {name!r} of type {array.dtype} cannot be sent")
        whole = np.asarray(array, dtype, order="C")
        header[name] = {
            "dtype": NAMES[dtype],
            "shape": list(whole.shape),
            "data_offsets": [start, start + whole.nbytes],
        }
        start += whole.nbytes
        contents.append(whole.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise ValueError(f"a header of {len(text):,} bytes; expected up to {LONGEST_HEADER:,}")
    yield LENGTH.pack(len(text)) + text
    yield from contents


def unpack(body: bytes) -> Arrays:
    """Reads the arrays of a safetensors file, each in memory of its own.

    Raises:
        ValueError: it is none, or it has an array of a type that NumPy lacks.
    """
    (length,) = LENGTH.unpack_from(body.ljust(LENGTH.size, b"\0"))
    data = memoryview(body)[LENGTH.size + length :]
    if length > LONGEST_HEADER or len(body) < LENGTH.size + length:
        raise ValueError(f"a header of {length:,} bytes in {len(body):,}")
    header = json.loads(body[LENGTH.size : LENGTH.size + length])
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    header.pop(METADATA, None)
    arrays, end = {}, 0
    try:
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            dtype, (start, stop) = np.dtype(TYPES[entry["dtype"]]), entry["data_offsets"]
            shape = tuple(entry["shape"])
            if not all(type(size) is int and size >= 0 for size in shape):
                raise ValueError(f"array {name!r} has the shape {shape}")
            if start != end or stop - start != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"array {name!r} is not where its header says")
            if stop > len(data):
                raise ValueError(f"array {name!r} is cut off")
            arrays[name] = np.frombuffer(data[start:stop], dtype).reshape(shape).copy()
            end = stop
    except (KeyError, TypeError, OverflowError) as problem:
        raise ValueError(f"the header does not describe arrays ({problem!r})") from problem
    if end != len(data):
        raise ValueError(f"{len(data) - end:,} bytes belong to no array")
    return arrays
