"""People's JAX as sides: Flax NNX and Linen, Equinox, plain functions."""

# Arrays of NumPy go where JAX' are declared, and a compiled call stands for a method.
# pyright: reportArgumentType=false, reportIncompatibleMethodOverride=false

import importlib.util
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from diptych.auditing import audit
from diptych.auditing.frameworks.defaults import rows_of
from diptych.auditing.frameworks.jax.adapter import Adapter
from diptych.auditing.frameworks.jax.inputs import prepared
from diptych.auditing.gradients import whole
from diptych.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples" / "audit"
IMAGES = np.random.default_rng(0).random((6, 28, 28, 1), np.float32)
LABELS = np.arange(6)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(1, 4, (3, 3), strides=2, padding="VALID", rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.8, epsilon=1e-4, rngs=rngs)
        self.drop = nnx.Dropout(0.25, rngs=rngs)
        self.dense = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.gelu(self.norm(self.conv(x)))
        x = nnx.avg_pool(x, (3, 3), (2, 2), padding="SAME")
        return self.dense(self.drop(x.mean((1, 2)) * 2))


def build(seed: int = 0) -> Any:
    return Network(nnx.Rngs(0)), cross_entropy, optax.adam(0.01)


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    return Adapter(build)


def test_the_nodes_of_a_flax_module(adapter: Adapter) -> None:
    nodes = adapter.graph().nodes
    kinds = ["conv", "batch_norm", "activation", "average_pool", "global_average_pool"]
    assert [node.kind for node in nodes] == [*kinds, "rescale", "dropout", "dense"]
    conv, norm, gelu, pool, _, rescale, drop, dense = nodes
    assert conv.attributes["strides"] == [2, 2] and conv.shape == (13, 13, 4)
    lines = Path(__file__).read_text().splitlines()
    assert conv.where and "self.conv(x)" in lines[int(conv.where.split(":")[1]) - 1]
    assert norm.attributes == {"unbiased": False, "epsilon": 1e-4, "momentum": 0.8}
    assert set(norm.parameters) == {"gamma", "beta", "mean", "variance"}
    assert gelu.attributes["function"] == "gelu_tanh"
    assert pool.attributes["padding"] == [[1, 1], [1, 1]] and pool.attributes["count_padding"]
    assert rescale.attributes == {"scale": 2.0, "offset": 0.0}
    assert drop.attributes == {"rate": 0.25}
    assert dense.parameters == {"kernel": "dense/kernel", "bias": "dense/bias"}


def test_what_is_recorded_is_what_the_module_gives(adapter: Adapter) -> None:
    model = build()[0]
    model.eval()
    recorded = adapter.record(IMAGES, False)
    np.testing.assert_allclose(recorded["dense"], model(IMAGES), rtol=1e-5, atol=1e-6)
    assert np.array_equal(recorded["dense"], adapter.outputs(IMAGES, False, 1)[0])
    model.train()
    model(IMAGES)
    moved = adapter.record(IMAGES, True)["parameter:norm/mean"]
    np.testing.assert_allclose(moved, model.norm.mean[...], rtol=1e-5)
    assert not np.array_equal(*adapter.outputs(IMAGES, True, 2))  # Dropout.
    own = adapter.parameters()["norm/mean"]
    assert not own.any()


def test_training_is_that_of_plain_flax(adapter: Adapter) -> None:
    model, loss, tx = build()
    model.drop.rate = 0.0
    model.train()
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    def loss_of(model: Network) -> jax.Array:
        return loss(model(IMAGES), LABELS)

    value, gradients = nnx.value_and_grad(loss_of)(model)
    own_value, own = adapter.loss_and_gradients(IMAGES, LABELS)
    assert own_value == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(own["conv/kernel"], gradients["conv"]["kernel"][...], atol=1e-6)
    optimizer.update(model, gradients)
    losses, after = adapter.steps([(IMAGES, LABELS)] * 2)
    np.testing.assert_allclose(after[0]["dense/kernel"], model.dense.kernel[...], atol=1e-5)
    assert losses[1] == pytest.approx(float(loss_of(model)), rel=1e-4)
    (stepped,) = list(adapter.updates([own]))
    np.testing.assert_allclose(stepped["dense/kernel"], after[0]["dense/kernel"], atol=1e-6)


