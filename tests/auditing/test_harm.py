"""Findings are listed by the harm that they do, and by stages among those that do alike."""

import numpy as np
import pytest

from diptych.auditing import harm
from diptych.auditing.causes import CAUSES

torch = pytest.importorskip("torch", reason="needs the extra torch")
from torch import nn  # noqa: E402

import diptych  # noqa: E402


def side(deviation: float | None, epsilon: float, momentum: float) -> tuple[object, ...]:
    """A small classifier; its first layer has kernels of that deviation, or PyTorch's own."""
    first = nn.Linear(12, 16)
    if deviation is not None:
        nn.init.normal_(first.weight, std=deviation)
    model = nn.Sequential(first, nn.ReLU(), nn.BatchNorm1d(16, momentum=momentum), nn.Linear(16, 3))
    chance = np.random.default_rng(0)
    data = (chance.normal(size=(16, 12)).astype("float32"), chance.integers(0, 3, 16))
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, eps=epsilon)
    return model, nn.CrossEntropyLoss(), optimiser, {"data": data}


def plain() -> tuple[object, ...]:
    return side(None, 1e-8, 0.1)


def mild() -> tuple[object, ...]:
    return side(0.1, 1e-7, 0.2)


def wild() -> tuple[object, ...]:
    return side(3.0, 1e-7, 0.2)


@pytest.mark.parametrize(
    ("other", "codes"),
    [
        (mild, ["batchnorm-momentum", "kernel-initialiser", "epsilon"]),
        (wild, ["kernel-initialiser", "batchnorm-momentum", "epsilon"]),
    ],
)
def test_what_does_most_comes_first(other, codes: list[str]) -> None:
    audit = diptych.audit(plain, other)
    assert [finding.code for finding in audit.findings] == codes
    ranks = [harm.ORDER.index(finding.harm) for finding in audit.findings]
    assert ranks == sorted(ranks)


def test_causes_that_do_less_are_known_causes() -> None:
    assert harm.BY_CAUSE.keys() <= CAUSES.keys()
    assert set(harm.BY_CAUSE.values()) <= set(harm.ORDER) - {harm.LARGE}


def test_only_far_kernels_do_much() -> None:
    assert harm.of_deviations("kernel-initialiser", 1.0, 0.03) == harm.LARGE
    assert harm.of_deviations("kernel-initialiser", 0.0, 0.03) == harm.LARGE
    assert harm.of_deviations("kernel-initialiser", 0.03, 0.05) == harm.MODERATE
    assert harm.of_deviations("bias-initialiser", 0.0, 0.05) == harm.MODERATE
