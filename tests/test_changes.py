"""Values for a recipe's keys, as people write them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from diptych import changes, training
from diptych.data import Data, load_data
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("shift=1", [1]),
        ("dropout_scale=0,0.5", [0, 0.5]),
        ("schedule=constant", ["constant"]),
        ("schedule=constant,one-cycle", ["constant", "one-cycle"]),
        ('schedule="constant"', ["constant"]),
        ("frozen_after=[0.1, 0.4]", [[0.1, 0.4]]),
        ("frozen_after=[0.1, 0.4],[]", [[0.1, 0.4], []]),
        ("name=[a, b],c", ["[a, b]", "c"]),
    ],
)
def test_values(text: str, values: list[Any]) -> None:
    assert list(changes.parse([text]).values()) == [values]


def test_a_key_is_given_once() -> None:
    with pytest.raises(InputError, match="shift is given twice"):
        changes.parse(["shift=1", "shift=2"])
    with pytest.raises(InputError, match="expected one of them"):
        changes.with_options({"epochs": [1, 2]}, epochs=3)
    with pytest.raises(InputError, match=r"expected one value; `diptych compare` takes several"):
        changes.single({"shift": [1, 2]})


def test_words_can_be_read_back() -> None:
    fast = Recipe.load("fast")
    other = fast.with_changes(frozen_after=[0.1, 0.4], learning_rate=0.002, description="other")
    keys = changes.changed_keys(other, fast)
    assert keys == {"frozen_after": (0.1, 0.4), "learning_rate": 0.002}
    text = changes.words(keys)
    assert text == "learning_rate=0.002, frozen_after=[0.1, 0.4]"
    read = changes.single(changes.parse(["learning_rate=0.002", "frozen_after=[0.1, 0.4]"]))
    assert fast.with_changes(**read) == other.with_changes(description=fast.description)


def test_what_a_run_changes(tmp_path: Path, few_digits: Path) -> None:
    def changed(
        network: Network | str, recipe: Recipe | str, data: Data | Path, **other: Any
    ) -> str:
        data = data if isinstance(data, Data) else load_data(data)
        return changes.of_run(
            training.create("numpy", network, recipe, data, runs=tmp_path / "runs", **other)
        )

    fast, article = Recipe.load("fast"), Network.load("article")
    assert changed("article", "fast", few_digits) == ""
    shorter = fast.with_changes(epochs=1, learning_rate=0.002)
    assert changed("article", shorter, few_digits) == "epochs=1, learning_rate=0.002"
    other = {"bfloat16": "float32", "float32": "bfloat16"}
    precision = other[training.with_known_precision(fast).precision]
    assert changed("article", fast.with_changes(precision=precision), few_digits) == (
        f"precision={precision}"
    )
    digits = load_data(few_digits)
    letters = dataclasses.replace(digits, class_names=(*digits.class_names, "A"))
    assert changed("dense", "plain", letters, adapt=True) == "11 classes"
    layers = [layer.model_dump() for layer in article.layers]
    layers[0]["filters"] = 32
    narrow = Network.from_dict(article.to_dict() | {"layers": layers})
    assert changed(narrow, "article", few_digits) == "other layers"
    own = Network.from_dict(narrow.to_dict() | {"name": "mine"})
    assert changed(own, Recipe(name="mine", epochs=77), few_digits) == ""
