"""Counterparts that shapes do not tell are those with which the outputs agree."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.auditing.match import turns
from diptych.auditing.pair import Pair
from diptych.auditing.settling import distance_of_means, settled

X = np.random.default_rng(5).normal(size=(16, 6)).astype(np.float32)


class Heads(nn.Module):
    """Two heads of one shape, of which one is taken from the other, in either order."""

    def __init__(self, swapped: bool, drawn: bool) -> None:
        super().__init__()
        self.mean, self.spread, self.end = nn.Linear(6, 3), nn.Linear(6, 3), nn.Linear(3, 2)
        self.swapped, self.drawn = swapped, drawn

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = self.mean(x), self.spread(x)
        z = -(spread - mean) if self.swapped else mean - spread
        return self.end(z + torch.randn_like(z) if self.drawn else z)


class Cosine(nn.Module):
    """A classifier by angles, whose weights lie in one of two ways."""

    def __init__(self, turned: bool, classes: int) -> None:
        super().__init__()
        self.hidden, self.turned = nn.Linear(6, 4), turned
        shape = (4, classes) if turned else (classes, 4)
        self.w = nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        w = F.normalize(self.w, dim=0 if self.turned else 1)
        z = F.normalize(self.hidden(x))
        return z @ w if self.turned else F.linear(z, w)


class Asked:
    """A side that answers from this process."""

    def __init__(self, module: nn.Module) -> None:
        def build(seed: int) -> Any:
            optimizer = torch.optim.SGD(module.parameters(), 0.1)
            return module, nn.MSELoss(), optimizer, {"data": (X, np.zeros((16, 1), np.float32))}

        self.adapter = Adapter(build)
        self.own = self.adapter.parameters()
        self.load, self.record = self.adapter.load, self.adapter.record

    def outputs(self, x: np.ndarray, training: bool, runs: int = 1) -> np.ndarray:
        return self.adapter.outputs(x, training, runs)


def counterparts(a: nn.Module, b: nn.Module) -> tuple[Pair, Pair]:
    """A pair as it is matched by shapes, and as it is settled."""
    torch.manual_seed(1)
    sides: Any = {"a": Asked(a), "b": Asked(b)}
    graphs = {which: side.adapter.graph() for which, side in sides.items()}
    pair = Pair.of(sides, graphs)
    return pair, settled(pair, {"a": X, "b": X})


@pytest.mark.parametrize("drawn", [False, True])
def test_heads_in_another_order(drawn: bool) -> None:
    before, after = counterparts(Heads(False, drawn), Heads(True, drawn))
    assert before.transfer.names["mean.weight"] == "spread.weight"
    assert all(name == other for name, other in after.transfer.names.items())
    partners = {match.a.name: match.b.name for match in after.matches if match.a and match.b}
    assert partners["mean"] == "mean" and partners["spread"] == "spread"


@pytest.mark.parametrize("classes", [3, 4])
def test_weights_that_lie_the_other_way(classes: int) -> None:
    """Of a square, only the outputs tell."""
    _, after = counterparts(Cosine(False, classes), Cosine(True, classes))
    assert after.whole and after.transfer.turned == {"w": (1, 0)}
    w = np.arange(4.0 * classes).reshape(classes, 4)
    np.testing.assert_array_equal(after.transfer.to_b({"w": w})["w"], w.T)
    np.testing.assert_array_equal(after.transfer.to_a({"w": w.T})["w"], w)


def test_what_agrees_stays() -> None:
    before, after = counterparts(Cosine(False, 4), Cosine(False, 4))
    assert after.transfer == before.transfer and not after.transfer.turned


def test_orders_of_axes() -> None:
    assert turns((2, 3), (3, 2)) == [(1, 0)]
    assert turns((3, 3), (3, 3)) == [(0, 1), (1, 0)]
    # Convolution kernels keep the height and the width of their window in order.
    assert turns((3, 3, 1, 8), (8, 1, 3, 3)) == [(3, 2, 0, 1), (3, 2, 1, 0)]
    assert turns((2, 3), (6,)) == turns((2, 3), (2, 2)) == []


def test_a_distance_of_means_leaves_out_chance() -> None:
    chance = np.random.default_rng(0)
    a, b = (3 + chance.normal(size=(64, 20, 5)) for _ in range(2))
    assert distance_of_means(a, b) < 0.02 < 0.9 / 3 < distance_of_means(a, b + 1)
