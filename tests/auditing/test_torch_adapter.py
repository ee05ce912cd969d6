"""What a PyTorch side takes, and what is said of what it cannot take."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_modules import RNG, close, fed, images, line, side, small

from diptych.auditing.frameworks.defaults import rows_of
from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.errors import InputError

# Losses and data.


@pytest.mark.parametrize(
    ("loss", "units", "targets"),
    [
        (nn.CrossEntropyLoss(), 10, "classes"),
        (F.cross_entropy, 10, "classes"),
        (lambda output, target: F.nll_loss(output.log_softmax(1), target), 10, "classes"),
        (nn.BCEWithLogitsLoss(), 1, "binary"),
        (nn.BCEWithLogitsLoss(), 10, "one_hot"),
        (nn.MSELoss(), 3, "values"),
        (lambda output, target: (output - target).square().mean(), 3, "values"),
        (lambda output, target: (output - target).abs().mean(), 1, "values"),
    ],
)
def test_what_the_loss_takes(loss: Any, units: int, targets: str) -> None:
    model = side(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, units)), loss)
    assert model.targets == targets
    if targets == "classes":
        outputs = RNG.normal(size=(4, units)).astype(np.float32)
        picked = outputs[np.arange(4), np.arange(4)]
        expected = np.mean(np.log(np.exp(outputs).sum(1)) - picked)
        close(model.loss(outputs, np.arange(4)), expected)


@pytest.mark.parametrize(
    "loss", [nn.KLDivLoss(reduction="batchmean"), lambda z, y: (z - y).abs().sum()]
)
def test_distributions_are_no_numbers_to_draw(loss: Any) -> None:
    x, y = RNG.normal(size=(8, 5)).astype(np.float32), RNG.random((8, 3)).astype(np.float32)
    shares = y / y.sum(1, keepdims=True)
    network = lambda: nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(1))  # noqa: E731
    assert side(network, loss, extras=lambda *_: {"data": (x, shares)}).targets == "own"
    wanted = "own" if isinstance(loss, nn.KLDivLoss) else "values"
    assert side(network, loss, extras=lambda *_: {"data": (x, y)}).targets == wanted


def test_targets_per_pixel_lie_as_the_outputs_do() -> None:
    x = RNG.normal(size=(8, 2, 6, 5)).astype(np.float32)
    classes = RNG.integers(0, 3, (8, 6, 5))
    images, labels = np.zeros((8, 28, 28, 1), np.uint8), np.zeros(8)
    network = lambda: nn.Conv2d(2, 3, 3, padding=1)  # noqa: E731
    model = side(
        network, nn.CrossEntropyLoss(ignore_index=1), extras=lambda *_: {"data": (x, classes)}
    )
    y = model.prepare(images, labels)[1]
    assert model.targets == "classes" and y.shape == (8, 6, 5)
    outputs = RNG.normal(size=(8, 6, 5, 3)).astype(np.float32)  # Channels last, as in the graph.
    z = torch.tensor(outputs).permute(0, 3, 1, 2)
    close(model.loss(outputs, y), F.cross_entropy(z, torch.tensor(classes), ignore_index=1))
    values = RNG.normal(size=(8, 3, 6, 5)).astype(np.float32)
    model = side(network, nn.MSELoss(), extras=lambda *_: {"data": (x, values)})
    y = model.prepare(images, labels)[1]
    assert model.targets == "values"
    close(y, values.transpose(0, 2, 3, 1))
    close(model.loss(outputs, y), F.mse_loss(z, torch.tensor(values)))


def test_targets_per_token_of_a_loss_of_ones_own() -> None:
    x, tokens = RNG.normal(size=(8, 7, 4)).astype(np.float32), RNG.integers(0, 5, (8, 7))
    loss = lambda output, y: F.cross_entropy(output.flatten(0, 1), y.flatten())  # noqa: E731
    model = side(lambda: nn.Linear(4, 5), loss, extras=lambda *_: {"data": (x, tokens)})
    y = model.prepare(np.zeros((8, 28, 28, 1), np.uint8), np.zeros(8))[1]
    assert model.targets == "classes"
    outputs = RNG.normal(size=(8, 7, 5)).astype(np.float32)
    close(model.loss(outputs, y), loss(torch.tensor(outputs), torch.tensor(tokens)))


def test_indices_in_the_targets_of_a_loss_of_ones_own_are_not_made_up() -> None:
    x, actions = RNG.normal(size=(8, 4)).astype(np.float32), RNG.integers(0, 3, (8, 2))
    loss = lambda output, y: output.gather(1, y).square().mean()  # noqa: E731
    model = side(lambda: nn.Linear(4, 3), loss, extras=lambda *_: {"data": (x, actions)})
    y = model.prepare(np.zeros((8, 28, 28, 1), np.uint8), np.zeros(8))[1]
    assert model.targets == "own"
    outputs = RNG.normal(size=(8, 3)).astype(np.float32)
    close(model.loss(outputs, y), np.mean(np.take_along_axis(outputs, actions, 1) ** 2))


def test_prepare_has_a_default() -> None:
    raw, labels = RNG.integers(0, 256, (4, 28, 28, 1), np.uint8), np.array([3, 1, 4, 1])
    model = side(small)
    x, y = model.prepare(raw, labels)
    assert not model.prepares and x.dtype == np.float32 and y.dtype == np.int64
    close(x, raw / 255)
    model = side(lambda: nn.Linear(784, 10), nn.BCEWithLogitsLoss())
    x, y = model.prepare(raw, labels)
    assert x.shape == (4, 784) and (y == np.eye(10)[labels]).all()
    with pytest.raises(InputError, match="takes values"):
        side(lambda: nn.Linear(784, 1), nn.MSELoss()).prepare(raw, labels)


def test_what_the_user_prepares_comes_in_the_graphs_layout() -> None:
    def prepare(raw: np.ndarray, labels: np.ndarray) -> Any:
        x = torch.tensor(raw).permute(0, 3, 1, 2).float() / 127.5 - 1
        return torch.cat([x, -x], 1), torch.tensor(labels)

    network = lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.LazyLinear(10))  # noqa: E731
    model = side(network, extras=lambda *parts: {"prepare": prepare})
    raw = RNG.integers(0, 256, (4, 28, 28, 1), np.uint8)
    x, y = model.prepare(raw, np.arange(4))
    assert model.prepares and model.graph().input_shape == (28, 28, 2)
    close(x[..., :1], raw / 127.5 - 1)
    assert (y == np.arange(4)).all()
    assert model.record(x, False)["0"].shape == (4, 26, 26, 3)


def test_data_of_ones_own() -> None:
    model = side(lambda: nn.Sequential(nn.Linear(13, 10)), extras=fed(13))
    x, y = model.prepare(np.zeros((5, 28, 28, 1), np.uint8), np.zeros(5))
    assert x.shape == (5, 13) and y.tolist() == rows_of(8, 5).tolist()
    model = side(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(10)),
        extras=fed(3, 8, 9),
    )
    assert model.prepare(np.zeros((5, 28, 28, 1), np.uint8), np.zeros(5))[0].shape == (5, 8, 9, 3)


def test_batches_of_a_loader() -> None:
    def extras(*parts: Any) -> dict[str, Any]:
        def batches(x: torch.Tensor, y: torch.Tensor) -> DataLoader:
            return DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True, drop_last=True)

        return {"batches": batches}

    epochs = side(small, extras=extras).batches(11, 2)
    assert epochs is not None and [len(epoch) for epoch in epochs] == [2, 2]
    for x, y in epochs[0] + epochs[1]:
        assert x.shape == (4, 28, 28, 1)
        assert (x == y[:, None, None, None]).all() and (x < 11).all()
    assert side(small).batches(11, 1) is None


# What people get wrong.


def parts(**others: Any) -> tuple[Any, ...]:
    module = others.get("module") or small()
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    given = {"module": module, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer} | others
    return tuple(given.values())


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def raises(*arguments: Any) -> Any:
    raise RuntimeError("out of cheese")  # the cheese


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (small, "returned a Sequential: return (module, loss, optimizer)"),
        (lambda: parts()[:2], "returned a tuple of 2"),
        (lambda: parts(module=nn.Linear), "is a type, not a torch.nn.Module"),
        (lambda: parts(loss="mse"), "the loss is a str"),
        (lambda: parts(optimizer=None), "the optimizer is a NoneType"),
        (lambda: parts(extras=[]), "extras is a list"),
        (lambda: parts(extras={"fit": {}}), "`fit`, which is unknown: it may have `prepare`"),
        (lambda: parts(extras={"step": 3}), "`step` in extras is a int"),
        (lambda: parts(extras={"prepare": raises}), "out of cheese (test_torch_adapter.py:"),
        (
            raises,
            f"the function fails: RuntimeError: out of cheese ({line(__file__, '# the cheese')})",
        ),
        (lambda: parts(module=Pair()), "the module gives a tuple, not a tensor"),
        (
            lambda: parts(module=nn.Sequential(nn.Conv2d(3, 4, 3))),
            "an input of shape (n, 1, 28, 28), fails: RuntimeError: ",
        ),
    ],
)
def test_what_is_returned_wrong_is_said(returned: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Adapter(lambda seed: returned())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_module_every_time_is_said() -> None:
    module = small()
    with pytest.raises(InputError, match="make the module, the loss and the optimizer inside it"):
        side(lambda: module).steps([])


def test_a_loss_that_is_not_reduced_is_said() -> None:
    model = side(small, nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(InputError, match=r"the loss gives \(6,\) where training takes one number"):
        model.loss_and_gradients(images(), np.arange(6))


def test_batches_that_count_their_epochs_begin_anew_in_each_call() -> None:
    """Or what they do to the first epochs would be seen once only."""

    def extras(*parts: Any) -> dict[str, Any]:
        epoch = 0

        def batches(x: torch.Tensor, y: torch.Tensor) -> Any:
            nonlocal epoch
            epoch += 1
            return [(x * epoch, y)]

        return {"batches": batches}

    model = side(small, extras=extras)
    x, y = images(3), np.array([1, 2, 3])
    for _ in range(2):
        epochs = model.batches_of(x, y, 2)
        assert epochs is not None
        for number, epoch in enumerate(epochs, 1):
            close(epoch[0][0], x * number)


def test_random_numbers_of_the_users_code_are_those_of_the_seed() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(784, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dense(x.flatten(1) * (torch.rand(len(x), 1) < 0.5))

    model, x, y = side(Noisy), images(4), np.arange(4)
    gradients = []
    for seed in (1, 2, 1):
        model.seed(seed)
        gradients.append(model.loss_and_gradients(x, y)[1]["dense.weight"])
    assert not np.array_equal(gradients[0], gradients[1])
    np.testing.assert_array_equal(gradients[0], gradients[2])


def test_runs_count_for_nothing_in_a_module_that_counts_them() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.calls = nn.Linear(784, 10), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.dense(x.flatten(1)) * self.calls

    model, x = side(Counting), images(4)
    outputs = [model.outputs(x, training, 2) for training in (True, False, True)]
    for runs in outputs[1:]:
        np.testing.assert_array_equal(runs, outputs[0])
