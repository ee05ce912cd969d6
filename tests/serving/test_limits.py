"""What many or large or slow requests may take together: memory, time, threads."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from diptych.serving import server as serving_server
from diptych.serving.api import create_app
from diptych.serving.guard import LONGEST_DETAIL
from diptych.serving.models import Model
from diptych.serving.server import Server
from diptych.serving.settings import Settings

JSON = {"content-type": "application/json"}
DIGIT = json.dumps({"images": np.zeros((28, 28), int).tolist()}).encode()


def picture(side: int) -> bytes:
    file = BytesIO()
    pixels = np.zeros((side, side), np.uint8)
    pixels[side // 4 : -side // 4, side // 2 : side // 2 + side // 10] = 255
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def address(models: list[Model]) -> Iterator[Callable[..., int]]:
    """Starts servers in this process, with other settings; gives the port."""
    started = []

    def start(**settings: object) -> int:
        app = create_app(models, Settings(**settings))  # type: ignore[arg-type]
        server = Server(app, "127.0.0.1", 0)
        thread = threading.Thread(target=server.run_until_stopped, args=(lambda _: None,))
        thread.start()
        started.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return int(server.address.rpartition(":")[2])

    yield start
    for server, thread in started:
        server.should_exit = True
        thread.join()


def connect(port: int, *parts: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    for part in parts:
        connection.sendall(part)
    return connection


def everything(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    found = b""
    while part := connection.recv(4000):
        found += part
    return found


def head(length: int, more: bytes = b"") -> bytes:
    lines = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return lines + b"Content-Length: %d\r\n" % length + more + b"\r\n"


def test_a_requests_pixels_are_those_of_all_its_pictures(client_with) -> None:
    client, one = client_with(most_pixels=50_000), picture(200)
    files = [("images", ("a.png", one)), ("images", ("b.png", one))]
    assert client.post("/predict", files=files[:1]).status_code == 200
    response = client.post("/predict", files=files)
    assert response.status_code == 413
    assert "b.png: 200×200 pixels, and 40,000 in those before it" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"images": [], "\\ud800": 1}', "unknown field"),
        (b'{"images": [], "' + b"x" * 5000 + b'": 1}', "unknown field"),
        (json.dumps({"images": [[True] * 28] * 28}).encode(), "true or false"),
        (json.dumps({"images": [[1.5, True] * 14] * 28}).encode(), "true or false"),
        (json.dumps({"images": [["1"] * 28] * 28}).encode(), "arrays of numbers"),
        (json.dumps({"images": [[10**400] * 28] * 28}).encode(), "arrays of numbers"),
        (b'{"images": ' + b"[" * 40 + b"]" * 40 + b"}", "40 dimensions"),
        (b'{"images": [[' + b"0," * 100_000 + b"0]]}", "given 1\u00d7100001"),
    ],
)
def test_what_is_no_array_of_pixels(client: TestClient, body: bytes, words: str) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert response.status_code == 422, response.text
    detail = response.json()["detail"]
    assert words in detail
    assert len(detail) <= LONGEST_DETAIL + 1


def test_bodies_that_are_held_are_counted_together(address) -> None:
    port = address(most_held=1_000_000)
    waiting = [connect(port, head(600_000), b"x" * 400_000) for _ in range(2)]
    time.sleep(0.5)
    third = connect(port, head(400_000), b"x" * 400_000)
    answer = everything(third)
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b"retry-after: 1" in answer.lower()
    assert b"too much is being sent at once" in answer
    for connection in waiting:
        connection.close()
    # What was held is free again.
    for _ in range(100):
        last = connect(port, head(len(DIGIT)), DIGIT)
        if last.recv(12) == b"HTTP/1.1 200":
            return
        time.sleep(0.05)
    raise AssertionError("the bodies of clients that went are still counted")


def test_who_sends_too_much_still_gets_the_answer(address) -> None:
    port, size = address(), 100_000_000
    connection, sent = connect(port, head(size)), 0
    while sent < size:  # As clients do that read only when they have sent everything.
        connection.sendall(b"x" * 1_000_000)
        sent += 1_000_000
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"the body is over 8,388,608 bytes" in answer


def test_a_slow_body_and_a_slow_head(address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_server, "SECONDS_TO_BEGIN", 0.4)
    port = address(seconds=0.4)
    body = connect(port, head(100), b"{")
    assert body.recv(2000).startswith(b"HTTP/1.1 408")
    begun = connect(port, b"POST /predict HTTP/1.1\r\n")
    silent = connect(port)
    second = connect(port, head(len(DIGIT)), DIGIT)
    assert second.recv(4000).startswith(b"HTTP/1.1 200")
    second.sendall(b"GET /health HTTP/1.1\r\nHo")  # A connection that was used well before.
    for connection in (begun, silent, second):
        everything(connection)


def test_a_request_has_so_much_time_in_all(client_with, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(seconds=0.3)
    monkeypatch.setattr("diptych.serving.api.from_files", lambda *_: time.sleep(1))
    response = client.post("/predict", files={"images": ("a.png", picture(100))})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["detail"] == "no answer within 0.3 s; try again in a second"
    assert client.post("/predict", content=DIGIT, headers=JSON).status_code == 200


def test_pictures_are_decoded_by_few_threads(client_with, monkeypatch) -> None:
    """Forty at a time, as a thread pool's default is, once took three gigabytes."""
    lock, now, most = threading.Lock(), 0, 0

    def counting(files, *_):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return np.zeros((len(files), 28, 28, 1), np.uint8)

    monkeypatch.setattr("diptych.serving.api.from_files", counting)
    client, statuses = client_with(workers=2), []

    def ask() -> None:
        statuses.append(client.post("/predict", files={"images": ("a", b"x")}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert most == 2


def test_addresses_and_methods_that_are_not_there(client: TestClient) -> None:
    for response in (
        client.get("/nothing"),
        client.get("/page/nothing.js"),
        client.put("/predict"),
    ):
        assert response.status_code in (404, 405)
        assert "/docs lists what there is" in response.json()["detail"]


def test_what_follows_a_request_does_not_take_its_answer(
    address, caplog: pytest.LogCaptureFixture
) -> None:
    port = address()
    for after in (b"\0\1\2 nonsense\r\n\r\n", b"POST / HTTP/9\r\n\r\n", b"\r\n\r\n\r\nx\r\n\r\n"):
        answer = everything(connect(port, head(len(DIGIT)) + DIGIT + after))
        assert answer.startswith(b"HTTP/1.1 200"), answer
        body = answer.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1 400")[0]
        assert len(json.loads(body)["predictions"]) == 1
    others = address(hosts=("elsewhere",))  # Refused before its body, which is broken as well.
    refused = head(0, b"Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b"")
    assert everything(connect(others, refused + b"no chunk\r\n")).startswith(b"HTTP/1.1 4")
    late = connect(others, refused)
    time.sleep(0.2)  # It has its answer, and the server takes what else there is.
    late.sendall(b"no chunk\r\n")
    assert everything(late).startswith(b"HTTP/1.1 421")
    broken = head(0, b"Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b"")
    assert everything(connect(port, broken + b"no chunk\r\n")).startswith(b"HTTP/1.1 400")
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
