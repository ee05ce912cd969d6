"""One server's models, and one server, for all tests of serving."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("onnxruntime", reason="needs the extra serve")

from fastapi.testclient import TestClient

from diptych.serving.api import create_app
from diptych.serving.models import Model, embedded_runs, open_models
from diptych.serving.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from serving_support import start_server


@pytest.fixture(scope="session")
def models() -> list[Model]:
    """The two real runs that are inside the package."""
    return open_models(embedded_runs())


@pytest.fixture(scope="session")
def client(models: list[Model]) -> Iterator[TestClient]:
    with TestClient(create_app(models), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client_with(models: list[Model]) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of servers with other settings."""
    opened = []

    def make(**settings: object) -> TestClient:
        app = create_app(models, Settings(**settings))  # type: ignore[arg-type]
        opened.append(TestClient(app, raise_server_exceptions=False).__enter__())
        return opened[-1]

    yield make
    for each in opened:
        each.__exit__()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A real server's address."""
    process, address = start_server()
    yield address
    process.terminate()
    process.communicate(timeout=30)
