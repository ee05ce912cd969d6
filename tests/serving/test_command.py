"""`diptych serve` as a process: refused in a line, and ended well."""

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
