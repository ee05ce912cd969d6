"""Copies of a PyTorch module's weights follow the weights that an audit loads."""

import copy

import torch
from torch import nn

from diptych.auditing.frameworks.torch.copies import Copying, copied_anew


def test_copies_follow_and_other_tensors_stay() -> None:
    with Copying() as copying:
        module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        nn.init.zeros_(module[0].bias)
        target = copy.deepcopy(module)
        slow = [parameter.detach().clone() for parameter in module.parameters()]
        other = nn.Linear(3, 2)
        other.load_state_dict(module[0].state_dict())
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
    assert torch.equal(other.weight, module[0].weight) and torch.equal(twice, other.weight)
    assert not torch.equal(changed, module[0].weight) and not zeros.any()
