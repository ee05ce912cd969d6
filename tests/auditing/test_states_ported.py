"""Encoders and decoders, ported from Keras to PyTorch rightly and wrongly."""

# The frameworks' annotations say less than they take and give.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from begun_layers import CHANCE
from keras import layers
from torch import Tensor, nn

import diptych

SOURCE = CHANCE.integers(1, 12, (32, 7))
TARGET = CHANCE.integers(1, 12, (32, 6))
DATA = ([SOURCE, TARGET], np.roll(TARGET, -1, 1))


def translator() -> Any:
    source, target = keras.Input((7,), dtype="int64"), keras.Input((6,), dtype="int64")
    _, h, c = layers.LSTM(8, return_state=True)(layers.Embedding(12, 6)(source))
    z = layers.LSTM(8, return_sequences=True)(layers.Embedding(12, 6)(target), initial_state=[h, c])
    model = keras.Model([source, target], layers.Dense(12)(z))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model, {"data": DATA}


def as_in_keras(layer: nn.LSTM) -> nn.LSTM:
    """An LSTM that starts as Keras' does, and trains one of its two biases."""
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                with torch.no_grad():
                    parameter[layer.hidden_size : 2 * layer.hidden_size] = 1.0
            parameter.requires_grad_(not name.startswith("bias_hh"))
    return layer


class Translator(nn.Module):
    def __init__(self, pass_on: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(12, 6), nn.Embedding(12, 6)
        self.encoder = as_in_keras(nn.LSTM(6, 8, batch_first=True))
        self.decoder = as_in_keras(nn.LSTM(6, 8, batch_first=True))
        self.last, self.pass_on = nn.Linear(8, 12), pass_on
        for table in (self.source, self.target):
            nn.init.uniform_(table.weight, -0.05, 0.05)
        nn.init.xavier_uniform_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        _, (h, c) = self.encoder(self.source(source))
        return self.last(self.decoder(self.target(target), self.pass_on(h, c))[0])


def loss_of(y: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(y.flatten(0, 1), labels.flatten())


def port(pass_on: Callable[[Tensor, Tensor], Any]) -> Callable[[], Any]:
    def build() -> Any:
        module = Translator(pass_on)
        return module, loss_of, torch.optim.SGD(module.parameters(), 0.1), {"data": DATA}

    return build


def test_a_right_port_of_an_encoder_and_a_decoder_is_the_same() -> None:
    answer = diptych.audit(translator, port(lambda h, c: (h, c)))
    assert answer.same and not answer.findings, answer
    (structure,) = (stage for stage in answer.stages if stage.name == "structure")
    numbers_of_both = 2 * (12 * 6 + 4 * 8 * (6 + 8 + 1)) + 9 * 12
    assert f"{numbers_of_both:,} parameters" in structure.note


@pytest.mark.parametrize(
    ("pass_on", "a", "b"),
    [
        (
            lambda h, c: (c, h),
            "returns the last state of each direction",
            "returns the last cell state of each direction",
        ),
        (
            lambda h, c: (h, torch.zeros_like(c)),
            "begins with a given state and cell state",
            "begins with a given state and a cell state of zero",
        ),
        (
            lambda h, c: None,
            "begins with a given state and cell state",
            "begins with states of zero",
        ),
    ],
    ids=["swapped", "without the cell", "dropped"],
)
def test_states_that_are_passed_on_wrongly_are_told(pass_on: Callable, a: str, b: str) -> None:
    answer = diptych.audit(translator, port(pass_on))
    assert not answer.same
    assert (a, b) in [(finding.a, finding.b) for finding in answer.findings]
