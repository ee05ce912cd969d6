"""Connections to `diptych serve` that send what is no request, or only half of one."""

import json
import signal
import socket
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
from attack import Attack, Tally, damaged, repeated
from serving_support import png_of_a_drawing, start_server

SECONDS, MOMENT = 20.0, 0.05
DIGIT = json.dumps({"images": [[0] * 28] * 28}).encode()


def requests(port: int) -> list[bytes]:
    """Sound requests, to be damaged: JSON, a picture in a form, and some without a body."""
    host = f"Host: 127.0.0.1:{port}\r\nConnection: close\r\n"
    picture = png_of_a_drawing(3)
    form = (
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
        + picture
        + b"\r\n--b--\r\n"
    )
    bodies = [("application/json", DIGIT), ("multipart/form-data; boundary=b", form)]
    sound = [
        f"POST /predict HTTP/1.1\r\n{host}Content-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
        for kind, body in bodies
    ]
    sound += [
        f"{method} {path} HTTP/1.1\r\n{host}\r\n".encode()
        for method in ("GET", "HEAD")
        for path in ("/health", "/models", "/metrics", "/page/main.js", "/../../etc/passwd")
    ]
    chunks = f"POST /predict HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
    sound.append(f'{chunks}Transfer-Encoding: chunked\r\n\r\n5\r\n{{"im\r\n0\r\n\r\n'.encode())
    return sound


def carry_out(folder: Path, generator: np.random.Generator, seconds: float, bar: int) -> Tally:
    process, address = start_server()
    port = int(address.rpartition(":")[2])
    sound = requests(port)

    def attempt(number: int) -> str:
        contents = sound[number % len(sound)]
        for _ in range(int(generator.integers(1, 6))):
            contents = damaged(contents, generator)
        answer = b""
        with (
            socket.create_connection(("127.0.0.1", port), timeout=MOMENT) as connection,
            suppress(ConnectionError),
        ):
            connection.sendall(contents)
            with suppress(TimeoutError):
                answer = connection.recv(65536)
            connection.settimeout(SECONDS)
            connection.shutdown(socket.SHUT_WR)  # It waits for the rest of what is no request.
            while part := connection.recv(65536):
                answer += part
        assert process.poll() is None, "the server has ended"
        if number % 50 == 0:
            with urllib.request.urlopen(f"{address}/health", timeout=SECONDS) as response:
                assert response.status == 200
        if not answer:
            return "closed"
        assert answer.startswith(b"HTTP/1.1 "), f"answered {answer[:40]!r} to {contents[:80]!r}"
        status = int(answer[9:12])
        assert status < 500 or status == 503, f"answered {status} to {contents[:80]!r}"
        return f"{status // 100}xx"

    try:
        tally = repeated(ATTACK, attempt, seconds, bar)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        if said or process.returncode:
            tally.failures.append(f"the server ended with {process.returncode}: {said[-300:]}")
        return tally
    finally:
        process.kill()


ATTACK = Attack(
    "sockets",
    "a connection to the server that sends a damaged request",
    "an answer below 500 or none; the server answers others, and ends with nothing said",
    5_000,
    1.0,
    carry_out,
)
