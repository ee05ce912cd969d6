"""Many clients at once, for minutes: each is answered, and the server's memory does not grow."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from attack import Attack, Tally
from serving_support import start_server

GROWTH, SHORTEST = 1.1, 60.0
"""How much more memory than after a quarter of the time there may be at the end, and in how many
seconds or more: at first every size of batch is new to the runtime, which keeps room for each."""


async def ask(port: int, digit: np.ndarray, end: float, tally: Tally) -> None:
    """Sends one image after the other over connections that stay open."""
    body = json.dumps({"images": digit.tolist()}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    reader = writer = None
    while time.monotonic() < end:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert reader
            writer.write(request)
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
            answer = json.loads(await reader.readexactly(int(fields[b"content-length"])))
            status = int(lines[0].split()[1])
            tally.outcomes[str(status)] += 1
            if status == 200 and len(answer["predictions"]) != 1:
                tally.failures.append(f"answered {answer}"[:200])
            elif status not in (200, 503):
                tally.failures.append(f"answered {status}: {answer}"[:200])
            if fields.get(b"connection") == b"close":
                writer.close()
                writer = None
        except (OSError, asyncio.IncompleteReadError) as problem:
            tally.failures.append(f"the connection ended: {problem!r}"[:200])
            writer = None
            await asyncio.sleep(0.1)
    if writer:
        writer.close()


def carry_out(
    attack: Callable[[], Attack],
    count: int,
    folder: Path,
    generator: np.random.Generator,
    seconds: float,
    bar: int,
) -> Tally:
    tally, seconds = Tally(attack()), min(seconds, bar)
    process, address = start_server()
    port = int(address.rpartition(":")[2])
    digits = generator.integers(0, 256, (count, 28, 28))
    memory: list[int] = []

    async def watch(end: float) -> None:
        while time.monotonic() < end:
            memory.append(psutil.Process(process.pid).memory_info().rss)
            await asyncio.sleep(seconds / 100)

    async def everybody() -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(watch(end), *(ask(port, digit, end, tally) for digit in digits))

    try:
        asyncio.run(everybody())
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    tally.tries = round(seconds)
    early, late = max(memory[: len(memory) // 4 + 1]), memory[-1]
    tally.outcomes["MiB after a quarter of the time"] = early // 2**20
    tally.outcomes["MiB at the end"] = late // 2**20
    if late > GROWTH * early and seconds > SHORTEST:
        tally.failures.append(f"memory grew from {early // 2**20} to {late // 2**20} MiB")
    if said or process.returncode:
        tally.failures.append(f"the server ended with {process.returncode}: {said[-300:]}")
    return tally


FEW = Attack(
    "clients-64",
    "a second of 64 clients that send an image after the other",
    f"each is answered, with 503 at worst; memory grows to {GROWTH:g} times at most",
    600,
    2.0,
    partial(carry_out, lambda: FEW, 64),
)
MANY = Attack(
    "clients-256",
    "a second of 256 clients that send an image after the other",
    FEW.expected,
    600,
    2.0,
    partial(carry_out, lambda: MANY, 256),
)
