"""Messages between processes, held to the safetensors library."""

import io
import json
import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors import SafetensorError
from safetensors.numpy import load, save

from diptych.transport import METADATA, pack, receive, send, unpack

HEADERS = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=20)
)
DTYPES = st.one_of(
    arrays_of.boolean_dtypes(),
    arrays_of.integer_dtypes(),
    arrays_of.unsigned_integer_dtypes(),
    arrays_of.floating_dtypes(sizes=(16, 32, 64)),
)
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.dictionaries(st.text(max_size=5), arrays_of.arrays(DTYPES, SHAPES), max_size=3)


@given(st.lists(st.tuples(HEADERS, ARRAYS), max_size=3))
def test_messages_come_out_as_they_went_in(messages: list[tuple[dict, dict]]) -> None:
    pipe = io.BytesIO()
    for header, arrays in messages:
        send(pipe, header, arrays)
    pipe.seek(0)
    for header, arrays in messages:
        found = receive(pipe)
        assert found
        assert found[0] == header
        assert found[1].keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[1][name].shape == array.shape
            assert found[1][name].dtype == array.dtype.newbyteorder("=")
            assert np.array_equal(found[1][name], array, equal_nan=array.dtype.kind == "f")
    assert receive(pipe) is None


@given(st.data())
def test_a_message_that_was_cut_off_is_no_message(data: st.DataObject) -> None:
    pipe = io.BytesIO()
    send(pipe, {"a": 1}, {"b": np.arange(10)})
    cut = data.draw(st.integers(0, len(pipe.getvalue()) - 1))
    assert receive(io.BytesIO(pipe.getvalue()[:cut])) is None


def test_arrays_that_are_views_are_sent_as_they_look() -> None:
    whole = np.arange(24).reshape(2, 3, 4)
    for view in (whole.T, whole[:, ::2], whole[::-1], np.broadcast_to(np.arange(4), (3, 4))):
        pipe = io.BytesIO()
        send(pipe, {}, {"view": view})
        pipe.seek(0)
        _, found = receive(pipe) or ({}, {})
        assert np.array_equal(found["view"], view)


def same(some: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> bool:
    return some.keys() == others.keys() and all(
        one.shape == other.shape
        and one.dtype == other.dtype.newbyteorder("=")
        and one.tobytes() == other.astype(one.dtype).tobytes()
        for name, one in some.items()
        for other in [others[name]]
    )


@given(ARRAYS)
def test_the_library_reads_what_is_packed(arrays: dict[str, np.ndarray]) -> None:
    assert same(load(b"".join(pack(arrays))), arrays)


@given(ARRAYS)
def test_what_the_library_writes_is_read(arrays: dict[str, np.ndarray]) -> None:
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    unpacked = unpack(save(whole, {"some": "metadata"}))
    assert same(unpacked, arrays)
    assert all(array.flags.writeable and array.flags.aligned for array in unpacked.values())


def test_complex_numbers_travel() -> None:
    arrays = {"z": np.array([1 + 2j, -3j], np.complex64)}
    assert same(load(b"".join(pack(arrays))), arrays)
    assert same(unpack(save(arrays)), arrays)


TWO = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.uint8)}


@given(st.integers(0, 2**32), st.binary(min_size=1, max_size=3))
def test_damage_is_seen_where_the_library_sees_it(position: int, junk: bytes) -> None:
    """Whatever the library refuses is refused, and what both read is the same."""
    whole = bytearray(save(TWO))
    position %= len(whole)
    whole[position : position + len(junk)] = junk
    try:
        theirs = load(bytes(whole))
    except (SafetensorError, KeyError, ValueError):
        with pytest.raises(ValueError):
            unpack(bytes(whole))
    else:
        assert same(unpack(bytes(whole)), theirs)


def body(header: Any, data: bytes = bytes(32)) -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str = "F32", shape: Any = (8,), offsets: Any = (0, 32)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\1\0\0",
        body({"a": entry()})[:-1],
        body({"a": entry()}) + b"more",
        struct.pack("<Q", 100_000_001) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        body([]),
        body(b"{"),
        body({"a": {}}),
        body({"a": []}),
        body({"a": entry("F8_E4M3", (32,))}),
        body({"a": entry(shape=(9,))}),
        body({"a": entry(shape=(-2, -4))}),
        body({"a": entry(shape=(2.0, 4))}),
        body({"a": entry(shape=(2**62, 2**62))}),
        body({"a": entry(offsets=(0, 64), shape=(16,))}),
        body({"a": entry(shape=(4,), offsets=(16, 32))}),
        body({"a": entry(), "b": entry()}),
        body({"a": entry(shape=(4,), offsets=(0, 16)), "b": entry(shape=(5,), offsets=(12, 32))}),
    ],
    ids=range(19),
)
def test_what_is_no_safetensors_is_refused(damaged: bytes) -> None:
    with pytest.raises((SafetensorError, KeyError, ValueError)):
        load(damaged)
    with pytest.raises(ValueError):
        unpack(damaged)


def test_what_cannot_be_packed() -> None:
    for dtype in (ml_dtypes.bfloat16, np.complex128, "U3", object):
        with pytest.raises(TypeError, match="array 'a' of type"):
            list(pack({"a": np.zeros(2, dtype)}))
    with pytest.raises(ValueError, match=METADATA):
        list(pack({METADATA: np.zeros(2)}))
