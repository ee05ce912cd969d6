"""The settings of a server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits of a server; a request beyond one is refused with a sentence that says so."""

    token: str | None = None
    """The token that requests must send as ``Authorization: Bearer``; none if None."""
    hosts: tuple[str, ...] | None = None
    """Names that the Host header may have; any if None. On a loopback address this keeps web pages
    that point a name of theirs at it from talking to the server."""
    most_bytes: int = 8 * 2**20
    """Of a request's body."""
    most_held: int = 64 * 2**20
    """Bytes of all bodies together that are in memory at a time; beyond that the answer is 503."""
    most_pixels: int = 16_000_000
    """Of a request's pictures together, by their headers, before any is decoded."""
    workers: int = 2
    """Threads that decode pictures; each may need 200 MB for a picture of the most pixels."""
    most_images: int = 64
    """In a request."""
    most_waiting: int = 512
    """Images in the queue; beyond that the answer is 503."""
    largest_batch: int = 64
    """Images that the network reads at once."""
    seconds: float = 10.0
    """In which a request must have come in, and in which it is answered."""
