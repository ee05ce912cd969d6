import gzip
import hashlib
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mirror import Mirror, serving

from diptych.data.download import Published, fetch
from diptych.errors import InputError

CONTENTS = np.random.default_rng(0).integers(0, 256, 300_000).astype(np.uint8).tobytes()
PACKED = gzip.compress(CONTENTS, mtime=0)
FILE = Published("digits", len(CONTENTS), hashlib.sha256(CONTENTS).hexdigest())
HOLDS = {"digits.gz": PACKED}


@pytest.fixture
def dead() -> str:
    """The address of a mirror where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def whole(folder: Path) -> bool:
    """The file is there, right, and alone."""
    return [each.name for each in folder.iterdir()] == ["digits"] and (
        folder / "digits"
    ).read_bytes() == CONTENTS


def test_a_download(tmp_path: Path) -> None:
    with serving(Mirror(HOLDS)) as mirror:
        assert fetch(FILE, [mirror.url + "/"], tmp_path) == tmp_path / "digits"
        assert whole(tmp_path)
        fetch(FILE, [mirror.url], tmp_path)
        assert mirror.requests == [("digits.gz", None)], "what is there is not fetched again"


def test_a_connection_cut_halfway_goes_on_from_there(tmp_path: Path) -> None:
    with serving(Mirror(HOLDS, cut_after=100_000, cuts=2)) as mirror:
        fetch(FILE, [mirror.url], tmp_path)
        assert whole(tmp_path)
        assert [wanted for _, wanted in mirror.requests] == [
            None,
            "bytes=100000-",
            "bytes=200000-",
        ]


def test_a_mirror_that_keeps_cutting_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    with (
        serving(Mirror(HOLDS, cut_after=1000, cuts=99)) as bad,
        serving(Mirror(HOLDS)) as good,
    ):
        fetch(FILE, [bad.url, good.url], tmp_path)
        assert whole(tmp_path)
        assert good.requests == [("digits.gz", "bytes=3000-")]


def test_what_an_earlier_call_left_is_used(tmp_path: Path) -> None:
    with serving(Mirror(HOLDS, cut_after=1000, cuts=3)) as mirror:
        with pytest.raises(InputError, match="the connection was cut"):
            fetch(FILE, [mirror.url], tmp_path)
        assert (tmp_path / "digits.gz.partial").stat().st_size == 3000
        fetch(FILE, [mirror.url], tmp_path)
        assert whole(tmp_path)
        assert mirror.requests[-1] == ("digits.gz", "bytes=3000-")


def test_a_mirror_without_ranges(tmp_path: Path) -> None:
    (tmp_path / "digits.gz.partial").write_bytes(PACKED[:5000])
    with serving(Mirror(HOLDS, ranges=False)) as mirror:
        fetch(FILE, [mirror.url], tmp_path)
    assert whole(tmp_path)


def test_all_had_arrived_but_was_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "digits.gz.partial").write_bytes(PACKED)
    with serving(Mirror(HOLDS)) as mirror:
        fetch(FILE, [mirror.url], tmp_path)
    assert whole(tmp_path)


@pytest.mark.parametrize("left", [b"rubbish", b"\0" * 400_000, PACKED[::-1]])
def test_rubbish_left_behind_is_fetched_again(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "digits.gz.partial").write_bytes(left)
    with serving(Mirror(HOLDS)) as mirror:
        fetch(FILE, [mirror.url], tmp_path)
    assert whole(tmp_path)


OTHER = bytearray(CONTENTS)
OTHER[1234] ^= 1


@pytest.mark.parametrize(
    "corrupt",
    [
        PACKED[:-1] + bytes([PACKED[-1] ^ 1]),
        gzip.compress(bytes(OTHER), mtime=0),
        gzip.compress(CONTENTS + b"\0", mtime=0),
        gzip.compress(bytes(2**24), mtime=0),
        b"<html>Please log in to this network</html>",
        b"",
    ],
)
def test_a_corrupt_file_is_not_taken(tmp_path: Path, corrupt: bytes) -> None:
    with serving(Mirror({"digits.gz": corrupt})) as bad, serving(Mirror(HOLDS)) as good:
        fetch(FILE, [bad.url, good.url], tmp_path)
        assert whole(tmp_path)
        assert good.requests == [("digits.gz", None)], "nothing corrupt is gone on from"
    (tmp_path / "digits").unlink()
    with serving(Mirror({"digits.gz": corrupt})) as bad:
        with pytest.raises(InputError, match="a damaged file"):
            fetch(FILE, [bad.url], tmp_path)
        assert not (tmp_path / "digits").exists()


def test_a_mirror_that_never_stops_is_left(tmp_path: Path) -> None:
    endless = Mirror({"digits.gz": bytes(2**23)}, length=False)
    with serving(endless), pytest.raises(InputError, match="sends more than the file has"):
        fetch(FILE, [endless.url], tmp_path)
    assert (tmp_path / "digits.gz.partial").stat().st_size < 2**21


def test_dead_and_empty_mirrors_are_passed_over(tmp_path: Path, dead: str) -> None:
    with serving(Mirror({})) as empty, serving(Mirror(HOLDS)) as good:
        fetch(FILE, [dead, empty.url, good.url], tmp_path)
    assert whole(tmp_path)


def test_no_mirror_at_all(tmp_path: Path, dead: str) -> None:
    unknown = "http://mirror.invalid"
    with (
        serving(Mirror({})) as empty,
        pytest.raises(InputError, match=r"^[^\n]+$") as raised,
    ):
        fetch(FILE, [dead, empty.url, unknown], tmp_path)
    for mirror in (dead, empty.url, unknown):
        assert mirror.removeprefix("http://") in str(raised.value)
    assert "Connection refused" in str(raised.value)
    assert "HTTP 404" in str(raised.value)


def test_two_at_once_download_once(tmp_path: Path) -> None:
    with serving(Mirror(HOLDS)) as mirror, ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: fetch(FILE, [mirror.url], tmp_path), range(4)))
        assert whole(tmp_path)
        assert len(mirror.requests) == 1


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set DIPTYCH_CACHE"):
        fetch(FILE, [], tmp_path / "gone")
