"""Networks with several outputs beside networks with fewer, and outputs in training alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.auditing import audit
from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.several import of_size, outputs_of, shared

X = np.random.default_rng(10).normal(size=(32, 6)).astype(np.float32)
Y = np.random.default_rng(11).integers(0, 3, 32)
GRAPH = Graph(
    (6,),
    (
        Node("h", "dense", (INPUT,), (4,)),
        Node("image", "dense", ("h",), (2, 3)),
        Node("mean", "dense", ("h",), (4,)),
        Node("outputs joined", "concatenate", ("image", "mean"), (10,)),
    ),
)


def test_the_outputs_of_a_graph() -> None:
    image, mean = outputs_of(GRAPH)
    assert (image.start, image.size, mean.start, mean.size) == (0, 6, 6, 4)
    y = np.arange(20.0).reshape(2, 10)
    assert of_size(y, (image, mean), 6).shape == (2, 2, 3)
    np.testing.assert_array_equal(of_size(y, (image, mean), 4), y[:, 6:])
    assert of_size(y, (image, mean), 5) is y


def test_what_the_other_side_has_is_shared() -> None:
    other = Graph((6,), (Node("out", "dense", (INPUT,), (4,)),))
    assert [node.name for node in shared(GRAPH, other).nodes] == ["h", "mean"]
    assert shared(GRAPH, GRAPH) is GRAPH and shared(other, GRAPH) is other
    of_another_size = Graph((6,), (Node("out", "dense", (INPUT,), (5,)),))
    assert shared(GRAPH, of_another_size) is GRAPH


class Auxiliary(nn.Module):
    """A classifier with a second head, as GoogLeNet's: in training alone, or always."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.h, self.main, self.aux = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(6, 3)
        self.always = always

    def forward(self, x: Tensor) -> Any:
        z = self.main(F.relu(self.h(x)))
        return (z, self.aux(x)) if self.training or self.always else z


def auxiliary(always: bool = False, weight: float = 0.4) -> Any:
    module = Auxiliary(always)

    def loss(outputs: Any, y: Tensor) -> Tensor:
        if not isinstance(outputs, tuple):
            return F.cross_entropy(outputs, y)
        return F.cross_entropy(outputs[0], y) + weight * F.cross_entropy(outputs[1], y)

    return module, loss, torch.optim.SGD(module.parameters(), 0.1), {"data": (X, Y)}


def test_outputs_in_training_alone() -> None:
    side = Adapter(lambda seed: auxiliary())
    y = Y[:4].astype(np.float32)[:, None]
    trained, predicted = (side.outputs(X[:4], training, 1)[0] for training in (True, False))
    np.testing.assert_allclose(trained[:, :3], predicted)
    assert trained.shape == (4, 6) and side.graph().nodes[-1].shape == (6,)
    z, targets = torch.tensor(trained), torch.tensor(Y[:4])
    wanted = F.cross_entropy(z[:, :3], targets) + 0.4 * F.cross_entropy(z[:, 3:], targets)
    assert side.loss(trained, y) == pytest.approx(wanted.item())
    assert side.loss(predicted, y) == pytest.approx(F.cross_entropy(z[:, :3], targets).item())
    with pytest.raises(NotImplementedError, match="of 3 or 6 numbers"):
        side.loss(trained[:, :4], y)


def test_they_are_those_of_a_network_that_always_gives_both() -> None:
    result = audit(auxiliary, lambda: auxiliary(always=True))
    assert result.same, result.conclusion
    assert "other outputs of B" in result.conclusion
    assert {"predictions", "randomness", "loss", "trajectory"} <= {
        stage.name for stage in result.stages if stage.ok
    }


def test_another_weight_of_the_second_head_differs() -> None:
    result = audit(auxiliary, lambda: auxiliary(weight=0.3))
    assert {finding.stage for finding in result.findings} == {"loss"}


class Coder(nn.Module):
    """A variational autoencoder, which keeps its mean and variance or returns them."""

    def __init__(self, returns: bool) -> None:
        super().__init__()
        self.mean, self.spread, self.end = nn.Linear(6, 2), nn.Linear(6, 2), nn.Linear(2, 6)
        self.returns = returns

    def forward(self, x: Tensor) -> Any:
        self.seen = mean, spread = self.mean(x), self.spread(x)
        outputs = self.end(mean + torch.randn_like(mean) * (0.5 * spread).exp())
        return (outputs, mean, spread) if self.returns else outputs


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    return -0.5 * (1 + spread - mean**2 - spread.exp()).sum(1).mean()


def kept(weight: float = 1.0) -> Any:
    module = Coder(returns=False)

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(outputs, y) + weight * divergence(*module.seen)

    return module, loss, torch.optim.SGD(module.parameters(), 0.05), {"data": (X, X)}


def returned() -> Any:
    module = Coder(returns=True)

    def loss(outputs: Any, y: Tensor) -> Tensor:
        return F.mse_loss(outputs[0], y) + divergence(*outputs[1:])

    return module, loss, torch.optim.SGD(module.parameters(), 0.05), {"data": (X, X)}


def test_an_autoencoder_that_returns_more() -> None:
    result = audit(kept, returned)
    assert result.same, result.conclusion
    assert not any(stage.fault for stage in result.stages)
    stages = {stage.name: stage for stage in result.stages}
    assert "as distributions" in stages["predictions"].note
    assert "B's loss takes 3 outputs" in stages["loss"].note
    assert "other outputs of B" not in result.conclusion or stages["predictions"].ok


def test_another_weight_of_the_divergence_is_another_loss() -> None:
    result = audit(lambda: kept(0.5), returned)
    assert [finding.code for finding in result.findings] == ["loss"]


class Heads(nn.Module):
    """A class and a size, the class as probabilities or as logits."""

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.kind, self.size, self.softmax = nn.Linear(6, 3), nn.Linear(6, 1), softmax

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        kind = self.kind(x)
        return {"kind": F.softmax(kind, 1) if self.softmax else kind, "size": self.size(x)}


def heads(softmax: bool = False, right: bool = True, weight: float = 0.2) -> Any:
    module = Heads(softmax)

    def loss(outputs: dict[str, Tensor], y: dict[str, Tensor]) -> Tensor:
        kind = outputs["kind"]
        z = torch.log(kind) if softmax and right else kind
        return F.cross_entropy(z, y["kind"]) + weight * F.mse_loss(outputs["size"], y["size"])

    targets = {"kind": Y, "size": X[:, :1]}
    return module, loss, torch.optim.SGD(module.parameters(), 0.1), {"data": (X, targets)}


@pytest.mark.parametrize(
    ("build", "codes"),
    [
        (lambda: heads(softmax=True), []),
        (lambda: heads(softmax=True, right=False), ["activation"]),
        (lambda: heads(softmax=True, weight=0.4), ["loss"]),
    ],
    ids=["the same", "softmax twice", "another weight"],
)
def test_the_end_of_one_of_several_outputs_may_be_in_the_loss(build: Any, codes: list[str]) -> None:
    result = audit(heads, build, only=["forward", "predictions", "loss", "gradients"])
    assert [finding.code for finding in result.findings] == codes
