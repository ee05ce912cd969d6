"""The float64 twin of a PyTorch side."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_modules import Plain, close, images, line, side, small

from diptych.auditing.frameworks.torch.adapter import Adapter


def whole(extras: Any = None, **settings: Any) -> Adapter:
    """A side with everything in it that has a floating-point type."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = small()
            self.register_buffer("mean", torch.tensor(0.1307))
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.layers((x - self.mean) / 0.3081) * self.scale + torch.tensor(0.1)

    weight = lambda: torch.linspace(0.5, 1.5, 10)  # noqa: E731
    loss = lambda output, y: F.cross_entropy(output, y, weight())  # noqa: E731
    return side(Network, loss, torch.optim.Adam, extras, **({"lr": 0.001} | settings))


def test_everything_is_float64() -> None:
    model = whole()
    twin = model.twin()
    x, y = images().astype(np.float64), np.arange(6)
    arrays = [*twin.parameters().values(), *twin.record(x, True).values()]
    loss, gradients = twin.loss_and_gradients(x, y)
    arrays += [*gradients.values(), twin.outputs(x, True, 2), twin.outputs(x, False, 1)]
    arrays += next(iter(twin.updates([gradients]))).values()
    arrays += twin.steps([(x, y)] * 2)[1][1].values()
    arrays += twin.initial(1)[0].values()
    arrays += [
        twin.run_node("layers.0", [x], False),
        twin.prepare((255 * x).astype(np.uint8), y)[0],
    ]
    assert {array.dtype for array in arrays} == {np.dtype(np.float64)}
    kinds = [(node.name, node.kind) for node in model.graph().nodes]
    assert kinds == [(node.name, node.kind) for node in twin.graph().nodes]
    assert torch.get_default_dtype() == torch.float32
    assert model.parameters()["layers.5.weight"].dtype == np.float32
    close(loss, model.loss_and_gradients(x.astype(np.float32), y)[0])


def test_the_twin_begins_with_the_sides_parameters() -> None:
    model = whole()
    given = {"layers.5.bias": np.linspace(0, 1, 10).astype(np.float32)}
    model.load(given)
    parameters = model.twin().parameters()
    for name, array in model.parameters().items():
        assert (parameters[name] == array).all()


def test_what_float32_hides_the_twin_shows() -> None:
    """An optimiser's epsilon of 1e-8 or 1e-9, after one step on gradients of 1: 9e-9 apart."""
    moved = []
    for epsilon in (1e-8, 1e-9):
        model = whole(eps=epsilon)
        zeros = {name: np.zeros_like(array) for name, array in model.parameters().items()}
        model.load(zeros)
        twin = model.twin()
        ones = {"layers.5.bias": np.ones(10)}
        moved.append(next(iter(twin.updates([ones])))["layers.5.bias"])
    np.testing.assert_allclose(moved[0] - moved[1], 0.001 * 9e-9, rtol=1e-6)


def test_gradients_of_the_twin_are_those_of_its_loss() -> None:
    twin = whole().twin()
    x, y = images().astype(np.float64), np.arange(6)
    _, gradients = twin.loss_and_gradients(x, y)
    kernel = twin.parameters()["layers.5.weight"]
    losses = []
    for shift in (1e-5, -1e-5):
        moved = kernel.copy()
        moved[77, 4] += shift
        twin.load({"layers.5.weight": moved})
        losses.append(twin.loss_and_gradients(x, y)[0])
    close((losses[0] - losses[1]) / 2e-5, gradients["layers.5.weight"][77, 4], 1e-9)


def test_the_twin_of_a_users_step() -> None:
    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            assert x.dtype == torch.get_default_dtype()
            optimizer.zero_grad()
            value = loss(module(x), y)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            return value.detach()

        return {"step": step}

    model = whole(extras)
    twin = model.twin()
    x, y = images(), np.arange(6)
    losses, parameters = twin.steps([(x.astype(np.float64), y)] * 3)
    assert {array.dtype for array in parameters[2].values()} == {np.dtype(np.float64)}
    close(losses, model.steps([(x, y)] * 3)[0], 1e-4)


