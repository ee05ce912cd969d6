"""Requests that wait are read together, and never more than there is room for."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from diptych.serving.batching import Batcher, Busy


def images(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


def running(test: Callable) -> Callable[[], None]:
    """Runs a coroutine with a batcher whose network waits until it is let go."""

    def run() -> None:
        async def whole() -> None:
            sizes: list[int] = []
            go = threading.Event()

            def double(batch: np.ndarray) -> np.ndarray:
                go.wait(10)
                if (batch == 255).any():
                    raise RuntimeError("boom")
                return batch[:, 0, 0, 0].astype(int) * 2

            batcher = Batcher([double, double], most=4, limit=8, measured=sizes.append)
            task = asyncio.create_task(batcher.run())
            await asyncio.wait_for(test(batcher, sizes, go), 20)
            batcher.close()
            go.set()
            await asyncio.wait_for(task, 20)

        asyncio.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@running
async def test_what_waits_is_read_together(batcher, sizes, go) -> None:
    first = asyncio.create_task(batcher(images(1)))
    await asyncio.sleep(0.05)  # It is being read; the others gather meanwhile.
    others = [asyncio.create_task(batcher(images(n, n + 1))) for n in (2, 4, 6)]
    await asyncio.sleep(0.05)
    go.set()
    found = [[answer.tolist() for answer in await task] for task in (first, *others)]
    assert found == [[[2], [2]], [[4, 6]] * 2, [[8, 10]] * 2, [[12, 14]] * 2]
    assert sizes == [1, 4, 2]


@running
async def test_what_does_not_fit_is_refused_at_once(batcher, sizes, go) -> None:
    tasks = []
    for _ in range(3):  # One is read, and two are all that may wait.
        tasks.append(asyncio.create_task(batcher(images(1, 2, 3, 4))))
        await asyncio.sleep(0.05)
    with pytest.raises(Busy):
        await batcher(images(1))
    go.set()
    for task in tasks:
        assert len((await task)[0]) == 4
    assert (await batcher(images(7)))[0].tolist() == [14]


@running
async def test_who_has_gone_is_not_read_for(batcher, sizes, go) -> None:
    first = asyncio.create_task(batcher(images(1)))
    await asyncio.sleep(0.05)
    gone = asyncio.create_task(batcher(images(2)))
    stays = asyncio.create_task(batcher(images(3)))
    await asyncio.sleep(0.05)
    gone.cancel()
    await asyncio.sleep(0)
    go.set()
    await first
    assert (await stays)[0].tolist() == [6]
    assert sizes == [1, 1]
    assert batcher.waiting == 0


@running
async def test_a_fault_reaches_who_asked_and_nobody_else(batcher, sizes, go) -> None:
    go.set()
    with pytest.raises(RuntimeError, match="boom"):
        await batcher(images(255))
    assert (await batcher(images(5)))[0].tolist() == [10]


@running
async def test_closing_answers_what_was_taken(batcher, sizes, go) -> None:
    taken = [asyncio.create_task(batcher(images(n))) for n in (1, 2)]
    await asyncio.sleep(0.05)
    batcher.close()
    with pytest.raises(Busy):
        await batcher(images(3))
    go.set()
    assert [(await task)[0].tolist() for task in taken] == [[2], [4]]
