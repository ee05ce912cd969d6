"""A connection to a Ray cluster."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diptych import extras
from diptych.errors import InputError

SECONDS = 5.0
"""The time that a cluster may take to answer."""
NO_DASHBOARD = (
    "--dashboard: the cluster at --ray {} has none: `pip install 'ray[default]'` brings it, on the "
    "machine where the cluster is started"
)
NO_TOKEN = (
    "--ray {}: the cluster wants its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or put the "
    "token into ~/.ray/auth_token, as on its head"
)


@contextmanager
def connected(address: str, dashboard: Callable[[str], None] | None = None) -> Iterator[None]:
    """A connection to a Ray cluster, for the time.

    Args:
        address: of a running cluster as ``ray.init`` takes it, ``auto``, or ``local`` for one that
            is started on this machine for the time.
        dashboard: called with the address of Ray's own dashboard, if that is asked for.

    Raises:
        InputError: no cluster answers there, or it has no dashboard and one is asked for.
    """
    extras.require("--ray", "ray")
    import ray
    from ray.exceptions import RayError

    started: dict[str, Any] = {}
    if address == "local" and dashboard is not None:
        if extras.missing(["aiohttp", "aiohttp_cors"]):  # Ray would end this process.
            raise InputError(NO_DASHBOARD.format(address))
        started["include_dashboard"] = True
    try:
        _check_answers(address)
        context = ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **started
        )
    except (OSError, ValueError, RuntimeError, RayError) as problem:
        if "AuthToken" in str(problem):
            raise InputError(NO_TOKEN.format(address)) from None
        reason = str(problem).splitlines()[0]
        raise InputError(
            f"--ray {address}: no cluster answers there ({reason}): start one with "
            "`ray start --head`, or give --ray local"
        ) from None
    try:
        if dashboard is not None:
            if not context.dashboard_url:
                raise InputError(NO_DASHBOARD.format(address))
            dashboard(f"http://{context.dashboard_url}")
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises OSError where nothing answers at ``host:port``: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("ray://")
    if host and port.isdigit() and "/" not in host:
        with socket.create_connection((host, int(port)), timeout=SECONDS):
            pass
