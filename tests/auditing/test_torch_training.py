"""Modes, gradients and steps of PyTorch sides, against differences and formulas."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch_modules import RNG, close, images, side, small

from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.auditing.gradients import whole


def test_training_moves_the_averages_and_puts_them_back() -> None:
    model = side(small)
    before, x = model.parameters(), images()
    record = model.record(x, True)
    mean = 0.1 * record["0"].mean((0, 1, 2))
    variance = 0.9 + 0.1 * record["0"].reshape(-1, 4).var(0, ddof=1)
    close(record["parameter:1.running_mean"], mean)
    close(record["parameter:1.running_var"], variance)
    after = model.parameters()
    assert all((after[name] == before[name]).all() for name in before)
    assert not any(name.startswith("parameter:") for name in model.record(x, False))


def test_dropout_is_on_in_training_and_off_in_inference() -> None:
    model = side(small)
    ones = np.ones((50, 13, 13, 4), np.float32)
    rate = (model.run_node("3", [ones], True) == 0).mean()
    assert abs(rate - 0.25) < 0.02
    assert (model.run_node("3", [ones], False) == ones).all()
    assert side(small).record(images(), True)["3"].shape == (6, 13, 13, 4)


def test_a_module_left_in_inference_mode_shows_no_dropout() -> None:
    model = side(lambda: small().eval())
    record = model.record(images(), True)
    assert (record["3"] == record["2"]).all()
    assert (record["parameter:1.running_mean"] == 0).all()

    def partly() -> nn.Module:
        module = small()
        module[1].eval()  # pyright: ignore[reportIndexIssue]
        return module

    record = side(partly).record(images(), True)
    assert (record["3"] != record["2"]).any()
    assert (record["parameter:1.running_mean"] == 0).all()


def test_dropout_that_is_only_called_in_training() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(784, 10)

        def forward(self, x):
            x = x.flatten(1)
            if self.training:
                x = F.dropout(x, 0.5)
            return self.out(x)

    model = side(Network)
    assert [node.kind for node in model.graph().nodes] == ["flatten", "dropout", "dense"]
    record = model.record(images(), False)
    assert (record["dropout_1"] == record["flatten_1"]).all()
    assert (model.run_node("dropout_1", [record["flatten_1"]], False) == record["flatten_1"]).all()


# Training.


def numeric(
    model: Adapter, name: str, index: tuple[int, ...], x: np.ndarray, y: np.ndarray
) -> float:
    """A derivative by differences."""
    parameters, losses = model.parameters(), []
    for shift in (1e-6, -1e-6):
        moved = parameters[name].copy()
        moved[index] += shift
        model.load({name: moved})
        losses.append(model.loss_and_gradients(x, y)[0])
    model.load(parameters)
    return (losses[0] - losses[1]) / 2e-6


def test_gradients_are_those_of_the_loss_without_dropout() -> None:
    model = side(lambda: small().double())
    x, y = images().astype(np.float64), np.arange(6)
    loss, gradients = model.loss_and_gradients(x, y)
    assert model.loss_and_gradients(x, y)[0] == loss
    for name, index in (("0.weight", (1, 2, 0, 3)), ("1.weight", (2,)), ("5.weight", (77, 4))):
        close(gradients[name][index], numeric(model, name, index, x, y), 1e-6)
    assert not any("running" in name for name in gradients)


def test_frozen_and_detached_parameters_have_no_gradient() -> None:
    def frozen() -> nn.Module:
        module = small()
        module[0].weight.requires_grad_(False)  # pyright: ignore
        return module

    _, gradients = side(frozen).loss_and_gradients(images(), np.arange(6))
    assert "0.weight" not in gradients and "0.bias" in gradients

    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(784, 4), nn.Linear(4, 10)

        def forward(self, x):
            return self.b(self.a(x.flatten(1)).detach())

    _, gradients = side(Detached).loss_and_gradients(images(), np.arange(6))
    assert set(gradients) == {"b.weight", "b.bias"}


def test_updates_are_the_optimisers() -> None:
    model = side(small, optimizer=torch.optim.Adam, lr=0.01)
    before = model.parameters()
    gradients = {"5.weight": RNG.normal(size=(676, 10)).astype(np.float32)}
    first, second = model.updates([gradients, gradients])
    close(before["5.weight"] - first["5.weight"], 0.01 * np.sign(gradients["5.weight"]), 1e-4)
    close(first["5.weight"] - second["5.weight"], 0.01 * np.sign(gradients["5.weight"]), 1e-4)
    assert (second["0.weight"] == before["0.weight"]).all()
    assert (next(iter(model.updates([gradients])))["5.weight"] == first["5.weight"]).all()
    assert (model.parameters()["5.weight"] == before["5.weight"]).all()
    assert model.optimiser() == {
        "kind": "adam",
        "learning_rate": 0.01,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
        "amsgrad": False,
        "bias_corrected_epsilon": True,
    }


def stepping(clear: bool = True, clip: float | None = None, decay: float = 0.0) -> Callable:
    """A user's own step, with mistakes to order."""

    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        def step(x: torch.Tensor, y: torch.Tensor) -> float:
            if clear:
                optimizer.zero_grad()
            value = loss(module(x), y) + decay * module[5].weight.square().sum()  # pyright: ignore
            value.backward()
            if clip:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
            return value.item()

        return {"step": step}

    return extras


