"""A recipe: its table of learning rates, its files, and what it refuses."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diptych import zoo
from diptych.errors import InputError
from diptych.recipe import Recipe


def test_a_constant_schedule_has_one_rate() -> None:
    rates = Recipe(learning_rate=0.001).learning_rates(4)
    assert rates.dtype == np.float32
    assert rates.tolist() == [np.float32(0.001)] * 4


@pytest.mark.parametrize(
    ("steps", "warmup", "of_the_peak"),
    [
        (7, 0.25, [1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (3, 0.5, [1 / 2, 1, 1 / 2]),
        (4, 0.0, [4 / 5, 3 / 5, 2 / 5, 1 / 5]),
        (1, 0.25, [2 / 3]),
    ],
)
def test_one_cycle_rises_to_the_peak_and_falls_to_nearly_zero(
    steps: int, warmup: float, of_the_peak: list[float]
) -> None:
    recipe = Recipe(schedule="one-cycle", learning_rate=0.25, warmup=warmup)
    np.testing.assert_allclose(
        recipe.learning_rates(steps), 0.25 * np.array(of_the_peak), rtol=2**-23
    )


@given(st.integers(1, 500), st.just(0.0) | st.floats(0.001, 0.99))
def test_every_rate_of_one_cycle_is_above_zero_and_up_to_the_peak(
    steps: int, warmup: float
) -> None:
    rates = Recipe(schedule="one-cycle", learning_rate=0.002, warmup=warmup).learning_rates(steps)
    assert rates.shape == (steps,)
    assert rates.dtype == np.float32
    assert (rates > 0).all()
    assert (rates <= np.float32(0.002)).all()
    top = int(rates.argmax())
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 0).all()


def test_layers_that_freeze_on_the_way_are_trained_before_however_short_it_is() -> None:
    recipe = Recipe(frozen_after=(0.0, 0.05, 0.25))
    assert recipe.freezing_steps(825) == [0, 41, 206]
    assert recipe.freezing_steps(3) == [0, 1, 1]


def test_cropping_takes_half_of_its_share_from_each_edge() -> None:
    recipe = Recipe(crop=0.28, crop_share=0.85)
    assert recipe.cropped(28, 32) == (slice(4, 24), slice(4, 28))
    assert recipe.cropped_steps(1100) == 935
    assert Recipe(crop_share=1.0).cropped_steps(1100) == 0
    assert recipe.cropped_steps(1) == 0
    assert recipe.cropped_steps(3) == 2
    assert recipe.with_changes(crop_share=1.0).cropped_steps(3) == 3
    assert Recipe().cropped(28, 5) == (slice(0, 28), slice(0, 5))


@example(0.75, 2)
@given(st.floats(0, 0.9), st.integers(1, 300))
def test_cropping_leaves_something_of_every_image(crop: float, size: int) -> None:
    rows, _ = Recipe(crop=crop).cropped(size, 1)
    assert 0 <= rows.start < rows.stop <= size
    assert rows.start == size - rows.stop


def test_the_recipe_of_the_article_is_the_default_and_the_articles() -> None:
    article = Recipe.load("article")
    assert (article.epochs, article.batch_size, article.learning_rate) == (10, 50, 0.001)
    assert (article.beta_1, article.beta_2, article.dropout_scale) == (0.9, 0.999, 1)
    assert (article.shift, article.schedule, article.precision) == (0, "constant", "float32")
    assert article.early_stopping is None
    plain = {"name": "article", "description": article.description}
    assert Recipe.from_dict(plain) == article


def test_the_articles_two_recipes_differ_in_epsilon_alone() -> None:
    tensorflow, keras = (Recipe.load(f"article-{name}") for name in ("tensorflow", "keras"))
    assert (tensorflow.epsilon, keras.epsilon) == (1e-8, 1e-7)
    names = {"name": keras.name, "description": keras.description}
    assert tensorflow.with_changes(epsilon=1e-7, **names) == keras


@pytest.mark.parametrize("name", zoo.names("recipes"))
def test_every_recipe_of_the_zoo_comes_back_from_its_plain_data(name: str) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.description
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_recipe_loads_from_a_persons_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('epochs = 2\nlearning_rate = 1\nschedule = "one-cycle"\nearly_stopping = 3\n')
    assert Recipe.load(path) == Recipe(
        name="mine", epochs=2, learning_rate=1.0, schedule="one-cycle", early_stopping=3
    )


def test_changes_leave_the_rest_as_it_was() -> None:
    recipe = Recipe(name="mine", epochs=3, early_stopping=2)
    assert recipe.with_changes(shift=2) == Recipe(name="mine", epochs=3, early_stopping=2, shift=2)
    assert recipe.with_changes(early_stopping=None) == Recipe(name="mine", epochs=3)


BAD: list[dict[str, Any]] = [
    {"epochs": 0},
    {"epochs": True},
    {"epochs": 1.5},
    {"epochs": "10"},
    {"batch_size": 0},
    {"batch_size": 2**40},
    {"learning_rate": 0.0},
    {"learning_rate": -0.1},
    {"learning_rate": math.nan},
    {"learning_rate": math.inf},
    {"learning_rate": True},
    {"learning_rate": "fast"},
    {"schedule": "cosine"},
    {"warmup": 1.0},
    {"beta_1": 1.0},
    {"beta_2": -0.1},
    {"epsilon": 0.0},
    {"dropout_scale": 1.5},
    {"shift": -1},
    {"shift": 65},
    {"shift": True},
    {"precision": "float16"},
    {"frozen_after": 0.5},
    {"early_stopping": 0},
    {"early_stopping": False},
    {"description": 3},
]


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_values_that_cannot_be_are_refused_by_key_and_value(changes: dict[str, Any]) -> None:
    (key, value), *_ = changes.items()
    with pytest.raises(InputError) as raised:
        Recipe(name="mine").with_changes(**changes)
    assert str(raised.value).startswith(f"recipe mine: {key} = {value!r}: ")
    assert "\n" not in str(raised.value)


def test_a_bad_value_within_a_list_is_named_by_its_place() -> None:
    with pytest.raises(InputError, match=r"frozen_after\.1 = 1\.5: .*less than or equal to 1"):
        Recipe().with_changes(frozen_after=[0.5, 1.5])
    with pytest.raises(InputError, match=r"frozen_after = '0\.5': .* a list, such as \["):
        Recipe().with_changes(frozen_after="0.5")
    with pytest.raises(InputError, match=r"^recipe recipe: frozen_after = \[0\.9, 0\.1\]: a conv"):
        Recipe().with_changes(frozen_after=[0.9, 0.1])


def test_unknown_keys_are_refused_with_the_close_one_or_all() -> None:
    with pytest.raises(InputError, match=r"unknown key 'learningrate' \(did you mean learning_ra"):
        Recipe.from_dict({"learningrate": 0.1})
    with pytest.raises(InputError, match=r"unknown key 'zzz' \(known are averaging, batch_size, "):
        Recipe.from_dict({"zzz": 1})