def test_dropout_stays_on_where_draws_are_compared(adapter: Adapter) -> None:
    one, other = (adapter.drawn_gradients(IMAGES, LABELS)[1] for _ in range(2))
    assert not np.array_equal(one["dense/kernel"], other["dense/kernel"])
    first, second, again = adapter.later_outputs([(IMAGES, LABELS)] * 2, IMAGES, LABELS, [1, 2, 1])
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    _, _, predicted = adapter.steps_then_predict([(IMAGES, LABELS)] * 2, whole, IMAGES, ())
    present = adapter.outputs(IMAGES, False, 1)[0]
    assert predicted.shape == present.shape
    assert not np.allclose(predicted, present)  # The moving averages have moved.


class Compiled(Network):
    """The network, compiled by its user."""

    @nnx.jit
    def __call__(self, x: jax.Array) -> jax.Array:
        return super().__call__(x)


def test_a_network_that_its_user_compiles(adapter: Adapter) -> None:
    compiled = Adapter(lambda seed: (Compiled(nnx.Rngs(0)), cross_entropy, optax.adam(0.01)))
    kinds = [node.kind for node in compiled.graph().nodes]
    assert kinds == [node.kind for node in adapter.graph().nodes]
    assert not np.array_equal(*compiled.outputs(IMAGES, True, 2))  # Dropout.
    own, expected = (side.loss_and_gradients(IMAGES, LABELS) for side in (compiled, adapter))
    assert own[0] == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(own[1]["conv/kernel"], expected[1]["conv/kernel"], atol=1e-6)
    assert not np.array_equal(*compiled.outputs(IMAGES, True, 2))


def test_a_twin_computes_in_float64(adapter: Adapter) -> None:
    twin = adapter.twin()
    x, step = IMAGES.astype(np.float64), 1e-6
    _, gradients = twin.loss_and_gradients(x, LABELS)
    own = twin.parameters()["dense/kernel"]
    losses = []
    for sign in (1, -1):
        moved = own.copy()
        moved[0, 0] += sign * step
        twin.load({"dense/kernel": moved})
        losses.append(twin.loss_and_gradients(x, LABELS)[0])
    slope = (losses[0] - losses[1]) / (2 * step)
    assert gradients["dense/kernel"][0, 0] == pytest.approx(slope, rel=1e-6, abs=1e-9)
    assert jnp.zeros(1).dtype == jnp.float32


def test_code_that_rounds_has_no_twin() -> None:
    def network(params: Any, x: jax.Array) -> jax.Array:
        return x.reshape(len(x), -1).astype(jnp.float32) @ params["kernel"]

    kernel = jnp.ones((784, 10), jnp.float32)
    made = network, cross_entropy, optax.sgd(0.1), {"params": {"kernel": kernel}}
    with pytest.raises(NotImplementedError, match="rounds to float32 by itself"):
        Adapter(lambda seed: made).twin()


def test_seeds_in_the_users_code_are_other_ones_for_each_draw(adapter: Adapter) -> None:
    one, other = adapter.initial(2)
    assert not np.array_equal(one["conv/kernel"], other["conv/kernel"])
    limit = float(np.abs(one["conv/kernel"]).max())
    assert 0.3 < limit < 1.0  # LeCun's normal, cut off at two deviations of 1/3.