def test_steps_are_the_users_own() -> None:
    plain, right = side(small), side(small, extras=stepping())
    wrong = side(small, extras=stepping(clear=False))
    for model in (right, wrong):
        model.load(plain.parameters())
    batches = [(images(), np.arange(6)) for _ in range(3)]
    losses, parameters = zip(
        *(model.steps(batches) for model in (plain, right, wrong)), strict=True
    )
    assert losses[0] == losses[1] and losses[0][0] == losses[2][0]
    weights = [[step["5.weight"] for step in steps] for steps in parameters]
    assert all((a == b).all() for a, b in zip(weights[0], weights[1], strict=True))
    assert (weights[0][0] == weights[2][0]).all() and (weights[0][1] != weights[2][1]).any()
    assert (parameters[0][0]["1.running_mean"] != 0).any()
    assert (plain.parameters()["1.running_mean"] == 0).all()


def test_a_frozen_parameter_takes_no_step_though_the_optimizer_has_it() -> None:
    def frozen() -> nn.Module:
        module = small()
        module[0].requires_grad_(False)  # pyright: ignore[reportIndexIssue]
        return module

    for extras in (None, stepping()):
        model = side(frozen, extras=extras)
        before = model.parameters()
        ones = {n: np.ones_like(v) for n, v in before.items() if "running" not in n}
        (after,) = model.updates([ones])
        assert (after["0.weight"] == before["0.weight"]).all()
        assert (after["5.weight"] != before["5.weight"]).any()


def test_predictions_after_steps_have_the_weights_before_them() -> None:
    model = side(small, extras=stepping())
    batches, x, before = [(images(), np.arange(6))] * 2, images()[:3] + 1, model.parameters()
    _, after, predicted = model.steps_then_predict(batches, whole, x, ["1.running_var"])
    assert predicted is not None
    model.load(before | {"1.running_mean": after[-1]["1.running_mean"]})
    np.testing.assert_allclose(predicted, model.outputs(x, False, 1)[0], rtol=1e-5, atol=1e-6)
    assert (after[-1]["5.weight"] != before["5.weight"]).any()


def test_what_a_step_adds_to_the_loss_and_does_to_gradients() -> None:
    model = side(small, extras=stepping(decay=0.3, clip=0.5))
    plain = side(small)
    plain.load(model.parameters())
    x, y = images(), np.arange(6)
    kernel = model.parameters()["5.weight"]
    penalty = 0.3 * np.square(kernel).sum()
    loss, gradients = model.loss_and_gradients(x, y)
    expected, others = plain.loss_and_gradients(x, y)
    close(loss, expected + penalty, 1e-5)
    close(gradients["5.weight"], others["5.weight"] + 0.6 * kernel, 1e-5)
    outputs = RNG.normal(size=(6, 10)).astype(np.float32)
    close(model.loss(outputs, y), plain.loss(outputs, y) + penalty, 1e-5)
    given = {name: np.ones_like(array) for name, array in gradients.items()}
    (after,) = model.updates([given])
    norm = np.sqrt(sum(array.size for array in given.values()))
    close(kernel - after["5.weight"], 0.1 * 0.5 / norm, 1e-6)
    assert (after["1.running_mean"] == 0).all()
    close(next(iter(plain.updates([given])))["5.weight"], kernel - 0.1, 1e-6)


def test_initial_weights_are_drawn_anew() -> None:
    model = side(small)
    before = torch.random.get_rng_state()
    first, second = model.initial(2)
    assert (first["0.weight"] != second["0.weight"]).any()
    assert (model.initial(1)[0]["0.weight"] == first["0.weight"]).all()
    assert (torch.random.get_rng_state() == before).all()


def test_a_step_with_two_losses_gets_its_gradients_once() -> None:
    def extras(module: Any, loss: Any, optimizer: Any) -> dict[str, Any]:
        def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            optimizer.zero_grad()
            value = loss(module(x), y)
            value.backward()
            module(x).square().mean().backward()
            optimizer.step()
            return value

        x, y = RNG.normal(size=(8, 3)).astype(np.float32), RNG.normal(size=(8, 2))
        return {"data": (x, y.astype(np.float32)), "step": step}

    model = side(lambda: nn.Linear(3, 2), nn.MSELoss(), extras=extras)
    before = model.parameters()
    gradient = {name: np.ones_like(value) for name, value in before.items()}
    for number, after in enumerate(model.updates([gradient, gradient]), 1):
        close(after["weight"], before["weight"] - 0.1 * number)
