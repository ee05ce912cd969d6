"""Batching of requests: waiting images are computed in one call of the network.

While one batch is computed the next one is collected, so there is no timer, and batches grow with
the number of clients. The queue is bounded; requests that do not fit are refused immediately.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np


class Busy(Exception):
    """The queue is full."""


@dataclass
class _Waiting:
    images: np.ndarray
    answer: "asyncio.Future[list[np.ndarray]]"


class Batcher:
    """Gathers images and has them read together, by every model."""

    def __init__(
        self,
        read: list[Callable[[np.ndarray], np.ndarray]],
        most: int,
        limit: int,
        measured: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Makes one; `run` must be running for it to answer.

        Args:
            read: each model's images (n, …) to answers (n, …).
            most: images in a batch.
            limit: images that may wait.
            measured: called with each batch's size.
        """
        self.read, self.most, self.limit, self.measured = read, most, limit, measured
        self.queue: deque[_Waiting] = deque()
        self.waiting = 0
        self.filled = asyncio.Event()
        self.executor = ThreadPoolExecutor(1, "network")
        self.closing = False

    async def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Each model's answers for these images (n, …).

        Raises:
            Busy: too many images wait already.
        """
        if self.closing or self.waiting + len(images) > self.limit:
            raise Busy
        entry = _Waiting(images, asyncio.get_running_loop().create_future())
        self.queue.append(entry)
        self.waiting += len(images)
        self.filled.set()
        return await entry.answer

    async def run(self) -> None:
        """Answers until `close` is called and the queue is empty."""
        loop = asyncio.get_running_loop()
        while not (self.closing and not self.queue):
            await self.filled.wait()
            batch = self._next()
            if not batch:
                self.filled.clear()
                continue
            images = np.concatenate([entry.images for entry in batch])
            self.measured(len(images))
            try:
                answers = await loop.run_in_executor(self.executor, self._read, images)
            except Exception as problem:
                for entry in batch:
                    if not entry.answer.done():
                        entry.answer.set_exception(problem)
                continue
            start = 0
            for entry in batch:
                end = start + len(entry.images)
                if not entry.answer.done():  # Its client may have gone, or its time be up.
                    entry.answer.set_result([answer[start:end] for answer in answers])
                start = end
        self.executor.shutdown()

    def close(self) -> None:
        """Takes nothing more; what waits is still answered."""
        self.closing = True
        self.filled.set()

    def _next(self) -> list[_Waiting]:
        """As many of those that wait as fit into a batch, and at least one."""
        batch: list[_Waiting] = []
        size = 0
        while self.queue and (not batch or size + len(self.queue[0].images) <= self.most):
            entry = self.queue.popleft()
            self.waiting -= len(entry.images)
            if entry.answer.done():
                continue
            batch.append(entry)
            size += len(entry.images)
        return batch

    def _read(self, images: np.ndarray) -> list[np.ndarray]:
        return [read(images) for read in self.read]
