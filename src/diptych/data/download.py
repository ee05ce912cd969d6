"""Fetching a published file: resumable, from the first mirror that has it whole, verified."""

import contextlib
import gzip
import hashlib
import http.client
import logging
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from diptych.data.cache import unwritable
from diptych.errors import InputError

TIMEOUT_SECONDS = 20
TRIES_A_MIRROR = 3
CHUNK = 2**16

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A file that mirrors hold as ``NAME.gz``: its size and SHA-256 once decompressed."""

    name: str
    size: int
    sha256: str


class _Damaged(Exception):
    """The downloaded file is not the published one."""


class _Unreachable(Exception):
    """A mirror does not give the file."""


class _Interrupted(Exception):
    """A mirror stopped in the middle; it may go on when asked again."""


def fetch(file: Published, mirrors: Iterable[str], folder: Path) -> Path:
    """The published file, decompressed, in this folder; downloaded if it is not there yet.

    When a download is interrupted, the received part stays in ``NAME.gz.partial``, and the next
    call continues from there. The decompressed file is written aside, checked and renamed, so a
    file of that name is always complete. If two processes call this at the same time, the file is
    downloaded once.

    Args:
        file: what to fetch.
        mirrors: URLs of folders that hold ``NAME.gz``, best first.
        folder: where to put it; it exists.

    Raises:
        InputError: no mirror gave the file (the message says what each did), or the folder cannot
            be written to.
    """
    target = folder / file.name
    partial = folder / f"{file.name}.gz.partial"
    try:
        if not target.is_file():
            with partial.open("a+b") as arrived:
                _lock(arrived)
                if not target.is_file():
                    _fetch_from_any(file, mirrors, arrived, target)
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return target


def _fetch_from_any(
    file: Published, mirrors: Iterable[str], arrived: BinaryIO, target: Path
) -> None:
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{file.name}.gz"
        log.info("downloading %s", url)
        try:
            _fetch_from(url, file, arrived, target)
            return
        except (_Damaged, _Unreachable) as error:
            log.info("%s: %s", url, error)
            failures.append(f"{urlsplit(url).netloc} ({error})")
    raise InputError(f"{file.name}.gz could not be downloaded; tried {', '.join(failures)}")


def _fetch_from(url: str, file: Published, arrived: BinaryIO, target: Path) -> None:
    resumed = arrived.seek(0, os.SEEK_END) > 0
    _download(url, arrived, most=2 * file.size + 2**20)
    try:
        _unpack(arrived, file, target)
    except _Damaged:
        arrived.truncate(0)
        if not resumed:
            raise
        # The damage may be in what an earlier call or another mirror had left: once from scratch.
        _fetch_from(url, file, arrived, target)


def _download(url: str, arrived: BinaryIO, most: int) -> None:
    """Append to ``arrived`` what is not there yet."""
    problem = ""
    for _ in range(TRIES_A_MIRROR):
        try:
            _download_once(url, arrived, most)
            return
        except _Interrupted as error:
            problem = str(error)
    raise _Unreachable(problem)


def _download_once(url: str, arrived: BinaryIO, most: int) -> None:
    start = arrived.seek(0, os.SEEK_END)
    request = urllib.request.Request(url, headers={"User-Agent": "diptych"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # everything had arrived already, or it is damaged; unpacking will tell
        raise _Unreachable(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Unreachable(_reason(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from error
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            arrived.truncate(0)
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            arrived.truncate(0)
            raise _Interrupted("it sent another part than was asked for")
        length = response.headers.get("Content-Length", "")
        position = start
        while chunk := _read(response):
            position += len(chunk)
            if position > most:
                raise _Unreachable("it sends more than the file has")
            arrived.write(chunk)
        arrived.flush()
    if length.isdecimal() and position < start + int(length):
        raise _Interrupted("the connection was cut")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from error


def _reason(error: object) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _unpack(arrived: BinaryIO, file: Published, target: Path) -> None:
    arrived.seek(0)
    digest, size = hashlib.sha256(), 0
    aside = target.with_name(f"{file.name}.unpacking")
    try:
        with aside.open("wb") as out:
            with gzip.GzipFile(fileobj=arrived, mode="rb") as unpacked:
                while size <= file.size and (chunk := unpacked.read(CHUNK)):
                    size += len(chunk)
                    digest.update(chunk)
                    out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != file.sha256:
            raise _Damaged("a damaged file: its SHA-256 is not the published one")
        aside.replace(target)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _Damaged("a damaged file: it does not unpack") from error
    finally:
        aside.unlink(missing_ok=True)


def _lock(file: BinaryIO) -> None:
    """Wait until no other process downloads into this file (where the system has such locks)."""
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
