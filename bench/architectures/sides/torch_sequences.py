"""PyTorch sides that read sequences, and those that are neither sequences nor images.

Each network has a second function, ``…_faulty``: the same with one fault deep inside.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

EXAMPLES, LENGTH, TOKENS, CLASSES = 12, 10, 50, 3
EXTRAS = dict[str, Any]
SIDE = tuple[nn.Module, Callable[..., Any] | None, torch.optim.Optimizer, EXTRAS]


def token_data() -> EXTRAS:
    """Token ids (EXAMPLES, LENGTH) and a class for each row."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, TOKENS, (EXAMPLES, LENGTH))
    return {"data": (ids, generator.integers(0, CLASSES, EXAMPLES))}


def classifier(network: nn.Module) -> SIDE:
    """A side that learns a class for each sequence of tokens."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    return network, nn.CrossEntropyLoss(), optimizer, token_data()


class Recurrent(nn.Module):
    """Embedding, two recurrent layers, a dense layer on the last step, classes."""

    def __init__(self, layer: type[nn.LSTM | nn.GRU], dropout: float = 0.2, bias: bool = True):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 12)
        self.layers = layer(12, 16, num_layers=2, batch_first=True, dropout=dropout)
        self.hidden = nn.Linear(16, 16, bias=bias)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        outputs, _ = self.layers(self.embedding(ids))
        return self.head(torch.tanh(self.hidden(outputs[:, -1])))


def lstm() -> SIDE:
    return classifier(Recurrent(nn.LSTM))


def lstm_faulty() -> SIDE:
    return classifier(Recurrent(nn.LSTM, dropout=0.3))


def gru() -> SIDE:
    return classifier(Recurrent(nn.GRU))


def gru_faulty() -> SIDE:
    return classifier(Recurrent(nn.GRU, bias=False))


class ConvolutionalRecurrent(nn.Module):
    """Convolutions over time with batch normalisation, then an LSTM."""

    def __init__(self, momentum: float = 0.1):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(6, 16, 3, padding=1),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3, padding=1),
            nn.BatchNorm1d(16, momentum=momentum),
            nn.ReLU(),
            nn.MaxPool1d(2),
        )
        self.lstm = nn.LSTM(16, 12, batch_first=True)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, signals: Tensor) -> Tensor:
        features = self.convolutions(signals).transpose(1, 2)
        return self.head(self.lstm(features)[0][:, -1])


def signals(network: nn.Module) -> SIDE:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(EXAMPLES, 6, 16)).astype("float32")
    data: EXTRAS = {"data": (x, generator.integers(0, CLASSES, EXAMPLES))}
    optimizer = torch.optim.RMSprop(network.parameters(), 1e-3)
    return network, nn.CrossEntropyLoss(), optimizer, data


def cnn_lstm() -> SIDE:
    return signals(ConvolutionalRecurrent())


def cnn_lstm_faulty() -> SIDE:
    return signals(ConvolutionalRecurrent(momentum=0.01))


class Encoder(nn.Module):
    """Two layers of a Transformer encoder on learnt positions."""

    def __init__(self, norm_first: bool = True):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        self.positions = nn.Parameter(torch.zeros(LENGTH, 16))
        layers = (
            nn.TransformerEncoderLayer(
                16, 2, 32, 0.1, activation="gelu", batch_first=True, norm_first=norm_first
            )
            for _ in range(2)
        )
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.layers(self.embedding(ids) + self.positions)
        return self.head(hidden.mean(1))


def transformer() -> SIDE:
    return classifier(Encoder())


def transformer_faulty() -> SIDE:
    side = classifier(Encoder())
    dropout: Any = side[0].get_submodule("layers.1.dropout1")
    dropout.p = 0.2
    return side


def bert(epsilon: float = 1e-12) -> SIDE:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=TOKENS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        num_labels=CLASSES,
    )
    network = BertForSequenceClassification(config)
    last: Any = network.get_submodule("bert.encoder.layer.1.output.LayerNorm")
    last.eps = epsilon

    def loss(output: Any, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.logits, targets)

    return network, loss, torch.optim.AdamW(network.parameters(), 1e-3), token_data()


def bert_faulty() -> SIDE:
    return bert(epsilon=1e-5)


def gpt2(dropout: float = 0.1) -> SIDE:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=TOKENS, n_positions=32, n_embd=32, n_layer=2, n_head=2)
    network = GPT2LMHeadModel(config)
    last: Any = network.get_submodule("transformer.h.1.mlp.dropout")
    last.p = dropout
    ids, _ = token_data()["data"]

    def loss(output: Any, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.logits.flatten(0, 1), targets.flatten())

    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    return network, loss, optimizer, {"data": (ids, np.roll(ids, -1, 1))}


def gpt2_faulty() -> SIDE:
    return gpt2(dropout=0.2)


def t5(epsilon: float = 1e-6) -> SIDE:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=TOKENS,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
    )
    network = T5ForConditionalGeneration(config)
    last: Any = network.get_submodule("decoder.block.1.layer.1.layer_norm")
    last.variance_epsilon = epsilon
    ids, _ = token_data()["data"]
    data = {"input_ids": ids, "labels": np.roll(ids, 1, 1)}
    return network, None, torch.optim.AdamW(network.parameters(), 1e-3), {"data": data}


def t5_faulty() -> SIDE:
    return t5(epsilon=1e-3)


class Vae(nn.Module):
    """A variational autoencoder of rows of 20 numbers between 0 and 1."""

    def __init__(self, bias: bool = True):
        super().__init__()
        self.encoder = nn.Linear(20, 16)
        self.mean = nn.Linear(16, 4)
        self.log_variance = nn.Linear(16, 4)
        self.decoder = nn.Linear(4, 16, bias=bias)
        self.pixels = nn.Linear(16, 20)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = torch.relu(self.encoder(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return torch.sigmoid(self.pixels(torch.relu(self.decoder(code)))), mean, log_variance


def vae(bias: bool = True) -> SIDE:
    network = Vae(bias)
    x = np.random.default_rng(0).uniform(size=(16, 20)).astype("float32")

    def loss(output: tuple[Tensor, Tensor, Tensor], targets: Tensor) -> Tensor:
        pixels, mean, log_variance = output
        likelihood = nn.functional.binary_cross_entropy(pixels, targets, reduction="sum")
        return likelihood - 0.5 * torch.sum(1 + log_variance - mean**2 - log_variance.exp())

    return network, loss, torch.optim.Adam(network.parameters(), 1e-3), {"data": (x, x)}


def vae_faulty() -> SIDE:
    return vae(bias=False)


class Dcgan(nn.Module):
    """A generator of 16×16 images from noise, and the discriminator that judges them."""

    def __init__(self, momentum: float = 0.1):
        super().__init__()
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(8, 16, 4, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8, momentum=momentum),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(1, 8, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(8, 16, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 1, 4),
            nn.Flatten(0),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return self.discriminator(self.generator(noise))


def dcgan(momentum: float = 0.1) -> SIDE:
    network = Dcgan(momentum)
    generator, discriminator = network.generator, network.discriminator
    of_generator = torch.optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    of_discriminator = torch.optim.Adam(discriminator.parameters(), 2e-4, betas=(0.5, 0.999))
    judge = nn.BCEWithLogitsLoss()

    def loss(judgement: Tensor, images: Tensor) -> Tensor:
        return judge(judgement, torch.ones_like(judgement))

    def step(noise: Tensor, images: Tensor) -> Tensor:
        made = generator(noise)
        of_discriminator.zero_grad()
        real, fake = discriminator(images), discriminator(made.detach())
        judge(real, torch.ones_like(real)).backward()
        judge(fake, torch.zeros_like(fake)).backward()
        of_discriminator.step()
        of_generator.zero_grad()
        judgement = discriminator(made)
        error = judge(judgement, torch.ones_like(judgement))
        error.backward()
        of_generator.step()
        return error

    draw = np.random.default_rng(0)
    noise = draw.normal(size=(EXAMPLES, 8, 1, 1)).astype("float32")
    images = draw.uniform(-1, 1, (EXAMPLES, 1, 16, 16)).astype("float32")
    return network, loss, of_generator, {"data": (noise, images), "step": step}


def dcgan_faulty() -> SIDE:
    return dcgan(momentum=0.01)
