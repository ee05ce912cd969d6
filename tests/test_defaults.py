"""Which recipe a network is trained by where none is named."""

import json
import logging
from pathlib import Path

import pytest

from diptych import training, zoo
from diptych.data import known_data
from diptych.defaults import default_recipe, is_made_for, mismatch
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from support import diptych

FAMILY = ("article", "article-keras", "article-tensorflow", "article-valid", "leaky")
TUNED = {"balanced": FAMILY, "fast": FAMILY, "quick-990": ("quick",), "quick-993": ("quick",)}
"""The recipes that crop or freeze, and the networks that they are made for."""


@pytest.mark.parametrize(
    ("network", "data", "expected"),
    [
        ("article", "mnist", "fast"),
        ("article-valid", "mnist", "fast"),
        ("leaky", "mnist", "fast"),
        ("article", "fashion-mnist", "plain"),
        ("article", "/folder/of/mnist", "plain"),
        ("dense", "mnist", "plain"),
        ("quick", "mnist", "plain"),
        ("article-keras", "mnist", "article-keras"),
        ("article-tensorflow", "fashion-mnist", "article-tensorflow"),
    ],
)
def test_the_default_of_each_network(network: str, data: str, expected: str) -> None:
    """The two last networks name a recipe of their own."""
    assert default_recipe(Network.load(network), data).name == expected


def test_a_network_is_known_by_its_layers_and_not_by_its_name(small: Network) -> None:
    fast, article = Recipe.load("fast"), Network.load("article").to_dict()
    renamed = article | {"name": "mine", "description": "", "recipe": None}
    renamed["layers"] = [layer | {"name": f"mine_{i}"} for i, layer in enumerate(article["layers"])]
    assert is_made_for(fast, Network.from_dict(renamed), "mnist")
    impostor = Network.from_dict(small.to_dict() | {"name": "article"})
    assert not is_made_for(fast, impostor, "mnist")
    wider = [dict(layer) for layer in article["layers"]]
    wider[1]["filters"] = 65
    assert not is_made_for(fast, Network.from_dict(article | {"layers": wider}), "mnist")


def test_every_recipe_of_the_zoo_names_what_exists() -> None:
    known = [data.name for data in known_data()]
    tuned = {}
    for name in zoo.names("recipes"):
        recipe = Recipe.load(name)
        if recipe.made_for:
            tuned[name] = recipe.made_for.networks
            assert set(recipe.made_for.data) <= set(known)
        assert bool(recipe.crop or recipe.frozen_after) == (name in TUNED)
    assert tuned == TUNED


def test_plain_changes_no_image_and_freezes_nothing() -> None:
    plain = Recipe.load("plain")
    assert (plain.crop, plain.shift, plain.frozen_after, plain.dropout_scale) == (0, 0, (), 1)
    assert (plain.schedule, plain.epochs) == ("one-cycle", 3)


def test_a_recipe_outside_of_what_it_is_made_for_warns_once(
    tmp_path: Path, few_digits: Path, caplog: pytest.LogCaptureFixture, small: Network
) -> None:
    with caplog.at_level(logging.WARNING, "diptych"):
        training.create("numpy", small, None, str(few_digits), runs=tmp_path)
        assert not caplog.records
        training.create("numpy", small, "fast", str(few_digits), runs=tmp_path)
    [record] = caplog.records
    assert record.getMessage() == (
        f"warning: recipe fast is made for networks {', '.join(FAMILY)} on data mnist, not for "
        f"small on {few_digits}; recipe plain is for any network"
    )
    assert mismatch(Recipe.load("fast"), Network.load("article"), "mnist") is None
    assert mismatch(Recipe.load("article"), small, "anything") is None


@pytest.mark.parametrize(
    ("made_for", "message"),
    [
        (
            {"networks": ["artcle"], "data": ["mnist"]},
            "no network 'artcle' (did you mean article?)",
        ),
        (
            {"network": ["article"], "data": ["mnist"]},
            "'made_for.network' (did you mean networks?)",
        ),
        ({"networks": [], "data": ["mnist"]}, "made_for.networks = []"),
        ({"networks": "article", "data": ["mnist"]}, "input should be a list"),
        ({"networks": ["article"]}, "made_for.data is missing"),
        (["article"], "input should be a table"),
        ({"networks": ["article"], "data": ["mnst"]}, "no data set 'mnst' (did you mean mnist?)"),
    ],
)
def test_what_a_recipe_is_made_for_is_checked(made_for: object, message: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$") as problem:
        recipe = Recipe.from_dict({"made_for": made_for})
        is_made_for(recipe, Network.load("article"), "mnist")
    assert message in str(problem.value)


def test_the_command_names_the_default_and_warns_in_one_line(
    tmp_path: Path, few_digits: Path, small_toml: Path
) -> None:
    options = ("numpy", "--network", small_toml, "--data", few_digits, "--runs", tmp_path)
    ended = diptych("train", *options, "--epochs", "1")
    assert "numpy: network small, recipe plain (" in ended.stdout
    assert ended.stderr == ""
    ended = diptych("train", *options, "--epochs", "1", "--recipe", "fast", "--set", "crop=0")
    assert ended.returncode == 0
    assert ended.stderr.startswith("warning: recipe fast is made for networks article, ")
    assert ended.stderr.count("\n") == 1
    run = json.loads((tmp_path / "numpy-small-fast-seed0" / "run.json").read_text())
    assert run["recipe"]["made_for"]["data"] == ["mnist"]
