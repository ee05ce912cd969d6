"""A parameter that two layers share on one side alone is a finding of its own."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")
from torch import Tensor, nn  # noqa: E402

import diptych  # noqa: E402


class Words(nn.Module):
    """Predicts a word from the mean of others; its head may be the embedding, turned round."""

    def __init__(self, tied: bool, copied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 12, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        elif copied:
            self.head.weight.data.copy_(self.embedding.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.middle(self.embedding(x).mean(1))))


def side(tied: bool, copied: bool = False) -> tuple[object, ...]:
    chance = np.random.default_rng(0)
    data = (chance.integers(0, 12, (8, 5)), chance.integers(0, 12, 8))
    model = Words(tied, copied)
    return model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.1), {"data": data}


def tied() -> tuple[object, ...]:
    return side(tied=True)


def copied() -> tuple[object, ...]:
    return side(tied=False, copied=True)


@pytest.mark.parametrize("tied_first", [True, False])
def test_a_tie_that_the_other_side_lacks_is_named(tied_first: bool) -> None:
    sides = (tied, copied) if tied_first else (copied, tied)
    audit = diptych.audit(*sides)
    finding = audit.findings[0]
    assert finding.code == "shared-weights"
    words = (finding.a, finding.b) if tied_first else (finding.b, finding.a)
    assert words == (
        "one parameter, embedding.weight",
        "separate ones: embedding.weight, head.weight",
    )


@pytest.mark.exhaustive
def test_the_same_tie_is_no_difference() -> None:
    assert diptych.audit(tied, tied).same
