"""New images from old ones, held against what NumPy turns and moves exactly."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from diptych.data import Data
from diptych.data.augmentation import KNOTS, shifted, warp_field, warped, warps
from diptych.data.batches import Batches
from diptych.recipe import Recipe

STRAIGHT = Recipe()
BENT = Recipe(rotation=12.0, scaling=0.1, shear=0.1, elastic=0.7, shift=2, batch_size=60)
images = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3)),
)


class Most:
    """Draws the largest number of each range: a generator whose draws are known."""

    def uniform(self, _: float, high: float, size: Any) -> np.ndarray:
        return np.full(size, high)


def field_of(recipe: Recipe, images: np.ndarray, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
    offsets = np.tile(offset, (len(images), 1))
    return warp_field(recipe, offsets, images.shape[1:3], Most())  # type: ignore[arg-type]


@given(images, st.tuples(st.integers(-14, 14), st.integers(-14, 14)))
def test_whole_pixels_are_a_shift(images: np.ndarray, offset: tuple[int, int]) -> None:
    found = warped(images, field_of(STRAIGHT, images, offset))
    np.testing.assert_array_equal(found, shifted(images, np.tile(offset, (len(images), 1))))


@given(images, st.sampled_from([90.0, 180.0]))
def test_right_angles_are_numpys_turns(images: np.ndarray, angle: float) -> None:
    side = min(images.shape[1:3])
    square = images[:, :side, :side]
    found = warped(square, field_of(Recipe(rotation=angle), square))
    turned = np.rot90(square, -int(angle / 90), axes=(1, 2))
    # A coordinate that is off by a rounding takes as much of the neighbour, which may round over.
    assert np.abs(found.astype(int) - turned).max() <= 1


def test_half_the_size_skips_every_other_row() -> None:
    ramp = np.arange(9, dtype=np.uint8)[:, None] * 10 + np.zeros(9, np.uint8)
    found = warped(ramp[None, ..., None], field_of(Recipe(scaling=1.0), ramp[None, ..., None]))
    np.testing.assert_array_equal(found[0, 2:7, 4, 0], ramp[[0, 2, 4, 6, 8], 0])


def test_a_shear_moves_rows_sideways() -> None:
    stripe = np.zeros((1, 9, 9, 1), np.uint8)
    stripe[:, :, 4] = 200
    found = warped(stripe, field_of(Recipe(shear=1.0), stripe))[0, ..., 0]
    np.testing.assert_array_equal(found, np.eye(9, dtype=np.uint8)[:, ::-1] * 200)


def test_an_elastic_field_is_smooth_and_as_strong_as_it_says() -> None:
    recipe, offsets = Recipe(elastic=1.5), np.zeros((400, 2))
    random = np.random.Generator(np.random.Philox(0))
    bent = warp_field(recipe, offsets, (28, 28), random)
    moves = bent - warp_field(STRAIGHT, offsets, (28, 28), random)
    # At a control point a spline gives 4 and 1 sixths of it and its neighbours, in each direction.
    expected = 1.5 * (1 + 16 + 1) / 36
    inner = (KNOTS - 3) // 2 * 27 // (KNOTS - 3)
    assert moves[..., inner : inner + 2, inner : inner + 2].std() == pytest.approx(
        expected, rel=0.1
    )
    assert np.abs(np.diff(moves, axis=2)).max() < 1.5
    assert abs(moves.mean()) < 0.05


@given(images, st.integers(0, 2**32))
def test_nothing_new_is_brighter_than_the_old(images: np.ndarray, seed: int) -> None:
    random = np.random.Generator(np.random.Philox(seed))
    field = warp_field(BENT, np.zeros((len(images), 2)), images.shape[1:3], random)
    found = warped(images, field)
    assert found.shape == images.shape
    assert found.dtype == np.uint8
    assert (found.max(axis=(1, 2)) <= images.max(axis=(1, 2))).all()


def test_batches_are_the_same_whenever_they_are_asked_for(mnist: Data) -> None:
    one, other = Batches(mnist.validation, BENT, 3), Batches(mnist.validation, BENT, 3)
    one.batch(0, 0)
    for place in ((0, 1), (2, 80)):
        for ours, theirs in zip(one.batch(*place), other.batch(*place), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    first, again = one.batch(0, 0)[0], one.batch(1, 0)[0]
    assert first.shape == again.shape == (60, 28, 28, 1)
    assert not np.array_equal(first, again)
    plain = Batches(mnist.validation, Recipe(batch_size=60), 3).batch(0, 0)[0]
    # The digits keep their ink: most of it is still there, somewhere else.
    assert 0.85 < first.sum() / plain.sum() < 1.15
    assert not np.array_equal(first, plain)


@pytest.mark.parametrize("key", ["rotation", "scaling", "shear", "elastic"])
def test_each_value_alone_bends(key: str, mnist: Data) -> None:
    recipe = Recipe.from_dict({"name": "one", "batch_size": 60, key: 0.5})
    assert warps(recipe)
    bent = Batches(mnist.validation, recipe, 0).batch(0, 0)[0]
    plain = Batches(mnist.validation, Recipe(batch_size=60), 0).batch(0, 0)[0]
    assert not np.array_equal(bent, plain)


def test_article_bends_nothing() -> None:
    article = Recipe.load("article")
    assert not warps(article)
    assert article.shift == article.averaging == 0
