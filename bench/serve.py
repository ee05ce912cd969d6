"""A load test of `diptych serve`, beside the same network served by Keras' `predict` a request.

The clients are a process of their own; each sends one 28×28 image a request over a connection that
stays open, and the next when it has its answer. `--bad` sends requests that are refused instead,
and says how the server's memory went.

    python bench/serve.py
    python bench/serve.py --bad 10000
"""

# The stubs want a word where `predict` takes a number as well.
# pyright: reportArgumentType=false

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from diptych import load_data, machine

CLIENTS = (1, 8, 64)
SECONDS = 8.0
RUN = "keras-article-fast-seed0"
BAD = [
    b"",
    b"{",
    b'{"images": [[NaN]]}',
    b'{"images": [[1, 2], [3, 4]]}',
    b'{"images": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    json.dumps({"images": [[300] * 28] * 28}).encode(),
    b"\x89PNG" + bytes(200_000),
]


async def ask(reader, writer, body: bytes) -> int:
    """Sends one request and reads its answer to the end; returns the status."""
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
    await reader.readexactly(int(fields[b"content-length"]))
    return int(lines[0].split()[1])


async def load(
    port: int, clients: int, bodies: list[bytes], seconds: float
) -> tuple[list[float], float]:
    """Every request's seconds, from so many clients for so long, and until the last one's end."""
    taken: list[float] = []
    begin = time.perf_counter()
    end = begin + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < end:
            status = await ask(reader, writer, bodies[(len(taken) + number) % len(bodies)])
            assert status == 200, status
            taken.append(time.perf_counter() - start)
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return taken, time.perf_counter() - begin


async def bad_requests(port: int, count: int) -> None:
    """So many requests that are refused, eight at a time."""
    left = iter(range(count))

    async def client() -> None:
        for number in left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            status = await ask(reader, writer, BAD[number % len(BAD)])
            assert 400 <= status < 500, status
            writer.close()

    await asyncio.gather(*(client() for _ in range(8)))


def serve_keras() -> None:
    """The same network behind FastAPI, with one call of Keras' `predict` a request."""
    import keras
    import numpy as np
    import uvicorn
    from fastapi import FastAPI, Request

    from diptych.runs import Run
    from diptych.serving.models import EMBEDDED
    from diptych.workflows import registry

    run = Run(EMBEDDED / RUN)
    built = registry.load("keras")(run.network, run.recipe.with_changes(precision="float32"), 0)
    built.load(run.weights())
    model: keras.Model = built.model  # type: ignore[attr-defined]
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, list[float]]:
        images = (await request.json())["images"]
        x = np.array(images, np.float32)[None, ..., None] / 255
        return {"logits": model.predict(x, verbose=0)[0].tolist()}

    model.predict(np.zeros((1, 28, 28, 1)), verbose=0)
    # While `predict` computes nothing else runs, and connections would count as idle.
    config = uvicorn.Config(
        app, port=0, log_level="error", access_log=False, timeout_keep_alive=600
    )
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    print(f"Page: http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
    server.run([listening])


def start(command: list[str]) -> tuple[subprocess.Popen, int]:
    """A server's process and its port."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    assert process.stdout
    while not (line := process.stdout.readline()).startswith("Page: "):
        assert process.poll() is None, "the server ended"
    return process, int(line.split()[1].rstrip("/").rpartition(":")[2])


def resident_mib(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--bad", type=int, metavar="COUNT", help="send bad requests instead")
    parser.add_argument("--as-keras", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--as-clients", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_keras:
        serve_keras()
        return
    if given.as_clients:
        port, clients = given.as_clients
        digits = load_data("mnist").test.images[:200, ..., 0]
        bodies = [json.dumps({"images": digit.tolist()}).encode() for digit in digits]
        asyncio.run(load(port, clients, bodies, 1.0))  # A warm-up.
        print(json.dumps(asyncio.run(load(port, clients, bodies, given.seconds))))
        return

    console = Console(width=100)
    embedded = Path(__import__("diptych").__file__).parent / "serving" / "embedded" / RUN
    ours = [sys.executable, "-m", "diptych.cli", "serve", str(embedded), "--port", "0"]
    if given.bad:
        process, port = start(ours)
        asyncio.run(bad_requests(port, 500))
        before = resident_mib(process.pid)
        began = time.perf_counter()
        asyncio.run(bad_requests(port, given.bad))
        seconds = time.perf_counter() - began
        after = resident_mib(process.pid)
        process.terminate()
        console.print(
            f"{given.bad:,} bad requests in {seconds:.0f} s, each refused: memory "
            f"{before:.0f} MiB before (after 500 others), {after:.0f} MiB after"
        )
        return
    table = Table("served by", "clients", "images a second", "p50, ms", "p99, ms", box=None)
    for name, command in (
        ("diptych serve", ours),
        ("keras predict", [sys.executable, __file__, "--as-keras"]),
    ):
        process, port = start(command)
        try:
            for clients in CLIENTS:
                options = ["--as-clients", str(port), str(clients), "--seconds", str(given.seconds)]
                output = subprocess.run(
                    [sys.executable, __file__, *options], stdout=subprocess.PIPE, check=True
                ).stdout
                taken, seconds = json.loads(output.splitlines()[-1])
                cuts = [1e3 * cut for cut in statistics.quantiles(taken, n=100)]
                rate = f"{len(taken) / seconds:,.0f}"
                table.add_row(name, str(clients), rate, f"{cuts[49]:.1f}", f"{cuts[98]:.1f}")
        finally:
            process.terminate()
            process.wait()
    console.print(table)
    here = machine.describe()
    console.print(f"{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
