"""Runs served behind the API and the page, or exported as a page of static files."""

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
    root: str | Path = "runs",
    built_in: bool = False,
    ready: Callable[[str, list[str]], None] = lambda _, __: None,
) -> None:
    """Serves one or two finished runs until it is asked to stop; then answers what it took.

    Args:
        runs: finished runs or their folders. Where none is given: the two newest finished runs
            below ``root`` that go together, else two that are built in.
        host: the address to listen on.
        port: the port to listen on; 0 for any that is free.
        token: what requests must bring as ``Authorization: Bearer``.
        insecure: listen on an address that others reach, without a token.
        root: the folder that holds the runs.
        built_in: serve the two built-in runs, whatever is in ``root``.
        ready: called with the page's address, and what each network is, once it answers.

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
    from diptych.serving.models import open_models

    models = open_models(runs_to_serve(runs, root, built_in))

    from diptych.serving.api import create_app
    from diptych.serving.server import Server
    from diptych.serving.settings import Settings

    hosts = ("127.0.0.1", "localhost", "[::1]", host.lower()) if is_loopback(host) else None
    server = Server(create_app(models, Settings(token=token, hosts=hosts)), host, port)
    # Both warn of every request that is none; who sent it is told, and the log does not grow.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    names = [f"{model.name} ({model.origin})" for model in models]
    server.run_until_stopped(lambda address: ready(address, names))


def runs_to_serve(
    runs: Sequence[Run | str | Path] = (), root: str | Path = "runs", built_in: bool = False
) -> list[Run]:
    """The runs that are served or exported; the arguments are those of `serve`."""
    from diptych.serving.models import embedded_runs, newest_runs

    if len(runs) > MOST_RUNS:
        raise InputError(f"given {len(runs)} runs, expected one or two")
    if runs and built_in:
        raise InputError("--built-in: given with runs, expected one of the two")
    opened = [run if isinstance(run, Run) else Run.open(run, root) for run in runs]
    if not opened and not built_in:
        opened = newest_runs(Path(root), MOST_RUNS)
    return opened or embedded_runs()


def export(
    folder: str | Path,
    runs: Sequence[Run | str | Path] = (),
    *,
    root: str | Path = "runs",
    built_in: bool = False,
) -> list[str]:
    """Writes the page as static files that need no server of ours: the browser computes.

    Args:
        folder: where to; new, empty, or with an earlier export.
        runs, root, built_in: as `serve` takes them.

    Returns:
        What each network is, in words.

    Raises:
        InputError: the extra ``serve`` is not installed, the runs cannot be served, or the folder
            cannot be written to.
    """
    extras.require("the page", *NEEDED)
    from diptych.serving.models import open_models
    from diptych.serving.static_page import export_page

    models = open_models(runs_to_serve(runs, root, built_in))
    export_page(models, Path(folder))
    return [f"{model.name} ({model.origin})" for model in models]


def is_loopback(host: str) -> bool:
    """True if only this machine reaches that address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
