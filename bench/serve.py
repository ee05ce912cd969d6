"""What `diptych serve` answers under load, against Keras' `predict` called once a request.

Both sides serve the same run by HTTP on this machine, and take the same JSON of one 28x28 image.
The clients are in this process, the server is in another; each client sends its next request when
it has its answer. The sides take turns, and the table gives medians over the rounds.

    python bench/serve.py                           the run of Keras that comes with diptych
    python bench/serve.py RUN --clients 1,8,64 --rounds 5 --seconds 8
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.console import Console
from rich.table import Table

from diptych import load_data, machine
from diptych.runs import Run
from diptych.serving.models import embedded_runs

SIDES = ("diptych serve", "keras predict")
WARM_UP = 1.0
"""Seconds of load before the clock starts."""


def serve_with_keras(folder: str) -> None:
    """The other side: what one writes first, with Keras' `predict` in the request's handler."""
    import socket

    import uvicorn
    from fastapi import Body, FastAPI

    from diptych.workflows.keras import Workflow

    run = Run.open(folder)
    workflow = Workflow(run.network, run.recipe.with_changes(precision="float32"), 0)
    workflow.load(run.weights())
    model, classes = workflow.model, run.description()["data"]["class_names"]
    app = FastAPI()

    # Not in the thread pool: calls of predict that run side by side get in each other's way.
    @app.post("/predict")
    async def predict(images: Annotated[list[list[int]], Body(embed=True)]) -> dict[str, object]:
        array = np.array(images, np.uint8)[None, ..., None]
        logits = model.predict(array * np.float32(1 / 255), verbose=0)[0]
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return {"answer": classes[int(shares.argmax())], "probabilities": shares.tolist()}

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"Page: http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    server.run([listening])


def start(side: str, runs: list[str]) -> tuple[subprocess.Popen[str], int]:
    """The side's server in a process of its own, and its port."""
    command = {
        "diptych serve": ["-m", "diptych.cli", "serve", *runs, "--port", "0"],
        "keras predict": [__file__, *runs, "--keras"],
    }[side]
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("Page: "):
            return process, int(line.split()[1].rstrip("/").rpartition(":")[2])
    raise SystemExit(f"{side} did not start")


async def load(
    port: int, bodies: list[bytes], clients: int, seconds: float
) -> tuple[float, np.ndarray]:
    """Images a second, and each answer's seconds, of so many clients."""
    requests = [
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in bodies
    ]
    times: list[tuple[float, float]] = []
    first = last = 0.0

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            sent = time.perf_counter()
            writer.write(requests[number % len(requests)])
            number += clients
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{head.splitlines()[0].decode()}: expected 200")
            length = head.lower().partition(b"content-length:")[2].split()[0]
            await reader.readexactly(int(length))
            times.append((sent, time.perf_counter()))
            if time.perf_counter() >= last:
                break
        writer.close()

    await client(0)  # Keras builds its graph at the first request.
    times.clear()
    first = time.perf_counter() + WARM_UP
    last = first + seconds
    await asyncio.gather(*(client(number) for number in range(clients)))
    counted = np.array([end - sent for sent, end in times if sent >= first and end <= last])
    if not len(counted):
        raise SystemExit(f"no answer within {seconds} s: give more --seconds")
    return len(counted) / seconds, counted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--keras", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.keras:
        serve_with_keras(given.runs[0])
        return
    embedded = next(run for run in embedded_runs() if run.workflow == "keras")
    runs = given.runs or [str(Path(embedded.folder).absolute())]
    images = load_data("mnist").test.images[:256, ..., 0]
    bodies = [json.dumps({"images": image.tolist()}).encode() for image in images]
    counts = [int(count) for count in given.clients.split(",")]

    started = {side: start(side, runs) for side in SIDES}
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    try:
        for count in counts:
            for _ in range(given.rounds):
                for side, (_, port) in started.items():
                    rate, times = asyncio.run(load(port, bodies, count, given.seconds))
                    p50, p99 = np.percentile(times * 1e3, [50, 99])
                    found.setdefault((side, count), []).append((rate, p50, p99))
                    print(f"{side}, {count} clients: {rate:.1f}/s, {p50:.1f}, {p99:.1f} ms")
    finally:
        for process, _ in started.values():
            process.terminate()
            process.wait()

    table = Table("clients", "side", "images a second", "p50 ms", "p99 ms", "to keras", box=None)
    for count in counts:
        slow = statistics.median(rate for rate, *_ in found["keras predict", count])
        for side in SIDES:
            rate, p50, p99 = (
                statistics.median(each) for each in zip(*found[side, count], strict=True)
            )
            table.add_row(
                str(count), side, f"{rate:.1f}", f"{p50:.1f}", f"{p99:.1f}", f"{rate / slow:.1f}"
            )
    console = Console(width=100)
    console.print(table)
    here = machine.describe()
    console.print(f"{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
