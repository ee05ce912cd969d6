"""A sample of the pairs, and with ``-m exhaustive`` all; `make soundness` writes the table."""

from collections.abc import Iterator

import pytest
from families import Pair, pairs
from kept_workers import KeptWorker, end_workers
from run_pairs import run

from diptych.auditing import side

SAMPLE = [
    "T:middle=clamp(20) | T:plain",
    "T:middle=clamp(20) | T:middle=where(20)",
    "T:batches=late_flip(1) | T:batches=flip(0.5)",
    "T:batches=noise(0.1) | T:batches=noise_of_normal(0.1)",
    "T:after=dropout(0.3) | T:after=dropout_by_hand(0.3)",
    "T:begin=noise(0.1) | T:begin=noise_of_normal(0.1)",
    "T:schedule=stairs(300) | T:schedule=stairs(301)",
    "T:step=accumulate(16) | T:step=accumulate_sum(16)",
    "K:plain | T:port=keras(0)+optimiser=sgd(0.05)",
]
ALL = {pair.name: pair for pair in pairs()}


@pytest.fixture(scope="module", autouse=True)
def kept_workers() -> Iterator[None]:
    """One worker for many audits."""
    patch = pytest.MonkeyPatch()
    patch.setattr(side, "Worker", KeptWorker)
    yield
    end_workers()
    patch.undo()


def check(pair: Pair) -> None:
    outcome = run(pair)
    assert outcome.right, outcome.problem or outcome.codes or outcome.conclusion


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_is_told_right(name: str) -> None:
    check(ALL[name])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(ALL.keys() - set(SAMPLE)))
def test_every_pair_is_told_right(name: str) -> None:
    check(ALL[name])


def test_there_are_pairs_of_either_kind_in_each_family() -> None:
    families = {pair.family for pair in ALL.values()}
    for family in families:
        kinds = {bool(pair.code) for pair in ALL.values() if pair.family == family}
        assert kinds == {True, False}, family
    assert sum(bool(pair.code) for pair in ALL.values()) >= 100
    assert sum(not pair.code for pair in ALL.values()) >= 100
