"""Optimisers are recovered from the steps of real ones: PyTorch's and Keras' own."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diptych.auditing.frameworks.keras.optimisers import words
from diptych.auditing.frameworks.torch.optimizers import described
from diptych.auditing.naming import optimiser_settings
from diptych.auditing.naming.optimisers import PACE, STEPS
from diptych.auditing.optimisers import Observed, directions, recover, rest


def gradients(count: int = 200, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    sizes = 10 ** chance.uniform(-9, -2, count) * chance.choice([-1, 1], count)
    begins = chance.integers(len(PACE), size=count)
    return np.stack([sizes * PACE[(begins + t) % len(PACE)] for t in range(STEPS)])


def start(count: int = 200) -> np.ndarray:
    weights = np.random.default_rng(1).uniform(-0.5, 0.5, count)
    weights[::2] = 0
    return weights


def torch_path(make) -> Observed:
    parameter = torch.nn.Parameter(torch.tensor(start(), dtype=torch.float32))
    optimiser = make([parameter])
    path = [parameter.detach().numpy().astype(float)]
    for gradient in gradients():
        parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
        path.append(parameter.detach().numpy().astype(float).copy())
    return Observed(gradients(), np.stack(path))


def keras_path(optimiser: keras.optimizers.Optimizer) -> Observed:
    variable = keras.Variable(start().astype(np.float32))
    path = [start()]
    for gradient in gradients():
        optimiser.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [variable])
        path.append(np.array(variable.numpy()).astype(float))
    return Observed(gradients(), np.stack(path))


TORCH = {
    "sgd": (lambda p: torch.optim.SGD(p, 0.05), "sgd", {"momentum": 0.0}),
    "momentum": (
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.8),
        "sgd",
        {"momentum": 0.8, "nesterov": False},
    ),
    "nesterov": (
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
        "sgd",
        {"momentum": 0.9, "nesterov": True},
    ),
    "adam": (
        lambda p: torch.optim.Adam(p, 0.002, betas=(0.8, 0.99), eps=1e-6),
        "adam",
        {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6, "hat": False},
    ),
    "adamw": (
        lambda p: torch.optim.AdamW(p, 0.001, weight_decay=0.02),
        "adam",
        {"weight_decay": 0.02, "decay": "decoupled"},
    ),
    "coupled": (
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.003),
        "sgd",
        {"weight_decay": 0.003, "decay": "coupled", "momentum": 0.9},
    ),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, 0.001, alpha=0.95), "rmsprop", {"rho": 0.95}),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("told", [False, True], ids=["from steps alone", "told the kind"])
def test_settings_of_pytorch_are_recovered(name: str, told: bool):
    make, family, expected = TORCH[name]
    found = recover(torch_path(make), {"kind": family} if told else {})
    assert found.explained
    assert found.family == family
    for key, value in expected.items():
        if isinstance(value, float):
            assert found.settings.get(key, 0.0) == pytest.approx(value, rel=0.02, abs=1e-4), key
        else:
            assert found.settings[key] == value


def test_keras_adam_has_epsilon_before_the_correction():
    found = recover(keras_path(keras.optimizers.Adam(0.001, epsilon=1e-7)), {})
    assert found.explained
    assert found.settings["hat"]
    assert found.settings["epsilon"] == pytest.approx(1e-7, rel=0.05)
    np.testing.assert_allclose(found.rates, 0.001, rtol=3e-3)


def test_schedule_shows_in_the_rates():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    optimiser = keras.optimizers.SGD(schedule, momentum=0.9)  # pyright: ignore
    found = recover(keras_path(optimiser), {})
    assert found.explained
    # Keras' momentum holds steps, not gradients, so a rate acts on the newest gradient alone.
    assert found.rates[0] == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_of_steps_and_of_gradients_under_a_schedule(nesterov: bool):
    """A warm-up from zero, as it is written in Keras and in PyTorch."""
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 90, warmup_target=0.1, warmup_steps=5)
    optimiser = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=nesterov)  # pyright: ignore

    def make(parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
        return WarmedUp(parameters, 0.0, momentum=0.9, nesterov=nesterov)

    of_keras, of_torch = recover(keras_path(optimiser), {}), recover(torch_path(make), {})
    assert of_keras.explained and of_torch.explained
    settings = of_keras.settings
    assert settings["holds_steps"] and settings["nesterov"] is nesterov
    assert not of_torch.settings.get("holds_steps")
    np.testing.assert_allclose(of_keras.rates[1:], of_torch.rates[1:], rtol=1e-3)
    reports: list[tuple[str, str, str]] = []

    def report(code: str, *, a: str, b: str, **_: object) -> None:
        reports.append((code, a, b))

    both = {"a": of_keras, "b": of_torch}
    optimiser_settings.compare(both, {"a": {}, "b": {}}, report)
    ((code, a, b),) = reports
    assert code == "momentum" and "adds up steps" in a and "adds up gradients" in b


def accumulated(every: int, cleared: bool) -> Observed:
    """SGD with momentum that steps on the mean gradient of so many steps."""
    parameter = torch.nn.Parameter(torch.tensor(start(), dtype=torch.float32))
    optimiser = torch.optim.SGD([parameter], 0.1, momentum=0.9)
    weights = [parameter.detach().numpy().astype(float)]
    parameter.grad = torch.zeros_like(parameter)
    for number, gradient in enumerate(gradients(), 1):
        parameter.grad += torch.tensor(gradient, dtype=torch.float32) / every
        if number % every == 0:
            optimiser.step()
            if cleared:
                optimiser.zero_grad(set_to_none=False)
        weights.append(parameter.detach().numpy().astype(float).copy())
    return Observed(gradients(), np.stack(weights))


@pytest.mark.parametrize("every", [2, 4, 5])
def test_accumulated_gradients_that_are_not_cleared_have_a_name(every: int):
    said = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    observed = {"a": accumulated(every, True), "b": accumulated(every, False)}
    blocks = {which: path.in_blocks() for which, path in observed.items()}
    assert len(blocks["a"].gradients) == STEPS // every
    both = {which: recover(path, said) for which, path in blocks.items()}
    reports: list[str] = []
    told = dict.fromkeys(both, said)
    optimiser_settings.compare(both, told, lambda code, **_: reports.append(code))
    assert reports == ["gradients-not-cleared"]
    assert both["a"].rates[0] == pytest.approx(0.1, rel=1e-3)


def test_only_regular_steps_are_blocks():
    path = torch_path(lambda p: torch.optim.SGD(p, 0.1))
    assert path.in_blocks() is path
    once = accumulated(7, True)  # One step of ten shows no period.
    assert once.in_blocks() is once


def test_rates_are_no_difference_for_rounding():
    unknown = recover(
        Observed(gradients(), np.stack([start() ** t for t in range(1, STEPS + 2)])), {}
    )
    reports: list[str] = []
    said = [{"kind": "sgd", "learning_rate": rate} for rate in (0.1, float(np.float32(0.1)))]
    recovered = {"a": unknown, "b": unknown}
    told = dict(zip("ab", said, strict=True))
    optimiser_settings.compare(recovered, told, lambda code, **_: reports.append(code))
    assert not unknown.explained and reports == ["optimiser"]


class WarmedUp(torch.optim.SGD):
    """SGD with the rates of the schedule above."""

    def step(self, closure=None):
        count = self.__dict__["count"] = self.__dict__.get("count", -1) + 1
        cosine = 0.5 * (1 + np.cos(np.pi * (count - 5) / 90))
        self.param_groups[0]["lr"] = 0.1 * (count / 5 if count < 5 else cosine)
        return super().step(closure)


def test_no_known_optimiser_is_not_explained():
    path = [start()]
    for gradient in gradients():
        path.append(path[-1] - 0.01 * np.sign(gradient) * np.abs(gradient) ** 0.3)
    assert not recover(Observed(gradients(), np.stack(path)), {}).explained


NAMED = {
    "amsgrad": (lambda p: torch.optim.Adam(p, 1e-3, amsgrad=True), "adam", {"amsgrad": True}),
    "nadam": (lambda p: torch.optim.NAdam(p, 2e-3), "nadam", {"momentum_decay": 0.004}),
    "adamax": (lambda p: torch.optim.Adamax(p, 2e-3), "adamax", {"within": True}),
    "adadelta": (lambda p: torch.optim.Adadelta(p, 1.0), "adadelta", {"rho": 0.9}),
    "centred": (
        lambda p: torch.optim.RMSprop(p, 0.01, centered=True),
        "rmsprop",
        {"centered": True},
    ),
    "damped": (
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.5),
        "sgd",
        {"dampening": 0.5},
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_variants_that_an_optimiser_says_it_is(name: str):
    make, family, expected = NAMED[name]
    said = described(make([torch.nn.Parameter(torch.zeros(1))]))
    found = recover(torch_path(make), said)
    assert found.explained and found.family == family
    assert expected.items() <= found.settings.items()


KERAS = {
    "amsgrad": (lambda: keras.optimizers.Adam(1e-3, amsgrad=True), "adam"),
    "nadam": (lambda: keras.optimizers.Nadam(1e-3), "nadam"),
    "adamax": (lambda: keras.optimizers.Adamax(1e-3), "adamax"),
    "adadelta": (lambda: keras.optimizers.Adadelta(1.0), "adadelta"),
    "centred": (lambda: keras.optimizers.RMSprop(1e-3, centered=True), "rmsprop"),
    "lion": (lambda: keras.optimizers.Lion(1e-3), "lion"),
}


@pytest.mark.parametrize("name", KERAS)
def test_variants_of_keras(name: str):
    make, family = KERAS[name]
    found = recover(keras_path(make()), words(make()))
    assert found.explained and found.family == family


@given(
    rate=st.floats(1e-4, 0.1),
    beta_1=st.floats(0.0, 0.99),
    beta_2=st.floats(0.5, 0.9999),
    exponent=st.floats(-10, -2),
    hat=st.booleans(),
    decay=st.sampled_from(["", "coupled", "decoupled"]),
)
def test_the_rates_of_any_adam_follow_from_its_other_settings(
    rate, beta_1, beta_2, exponent, hat, decay
):
    truth = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": 10**exponent, "hat": hat}
    if decay:
        truth |= {"weight_decay": 0.01, "decay": decay}
    path = np.stack([start()] * (STEPS + 1))
    for t in range(STEPS):  # Decay acts on the weights of the moment.
        steps = directions("adam", truth, Observed(gradients(), path))
        path[t + 1] = path[t] - rate * steps[t]
    left, rates = rest("adam", truth, Observed(gradients(), path))
    np.testing.assert_allclose(rates, rate, rtol=1e-6)
    assert np.abs(left).max() < 1e-2
