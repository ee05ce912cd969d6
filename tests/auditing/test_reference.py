"""The reference is right (NumPy's workflow says so), and its bounds fit what float32 does."""

import numpy as np
import pytest
import tensorflow as tf

from diptych import load_data
from diptych.auditing import losses, reference
from diptych.auditing.frameworks.ours import submission as workflow
from diptych.auditing.frameworks.ours.adapter import Adapter
from diptych.auditing.graph import INPUT, Graph
from diptych.auditing.match import simplified

FORMULA = {
    "kind": "cross_entropy",
    "takes": "logits",
    "reduction": "mean",
    "final": None,
    "penalties": {"squares": {}, "absolutes": {}},
}


def labelled(group: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{group}|{name}": value for name, value in arrays.items()}


@pytest.fixture(scope="module", params=["article-tensorflow", "leaky"])
def side(request):
    model = Adapter(workflow.build("numpy", request.param))
    data = load_data("mnist").test
    x, y = model.prepare(np.array(data.images[:6]), np.array(data.labels[:6]))
    return model, x, y


def test_every_node_is_the_numpy_workflows(side):
    model, x, _ = side
    record = model.record(x, training=False) | {INPUT: x}
    request = {"graph": model.graph().to_dict(), "training": False}
    arrays = labelled("parameter", model.parameters()) | labelled("record", record)
    found, _ = reference.check_job(request, arrays)
    assert len(found) == len(model.graph().nodes)
    for name, result in found.items():
        # Scales and slopes are float32 numbers.
        assert result["difference"] <= 1e-7, name


def test_gradients_are_the_numpy_workflows(side):
    model, x, y = side
    loss, gradients = model.loss_and_gradients(x, y)
    graph = simplified(model.graph(), keep_shapes=True)[0]
    request = {"graph": graph.to_dict(), "loss": FORMULA, "trained": list(gradients)}
    arrays = labelled("parameter", model.parameters()) | {"x|x": x, "y|y": y}
    told, exact = reference.gradients_job(request, arrays)
    assert told["loss"] == pytest.approx(loss, rel=1e-7)
    for name, gradient in gradients.items():
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(exact[name], gradient, atol=1e-6 * scale, err_msg=name)
        assert 1e-9 * scale < told["bounds"][name] < 5e-2 * scale


@pytest.mark.parametrize("off", [0.0, 3e-4])
def test_float32_is_within_the_bounds_and_a_wrong_weight_is_not(side, off: float):
    model, x, _ = side
    graph: Graph = model.graph()
    parameters = {k: v.astype(np.float32) for k, v in model.parameters().items()}
    tensors = {name: tf.constant(value) for name, value in parameters.items()}
    values = reference.run(graph, tensors, tf.constant(x, tf.float32), False, None)
    record = {name: value.numpy() for name, value in values.items()}
    first = next(name for name in parameters if name.endswith("/kernel"))
    parameters[first] = parameters[first] * np.float32(1 + off)
    request = {"graph": graph.to_dict(), "training": False}
    arrays = labelled("parameter", parameters) | labelled("record", record | {INPUT: x})
    found, _ = reference.check_job(request, arrays)
    ratios = {name: result["ratio"] for name, result in found.items()}
    wrong = {name for name, ratio in ratios.items() if ratio > 1}
    assert wrong == ({first.removesuffix("/kernel")} if off else set()), ratios


def formula(kind: str, takes: str, reduction: str = "mean", **more) -> dict:
    return {"kind": kind, "takes": takes, "reduction": reduction} | more


CLASSES = np.array([0, 2, 1, 2, 2])


def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 3))


def test_losses_are_keras_own():
    import keras

    z = logits()
    shares = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    for ours, theirs in [
        (
            formula("cross_entropy", "logits"),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True)(CLASSES, z),
        ),
        (
            formula("cross_entropy", "clipped"),
            keras.losses.SparseCategoricalCrossentropy()(CLASSES, z),
        ),
        (
            formula("cross_entropy", "softmax_twice", "sum"),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")(
                CLASSES, shares
            ),
        ),
        (
            formula("cross_entropy", "logits", smoothing=0.1),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)(
                np.eye(3)[CLASSES], z
            ),
        ),
    ]:
        assert float(losses.value(ours, tf.constant(z), CLASSES, {})) == pytest.approx(
            float(np.asarray(theirs)), rel=1e-5
        ), ours


def test_losses_are_pytorchs_own():
    import torch

    z, values = torch.tensor(logits()), torch.tensor(logits()[::-1].copy())
    one = torch.tensor(logits()[:, :1].copy())
    flat = torch.tensor([0.5, -1.0, 2.0, 0.1, 0.0], dtype=torch.float64)
    functional = torch.nn.functional
    for ours, outputs, targets, theirs in [
        (formula("squared", "values"), z, values, functional.mse_loss(z, values)),
        (formula("huber", "values"), z, values, functional.smooth_l1_loss(z, values)),
        (formula("absolute", "values", "sum"), z, values, (z - values).abs().sum()),
        (formula("squared", "values", "broadcast"), one, flat, ((one - flat) ** 2).mean()),
        (
            formula("binary_cross_entropy", "logits"),
            one,
            (flat > 0).double(),
            functional.binary_cross_entropy_with_logits(one[:, 0], (flat > 0).double()),
        ),
    ]:
        found = losses.value(ours, tf.constant(outputs.numpy()), targets.numpy(), {})
        assert float(found) == pytest.approx(float(theirs), rel=1e-9), ours
