"""Batches in the order that a run's seed gives, augmented as its recipe says.

Every workflow is fed from here, so two of them with the same seed see the same images, moved by the
same pixels, in the same order.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from diptych.data import Split
from diptych.data.augmentation import shifted, warp_field, warped, warps
from diptych.randomness import generator
from diptych.recipe import Recipe


def to_float(images: np.ndarray) -> np.ndarray:
    """Images uint8 (n, height, width, channels) as float32 in [0, 1], as in the article."""
    return images * np.float32(1 / 255)


class Batches:
    """The training batches of one run; any of them can be had at any time, in any order."""

    def __init__(self, split: Split, recipe: Recipe, seed: int) -> None:
        self.split, self.recipe, self.seed = split, recipe, seed
        self.steps_per_epoch = -(-len(split.labels) // recipe.batch_size)
        self.steps = recipe.epochs * self.steps_per_epoch
        self.cropped_steps = recipe.cropped_steps(self.steps)
        self.freezing_steps = recipe.freezing_steps(self.steps)
        self.rates = recipe.learning_rates(self.steps)
        """The learning rate of each step of the training."""
        self.plan = lru_cache(maxsize=2)(self._plan)

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the images (n,) and their shifts (n, 2), down and right, in that epoch."""
        count, reach = len(self.split.labels), self.recipe.shift
        order = generator(self.seed, "order", epoch).permutation(count)
        shifts = generator(self.seed, "shift", epoch)
        return order, shifts.integers(-reach, reach, (count, 2), np.int8, endpoint=True)

    def batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch ``step`` of ``epoch``, both counted from 0; the last one may be smaller.

        Returns:
            images uint8 (batch, height, width, channels) and labels int64 (batch,); height and
            width are smaller while the recipe crops.
        """
        order, offsets = self.plan(epoch)
        here = slice(step * self.recipe.batch_size, (step + 1) * self.recipe.batch_size)
        images = self.split.images[order[here]]
        window = self.window(epoch, step)
        if warps(self.recipe):
            random = generator(self.seed, "warp", epoch, step)
            field = warp_field(self.recipe, offsets[here], images.shape[1:3], random, window)
            images = warped(images, field)
        elif self.recipe.shift:
            images = shifted(images, offsets[here], window)
        else:
            images = images[:, window[0], window[1]]
        return images, self.split.labels[order[here]].astype(np.int64)

    def window(self, epoch: int, step: int) -> tuple[slice, slice]:
        """The rows and the columns that the images of that step have of the whole ones."""
        height, width = self.split.images.shape[1:3]
        if epoch * self.steps_per_epoch + step < self.cropped_steps:
            return self.recipe.cropped(height, width)
        return slice(0, height), slice(0, width)

    def frozen(self, epoch: int, step: int) -> int:
        """The number of the network's first convolutions that are frozen at that step."""
        now = epoch * self.steps_per_epoch + step
        return sum(first <= now for first in self.freezing_steps)

    def next_turn(self, epoch: int, step: int) -> int:
        """The steps from that epoch's first to the next at which the images' size or what is frozen
        changes, or to the training's end."""
        before = epoch * self.steps_per_epoch
        turns = (self.cropped_steps, *self.freezing_steps, self.steps)
        return min(turn for turn in turns if turn > before + step) - before

    def end_of_alike(self, epoch: int, step: int, most: int) -> int:
        """The step after the last of up to ``most`` steps that differ in their images alone."""
        whole = len(self.split.labels) // self.recipe.batch_size
        end = min(step + most, whole) if step < whole else step + 1
        return min(end, self.next_turn(epoch, step))

    def stacked(self, epoch: int, step: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Up to ``most`` batches of the same size from ``step`` on, for several steps in one call.

        Returns:
            images uint8 (steps, batch, height, width, channels) and labels int64 (steps, batch).
        """
        end = self.end_of_alike(epoch, step, most)
        images, labels = zip(*(self.batch(epoch, i) for i in range(step, end)), strict=True)
        return np.stack(images), np.stack(labels)

    def chunks(self, epoch: int, step: int, most: int) -> Iterator["Chunk"]:
        """The rest of an epoch from a step on, in chunks of up to ``most`` steps."""
        while step < self.steps_per_epoch:
            end = self.end_of_alike(epoch, step, most)
            yield Chunk(self, epoch, step, end - step)
            step = end


@dataclass(frozen=True)
class Chunk:
    """Some steps of an epoch that differ in their images alone: what they need, made when asked."""

    batches: Batches
    epoch: int
    first: int
    """The first step, counted from 0 in the epoch."""
    steps: int
    asked_for: float = field(default_factory=time.perf_counter)
    """When the clock of these steps began; making the batches is part of training."""

    @property
    def step(self) -> int:
        """The first step, counted from the training's first."""
        return self.epoch * self.batches.steps_per_epoch + self.first

    @property
    def rates(self) -> np.ndarray:
        """Learning rates, float32 (steps,)."""
        return self.batches.rates[self.step : self.step + self.steps]

    @property
    def frozen(self) -> int:
        """The number of the network's convolutions that are frozen."""
        return self.batches.frozen(self.epoch, self.first)

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (steps, batch, height, width, channels) and labels int64 (steps, batch)."""
        return self.batches.stacked(self.epoch, self.first, self.steps)

    @property
    def labels(self) -> np.ndarray:
        """Integers (steps, batch), where the images are not needed."""
        return self.batches.split.labels[self.order]

    @cached_property
    def order(self) -> np.ndarray:
        """The places of the images in the split, (steps, batch)."""
        order, _ = self.batches.plan(self.epoch)
        return self._part(order)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Pixels down and right by which each image is shifted, (steps, batch, 2)."""
        _, offsets = self.batches.plan(self.epoch)
        return self._part(offsets)

    @property
    def size(self) -> int:
        """Images in each batch."""
        return self.order.shape[1]

    def _part(self, values: np.ndarray) -> np.ndarray:
        size = self.batches.recipe.batch_size
        part = values[self.first * size : (self.first + self.steps) * size]
        return part.reshape(self.steps, -1, *part.shape[1:])