def test_integers_stay_integers() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.out = nn.Embedding(20, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.out(self.embedding(x).mean(1))

    x, y = np.arange(40).reshape(8, 5) % 20, np.arange(8) % 3
    twin = side(Words, extras=lambda *parts: {"data": (x, y)}).twin()
    prepared, _ = twin.prepare(np.zeros((8, 28, 28, 1), np.uint8), y)
    assert prepared.dtype == np.int64
    assert twin.loss_and_gradients(x, y)[1]["embedding.weight"].dtype == np.float64


def test_targets_are_float64_too() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 8, 3))
    data = x.astype(np.float32), y.astype(np.float32)
    twin = side(lambda: nn.Linear(3, 3), nn.MSELoss(), extras=lambda *parts: {"data": data}).twin()
    outputs = twin.outputs(x, False, 1)[0]
    np.testing.assert_allclose(twin.loss(outputs, y), np.mean((outputs - y) ** 2), rtol=1e-14)


def test_what_is_float32_by_hand_but_exact_does_no_harm() -> None:
    class Exact(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(784, 1).float()
            self.register_buffer("mask", torch.ones(784, dtype=torch.float32), persistent=False)

        def forward(self, x):
            return self.out(x.flatten(1) * self.mask * torch.tensor(0.5, dtype=torch.float32))

    loss = lambda output, y: (output - y.float()).square().mean()  # noqa: E731
    y = np.arange(8) % 2
    x = images(8).reshape(8, 784)
    twin = side(Exact, loss, extras=lambda *parts: {"data": (x, y[:, None])}).twin()
    value, gradients = twin.loss_and_gradients(x.astype(np.float64), y[:, None].astype(float))
    assert value > 0 and gradients["out.weight"].dtype == np.float64


def buffered(persistent: bool) -> Callable[[], nn.Module]:
    class Buffered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            table = torch.linspace(0, 1, 784, dtype=torch.float32)
            self.register_buffer("table", table, persistent)
            self.out = nn.Linear(784, 10)

        def forward(self, x):
            return self.out(x.flatten(1) * self.table)

    return Buffered


def autocast(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return F.linear(x, torch.eye(784)).type_as(x)  # under autocast


def sets_the_default() -> nn.Module:
    torch.set_default_dtype(torch.float32)
    return small()


CONSTANT = torch.tensor([0.1])


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            lambda: Plain(lambda m, x: (x + 0.1).float().type_as(x)),  # by hand
            f"`float` rounds to float32 ({line(__file__, '# by hand')})",
        ),
        (
            lambda: Plain(lambda m, x: x.to(torch.float32)),  # fails later
            "it does not run in float64: the module, on an input of shape (n, 1, 28, 28), fails: "
            "RuntimeError: mat1 and mat2 must have the same dtype",
        ),
        (
            lambda: Plain(lambda m, x: x * torch.tensor([0.1], dtype=torch.float32)),  # made
            f"`mul` takes numbers rounded to float32 ({line(__file__, '# made')})",
        ),
        (
            lambda: Plain(lambda m, x: x * CONSTANT),  # made before
            f"`mul` takes numbers rounded to float32 ({line(__file__, '# made before')})",
        ),
        (
            lambda: Plain(autocast),
            f"`linear` runs under autocast to bfloat16 ({line(__file__, '# under autocast')})",
        ),
        (lambda: small().bfloat16(), "`0.weight` of the module is bfloat16"),
        (buffered(False), "`table` of the module holds numbers rounded to float32"),
        (buffered(True), "`table` of the module holds numbers rounded to float32"),
        (sets_the_default, "the function sets PyTorch's default dtype itself"),
    ],
)
def test_what_forces_fewer_bits_is_named(module: Any, reason: str) -> None:
    model = side(module)
    with pytest.raises(NotImplementedError) as caught:
        model.twin()
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    assert torch.get_default_dtype() == torch.float32


def test_casts_in_the_loss_and_in_the_step_are_named() -> None:
    loss = lambda output, y: F.cross_entropy(output.float(), y)  # noqa: E731  # in the loss
    with pytest.raises(NotImplementedError, match=r"`float` rounds to float32 \(test_torch_twin"):
        side(small, loss).twin()

    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        def step(x: torch.Tensor, y: torch.Tensor) -> None:
            loss(module(x), y).backward()
            for parameter in module.parameters():
                assert parameter.grad is not None
                parameter.grad = parameter.grad.bfloat16().to(parameter.dtype)  # in the step
            optimizer.step()

        return {"step": step}

    with pytest.raises(NotImplementedError) as caught:
        side(small, extras=extras).twin()
    where = line(__file__, "# in the step")
    assert str(caught.value) == f"`bfloat16` rounds to bfloat16 ({where})"
    weighted = lambda: nn.CrossEntropyLoss(torch.full((10,), 0.1, dtype=torch.float32))  # noqa: E731
    with pytest.raises(NotImplementedError, match="`weight` of the loss holds numbers rounded"):
        side(small, weighted()).twin()
