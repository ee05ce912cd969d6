"""Several inputs, outputs and targets, and losses of a model's own, in PyTorch."""

# pyright: reportIncompatibleMethodOverride=false

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_modules import RNG, close

from diptych.auditing.frameworks.defaults import rows_of
from diptych.auditing.frameworks.packing import Packing, sorted_by_name
from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.errors import InputError

X = {
    "words": RNG.integers(0, 30, (40, 5)),
    "numbers": RNG.normal(size=(40, 4)).astype(np.float32),
}
CLASSES = RNG.integers(0, 3, 40)
VALUES = RNG.normal(size=(40, 1)).astype(np.float32)
IMAGES = np.zeros((8, 28, 28, 1), np.uint8)
ROWS = rows_of(40, 8)


class Wide(nn.Module):
    """Two inputs, one of them token ids; a mask that need not be given."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 6)
        self.dense = nn.Linear(4, 6)
        self.out = nn.Linear(12, 3)

    def forward(self, numbers: Any, words: Any, mask: Any = None) -> Any:
        assert words.dtype == torch.int64 and mask is None
        words = self.embedding(words).mean(1)
        return self.out(torch.cat([words, torch.relu(self.dense(numbers))], 1))


class Twofold(Wide):
    """Two outputs in a dictionary."""

    def forward(self, numbers: Any, words: Any) -> Any:
        z = super().forward(numbers, words)
        return {"classes": z, "size": z.sum(1, keepdim=True)}


class Labelled(Wide):
    """A loss of its own, as the models of Hugging Face have it."""

    def forward(self, numbers: Any, words: Any, labels: Any = None) -> Any:
        z = super().forward(numbers, words)
        return {"loss": F.cross_entropy(z, labels), "logits": z}


class Lightning(Wide):
    """A loss of its own in a method."""

    def training_step(self, batch: Any, number: int) -> Any:
        x, y = batch
        return F.cross_entropy(self(**x), y)


def adapter(module: type[nn.Module], loss: Any, data: Any, **extras: Any) -> Adapter:
    def build(seed: int) -> Any:
        torch.manual_seed(seed)
        network = module()
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        return network, loss, optimizer, {"data": data} | extras

    return Adapter(build)


def given(rows: np.ndarray) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value[rows]) for name, value in X.items()}


def both(output: Any, y: Any) -> Any:
    return F.cross_entropy(output["classes"], y["classes"]) + F.mse_loss(output["size"], y["size"])


SIDES = {
    "inputs by name": (Wide, nn.CrossEntropyLoss(), (X, CLASSES)),
    "inputs in order": (Wide, nn.CrossEntropyLoss(), ((X["numbers"], X["words"]), CLASSES)),
    "outputs": (Twofold, both, (X, {"classes": CLASSES, "size": VALUES})),
    "a loss of its own": (Labelled, None, X | {"labels": CLASSES}),
    "a training step": (Lightning, None, (X, CLASSES)),
}


def expected(name: str, module: nn.Module, rows: np.ndarray) -> torch.Tensor:
    """The loss as a user computes it."""
    y, size = torch.tensor(CLASSES[rows]), torch.tensor(VALUES[rows])
    z = Wide.forward(module, **given(rows))  # pyright: ignore
    loss = F.cross_entropy(z, y)
    return loss + F.mse_loss(z.sum(1, keepdim=True), size) if name == "outputs" else loss


@pytest.mark.parametrize("name", SIDES)
def test_loss_and_gradients_are_the_users(name: str) -> None:
    model = adapter(*SIDES[name])
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    assert len(x) == len(y) == 8 and x.ndim == 2
    loss, gradients = model.loss_and_gradients(x, y)
    user = model._builds.first.called
    truth = expected(name, user, ROWS)
    close(loss, truth.item())
    truth.backward()
    close(gradients["out.weight"].T, user.out.weight.grad)  # pyright: ignore
    assert set(gradients) == set(dict(user.named_parameters()))


@pytest.mark.parametrize("name", SIDES)
def test_the_twin_is_the_same_in_float64(name: str) -> None:
    model = adapter(*SIDES[name])
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    twin = model.twin()
    exact = twin.loss_and_gradients(x.astype(np.float64), y)[0]
    assert abs(exact - model.loss_and_gradients(x, y)[0]) < 1e-6
    assert twin.record(x.astype(np.float64), False)["out"].dtype == np.float64


def test_the_loss_of_given_outputs_is_the_users() -> None:
    model = adapter(*SIDES["outputs"])
    y = model.prepare(IMAGES, np.zeros(8, np.int64))[1]
    assert model.targets == "own"
    outputs = RNG.normal(size=(8, 4)).astype(np.float32)  # The classes, then the size.
    z, size = torch.tensor(outputs[:, :3]), torch.tensor(outputs[:, 3:])
    wanted = {"classes": torch.tensor(CLASSES[ROWS]), "size": torch.tensor(VALUES[ROWS])}
    close(model.loss(outputs, y), both({"classes": z, "size": size}, wanted).item())
    own = adapter(*SIDES["a loss of its own"])
    with pytest.raises(NotImplementedError, match="computes its own loss"):
        own.loss(outputs[:, :3], np.zeros((8, 1)))


def test_a_step_of_ones_own_gets_what_the_user_wrote_it_for() -> None:
    def build(seed: int) -> Any:
        torch.manual_seed(seed)
        network = Wide()
        optimizer = torch.optim.SGD(network.parameters(), 0.1)

        def step(x: dict[str, torch.Tensor], y: torch.Tensor) -> Any:
            optimizer.zero_grad()
            loss = 2 * F.cross_entropy(network(**x), y)
            loss.backward()
            optimizer.step()
            return loss

        return network, nn.CrossEntropyLoss(), optimizer, {"data": (X, CLASSES), "step": step}

    model = Adapter(build)
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    truth = 2 * expected("step", model._builds.first.called, ROWS).item()
    close(model.loss_and_gradients(x, y)[0], truth)
    losses, after = model.steps([(x, y)] * 2)
    close(losses[0], truth)
    assert losses[1] < losses[0] and len(after) == 2
    outputs = RNG.normal(size=(8, 3)).astype(np.float32)
    own = F.cross_entropy(torch.tensor(outputs), torch.tensor(CLASSES[ROWS]))
    close(model.loss(outputs, y), 2 * own.item())


def test_noise_of_the_codes_own_is_off_in_gradients() -> None:
    class Noisy(Wide):
        def forward(self, numbers: Any, words: Any) -> Any:
            z = super().forward(numbers, words)
            return z + torch.randn_like(z)

    model = adapter(Noisy, nn.CrossEntropyLoss(), (X, CLASSES))
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    close(
        model.loss_and_gradients(x, y)[0],
        expected("noise", model._builds.first.called, ROWS).item(),
    )
    drawn = model.outputs(x, True, 2)
    assert not np.allclose(drawn[0], drawn[1])


def test_whole_numbers_stay_whole_and_are_known() -> None:
    model = adapter(*SIDES["inputs by name"])
    assert model.whole == [(4, 9)]  # The names in order: numbers, words.
    x, _ = model.prepare(IMAGES, np.zeros(8, np.int64))
    np.testing.assert_array_equal(x[:, 4:], X["words"][ROWS])


def test_packing_goes_there_and_back() -> None:
    value = sorted_by_name({"b": [VALUES, None], "a": {"c": CLASSES}})
    packing = Packing.of(value, "data", np.asarray)
    assert [part.name for part in packing.parts] == ["a.c", "b.0"]
    array = packing.pack(value, np.asarray)
    assert array.shape == (40, 2) and array.dtype == np.float32
    back = packing.unpack(packing.arrays(array))
    np.testing.assert_array_equal(back["a"]["c"], CLASSES)
    np.testing.assert_array_equal(back["b"][0], VALUES)
    assert back["a"]["c"].dtype == CLASSES.dtype and back["b"][1] is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"words": np.array(["a", "b"])}, "words is of <U1: give numbers"),
        ({"a": CLASSES, "b": CLASSES[:3]}, "other numbers of examples: a 40, b 3"),
    ],
)
def test_what_cannot_be_packed_is_refused(data: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Packing.of(data, "data", np.asarray)
