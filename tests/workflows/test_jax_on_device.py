"""The workflow `jax` where an epoch is one call: here on the processor, as on a GPU."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.data import Data, Split
from diptych.data.batches import Batches
from diptych.in_memory import EpochsOnly
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.progress import Progress

training = pytest.importorskip("diptych.workflows.jax.training", reason="JAX is not installed")


@settings(max_examples=15)  # Each shape is compiled.
@given(shift=st.integers(0, 3), crop=st.sampled_from([0.0, 0.28, 0.6]), size=st.integers(1, 9))
def test_batches_gathered_on_the_device_are_the_batches(shift: int, crop: float, size: int) -> None:
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (14, 9, 12, 2), np.uint8), np.arange(14))
    recipe = Recipe(epochs=1, batch_size=size, shift=shift, crop=crop, crop_share=0.5)
    batches = Batches(split, recipe, seed=3)
    resident = training.jnp.array(split.images)
    for chunk in batches.chunks(0, 0, most=batches.steps_per_epoch):
        images, labels = chunk.arrays
        assert np.array_equal(training.images_on_device(resident, chunk), images)
        assert np.array_equal(chunk.labels, labels)


SHIFTED = Recipe(epochs=2, batch_size=100, shift=1, crop=0.28, crop_share=0.6)
TURNED = Recipe(epochs=2, batch_size=100, rotation=10.0, averaging=0.9)


@pytest.mark.parametrize(
    ("recipe", "most"),
    [(SHIFTED, 2**30), (TURNED, 2**30), (SHIFTED, 3 * 100 * 784)],
    ids=["resident", "sent", "too many at once"],
)
def test_an_epoch_in_one_call_gives_the_same_bits(
    recipe: Recipe, most: int, mnist: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "BYTES_A_CALL", most)
    few = Split(mnist.train.images[:530], mnist.train.labels[:530])
    some = Split(mnist.test.images[:50], mnist.test.labels[:50])
    data = dataclasses.replace(mnist, train=few, validation=some)
    from diptych.workflows.jax.workflow import Workflow

    found: list[Weights] = []
    for on_cpu in (True, False):
        monkeypatch.setattr(training, "ON_CPU", on_cpu)
        made, progress = Workflow(Network.load("dense"), recipe, 0), Progress()
        made.fit(data, EpochsOnly(lambda _: None, lambda: False), progress)
        assert progress.finished
        found.append(made.weights())
    assert all(np.array_equal(found[0][name], value) for name, value in found[1].items())
