"""Runs behind an HTTP API and a page: draw a digit, and watch two networks read it."""

import ipaddress
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from diptych import extras
from diptych.errors import InputError
from diptych.runs import Run

NEEDED = ("fastapi", "multipart", "onnx", "onnxruntime", "prometheus_client", "uvicorn")
MOST_RUNS = 2


def serve(
    runs: Sequence[Run | str | Path] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    insecure: bool = False,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serves one or two finished runs until it is asked to stop; then answers what it took.

    Args:
        runs: finished runs or their folders; two that are inside the package where none is given.
        host: the address to listen on.
        port: the port to listen on; 0 for any that is free.
        token: what requests must bring as ``Authorization: Bearer``.
        insecure: listen on an address that others reach, without a token.
        ready: called with the page's address once it answers.

    Raises:
        InputError: the extra ``serve`` is not installed, a run has not ended, the runs do not go
            together, or the address cannot be had.
    """
    extras.require("serving", *NEEDED)
    if not is_loopback(host) and not token and not insecure:
        raise InputError(
            f"--host {host}: others reach this address, so give --token SECRET, or --insecure to "
            "let anybody in"
        )
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
        raise InputError("--token: expected letters, digits and signs of ASCII, without spaces")
    if len(runs) > MOST_RUNS:
        raise InputError(f"given {len(runs)} runs, expected one or two")

    from diptych.serving.models import embedded_runs, open_models

    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    models = open_models(opened or embedded_runs())

    from diptych.serving.api import create_app
    from diptych.serving.server import Server
    from diptych.serving.settings import Settings

    hosts = ("127.0.0.1", "localhost", "[::1]", host.lower()) if is_loopback(host) else None
    server = Server(create_app(models, Settings(token=token, hosts=hosts)), host, port)
    # Both warn of every request that is none; who sent it is told, and the log does not grow.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    server.run_until_stopped(ready)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
