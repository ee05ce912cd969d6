"""Two trainings of ours in bfloat16: the arithmetic of their audit, and where theirs differs."""

import json
from pathlib import Path
from typing import Any

import pytest

from diptych import training
from diptych.auditing import audit
from diptych.auditing.frameworks.ours import arithmetic
from diptych.auditing.spec import parse
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run

POOL_FIRST = Network.from_dict(
    {
        "name": "pool-first",
        "input_shape": [28, 28, 1],
        "layers": [
            {"kind": "max_pool", "size": 2},
            {"kind": "conv", "filters": 2, "kernel": 3, "padding": "same", "activation": "relu"},
            {"kind": "dropout", "rate": 0.25},
            {"kind": "flatten"},
            {"kind": "dense", "units": 10},
        ],
    }
)
LAYERS = [layer.name for layer in POOL_FIRST.layers]


@pytest.fixture
def new(tmp_path: Path, few_digits: Path):
    """Makes runs of a workflow in a precision that nobody has trained."""

    def make(workflow: str, precision: Any = "bfloat16") -> Run:
        recipe = Recipe(name="r", epochs=1, batch_size=100, precision=precision)
        return training.create(workflow, POOL_FIRST, recipe, str(few_digits), runs=tmp_path)

    return make


@pytest.mark.parametrize("workflow", ["tensorflow", "keras", "torch", "jax"])
def test_the_numbers_that_layers_pass_on(new, workflow: str) -> None:
    """PyTorch's autocast lowers nothing before the first convolution."""
    expected = dict.fromkeys(LAYERS, "bfloat16")
    if workflow == "torch":
        expected["max_pool_1"] = "float32"
    assert number_types(new(workflow)) == expected
    assert set(number_types(new(workflow, "float32")).values()) == {"float32"}


def number_types(run: Run) -> dict[str, str]:
    return arithmetic.number_types(arithmetic.Ours.of(parse(str(run.folder))))


def test_what_is_said_of_them(new, monkeypatch: pytest.MonkeyPatch) -> None:
    types = {
        "torch": {"a": "float32", "b": "bfloat16"},
        "keras": {"a": "bfloat16", "b": "bfloat16"},
    }
    monkeypatch.setattr(arithmetic, "number_types", lambda run: types[run.workflow])

    def of(a: Run, b: Run):
        return arithmetic.in_one_arithmetic([parse(str(run.folder)) for run in (a, b)])

    keras, torch = new("keras"), new("torch")
    specs, [note], findings = of(torch, keras)
    assert [spec.arithmetic for spec in specs] == ["float32", "float32"]
    assert note.endswith("pass on other numbers at a (float32 in A, bfloat16 in B)")
    assert not findings
    assert of(keras, new("keras"))[1][0].endswith(
        "each of the 2 layers passes on bfloat16 numbers in both"
    )
    specs, notes, [finding] = of(keras, new("keras", "float32"))
    assert (finding.code, finding.a, finding.b) == ("precision", "bfloat16", "float32")
    assert not notes
    assert of(new("keras", "float32"), new("torch", "float32"))[0][0].arithmetic == ""
    user = parse(f"{__file__}:test_what_is_said_of_them")
    assert arithmetic.in_one_arithmetic([user, parse(str(keras.folder))])[0][1].arithmetic == ""
    named = parse("keras:article")  # Its recipe computes in float32.
    specs, _, [finding] = arithmetic.in_one_arithmetic([named, parse(str(keras.folder))])
    assert (finding.a, finding.b) == ("float32", "bfloat16")


def test_two_runs_in_bfloat16_are_the_same(tmp_path: Path, few_digits: Path) -> None:
    """Low-level TensorFlow against Keras, as the report suggests."""
    recipe = Recipe(name="r", epochs=1, batch_size=100, precision="bfloat16")
    runs = [
        training.train(name, POOL_FIRST, recipe, str(few_digits), runs=tmp_path)
        for name in ("tensorflow", "keras")
    ]
    result = audit(runs[0].folder, runs[1].folder)
    assert result.findings == []
    [note] = [note for note in result.notes if "bfloat16" in note]
    assert note.endswith("in training each of the 5 layers passes on bfloat16 numbers in both")
    gradients = next(stage for stage in result.stages if stage.name == "gradients")
    assert gradients.rounding_bound is not None
    assert gradients.rounding_bound < 1e-3, "as float32 rounds, not as bfloat16 does"


def test_two_workflows_whose_recipe_computes_in_bfloat16_are_the_same(tmp_path: Path) -> None:
    recipe, network = tmp_path / "r.toml", tmp_path / "pool-first.toml"
    recipe.write_text('epochs = 1\nbatch_size = 100\nprecision = "bfloat16"\n')
    layers = ",\n".join(
        "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in layer.items()) + " }"
        for layer in POOL_FIRST.to_dict()["layers"]
    )
    network.write_text(f'recipe = "{recipe}"\ninput_shape = [28, 28, 1]\nlayers = [\n{layers}\n]\n')
    result = audit(f"tensorflow:{network}", f"torch:{network}")
    assert result.findings == []
    [note] = [note for note in result.notes if "bfloat16" in note]
    assert note.endswith("at max_pool_1 (bfloat16 in A, float32 in B)")
