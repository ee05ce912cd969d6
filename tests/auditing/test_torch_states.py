"""PyTorch's recurrent layers that begin with given states, as they are read."""

# PyTorch's annotations say less than it takes and gives.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from collections.abc import Callable
from typing import Any

import pytest
import torch
from begun_layers import X, numbers, read_as
from torch import Tensor, nn

from diptych.auditing.frameworks.torch.adapter import Adapter as TorchAdapter


class Pair(nn.Module):
    """Two layers, and how the second one begins with what the first one gives."""

    def __init__(self, make: Callable[[], nn.Module], begin: Callable, width: int) -> None:
        super().__init__()
        self.one, self.other, self.begin = make(), make(), begin
        self.middle, self.last = nn.Linear(4, 3), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.begin(self, x))


def of_torch(make: Callable[[], nn.Module], begin: Callable, width: int = 3) -> TorchAdapter:
    def build(seed: int) -> Any:
        torch.manual_seed(seed)
        module = Pair(make, begin, width)
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        return module, nn.MSELoss(), optimizer, {"data": (X, numbers(6, 5, 1))}

    return TorchAdapter(build)


def lstm(**settings: Any) -> Callable[[], nn.Module]:
    return lambda: nn.LSTM(4, 3, **{"batch_first": True} | settings)


def gru(**settings: Any) -> Callable[[], nn.Module]:
    return lambda: nn.GRU(4, 3, batch_first=True, **settings)


def carried(m: Pair, x: Tensor) -> Tensor:
    return m.other(x, m.one(x)[1])[0]


def without_cell(m: Pair, x: Tensor) -> Tensor:
    h, c = m.one(x)[1]
    return m.other(x, (h, torch.zeros_like(c)))[0]


def crossed(m: Pair, x: Tensor) -> Tensor:
    h, c = m.one(x)[1]
    return m.other(x, (c.contiguous(), h))[0]


def steps_in_front(m: Pair, x: Tensor) -> Tensor:
    return carried(m, x.transpose(0, 1)).transpose(0, 1)


def by_a_dense_layer(m: Pair, x: Tensor) -> Tensor:
    return m.other(x, torch.tanh(m.middle(x[:, 0])).unsqueeze(0))[0]


def last_row(m: Pair, x: Tensor) -> Tensor:
    return m.other(x, m.one(x)[1][-1][None])[0]


TORCH = {
    "LSTM": (lstm(), carried, 3, ["lstm state", "lstm cell", "lstm sequence state cell"]),
    "LSTM, steps in front": (
        lstm(batch_first=False), steps_in_front, 3,
        ["lstm state", "lstm cell", "lstm sequence state cell"],
    ),
    "LSTM, states crossed": (
        lstm(), crossed, 3, ["lstm state", "lstm cell", "lstm sequence state cell"],
    ),
    "LSTM, a cell of zero": (lstm(), without_cell, 3, ["lstm state", "lstm sequence state"]),
    "LSTM, two layers": (
        lambda: nn.LSTM(4, 4, 2, batch_first=True), carried, 4,
        [
            "lstm sequence", "lstm state", "lstm cell", "lstm state", "lstm cell",
            "lstm sequence state cell", "lstm sequence state cell",
        ],
    ),
    "GRU": (gru(), carried, 3, ["gru state", "gru sequence state"]),
    "GRU, both directions": (
        gru(bidirectional=True), carried, 6, ["gru state", "gru sequence state"],
    ),
    "GRU, by a dense layer": (gru(), by_a_dense_layer, 3, ["gru sequence state"]),
    "GRU, the last row": (gru(), last_row, 3, ["gru state", "gru sequence state"]),
    "RNN": (
        lambda: nn.RNN(4, 3, batch_first=True), carried, 3,
        ["simple_rnn state", "simple_rnn sequence state"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", TORCH)
def test_pytorchs_layers_begin_with_states(form: str) -> None:
    make, begin, width, expected = TORCH[form]
    nodes = read_as(of_torch(make, begin, width), expected)
    if form == "LSTM, states crossed":
        returns = {node.name: node.attributes["returns"] for node in nodes}
        assert [returns[name] for name in nodes[-1].inputs[1:]] == ["cell", "state"]


def test_a_learned_state_is_an_unknown_layer() -> None:
    def learned(m: Pair, x: Tensor) -> Tensor:
        return m.other(x, m.middle.bias.expand(1, len(x), 3).contiguous())[0]

    side = of_torch(gru(), learned)
    assert [node.kind for node in side.graph().nodes] == ["custom", "dense"]
