"""Values for a recipe's keys, as people write them."""

from typing import Any

import pytest

from diptych import changes
from diptych.errors import InputError
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
