"""Batches that differ in later epochs, in how often they draw a class, or in what goes together."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import WeightedRandomSampler

from diptych.auditing import audit

CHANCE = np.random.default_rng(5)
X = torch.from_numpy(CHANCE.normal(size=(64, 6)).astype(np.float32))
Y = torch.where(torch.arange(64) % 8 < 5, 0, torch.arange(64) % 4)
IMAGES = torch.from_numpy(CHANCE.random((64, 1, 6, 6)).astype(np.float32))
MASKS = (IMAGES > 0.5).float()
Batches = Callable[[torch.Tensor, torch.Tensor], Iterator[tuple[torch.Tensor, torch.Tensor]]]


def of(batches: Batches, masks: bool = False) -> Any:
    def build() -> Any:
        module = nn.Conv2d(1, 1, 3, padding=1) if masks else nn.Linear(6, 4)
        loss = nn.BCEWithLogitsLoss() if masks else nn.CrossEntropyLoss()
        data = (IMAGES, MASKS) if masks else (X, Y)
        optimiser = torch.optim.SGD(module.parameters(), 0.05)
        return module, loss, optimiser, {"data": data, "batches": batches}

    return build


def curriculum(after: int) -> Any:
    """A side whose epochs have half of the examples after so many."""

    def build() -> Any:
        epochs = 0

        def batches(x: torch.Tensor, y: torch.Tensor) -> Any:
            nonlocal epochs
            epochs += 1
            rows = torch.randperm(len(x))[: len(x) if epochs <= after else len(x) // 2]
            return ((x[part], y[part]) for part in rows.split(16))

        return of(batches)()

    return build


def drawn(weights: Callable[[torch.Tensor], torch.Tensor]) -> Batches:
    def batches(x: torch.Tensor, y: torch.Tensor) -> Any:
        rows = torch.tensor([*WeightedRandomSampler(weights(y).tolist(), len(y))])
        return ((x[part], y[part]) for part in rows.split(16))

    return batches


def balanced(y: torch.Tensor) -> torch.Tensor:
    return 1 / torch.bincount(y)[y]


def rows_at_random(x: torch.Tensor, y: torch.Tensor) -> Any:
    return ((x[part], y[part]) for part in torch.randint(len(x), (len(x),)).split(16))


def flips(with_masks: bool) -> Batches:
    def batches(x: torch.Tensor, y: torch.Tensor) -> Any:
        for rows in torch.randperm(len(x)).split(16):
            flipped = torch.rand(len(rows), 1, 1, 1) < 0.5
            masks = torch.where(flipped, y[rows].flip(-1), y[rows]) if with_masks else y[rows]
            yield torch.where(flipped, x[rows].flip(-1), x[rows]), masks

    return batches


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (curriculum(100), curriculum(4)),
        (of(drawn(torch.ones_like)), of(drawn(balanced))),
        (of(flips(True), masks=True), of(flips(False), masks=True)),
    ],
    ids=["curriculum", "balanced", "masks"],
)
def test_other_examples(a: Any, b: Any) -> None:
    result = audit(a, b, only=["batches"])
    assert [finding.code for finding in result.findings] == ["examples"]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (curriculum(4), curriculum(4)),
        (of(drawn(torch.ones_like)), of(rows_at_random)),
        (of(flips(True), masks=True), of(flips(True), masks=True)),
    ],
    ids=["curriculum", "replacement", "masks"],
)
def test_the_same_examples(a: Any, b: Any) -> None:
    result = audit(a, b, only=["batches"])
    assert not result.findings and result.stages[0].ok
