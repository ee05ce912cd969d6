"""The reference against NumPy's own workflow, and its bounds against what float32 does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from autograd.test_util import check_grads

from diptych import load_data
from diptych.auditing import losses, reference
from diptych.auditing.frameworks.ours import submission as workflow
from diptych.auditing.frameworks.ours.adapter import Adapter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.match import simplified
from diptych.auditing.noise import Noise, Sizes

FORMULA = {
    "kind": "cross_entropy",
    "takes": "logits",
    "reduction": "mean",
    "final": None,
    "penalties": {"squares": {}, "absolutes": {}},
}


@pytest.fixture(scope="module", params=["article-tensorflow", "leaky"])
def side(request):
    model = Adapter(workflow.build("numpy", request.param))
    data = load_data("mnist").test
    x, y = model.prepare(np.array(data.images[:6]), np.array(data.labels[:6]))
    return model, x, y


def test_every_node_agrees_with_the_numpy_workflow(side):
    model, x, _ = side
    record = model.record(x, training=False) | {INPUT: x}
    distances = reference.check(model.graph(), model.parameters(), record, training=False)
    assert len(distances) == len(model.graph().nodes)
    for name, distance in distances.items():
        # Scales and slopes are float32 numbers.
        assert distance.difference <= 1e-7, name


def test_gradients_agree_with_the_numpy_workflow(side):
    model, x, y = side
    loss, gradients = model.loss_and_gradients(x, y)
    graph = simplified(model.graph(), keep_shapes=True)[0]
    # Rounding can exchange two close numbers in a max pool, and a bound is eight times what it does
    # to the gradient then. An average pool makes no such choice.
    largest = 0.3 if any(node.kind == "max_pool" for node in graph.nodes) else 5e-2
    exact = reference.gradients(graph, FORMULA, list(gradients), model.parameters(), x, y)
    assert exact.loss == pytest.approx(loss, rel=1e-7)
    for name, gradient in gradients.items():
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(exact.gradients[name], gradient, atol=1e-6 * scale, err_msg=name)
        assert 1e-9 * scale < exact.bounds[name] < largest * scale, name


def test_a_node_with_the_contents_of_another_is_computed_once(side, monkeypatch):
    model, x, _ = side
    graph, parameters = model.graph(), model.parameters()
    record = model.record(x, training=False) | {INPUT: x}
    known: dict[bytes, reference.Distance] = {}
    first = reference.check(graph, parameters, record, False, known)
    computed = []
    original = reference.distance

    def counted(node, *rest):
        computed.append(node.name)
        return original(node, *rest)

    monkeypatch.setattr(reference, "distance", counted)
    assert reference.check(graph, parameters, record, False, known) == first
    assert not computed
    last = graph.nodes[-1].name
    changed = record | {last: record[last] + np.float32(1e-3)}
    second = reference.check(graph, parameters, changed, False, known)
    assert computed == [last] and second[last].ratio > first[last].ratio


def test_each_noisy_run_bounds_the_output(side):
    model, x, _ = side
    graph = simplified(model.graph(), keep_shapes=True)[0]
    bounds = list(reference.output_bounds(graph, model.parameters(), x))
    size = np.abs(reference.outputs(graph, model.parameters(), x)).max()
    assert len(bounds) == reference.RUNS and len(set(bounds)) == len(bounds)
    assert all(1e-7 * size < bound < 1e-3 * size for bound in bounds)


@pytest.mark.parametrize("off", [0.0, 3e-4])
def test_float32_is_within_the_bounds_and_a_wrong_weight_is_not(side, off: float):
    model, x, _ = side
    graph: Graph = model.graph()
    parameters = {k: v.astype(np.float32) for k, v in model.parameters().items()}
    record = {INPUT: x.astype(np.float32)}
    for node in graph.nodes:
        own = {role: parameters[name] for role, name in node.parameters.items()}
        record[node.name] = in_pytorch(node, own, [record[name] for name in node.inputs])
    first = next(name for name in parameters if name.endswith("/kernel"))
    parameters[first] = parameters[first] * np.float32(1 + off)
    distances = reference.check(graph, parameters, record, training=False)
    ratios = {name: distance.ratio for name, distance in distances.items()}
    wrong = {name for name, ratio in ratios.items() if ratio > 1}
    assert wrong == ({first.removesuffix("/kernel")} if off else set()), ratios


def in_pytorch(node: Node, own: dict[str, np.ndarray], inputs: list[np.ndarray]) -> np.ndarray:
    """A node of the networks here in float32, as PyTorch computes it."""
    functional = torch.nn.functional
    x, at = torch.tensor(inputs[0]), node.attributes
    weights = {role: torch.tensor(value) for role, value in own.items()}
    images = x.movedim(-1, 1) if x.ndim == 4 else x
    match node.kind:
        case "conv":
            (top, bottom), (left, right) = at["padding"]
            y = functional.conv2d(
                functional.pad(images, (left, right, top, bottom)),
                weights["kernel"].permute(3, 2, 0, 1),
                weights.get("bias"),
                at["strides"],
                groups=at["groups"],
            ).movedim(1, -1)
        case "average_pool":
            y = functional.avg_pool2d(images, at["size"], at["strides"]).movedim(1, -1)
        case "max_pool":
            y = functional.max_pool2d(images, at["size"], at["strides"]).movedim(1, -1)
        case "dense":
            y = x @ weights["kernel"] + weights["bias"]
        case "activation" if at["function"] == "leaky_relu":
            y = functional.leaky_relu(x, at["slope"])
        case "activation":
            y = torch.relu(x)
        case "rescale":
            y = x * at["scale"] + at["offset"]
        case "flatten":
            y = x.flatten(1)
        case "dropout" | "reshape":
            y = x.reshape(-1, *node.shape)
        case kind:
            raise NotImplementedError(kind)
    return y.numpy()


def test_equal_numbers_have_equal_errors_and_others_have_normal_ones() -> None:
    y = np.random.default_rng(0).normal(size=(500, 4))
    y[::2] = y[1::2]
    noise = Noise(0, {"layer": Sizes(np.full(y.shape, 8.0))})
    errors = (noise("layer", y) - y) * 2**24
    np.testing.assert_array_equal(errors[::2], errors[1::2])
    assert abs(errors.mean()) < 0.1
    assert 0.9 < errors.std() < 1.1
    again = (noise("layer", y) - y) * 2**24
    assert abs(np.corrcoef(errors[::2].ravel(), again[::2].ravel())[0, 1]) < 0.15


def formula(kind: str, takes: str, reduction: str = "mean", **more) -> dict:
    return {"kind": kind, "takes": takes, "reduction": reduction} | more


CLASSES = np.array([0, 2, 1, 2, 2])


def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 3))


def test_losses_agree_with_keras():
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
        assert float(losses.value(ours, z, CLASSES, {})) == pytest.approx(
            float(np.asarray(theirs)), rel=1e-5
        ), ours


def test_losses_agree_with_pytorch():
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
        found = losses.value(ours, outputs.numpy(), targets.numpy(), {})
        assert float(found) == pytest.approx(float(theirs), rel=1e-9), ours


@pytest.mark.parametrize("targets", ["classes", "binary", "values"])
def test_gradients_of_losses_agree_with_finite_differences(targets: str) -> None:
    from diptych.auditing.naming.losses import candidates

    random = np.random.default_rng(1)
    shape = (5, 1) if targets == "binary" else (5, 3)
    y = {
        "classes": CLASSES,
        "binary": random.integers(0, 2, shape).astype(float),
        "values": random.normal(size=shape),
    }[targets]
    z = random.uniform(0.1, 0.9, shape)
    weights = random.normal(size=(3, 2))
    penalties = {"squares": {"w": 0.1}, "absolutes": {"w": 0.2}}
    checked = 0
    for candidate in candidates(targets):
        for final in (None, "softmax", "sigmoid", "log_softmax"):
            ours = candidate | {"final": final, "penalties": penalties}
            if losses.values([candidate], z, y) == [None]:
                continue

            def value(a: Any, w: Any, ours: Any = ours) -> Any:
                return losses.value(ours, a, y, {"w": w})

            check = check_grads(value, modes=["rev"])  # pyright: ignore[reportCallIssue]
            check(z, weights)
            checked += 1
    assert checked >= 32


AUDIT = """
import sys
from diptych.auditing import audit

result = audit(sys.argv[1], sys.argv[2])
print([finding.code for finding in result.findings])
print([stage.name for stage in result.stages if stage.ok is None])
"""


def test_an_audit_of_two_pytorch_builds_imports_no_other_framework(tmp_path: Path) -> None:
    for name in ("tensorflow", "keras", "jax"):  # For the sides' processes as well.
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not here')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    side = Path(__file__).with_name("sides") / "torch_side.py"
    answer = subprocess.run(
        [sys.executable, "-c", AUDIT, f"{side}:cnn", f"{side}:cnn__pool_average"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["['pooling']", "[]"]
