"""One server's models, and one server, for all tests of serving."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium. Not for the whole session: it keeps this thread's event loop."""
    from browsing import CHROMIUM, playwright

    with playwright.sync_playwright() as started:
        # Chromium's own sandbox does not run as root, as tests in containers do.
        browser = started.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens the page, and afterwards holds that nothing was logged and no other host asked."""
    contexts, problems, asked, servers = [], [], [], []

    def note(message: str) -> None:
        if "willReadFrequently" not in message:  # It is the tests that read pixels back.
            problems.append(message)

    def open_one(address: str | None = None, refusals: bool = False, **options: object) -> Any:
        address = address or str(request.getfixturevalue("server"))
        servers.append(address.partition("#")[0].rstrip("/") + "/")
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on(
            "console",
            lambda message: (
                None  # Chromium logs each refused request, whatever the page makes of it.
                if refusals and "responded with a status of 4" in message.text
                else note(f"{message.type}: {message.text}")
            ),
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector(".answer[data-share]", state="attached")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert problems == []
    elsewhere = [url for url in asked if not url.startswith((*servers, "blob:", "data:"))]
    assert elsewhere == []
    assert asked
