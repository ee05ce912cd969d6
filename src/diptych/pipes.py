"""Pipes that a process keeps to itself: neither its forks nor the programs it starts have them.

They have no buffer and no lock. A buffered file is locked while a thread waits on it, and a fork
would inherit that lock for ever.
"""

import errno
import os
import select
import time
from weakref import WeakSet

HIGH = 200
"""Descriptors are moved up to here, where no code that counts from 3 finds them by chance."""
CHUNK = 2**20
LARGEST = 2**40
"""Bytes that one read may ask for: a length above it is no length, but stray bytes."""


class StrayBytes(OSError):
    """Something else has written to the pipe."""


class Pipe:
    """One end of a pipe, as `diptych.worker` reads messages from it or writes them to it."""

    def __init__(self, descriptor: int) -> None:
        """Takes over a descriptor, under a number of its own."""
        self._descriptor = _moved_up(descriptor)
        os.set_inheritable(self._descriptor, False)
        _open.add(self)
        self.limit: float | None = None
        """Seconds that one write may wait for the other end to read; for ever if None."""

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer where the other end has been closed.

        Raises:
            StrayBytes: so many that it cannot be meant.
        """
        if size > LARGEST:
            raise StrayBytes(f"a message of {size:,} bytes")
        parts, missing = [], size
        while missing:
            part = os.read(self._descriptor, min(missing, CHUNK))
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def write(self, data: bytes | memoryview) -> int:
        """Writes all of it.

        Raises:
            BrokenPipeError: the other end has been closed.
            TimeoutError: the other end does not read.
        """
        view = memoryview(data).cast("B")
        if self.limit is None:
            written = 0
            while written < len(view):
                written += os.write(self._descriptor, view[written:])
            return written
        return self._write_within(view, self.limit)

    def _write_within(self, view: memoryview, limit: float) -> int:
        os.set_blocking(self._descriptor, False)
        written, until = 0, time.monotonic() + limit
        while written < len(view):
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"nothing was read within {limit:g} s")
            poll = select.poll()  # `select` itself takes no descriptor above 1,023.
            poll.register(self._descriptor, select.POLLOUT)
            if poll.poll(1000 * min(left, 1.0)):
                try:
                    count = os.write(self._descriptor, view[written : written + CHUNK])
                except BlockingIOError:
                    continue
                written += count
                until = time.monotonic() + limit
        return written

    def flush(self) -> None:
        """Nothing is kept back; files have such a method."""

    def close(self) -> None:
        """Closes it; does nothing where it is closed already."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def lead_nowhere(self) -> None:
        """In a fork: the number now leads nowhere, so that nothing can be said over it."""
        if self._descriptor < 0:
            return
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(nowhere, self._descriptor, inheritable=False)
        finally:
            os.close(nowhere)


def _moved_up(descriptor: int) -> int:
    """The same descriptor under the lowest free number from `HIGH` on, where there is one."""
    import fcntl

    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.EMFILE):
            raise
        return descriptor  # The limit on open files is lower.
    os.close(descriptor)
    return moved


_open: WeakSet[Pipe] = WeakSet()


def _in_a_fork() -> None:
    for pipe in list(_open):
        pipe.lead_nowhere()


os.register_at_fork(after_in_child=_in_a_fork)
