"""The forms in which a prompt and a notebook show the public objects."""

import re
from pathlib import Path

import pytest

from diptych import Network, Recipe
from diptych.data import Data
from diptych.evaluation import evaluate
from diptych.runs import Run


def words(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def test_a_network(small: Network) -> None:
    article = Network.load("article")
    assert repr(article) == (
        "<Network article: 28×28×1 images, 12 layers, 469,514 parameters, 10 classes>"
    )
    assert str(article) == repr(article), "print shows the same line"
    shown = words(article._repr_html_())
    assert "Total parameters: 469,514" in shown
    assert all(layer.name in shown for layer in article.layers)


def test_a_recipe_shows_what_it_changes() -> None:
    recipe = Recipe(name="mine", epochs=7)
    assert repr(recipe) == str(recipe) == "<Recipe mine: epochs=7>"
    assert repr(Recipe(name="plain one")).endswith("all values are the defaults>")
    assert re.search(r"epochs +7 +10", words(recipe._repr_html_()))


def test_data(mnist: Data) -> None:
    assert repr(mnist) == (
        "<Data mnist: 28×28×1 images, 10 classes; 55,000 for training, 5,000 for validation, "
        "10,000 for the test>"
    )
    assert "10000" in words(mnist._repr_html_())


def test_a_run_and_its_evaluation(reader: Run, tmp_path: Path) -> None:
    result = reader.result() or {}
    accuracy = f"{100 * result['test_accuracy']:.2f}%"
    assert repr(reader) == f"<Run {reader.folder}: done, {accuracy} on the test set>"
    assert accuracy in words(reader._repr_html_())
    evaluation = evaluate(reader)
    assert f"Accuracy: {accuracy}" in repr(evaluation)
    assert accuracy in words(evaluation._repr_html_())
    assert repr(Run(tmp_path / "gone")) == f"<Run {tmp_path / 'gone'}: it cannot be read>"


def test_a_run_that_has_not_ended(new_run) -> None:
    run = new_run()
    assert repr(run) == f"<Run {run.folder}: new>"


@pytest.mark.parametrize("key", ["epochs", "batch_size"])
def test_a_recipes_defaults_are_those_of_an_empty_one(key: str) -> None:
    assert key not in repr(Recipe())
