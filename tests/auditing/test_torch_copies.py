"""Copies of a PyTorch module's weights follow the weights that an audit loads."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from diptych.auditing import audit
from diptych.auditing.frameworks.torch.copies import Copying, copied_anew


def test_copies_follow_and_other_tensors_stay() -> None:
    with Copying() as copying:
        first = nn.Linear(3, 2)
        module = nn.Sequential(first, nn.BatchNorm1d(2))
        nn.init.zeros_(first.bias)
        target = copy.deepcopy(module)
        slow = [parameter.detach().clone() for parameter in module.parameters()]
        other = nn.Linear(3, 2)
        other.load_state_dict(first.state_dict())
        twice = slow[0].clone()
        changed = slow[0].clone() + 1
        zeros = torch.zeros(2)
    copies = copying.of(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    copied_anew(copies, module)
    for own, of_target, of_slow in zip(module.parameters(), target.parameters(), slow, strict=True):
        assert torch.equal(own, of_target) and torch.equal(own, of_slow)
    assert torch.equal(other.weight, first.weight) and torch.equal(twice, other.weight)
    assert not torch.equal(changed, first.weight) and not zeros.any()


def test_weights_that_have_no_shape_yet_have_no_copies() -> None:
    with Copying() as copying:
        first = nn.Linear(3, 3)
        module = nn.Sequential(first, nn.LazyLinear(2))
        slow = first.weight.detach().clone()
    ((copied, name),) = copying.of(module)
    assert copied is slow and name == "0.weight"


def anchored() -> Any:
    module = nn.Linear(6, 4)
    anchor = [parameter.detach().clone() for parameter in module.parameters()]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        away = [(p - a).square().sum() for p, a in zip(module.parameters(), anchor, strict=True)]
        return nn.functional.cross_entropy(outputs, targets) + torch.stack(away).sum()

    data = torch.randn(16, 6, generator=torch.Generator().manual_seed(5)), torch.arange(16) % 4
    return module, loss, torch.optim.SGD(module.parameters(), 0.05), {"data": data}


def anchored_and_drawn_otherwise() -> Any:
    torch.rand(1)
    return anchored()


def test_what_a_loss_keeps_from_the_initial_weights_follows_those_that_are_loaded() -> None:
    result = audit(anchored, anchored_and_drawn_otherwise, only=["loss", "gradients"])
    assert not result.findings
    assert all(stage.ok for stage in result.stages)
