"""Scripts are in the formatter's form, for its own line length and for this project's."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from networks import SMALL, small_network

from diptych import zoo
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.scripts.files import MNIST, files_like, files_of
from diptych.scripts.script import FORMS, left_out, write

RUFF = Path(sys.executable).with_name("ruff")
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
STOPPED = Recipe(name="stopped", early_stopping=2, schedule="one-cycle", warmup=0.0, epsilon=1e-3)


NUMBERS_ALONE = ("under-5000", "under-9000", "under-20000")
"""Networks that differ from under-1000 in their numbers of filters alone: no other code."""


def networks() -> Iterator[Network]:
    yield from (Network.load(n) for n in zoo.names("networks") if n not in NUMBERS_ALONE)
    yield from map(small_network, SMALL)
    plain = [{"kind": "flatten"}, {"kind": "dense", "units": 10}]
    yield Network.from_dict({"name": "linear", "input_shape": [28, 28, 1], "layers": plain})
    long = [{"kind": "conv", "filters": 2**20, "kernel": [1000, 1001], "stride": [100, 101]}]
    long[0] |= {"padding": "same", "activation": "leaky_relu", "slope": 0.012345}
    named = [long[0] | {"name": "a_convolution"}, *plain]
    yield Network.from_dict({"name": "long", "input_shape": [280, 280, 3], "layers": named})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form, of every network, by every recipe."""
    folder = tmp_path_factory.mktemp("scripts")
    recipes = [*map(Recipe.load, zoo.names("recipes")), STOPPED]
    for form in FORMS:
        for network in networks():
            mnist = network.input_shape == MNIST.image_shape
            for recipe in recipes:
                files = MNIST if mnist else files_like(network)
                path = folder / f"{form.replace('+', '_')}_{network.name}_{recipe.name}.py"
                path.write_text(write(form, network, recipe, files), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("format", "--check", "--isolated"),
        ("format", "--check", "--config", PYPROJECT),
        ("check", "--isolated", "--select", "E,F,W,I,B,UP,SIM,RET,C4", "--line-length", "88"),
        ("check", "--config", PYPROJECT),
    ],
)
def test_ruff_has_nothing_to_say(folder: Path, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([RUFF, *arguments, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[:2000] + done.stderr[:2000]


def test_each_ends_with_build_and_trains_only_as_a_program(folder: Path) -> None:
    for path in folder.iterdir():
        source = path.read_text(encoding="utf-8")
        *_, last, main = ast.parse(source).body
        assert isinstance(last, ast.FunctionDef) and last.name == "build"
        assert isinstance(main, ast.If) and ast.unparse(main.test) == "__name__ == '__main__'"
        assert "diptych" not in source


def test_the_head_says_what_is_left_out() -> None:
    head = " ".join(write("torch", "article", "balanced").split('"""')[1].split())
    assert (
        "It trains by the recipe balanced, without its rotation, scaling, elastic, crop, "
        "frozen_after, averaging and precision." in head
    )
    assert "without" not in write("torch", "article", "article").split('"""')[1]
    assert left_out("torch", STOPPED) == ["early_stopping"]
    assert left_out("keras", STOPPED) == []


def test_a_setting_of_the_recipe_is_in_the_script_or_in_its_head() -> None:
    """Each key of a recipe, at a value that is not the default's."""
    other = {
        "epochs": 7,
        "batch_size": 123,
        "learning_rate": 0.0123,
        "schedule": "one-cycle",
        "beta_1": 0.81,
        "beta_2": 0.97,
        "epsilon": 3e-5,
        "dropout_scale": 0.5,
        "shift": 3,
        "rotation": 4.0,
        "scaling": 0.2,
        "shear": 0.2,
        "elastic": 0.4,
        "crop": 0.28,
        "frozen_after": [0.5],
        "averaging": 0.9,
        "precision": "bfloat16",
        "early_stopping": 3,
        "warmup": 0.4,
        "crop_share": 0.5,
    }
    assert other.keys() == Recipe.model_fields.keys() - {"name", "description", "made_for"}
    base = Recipe(name="base", schedule="one-cycle", crop=0.2)
    for form in FORMS:
        plain = write(form, "article", base)
        for key, value in other.items():
            if key == "crop_share":  # It says nothing without a crop, which the head names.
                continue
            changed = write(form, "article", base.with_changes(**{key: value}))
            if key in ("schedule", "crop"):
                assert key == "crop" or "ne_cycle" in changed.replace("OneCycle", "one_cycle")
            else:
                assert changed != plain, f"{form}: {key}"


def test_the_rates_are_the_recipes(tmp_path: Path) -> None:
    """Of the forms whose schedule needs no framework; `test_computed` runs the others."""
    import runpy

    recipe = Recipe.load("fast")
    path = tmp_path / "script.py"
    path.write_text(write("numpy", "dense", recipe), encoding="utf-8")
    one_cycle = runpy.run_path(str(path))["one_cycle"]
    steps = recipe.epochs * 275
    rates = [one_cycle(step) for step in range(1, steps + 1)]
    np.testing.assert_allclose(rates, recipe.learning_rates(steps), rtol=1e-6)


def test_a_folder_of_idx_files_is_read_by_its_own_names(few_digits: Path) -> None:
    files = files_of(str(few_digits))
    assert (files.training, files.validation, files.image_shape) == (330, 30, (28, 28, 1))
    script = write("numpy", "article", "article", str(few_digits))
    assert f'"{few_digits}"' in script
    assert "urlretrieve" not in script
    for name in files.names:
        assert (few_digits / name).is_file() and f'"{name}"' in script
