"""Comparisons of runs that differ in anything: what is alike, what differs, what is left out."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from diptych import checksums, training
from diptych.comparison import Comparison, compare, compare_runs
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.render.comparison import head_lines
from diptych.runs import Run
from diptych.whole_files import write_json
from support import diptych


def recipe_of(run: Run, **changes: Any) -> dict[str, Any]:
    return run.recipe.with_changes(**changes).to_dict()


def test_runs_of_several_recipes(made, tmp_path: Path, pair: dict[str, Run]) -> None:
    """McNemar by hand: 6 images against none, so 2 / 2⁶."""
    none = made("numpy", range(6), recipe=recipe_of(pair["numpy"], dropout_scale=0))
    whole = made("numpy", [], recipe=recipe_of(pair["numpy"], dropout_scale=1.0))
    found = compare_runs([none, whole], runs=tmp_path / "c")
    assert [side.name for side in found.sides] == ["dropout_scale=0", "dropout_scale=1"]
    assert found.differs == {"recipe": ["quick dropout_scale=0", "quick dropout_scale=1"]}
    assert head_lines(found) == [
        "Differs: recipe (quick dropout_scale=0, quick dropout_scale=1)",
        "Alike:   workflow numpy, network small, data few, seed 0",
    ]
    assert found.differences[0].p_value == pytest.approx(2 / 2**6)
    assert found.conclusion.startswith(
        "Dropout_scale=1 is 3.00 points more accurate than dropout_scale=0"
    )
    assert "lines" not in found.conclusion, "both are the same workflow"


def test_runs_that_differ_in_everything(made, tmp_path: Path, pair: dict[str, Run]) -> None:
    other = Network.from_dict(pair["numpy"].network.to_dict() | {"name": "other"})
    runs = [
        made("numpy", [1]),
        made("keras", [2], 5, network=other.to_dict(), recipe=Recipe(name="r").to_dict()),
    ]
    found = compare_runs(runs, runs=tmp_path / "c")
    assert [side.name for side in found.sides] == ["numpy small quick", "keras other r"]
    assert set(found.differs) == {"workflow", "network", "recipe", "seeds"}
    assert found.alike == {"data": "few"}
    assert found.differences[0].test == "McNemar's exact test", "the test images are the same"
    assert found.left_out == []


def test_names_that_stand_for_several_things(made, tmp_path: Path, pair: dict[str, Run]) -> None:
    """Two networks called `small`, one of which has fewer filters."""
    narrow = pair["numpy"].network.to_dict()
    narrow["layers"][0]["filters"] = 3
    runs = [made("numpy", [1]), made("numpy", [2], network=narrow)]
    found = compare_runs(runs, runs=tmp_path / "c")
    assert [side.name for side in found.sides] == ["small (1)", "small (2)"]


def test_runs_that_differ_in_their_seeds_alone(made, tmp_path: Path) -> None:
    found = compare_runs([made("numpy", [1], 3), made("numpy", [], 8)], runs=tmp_path / "c")
    assert [side.name for side in found.sides] == ["seed 3", "seed 8"]
    assert found.differs == {"seeds": ["3", "8"]}
    assert head_lines(found)[0] == "Differs: seed (3, 8)"


def test_the_same_training_twice(made, tmp_path: Path) -> None:
    runs = [made("numpy", [1]), made("numpy", [1]), made("keras", [2])]
    found = compare_runs(runs, runs=tmp_path / "c")
    assert [side.name for side in found.sides] == [
        f"numpy {runs[0].name}",
        f"numpy {runs[1].name}",
        f"keras {runs[2].name}",
    ]
    assert len(found.differences) == 3


@pytest.mark.parametrize("classes", [10, 7])
def test_other_test_images_are_left_out_with_the_reason(
    made, tmp_path: Path, pair: dict[str, Run], classes: int
) -> None:
    data = pair["numpy"].description()["data"] | {"name": "clothes", "fingerprint": "0" * 16}
    data["class_names"] = [str(number) for number in range(classes)]
    runs = [made("numpy", [1]), made("keras", [2, 3]), made("numpy", [4], data=data)]
    if classes != 10:
        network = runs[2].network.adapted((28, 28, 1), classes)
        write_json(
            runs[2].folder / "run.json", runs[2].description() | {"network": network.to_dict()}
        )
        runs[2].save_predictions(np.zeros((200, classes), np.float32), np.arange(200) % classes)
    found = compare_runs(runs, runs=tmp_path / "c")
    assert [(one.first, one.second) for one in found.differences] == [
        (found.sides[0].name, found.sides[1].name)
    ]
    reasons = {one.what: one.why for one in found.left_out}
    assert len(reasons) == 3
    name = found.sides[2].name
    assert reasons[f"the difference between {found.sides[0].name} and {name}"] == (
        f"they were tested on different images (few with 10 classes, clothes with {classes} "
        "classes)"
    )
    assert reasons[f"the predictions of {name}"]
    assert f"Left out: the predictions of {name}: " in str(found)
    assert [one.image for one in found.disagreements] == [1, 2, 3]
    alone = compare_runs([runs[0], runs[2]], runs=tmp_path / "c")
    assert alone.differences == []
    assert "were not tested against each other" in alone.conclusion


def test_an_imported_run_has_no_training(made, tmp_path: Path) -> None:
    runs = [made("numpy", [1]), made("keras", [2], imported={"file": "digits.onnx"})]
    found = compare_runs(runs, runs=tmp_path / "c")
    assert found.sides[0].training
    assert found.sides[1].training is None
    row = next(line for line in str(found).splitlines() if line.startswith("Training time"))
    assert row.split()[-1] == "–"
    assert "trained" not in found.conclusion
    assert found.differences[0].p_value == 1


def test_seeds_that_are_not_the_same(made, tmp_path: Path) -> None:
    """Two seeds in common: those are paired. None in common: Welch's test, by hand."""
    ours = [made("numpy", range(n), seed) for n, seed in ((4, 0), (6, 1), (8, 2))]
    theirs = [made("keras", range(n), seed) for n, seed in ((1, 1), (2, 2), (9, 7))]
    [paired] = compare_runs([*ours, *theirs], runs=tmp_path / "c").differences
    assert paired.test == "paired t-test over seeds"
    gaps = np.array([-5, -6])
    t = gaps.mean() / (gaps.std(ddof=1) / 2**0.5)
    assert paired.p_value == pytest.approx(2 * stats.t.sf(abs(t), df=1))
    apart = [made("keras", range(n), seed) for n, seed in ((1, 5), (2, 6))]
    found = compare_runs([*ours, *apart], runs=tmp_path / "c")
    [welch] = found.differences
    assert welch.test == "Welch's t-test over seeds"
    a, b = np.array([4, 6, 8]), np.array([1, 2])
    errors = a.var(ddof=1) / 3, b.var(ddof=1) / 2
    t = (a.mean() - b.mean()) / sum(errors) ** 0.5
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / 2 + errors[1] ** 2 / 1)
    assert welch.p_value == pytest.approx(2 * stats.t.sf(abs(t), df=freedom))
    assert "no seed in common" in str(found)
    [reason] = compare_runs([*ours, apart[0]], runs=tmp_path / "c").left_out
    assert "no seed in common" in reason.why


