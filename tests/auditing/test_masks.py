"""Attention with a mask that the network makes of its own tokens."""

from typing import Any

import keras
import numpy as np
import torch
from keras import layers
from torch import Tensor, nn

from diptych.auditing import reference
from diptych.auditing.frameworks.keras.adapter import Adapter as KerasAdapter
from diptych.auditing.frameworks.torch.adapter import Adapter as TorchAdapter
from diptych.auditing.graph import INPUT

TOKENS = np.random.default_rng(0).integers(1, 9, (12, 5))
TOKENS[:, 3:] *= np.arange(12)[:, None] % 3 > 0
LABELS = np.arange(12) % 2


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.end = nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        z = self.encoder(self.words(tokens), src_key_padding_mask=tokens == 0)
        return self.end(z[:, 0])


def of_torch(seed: int) -> Any:
    module = Encoder()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    return module, nn.CrossEntropyLoss(), optimizer, {"data": (TOKENS, LABELS)}


def of_keras(seed: int) -> Any:
    tokens = keras.Input((5,), dtype="int64")
    z = layers.Embedding(9, 8)(tokens)
    mask = keras.ops.expand_dims(keras.ops.not_equal(tokens, 0), 1)
    z = layers.MultiHeadAttention(2, 4)(z, z, attention_mask=mask)
    model = keras.Model(tokens, layers.Dense(2)(z[:, 0]))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, {"data": (TOKENS, LABELS)}


def check(side: Any, mask: str) -> None:
    """One node is an attention with such a mask, and computes what a side gives."""
    graph = side.graph()
    (node,) = (node for node in graph.nodes if node.kind == "multi_head_attention")
    assert node.attributes["mask"] == mask
    record = side.record(TOKENS, False) | {INPUT: TOKENS}
    parameters = side.parameters()
    assert reference.distance(node, parameters, record, False).ratio <= 1
    others = record | {node.inputs[-1]: np.full_like(record[node.inputs[-1]], mask == "kept")}
    assert reference.distance(node, parameters, others, False).ratio > 1


def test_a_mask_of_keys_in_pytorch() -> None:
    check(TorchAdapter(of_torch), "ignored")


def test_a_mask_of_queries_and_keys_in_keras() -> None:
    check(KerasAdapter(of_keras), "kept")
