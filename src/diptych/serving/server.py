"""The web server itself: listens, says when it answers, and ends well."""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from diptych.errors import InputError

SECONDS_TO_END = 15
"""For requests under way when the server is asked to stop."""
SECONDS_TO_DRAIN, MOMENT = 1.0, 0.05
"""The time that connections are still accepted after a request to stop, and the interval of checks.
"""
SECONDS_TO_BEGIN = 10.0
"""In which a request's head must have come in; uvicorn itself would wait for ever."""


class Impatient(H11Protocol):
    """Closes connections on which nothing comes, or a request's head comes too slowly."""

    waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no request; of two answers to one request only the first is sent."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            super().send_400_response(msg)
        elif cycle.more_body and not cycle.response_started:  # Its own body is broken.
            super().send_400_response(msg)
            cycle.disconnected = True
        else:  # What follows it is.
            cycle.keep_alive = cycle.more_body = False
        if cycle is not None:
            cycle.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_watching()

    def _watch(self) -> None:
        """Starts the clock if no request has come in whole; more of a head does not stop it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self.waiting is None:
            self.waiting = self.loop.call_later(SECONDS_TO_BEGIN, self._give_up)

    def _stop_watching(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None

    def _give_up(self) -> None:
        self.waiting = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn, on a socket that was opened before, so that a taken port is one line."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Impatient,
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=SECONDS_TO_END,
            )
        )
        self.host = host
        self.socket = _listening(host, port)
        self.ready: Callable[[str], None] = lambda _: None

    @property
    def address(self) -> str:
        """The URL of the page."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.socket.getsockname()[1]}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what is under way, and what had been sent when the signal came.

        Until then connections are still taken, and each answer says that its connection ends. A
        socket that is closed with something unread resets the connection instead.
        """
        self.config.app.state.ending = True  # type: ignore[union-attr] - it is a FastAPI
        until = time.monotonic() + SECONDS_TO_DRAIN
        await asyncio.sleep(MOMENT)
        while time.monotonic() < until and self.server_state.connections:
            await asyncio.sleep(MOMENT)
        for server in self.servers:
            server.close()
        until += SECONDS_TO_DRAIN / 4  # What was taken last may not have been read yet.
        while time.monotonic() < until and self.server_state.connections:
            await asyncio.sleep(MOMENT)
        await super().shutdown(sockets)

    def run_until_stopped(self, ready: Callable[[str], None]) -> None:
        """Serves until a signal asks it to stop, answers what it has taken, and returns."""
        self.ready = ready
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGHUP, signal.SIGQUIT):  # uvicorn sees to the other two.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self.handle_exit)
        try:
            self.run([self.socket])
        except KeyboardInterrupt:
            pass  # uvicorn raises the signal again once everything has ended.
        finally:
            self.socket.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(512)
        except OSError:
            made.close()
            raise
        return made
    except (OSError, OverflowError) as problem:
        said = getattr(problem, "strerror", None) or problem
        raise InputError(
            f"--host {host} --port {port}: {said}; choose another, or --port 0 for any that is free"
        ) from None