# Made again.


def test_a_comparison_made_again_is_the_same(made, tmp_path: Path) -> None:
    runs = [made("numpy", [1]), made("keras", [2])]
    first = compare_runs(runs, runs=tmp_path / "c")
    written = (Path(first.folder) / "comparison.json").read_bytes()
    assert first.same_as is None
    again = compare_runs(runs[::-1], runs=tmp_path / "c")
    assert (again.folder, again.same_as) == (first.folder, first.folder)
    assert (Path(first.folder) / "comparison.json").read_bytes() == written
    assert len(list((tmp_path / "c").iterdir())) == 1
    # Trained anew: the same settings, but other runs.
    anew = compare_runs([made("numpy", [3]), made("keras", [2])], runs=tmp_path / "c")
    assert anew.folder != first.folder
    assert anew.same_as == first.folder
    other = compare_runs([runs[0], made("keras", [2], 1)], runs=tmp_path / "c")
    assert other.same_as is None
    # The same folder with other predictions is another comparison.
    runs[0].save_predictions(*made("numpy", [7, 8]).predictions())
    changed = compare_runs(runs, runs=tmp_path / "c")
    assert changed.folder not in (first.folder, anew.folder)


# Trained along anything.


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch, made, tmp_path: Path):
    """Has new runs ended at once, with predictions of their own."""

    def carry_out(run: Run, report: Any, tensorboard: bool) -> Run:
        if run.status != "done":
            ended = made("numpy", [run.seed])
            for name in ("predictions.safetensors", "result.json", "weights.safetensors"):
                (run.folder / name).write_bytes((ended.folder / name).read_bytes())
            copied = {checksums.KEY: ended.description()[checksums.KEY]}
            write_json(run.folder / "run.json", run.description() | copied)
            run.set_status("done")
        return run

    monkeypatch.setattr(training, "carry_out", carry_out)


def compared(few_digits: Path, tmp_path: Path, **given: Any) -> Comparison:
    return compare(data=str(few_digits), runs=tmp_path / "runs", **given)


def test_along_networks_all_by_one_recipe(quickly, few_digits: Path, tmp_path: Path) -> None:
    found = compared(few_digits, tmp_path, network=["article", "article-valid", "dense"])
    assert [side.name for side in found.sides] == ["article", "article-valid", "dense"]
    assert found.alike["workflow"] == "tensorflow"
    assert found.alike["recipe"] == "plain"
    found = compare(network=["article", "leaky"], runs=tmp_path / "mnist", workflow_names=["numpy"])
    assert found.alike["recipe"] == "fast", "it is made for both, and for MNIST"
    both = compare(network=["article", "dense"], runs=tmp_path / "both", workflow_names=["numpy"])
    assert both.alike["recipe"] == "plain", "the recipe that holds for both"
    own = compare(network=["article-keras", "article-tensorflow"], runs=tmp_path / "own")
    assert own.differs["recipe"] == ["article-keras", "article-tensorflow"]