@pytest.mark.parametrize("name", ["flax_nnx", "flax_linen", "equinox", "jax"])
def test_each_example_is_read_and_computed(name: str) -> None:
    if name == "equinox":
        pytest.importorskip("equinox")
    file = EXAMPLES / f"{name}_model.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    adapter = Adapter(lambda seed: module.build())
    kinds = [node.kind for node in adapter.graph().nodes if node.kind != "dropout"]
    assert kinds == [*("conv", "activation", "max_pool") * 2, "flatten", "dense"]
    shapes = sorted(value.shape for value in adapter.parameters().values())
    assert shapes == sorted([(3, 3, 1, 16), (16,), (3, 3, 16, 32), (32,), (1568, 10), (10,)])
    recorded = adapter.record(IMAGES, False)
    output = adapter.outputs(IMAGES, False, 1)[0]
    np.testing.assert_allclose(recorded[adapter.graph().nodes[-1].name], output, atol=1e-6)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ((build()[0], cross_entropy), "return .model, loss, optax optimiser"),
        ((build()[0], cross_entropy, 0.1), "the optimiser is a float"),
        ((build()[0], cross_entropy, optax.sgd(0.1), {"epoch": 1}), "extras has 'epoch'"),
        ((lambda params, x: x, cross_entropy, optax.sgd(0.1)), "extras has no 'params'"),
        (
            (
                build()[0],
                optax.softmax_cross_entropy_with_integer_labels,
                optax.sgd(0.1),
            ),
            "the loss gives an array of shape .7,., expected one number",
        ),
    ],
)
def test_what_is_not_understood_is_refused(returned: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Adapter(lambda seed: returned)


PORT = """
import torch
from torch import nn

def build(momentum=0.2, epsilon=1e-4, padding=0):
    conv = nn.Conv2d(1, 4, 3, stride=2, padding=padding)
    module = nn.Sequential(
        conv, nn.BatchNorm2d(4, eps=epsilon, momentum=momentum), nn.GELU("tanh"),
        nn.AvgPool2d(3, 2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.25), nn.Linear(4, 10),
    )
    for layer in (conv, module[-1]):
        fan = layer.weight[0].numel()
        nn.init.trunc_normal_(layer.weight, std=1.0, a=-2.0, b=2.0)
        with torch.no_grad():
            layer.weight *= fan**-0.5 / 0.87962566103423978
        nn.init.zeros_(layer.bias)
    return module, nn.CrossEntropyLoss(), torch.optim.SGD(module.parameters(), 0.05, 0.9)

def momentum():
    return build(momentum=0.8)

def epsilon():
    return build(epsilon=1e-3)

def padded():
    return build(padding=1)
"""
FLAX = """
import optax
from flax import nnx

class Network(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), strides=2, padding="VALID", rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.8, epsilon=1e-4, rngs=rngs)
        self.drop = nnx.Dropout(0.25, rngs=rngs)
        self.dense = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.gelu(self.norm(self.conv(x)))
        x = nnx.avg_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        return self.dense(self.drop(x.mean((1, 2))))

def loss(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

def build():
    return Network(nnx.Rngs(0)), loss, optax.sgd(0.05, momentum=0.9)
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    pytest.importorskip("torch")
    flax, port = tmp_path / "of_flax.py", tmp_path / "of_torch.py"
    flax.write_text(FLAX)
    port.write_text(PORT)
    return f"{flax}:", f"{port}:"


def test_a_port_of_a_flax_module_to_pytorch(files: tuple[str, str]) -> None:
    flax, port = files
    result = audit(f"{flax}build", f"{port}build", timeout=300)
    assert result.same, result.conclusion
    compared = {stage.name for stage in result.stages if stage.ok}
    assert compared >= {"structure", "initial weights", "forward", "predictions", "mode"}
    assert compared >= {"loss", "gradients", "update", "trajectory", "numerics"}
    assert not result.no_twins


@pytest.mark.parametrize(
    ("function", "code", "stage"),
    [
        ("momentum", "batchnorm-momentum", "mode"),
        ("epsilon", "batchnorm-epsilon", "structure"),
        ("padded", "padding", "structure"),
    ],
)
def test_a_fault_in_the_port_is_named(
    files: tuple[str, str], function: str, code: str, stage: str
) -> None:
    flax, port = files
    only = ["structure", stage]
    result = audit(f"{flax}build", f"{port}{function}", timeout=300, only=only)
    assert [finding.code for finding in result.findings][:1] == [code]


@pytest.mark.parametrize(
    ("optimiser", "counts"),
    [
        (optax.sgd(0.1, momentum=0.9), False),
        (optax.sgd(optax.linear_schedule(0.1, 0.0, 500)), True),
        (optax.adam(0.1), True),
    ],
)
def test_only_a_count_in_the_state_tells_steps_apart(optimiser: Any, counts: bool) -> None:
    side = Adapter(lambda seed: (Network(nnx.Rngs(0)), cross_entropy, optimiser))
    assert side.own_code() == {"steps": counts, "updates": counts}


def test_gradients_may_depend_on_the_present_parameters() -> None:
    side = Adapter(lambda seed: (Network(nnx.Rngs(0)), cross_entropy, optax.sgd(0.1)))
    start = side.parameters()["dense/kernel"]
    names = {"dense/kernel", "dense/bias", "conv/kernel", "conv/bias", "norm/scale", "norm/bias"}
    *_, after = side.updates([lambda now: {name: 2 * now[name] for name in names}] * 2)
    np.testing.assert_allclose(after["dense/kernel"], start * 0.8**2, rtol=1e-5)


def test_data_are_looked_at_evenly_as_those_of_other_frameworks() -> None:
    x, y = np.random.default_rng(1).random((50, 4), np.float32), np.arange(50) % 3
    extras = {"data": (x, y)}
    rows = rows_of(50, 32)
    own_x, own_y = prepared(extras, np.zeros((32, 28, 28, 1), np.uint8), np.zeros(32))
    np.testing.assert_array_equal(own_x, x[rows])
    np.testing.assert_array_equal(own_y, y[rows])


def of_function(rate: float) -> Any:
    """A function whose dropout is its own, and which drops nothing without a key."""

    def network(params: Any, x: jax.Array, key: Any = None) -> jax.Array:
        order = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, params["kernel"], (4, 4), "VALID", None, None, order)
        x = jax.nn.relu(x).reshape(len(x), -1)
        if key is not None:
            x = jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)
        return x @ params["dense"]

    kernels = jax.nn.initializers.glorot_uniform()
    draws = jax.random.split(jax.random.key(0))
    params = {"kernel": kernels(draws[0], (4, 4, 1, 2)), "dense": kernels(draws[1], (98, 10))}
    return network, cross_entropy, optax.sgd(0.1), {"params": params}


class Dropping(nnx.Module):
    """The same with layers."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        glorot, own = nnx.initializers.glorot_uniform(), {"use_bias": False, "rngs": rngs}
        conv = {"strides": 4, "padding": "VALID", "kernel_init": glorot}
        self.conv = nnx.Conv(1, 2, (4, 4), **conv, **own)
        self.drop = nnx.Dropout(0.25, rngs=rngs)
        self.dense = nnx.Linear(98, 10, kernel_init=glorot, **own)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.conv(x)).reshape(len(x), -1)
        return self.dense(self.drop(x))


def dropping() -> Any:
    return Dropping(nnx.Rngs(0)), cross_entropy, optax.sgd(0.1)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("rate", "codes"), [(0.25, []), (0.5, ["randomness"])])
def test_a_function_that_drops_with_a_key_alone(rate: float, codes: list[str]) -> None:
    result = audit(dropping, lambda: of_function(rate))
    assert [finding.code for finding in result.findings] == codes
    stages = {stage.name: stage for stage in result.stages}
    assert stages["trajectory"].coverage.steps, stages["trajectory"].note
    assert not result.no_twins


def test_dropout_of_ones_own_is_no_missing_layer() -> None:
    result = audit(dropping, lambda: of_function(0.25), only=["structure"])
    assert result.same and all(stage.coverage.probes for stage in result.stages)


def test_batches_are_typed_as_a_twin_computes() -> None:
    """`lax`, unlike `jnp`, does not take float32 and float64 together."""
    twin = Adapter(lambda seed: of_function(0.25)).twin()
    assert twin.outputs(IMAGES.astype(np.float64), False, 1).dtype == np.float64
