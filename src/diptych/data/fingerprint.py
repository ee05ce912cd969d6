"""The fingerprint of a data set: a hash of every byte of its images and labels.

Hashing takes about as long as reading. So the fingerprint is kept in the user's cache folder, by
what the file system says of the files that the data came from: path, size, times, inode. A file
that is changed, even with its size and its date put back, has another time of change (``ctime``).
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from diptych.data.cache import cache_path
from diptych.data.dataset import Data

FORM = 1
"""Part of what the cache is known by: raise it when the same files would be hashed otherwise."""
CHUNK = 2**24
"""Bytes of images that are hashed at a time: all of them may not fit in memory."""
MOST_KEPT = 200
"""Fingerprints in the cache; the oldest go first."""
SETTLED_SECONDS = 2.0
"""A file may change twice within one tick of its clock, so only an older one is remembered."""


def fingerprint(data: Data) -> str:
    """A hash of the images and labels of all three splits, 16 hexadecimal digits."""
    kept = _cache_file(data)
    if kept is not None:
        with suppress(OSError):
            text = kept.read_text("ascii", errors="replace")
            if len(text) == 16 and all(digit in "0123456789abcdef" for digit in text):
                return text
    value = _hashed(data)
    if kept is not None and kept == _cache_file(data):
        _keep(kept, value)
    return value


def _hashed(data: Data) -> str:
    digest = hashlib.sha256()
    for split in (data.train, data.validation, data.test):
        shape = json.dumps([len(split.labels), *split.images.shape])
        digest.update(shape.encode())
        digest.update(np.ascontiguousarray(split.labels, np.int64).data)
        count = max(1, CHUNK // max(1, int(np.prod(split.images.shape[1:]))))
        for start in range(0, len(split.images), count):
            digest.update(np.ascontiguousarray(split.images[start : start + count]).data)
    return digest.hexdigest()[:16]


def _cache_file(data: Data) -> Path | None:
    """The file that stores the fingerprint of data from these files; None for others."""
    if not data.files:
        return None
    facts: list[object] = [FORM, data.source]
    newest = 0
    try:
        for path in data.files:
            at = path.stat()
            newest = max(newest, at.st_mtime_ns, at.st_ctime_ns)
            times = [at.st_mtime_ns, at.st_ctime_ns]
            facts.append([os.fsencode(path).hex(), at.st_size, *times, at.st_ino, at.st_dev])
    except OSError:
        return None
    if newest > time.time_ns() - SETTLED_SECONDS * 1e9:
        return None
    key = hashlib.sha256(json.dumps(facts).encode(errors="surrogateescape")).hexdigest()[:32]
    return cache_path("fingerprints", key)


def _keep(path: Path, value: str) -> None:
    """Writes it whole or not at all; a cache that cannot be written to costs time only."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(value, "ascii")
        aside.replace(path)
        by_age = sorted(path.parent.iterdir(), key=lambda kept: kept.stat().st_mtime_ns)
        for old in by_age[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
