"""`diptych serve` as a process: refused in a line, and ended well."""

import asyncio
import json
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from serving_support import start_server

from diptych.runs import Run
from support import diptych

COUNT = 400
ONE = json.dumps({"images": [[0] * 28] * 28}).encode()
DIGIT = json.dumps({"images": [[[0] * 28] * 28] * 8}).encode()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "others reach this address, so give --token SECRET"),
        (["--host", "192.0.2.1", "--insecure"], "--host 192.0.2.1 --port 8000: "),
        (["--host", "no such host", "--insecure"], "--host no such host"),
        (["--token", "ü"], "expected letters"),
        (["nobody"], "nobody"),
        (["--port", "70000"], "70000"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(options: list[str], words: str) -> None:
    done = diptych("serve", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = diptych("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "in use" in done.stderr


def test_a_run_that_has_not_ended(new_run, tmp_path: Path) -> None:
    run: Run = new_run()
    done = diptych("serve", run.folder)
    assert done.returncode == 2
    assert "no weights yet" in done.stderr


def test_it_ends_well_and_answers_what_it_took() -> None:
    """Asked to stop while requests wait: they are answered, then it ends, with nothing said."""
    process, address = start_server()
    answered: list[int] = []

    def ask() -> None:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{address}/predict", DIGIT, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            answered.append(len(json.load(response)["predictions"]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while not answered:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    _, said = process.communicate(timeout=30)
    assert answered == [8] * 8
    assert said == ""
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_no_request_under_way_is_reset_when_it_ends(name: str) -> None:
    """Whether it had been read, taken or only sent: it is answered, and told that this was all."""
    process, address = start_server()
    port = int(address.rpartition(":")[2])
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json"
    request = f"{head}\r\nContent-Length: {len(ONE)}\r\n\r\n".encode() + ONE

    async def ask(number: int, begun: asyncio.Event) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if number == COUNT // 2:
            begun.set()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async def all_at_once() -> list[bytes]:
        begun = asyncio.Event()
        tasks = [asyncio.create_task(ask(number, begun)) for number in range(COUNT)]
        await begun.wait()
        process.send_signal(signal.Signals[name])
        return await asyncio.gather(*tasks)

    answers = asyncio.run(all_at_once())
    _, said = process.communicate(timeout=30)
    for answer in answers:
        first, _, body = answer.partition(b"\r\n\r\n")
        assert first[:12] == b"HTTP/1.1 200", answer
        json.loads(body)
    assert any(b"\r\nconnection: close" in answer.lower() for answer in answers)
    assert (said, process.returncode) == ("", 0)
