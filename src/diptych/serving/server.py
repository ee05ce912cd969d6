"""The web server itself: listens, says when it answers, and ends well."""

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from diptych.errors import InputError

SECONDS_TO_END = 15
"""For requests under way when the server is asked to stop."""


class Server(uvicorn.Server):
    """uvicorn, on a socket that was opened before, so that a taken port is one line."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
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
        """Where the page is."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.socket.getsockname()[1]}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready(self.address)

    def run_until_stopped(self, ready: Callable[[str], None]) -> None:
        """Serves until SIGINT or SIGTERM, answers what it has taken, and returns."""
        self.ready = ready
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
