"""Batches: every image once an epoch, in an order that the seed gives, moved as the recipe says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.data import Data, Split
from diptych.data.batches import Batches, shifted, to_float
from diptych.recipe import Recipe


def numbered(count: int) -> Split:
    """Images whose first two pixels and whose label say which of them it is."""
    images = np.zeros((count, 3, 4, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.divmod(np.arange(count), 256)
    return Split(images, np.arange(count))


def epoch_of(batches: Batches, epoch: int) -> list[np.ndarray]:
    return [batches.batch(epoch, step)[1] for step in range(batches.steps_per_epoch)]


@given(count=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 2**40))
def test_every_image_comes_exactly_once_an_epoch(count: int, size: int, seed: int) -> None:
    batches = Batches(numbered(count), Recipe(batch_size=size), seed)
    for epoch in range(2):
        labels = epoch_of(batches, epoch)
        assert sorted(np.concatenate(labels)) == list(range(count))
        assert {len(part) for part in labels[:-1]} <= {size}
        assert len(labels[-1]) == (count - 1) % size + 1


def test_images_and_labels_stay_together() -> None:
    images, labels = Batches(numbered(600), Recipe(batch_size=600), seed=1).batch(0, 0)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    high, low = images[:, 0, :2, 0].astype(int).T
    assert np.array_equal(high * 256 + low, labels)


def test_the_order_differs_by_epoch_and_by_seed_and_repeats() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = Batches(numbered(100), Recipe(batch_size=7), seed)
        return np.concatenate(epoch_of(batches, epoch)).tolist()

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(one) for one in orders}) == 4
    assert [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)] == orders


def test_the_order_is_the_same_whatever_was_asked_for_before() -> None:
    recipe = Recipe(batch_size=8, shift=1)
    in_order, at_once = (Batches(numbered(50), recipe, seed=2) for _ in range(2))
    for epoch in range(4):
        epoch_of(in_order, epoch)
    for left, right in zip(in_order.batch(3, 5), at_once.batch(3, 5), strict=True):
        assert np.array_equal(left, right)


def test_the_order_does_not_depend_on_the_batch_size_or_the_shift() -> None:
    recipes = Recipe(batch_size=5), Recipe(batch_size=30), Recipe(batch_size=5, shift=2)
    orders = [np.concatenate(epoch_of(Batches(numbered(30), r, 0), 0)).tolist() for r in recipes]
    assert orders[0] == orders[1] == orders[2]


@given(
    count=st.integers(1, 30),
    size=st.integers(1, 12),
    step=st.integers(0, 30),
    most=st.integers(1, 9),
)
def test_stacked_batches_are_the_batches(count: int, size: int, step: int, most: int) -> None:
    batches = Batches(numbered(count), Recipe(batch_size=size, shift=1), seed=0)
    step %= batches.steps_per_epoch
    images, labels = batches.stacked(0, step, most)
    assert 1 <= len(images) <= most
    for i in range(len(images)):
        alone = batches.batch(0, step + i)
        assert np.array_equal(images[i], alone[0])
        assert np.array_equal(labels[i], alone[1])


def test_stacks_go_through_an_epoch_with_the_smaller_batch_by_itself() -> None:
    batches, step, shapes = Batches(numbered(23), Recipe(batch_size=5), seed=0), 0, []
    while step < batches.steps_per_epoch:
        shapes.append(batches.stacked(0, step, most=3)[1].shape)
        step += shapes[-1][0]
    assert shapes == [(3, 5), (1, 5), (1, 3)]


@given(
    crop=st.floats(0.01, 0.9),
    share=st.floats(0, 1),
    warped=st.booleans(),
    size=st.integers(1, 12),
    most=st.integers(1, 9),
)
def test_cropped_batches_are_the_middles_of_whole_ones_and_come_first(
    crop: float, share: float, warped: bool, size: int, most: int
) -> None:
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (23, 9, 12, 1), np.uint8), np.arange(23))
    whole = Recipe(epochs=2, batch_size=size, shift=1, rotation=20.0 * warped, elastic=0.5 * warped)
    cropped = whole.with_changes(crop=crop, crop_share=share)
    batches, originals = (Batches(split, recipe, seed=1) for recipe in (cropped, whole))
    height, width = (side - 2 * round(side * crop / 2) for side in (9, 12))
    top, left = (9 - height) // 2, (12 - width) // 2
    steps = 2 * batches.steps_per_epoch
    expected = min(round(share * steps), steps if share == 1 else steps - 1)
    seen = 0
    for epoch in range(2):
        step = 0
        while step < batches.steps_per_epoch:
            images, labels = batches.stacked(epoch, step, most)
            for i in range(len(images)):
                original, same = originals.batch(epoch, step + i)
                if seen + i < expected:
                    original = original[:, top : top + height, left : left + width]
                assert np.array_equal(images[i], original)
                assert np.array_equal(labels[i], same)
            step += len(images)
            seen += len(images)


@given(
    share=st.floats(0, 1),
    frozen_after=st.lists(st.floats(0, 1), max_size=3).map(sorted),
    size=st.integers(1, 12),
    most=st.integers(1, 9),
)
def test_steps_that_are_taken_together_are_alike(
    share: float, frozen_after: list[float], size: int, most: int
) -> None:
    recipe = Recipe(
        epochs=2, batch_size=size, crop=0.5, crop_share=share, frozen_after=tuple(frozen_after)
    )
    batches = Batches(numbered(23), recipe, seed=0)
    for epoch in range(2):
        for step in range(batches.steps_per_epoch):
            end = batches.end_of_alike(epoch, step, most)
            assert step < end <= min(step + most, batches.steps_per_epoch)
            alike = {
                (batches.frozen(epoch, i), str(batches.window(epoch, i))) for i in range(step, end)
            }
            assert len(alike) == 1
            turn = batches.next_turn(epoch, step)
            assert step < turn <= (2 - epoch) * batches.steps_per_epoch
    last = 2 * batches.steps_per_epoch - 1
    now = sum(max(round(share * (last + 1)), share > 0) <= last for share in frozen_after)
    assert batches.frozen(0, last) == batches.frozen(1, last - batches.steps_per_epoch) == now
    assert batches.frozen(0, -1) == 0


def test_a_shift_moves_down_and_right_and_fills_with_zeros() -> None:
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    moved = shifted(np.repeat(image, 4, 0), np.array([(0, 0), (1, 0), (0, -2), (-1, 1)]))
    assert moved[..., 0].tolist() == [
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        [[0, 0, 0], [1, 2, 3], [4, 5, 6]],
        [[3, 0, 0], [6, 0, 0], [9, 0, 0]],
        [[0, 4, 5], [0, 7, 8], [0, 0, 0]],
    ]


def test_a_shift_beyond_the_image_leaves_nothing() -> None:
    image = np.full((1, 3, 3, 2), 7, np.uint8)
    assert not shifted(image, np.array([(64, 0)])).any()
    assert not shifted(image, np.array([(0, -3)])).any()


def test_shifts_go_equally_often_to_each_place_within_reach() -> None:
    count, reach = 5000, 2
    dot = np.zeros((count, 7, 7, 1), np.uint8)
    dot[:, 3, 3] = 1
    recipe = Recipe(batch_size=count, shift=reach)
    batches = Batches(Split(dot, np.zeros(count, np.int64)), recipe, seed=0)
    places = batches.batch(0, 0)[0].sum(axis=0)[..., 0]
    assert places.sum() == count
    inside = places[1:6, 1:6]
    assert inside.sum() == count
    # Five standard deviations of a binomial count.
    assert np.abs(inside - count / 25).max() < 5 * np.sqrt(count / 25 * 24 / 25)
    assert not np.array_equal(batches.batch(1, 0)[0], batches.batch(0, 0)[0])


def test_images_become_floats_between_zero_and_one(mnist: Data) -> None:
    floats = to_float(mnist.test.images[:10])
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0, 1)
    all_values = to_float(np.arange(256, dtype=np.uint8))
    # The article divides by 255; that differs by no more than one rounding.
    np.testing.assert_allclose(all_values, np.arange(256) / 255, rtol=2**-23)


@pytest.mark.parametrize("shift", [0, 3])
def test_an_epoch_of_the_article_is_1100_batches_of_50(mnist: Data, shift: int) -> None:
    batches = Batches(mnist.train, Recipe(shift=shift), seed=0)
    assert batches.steps_per_epoch == 1100
    images, labels = batches.batch(9, 1099)
    assert images.shape == (50, 28, 28, 1)
    assert labels.shape == (50,)
