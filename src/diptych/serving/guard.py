"""Checks before every request: its host, its token, its size and its time.

This is plain ASGI, because the size of a body must be checked while it arrives, before it is
parsed.
"""

import asyncio
import contextlib
import hmac
import json
import re
import time
from typing import Any

from diptych.serving.metrics import Metrics
from diptych.serving.settings import Settings

HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(:[0-9]{1,5})?")
"""A Host header: a name or an address in brackets, and perhaps a port (RFC 9110, 7.2)."""
OPEN_PATHS = ("/health", "/openapi.json", "/docs")
"""The paths that need no token, besides the page's own files."""


LONGEST_DETAIL = 400
LINGER_SECONDS, LINGER_BYTES = 5.0, 256 * 2**20
"""The number of bytes of a refused body that are still read and discarded."""


def busy(what: str) -> "Refused":
    """The refusal of what would have to wait too long."""
    return Refused(503, f"{what}; try again in a second", {"Retry-After": "1"})


class Refused(Exception):
    """A request that is not answered: a status and a sentence."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        # What is quoted from a request may be of any length, and no text at all (lone surrogates).
        detail = detail.encode("utf-8", "backslashreplace").decode()
        if len(detail) > LONGEST_DETAIL:
            detail = detail[:LONGEST_DETAIL] + "…"
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


class Guard:
    """Refuses what must not come in, bounds what does, and counts both."""

    def __init__(self, app: Any, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.held = 0
        """Bytes of the bodies of all requests that are under way."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, sending, ended = time.perf_counter(), 500, False, False
        parts: list[bytes] = []
        # The server leaves the body away where the request, of which this is a copy, was a HEAD.
        inner = scope | {"method": "GET"} if scope["method"] == "HEAD" else scope

        async def taking() -> dict[str, Any]:
            nonlocal ended
            message = await receive()
            ended = message["type"] == "http.disconnect" or not message.get("more_body")
            return message

        async def noting(message: dict[str, Any]) -> None:
            nonlocal status, sending
            if message["type"] == "http.response.start":
                status, sending = message["status"], True
                headers = message.setdefault("headers", [])
                headers.extend(SAFE_HEADERS)
                ending = getattr(scope["app"].state, "ending", False)
                if ending and all(name.lower() != b"connection" for name, _ in headers):
                    headers.append((b"connection", b"close"))
            await send(message)

        async def answering(message: dict[str, Any]) -> None:
            if not sending:
                clock.reschedule(None)  # How fast a client takes its answer is its own affair.
            await noting(message)

        clock = asyncio.timeout(None)
        try:
            self._check(scope)
            await self._gather(scope, taking, parts)
            async with clock:
                clock.reschedule(asyncio.get_running_loop().time() + self.settings.seconds)
                await self.app(inner, _replay(b"".join(parts), receive), answering)
        except Refused as refused:
            linger = not ended and refused.status != 408
            await _refuse(noting, refused, taking if linger else None)
        except TimeoutError:
            if sending:
                raise
            await _refuse(noting, busy(f"no answer within {self.settings.seconds:g} s"))
        finally:
            self.held -= sum(map(len, parts))
            self.metrics.answered(scope["path"], status, time.perf_counter() - start)

    def _check(self, scope: dict[str, Any]) -> None:
        headers = dict(scope["headers"])
        if self.settings.hosts is not None:
            given = headers.get(b"host", b"").decode("latin-1")
            host = HOST.fullmatch(given)
            if host is None or host["name"].lower() not in self.settings.hosts:
                expected = " or ".join(dict.fromkeys(self.settings.hosts))
                raise Refused(
                    421, f"this server is not {given or 'that host'}, expected {expected}"
                )
        if self.settings.token and self._needs_token(scope["path"]):
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = hmac.compare_digest(given.strip(), self.settings.token.encode())
            if scheme.lower() != b"bearer" or not right:
                raise Refused(
                    401,
                    "this server asks for a token: send it as Authorization: Bearer TOKEN",
                    {"WWW-Authenticate": "Bearer"},
                )

    def _needs_token(self, path: str) -> bool:
        return path not in OPEN_PATHS and path != "/" and not path.startswith("/page/")

    async def _gather(self, scope: dict[str, Any], receive: Any, parts: list[bytes]) -> None:
        """Puts the body into ``parts`` as it comes in."""
        most, seconds = self.settings.most_bytes, self.settings.seconds
        too_large = Refused(413, f"the body is over {most:,} bytes; send fewer or smaller images")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise too_large
        size, more = 0, True
        try:
            async with asyncio.timeout(seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the connection ended before the request did")
                    part = message.get("body", b"")
                    size, more = size + len(part), message.get("more_body", False)
                    if size > most:
                        raise too_large
                    if self.held + len(part) > self.settings.most_held:
                        raise busy("too much is being sent at once")
                    parts.append(part)
                    self.held += len(part)
        except TimeoutError:
            raise Refused(408, f"the request did not come in within {seconds:g} s") from None


SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    ),
]
"""The page asks no other host for anything, and no other page may hold it in a frame."""


def _replay(body: bytes, receive: Any) -> Any:
    given = False

    async def replay() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Any, refused: Refused, rest: Any = None) -> None:
    """Answers, and then takes the ``rest`` of a body that is still being sent.

    Were the connection closed on it, clients that send first and read then would get no answer but
    a reset connection.
    """
    body = json.dumps({"detail": refused.detail}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers |= {"connection": "close"} | refused.headers
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while rest and left > 0:
                message = await rest()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    break
    await send({"type": "http.response.body", "body": b""})
