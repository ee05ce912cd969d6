import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import diptych

FRAMEWORKS = ("tensorflow", "keras", "torch", "jax", "scipy", "rich")


def test_every_public_name_is_there_and_listed() -> None:
    assert sorted(diptych.__all__) == diptych.__all__
    for name in diptych.__all__:
        value = getattr(diptych, name)
        assert value.__name__ == name
        assert value.__module__.startswith("diptych.")
        assert name in dir(diptych)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = diptych.trian  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(diptych, "__wrapped__")


def test_names_are_listed_before_they_are_imported() -> None:
    code = (
        "import sys, json, diptych\n"
        f"print(json.dumps([dir(diptych), [m for m in {FRAMEWORKS} if m in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    listed, imported = json.loads(done.stdout)
    assert set(diptych.__all__) <= set(listed)
    assert imported == []


@pytest.mark.parametrize("name", ["compare", "evaluate", "load_data", "predict", "resume", "train"])
def test_the_documentation_says_what_is_raised(name: str) -> None:
    text = inspect.getdoc(getattr(diptych, name)) or ""
    assert "Raises:" in text
    assert "InputError" in text


def test_a_notebook_needs_no_main_guard(tmp_path: Path, small_toml: Path, few_digits: Path) -> None:
    """Code as in cells: no file, no ``if __name__ == "__main__"``."""
    code = f"""
from diptych import Network, Recipe, compare, load_data, train
data = load_data({str(few_digits)!r})
network = Network.load({str(small_toml)!r})
recipe = Recipe(epochs=1, batch_size=30)
run = train("numpy", network, recipe, data.source)
comparison = compare(("numpy", "tensorflow"), network, recipe, data.source)
print(comparison)
"""
    done = subprocess.run(
        [sys.executable], input=code, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Epoch 1 | Last Batch Train Loss") == 3
    assert "Test accuracy" in done.stdout
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert runs == [
        "comparison-numpy-tensorflow-small",
        "numpy-small-recipe-seed0",
        "numpy-small-recipe-seed0-2",
        "tensorflow-small-recipe-seed0",
    ]


def test_a_wrong_request_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean numpy"):
        diptych.train("nunpy", runs=tmp_path / "runs")
    with pytest.raises(diptych.InputError, match="did you mean mnist"):
        diptych.load_data("mnits")
    assert not (tmp_path / "runs").exists()