def test_along_values_workflows_and_seeds(quickly, few_digits, small, quick, tmp_path) -> None:
    found = compared(
        few_digits,
        tmp_path,
        workflow_names=["numpy", "keras"],
        network=small,
        recipe=quick,
        seeds=[0, 1],
        values={"dropout_scale": [0, 1], "shift": [2]},
    )
    assert [side.name for side in found.sides] == [
        "numpy dropout_scale=0",
        "keras dropout_scale=0",
        "numpy dropout_scale=1",
        "keras dropout_scale=1",
    ]
    assert all(side.seeds == [0, 1] for side in found.sides)
    assert all(Run.open(side.runs[0]).recipe.shift == 2 for side in found.sides)


def test_along_recipes_and_data(quickly, few_digits, small, tmp_path) -> None:
    found = compare(
        network=small,
        recipe=["article", "plain"],
        data=[str(few_digits), "mnist"],
        runs=tmp_path / "runs",
        workflow_names=["numpy"],
    )
    assert [side.name for side in found.sides] == [
        "article few",
        "plain few",
        "article mnist",
        "plain mnist",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"workflow_names": ["numpy"]}, "two or more different workflows, networks"),
        ({"workflow_names": ["numpy", "numpy"]}, "expected different ones"),
        ({"workflow_names": []}, "expected one or more"),
        ({"workflow_names": ["numpy", "kears"]}, "did you mean keras?"),
        ({"seeds": []}, "one or more different ones"),
        ({"seeds": [1, 1]}, "one or more different ones"),
        ({"seeds": [0, 2**31]}, "expected a whole number from 0"),
        ({"seeds": [0, -1]}, "expected a whole number from 0"),
        ({"network": "artcle"}, "did you mean article?"),
        ({"network": ["article", "densse"]}, "did you mean dense?"),
        ({"network": ["article", "article"]}, "expected different ones"),
        ({"network": []}, "expected one or more"),
        ({"recipe": "fats"}, "did you mean fast?"),
        ({"recipe": ["fast", "plian"]}, "did you mean plain?"),
        ({"values": {"dropout_scal": [0, 1]}}, "did you mean dropout_scale?"),
        ({"values": {"dropout_scale": [0, 2]}}, "dropout_scale = 2"),
        ({"values": {"crop": [0, 0.9]}, "network": "article-valid"}, "images cropped to"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_trained(
    arguments: dict[str, Any], said: str, tmp_path: Path, few_digits: Path
) -> None:
    given = {"workflow_names": ["numpy", "keras"], "data": str(few_digits)} | arguments
    with pytest.raises(InputError, match=r"^[^\n]+$") as problem:
        compare(**given, runs=tmp_path / "runs")
    assert said in str(problem.value)
    assert not (tmp_path / "runs").exists()


def test_runs_that_cannot_be_compared(made, tmp_path: Path) -> None:
    numpy, damaged = made("numpy", [1]), made("keras", [])
    (damaged.folder / "result.json").unlink()
    root = tmp_path / "none"
    for others, said in (
        ([], "two or more runs"),
        ([numpy], "given twice"),
        ([damaged], "its result.json is missing"),
        ([tmp_path / "nothing"], "no run.json there"),
    ):
        with pytest.raises(InputError, match=r"^[^\n]+$") as problem:
            compare_runs([numpy, *others], runs=root)
        assert said in str(problem.value)
    assert not root.exists()


def test_runs_by_folder_and_by_name(made, tmp_path: Path) -> None:
    first, second = made("numpy", [1]), made("keras", [2])
    found = compare_runs([str(first.folder), second.name], runs=second.folder.parent)
    assert [side.name for side in found.sides] == ["numpy", "keras"]
    with pytest.raises(InputError, match=f"did you mean {second.name}?"):
        compare_runs([first, second.name[:-1] + "9"], runs=second.folder.parent)


def test_the_command_along_values(tmp_path: Path, few_digits: Path, small_toml: Path) -> None:
    options = ("--data", few_digits, "--network", small_toml, "--runs", tmp_path / "runs")
    command = ("compare", "--workflows", "numpy", *options, "--epochs", "1", "--set")
    ended = diptych(*command, "dropout_scale=0,1")
    assert ended.returncode == 0, ended.stderr
    assert "Differs: recipe (plain dropout_scale=0, plain dropout_scale=1)" in ended.stdout
    assert re.search(r"^\(2 of 2\) numpy: ", ended.stdout, re.MULTILINE)
    runs = sorted(str(file.parent) for file in (tmp_path / "runs").glob("numpy-*/run.json"))
    again = diptych("compare", *runs, "--runs", tmp_path / "runs", "--json", "-")
    answer = json.loads(again.stdout)
    assert answer["same_as"] == answer["folder"]
    for setting, said in (
        ("dropout_scal=0,1", "did you mean dropout_scale?"),
        ("dropout_scale=0,0", "a value is given twice"),
        ("dropout_scale", "expected KEY=VALUE"),
        ("dropout_scale=", "expected KEY=VALUE"),
    ):
        refused = diptych(*command, setting)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr
        assert refused.stderr.count("\n") == 1
