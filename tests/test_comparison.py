import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import diptych
from diptych import training
from diptych.comparison import (
    Comparison,
    Difference,
    Side,
    Training,
    compare_runs,
    script_of,
)
from diptych.comparison.conclusion import conclusion
from diptych.events import Event, Loading
from diptych.runs import Run
from diptych.scripts.counting import lines_of_code
from diptych.whole_files import write_json
from diptych.workflows import registry
from support import assert_same_training


@pytest.fixture
def compared(made, tmp_path: Path):
    """Compares made runs: for each workflow, the images that it misreads, seed by seed."""

    def do(**wrong: Sequence[Sequence[int]]) -> Comparison:
        runs = [
            made(workflow, images, seed)
            for workflow, by_seed in wrong.items()
            for seed, images in enumerate(by_seed)
        ]
        return compare_runs(runs, runs=tmp_path / "comparisons")

    return do


def test_mcnemar_s_exact_test_by_hand(compared) -> None:
    """5 images on one side and 1 on the other: 2 × (1 + 6) / 2⁶."""
    found = compared(numpy=[[0, 1, 2, 3, 4, 9]], keras=[[5, 9]])
    [difference] = found.differences
    assert (difference.first, difference.second) == ("numpy", "keras")
    assert (difference.only_first_right, difference.only_second_right) == (1, 5)
    assert difference.both_wrong == 1
    assert difference.test == "McNemar's exact test"
    assert difference.p_value == pytest.approx(2 * (1 + 6) / 2**6)
    assert not difference.means_something
    assert re.search(r"2\.00 points between keras and numpy are within chance", found.conclusion)


def test_a_difference_that_means_something(compared) -> None:
    found = compared(numpy=[range(10)], keras=[[]])
    [difference] = found.differences
    assert difference.p_value == pytest.approx(2 / 2**10)
    assert difference.means_something
    assert found.conclusion.startswith(
        "Keras is 5.00 points more accurate than numpy: numpy and keras differ (p = 0.00195"
    )


def test_equal_runs(compared) -> None:
    for wrong in ([], [3, 4]):
        found = compared(numpy=[wrong], keras=[wrong])
        [difference] = found.differences
        assert difference.p_value == 1
        assert (difference.only_first_right, difference.only_second_right) == (0, 0)
        assert difference.both_wrong == len(wrong)
        assert found.disagreements == []
        assert found.conclusion.startswith("The workflows are equally accurate as far as this")


def test_disagreements_are_the_images_that_not_all_read_alike(compared) -> None:
    found = compared(numpy=[[3, 17]], keras=[[17, 40, 5]], tensorflow=[[17]])
    assert [one.image for one in found.disagreements] == [3, 5, 40]
    first, _, last = found.disagreements
    assert (first.label, first.answers) == ("3", {"numpy": "4", "keras": "3", "tensorflow": "3"})
    assert (last.label, last.answers) == ("0", {"numpy": "0", "keras": "1", "tensorflow": "0"})
    assert len(found.differences) == 3


def test_the_paired_t_test_over_seeds(compared) -> None:
    found = compared(numpy=[range(6), range(9), range(4)], keras=[range(2), range(3), range(3)])
    [difference] = found.differences
    assert difference.test == "paired t-test over seeds"
    gaps = [-4, -6, -1]
    t = np.mean(gaps) / (np.std(gaps, ddof=1) / 3**0.5)
    assert difference.p_value == pytest.approx(2 * stats.t.sf(abs(t), df=2))
    assert difference.only_second_right == 4 + 6 + 1
    side = found.sides[0]
    assert side.seeds == [0, 1, 2]
    assert side.test_accuracies == [194 / 200, 191 / 200, 196 / 200]
    assert side.test_accuracy == pytest.approx(581 / 600)
    assert side.deviation == pytest.approx(np.std(side.test_accuracies, ddof=1))
    half = 4.302653 * np.std(side.test_accuracies, ddof=1) / 3**0.5  # t of 97.5%, 2 degrees
    assert side.interval == pytest.approx((581 / 600 - half, 581 / 600 + half), abs=1e-6)
    assert [one.image for one in found.disagreements] == [2, 3, 4, 5], "of the first seed"
    assert "classifies correctly and another does not (4, seed 0):" in repr(found)


def test_an_interval_holds_nothing_but_accuracies(compared) -> None:
    """Two seeds far apart: Student's t alone has the mean between -82% and 216%."""
    found = compared(numpy=[range(40), range(90)], keras=[range(40), range(80)])
    assert [side.interval for side in found.sides] == [(0, 1), (0, 1)]
    assert "0.00 to 100.00%" in repr(found)


@pytest.mark.parametrize(
    ("numpy", "keras"),
    [
        ([[1], [2, 3]], [[], [2]]),
        # As shares of 200, these two gaps of one image differ in the last bit.
        ([range(1), range(61)], [[], range(60)]),
    ],
)
def test_differences_that_are_the_same_for_each_seed_prove_nothing(compared, numpy, keras) -> None:
    found = compared(numpy=numpy, keras=keras)
    [difference] = found.differences
    assert difference.p_value is None
    assert not difference.means_something
    assert "0.50 points between keras and numpy are too few seeds to test" in found.conclusion
    assert "p = undefined" in str(found)


def test_speed_and_code_are_concluded(made, tmp_path: Path) -> None:
    runs = [made("numpy", [], seconds=30.0), made("tensorflow", [], seconds=12.0)]
    conclusion = compare_runs(runs, runs=tmp_path).conclusion
    assert "tensorflow trained 2.50 times as fast as numpy here" in conclusion
    (short, first), (long, second) = sorted(
        (lines_of_code(script_of(run)), run.workflow) for run in runs
    )
    assert f"the plain script has {short} lines in {first} and {long} in {second}." in conclusion
    runs = [made("numpy", [], seconds=30.0), made("keras", [], seconds=30.5)]
    assert "they took the same time" in compare_runs(runs, runs=tmp_path).conclusion
    runs = [made("numpy", [], seconds=1.0), made("keras", [], seconds=9.0)]
    assert "trained too briefly" in compare_runs(runs, runs=tmp_path).conclusion


@given(st.data())
def test_every_conclusion_is_one_sentence(data: st.DataObject) -> None:
    names = data.draw(st.permutations(list(registry.NAMES)))[: data.draw(st.integers(2, 3))]
    trainings = st.floats(0.1, 1e5).map(lambda seconds: Training(1, seconds, 1, 1, 1, 1))
    share = st.integers(9000, 10000).map(lambda correct: correct / 10000)
    sides = [
        Side(
            name=name,
            workflow=name,
            network="article",
            recipe="fast",
            data="mnist",
            precision="float32",
            runs=[],
            seeds=[0],
            test_accuracy=data.draw(share),
            test_accuracies=[],
            deviation=None,
            interval=(0, 1),
            validation_accuracy=1,
            lines_of_code=data.draw(st.integers(1, 999)),
            training=data.draw(st.none() | trainings),
        )
        for name in names
    ]
    p = st.none() | st.floats(0, 1)
    differences = [
        Difference(a, b, "a test", data.draw(p), 1, 1, 1)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    tested = data.draw(st.booleans())
    said = conclusion(sides, differences if tested else [], data.draw(st.booleans()))
    assert said[0].isupper()
    assert said.endswith(".")
    assert "\n" not in said
    assert "nan" not in said
    assert "None" not in said


# The whole way.


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pair: dict[str, Run]) -> Comparison:
    return compare_runs(list(pair.values()), runs=tmp_path_factory.mktemp("comparisons"))


def test_a_comparison_is_written_down(whole: Comparison, pair: dict[str, Run]) -> None:
    written = json.loads((Path(whole.folder) / "comparison.json").read_text())
    assert written["schema"] == 2
    assert written.pop("created")
    assert written.pop("identity")
    assert written == json.loads(json.dumps(whole.to_dict()))
    assert Path(whole.folder).name == "comparison-tensorflow-numpy-small"
    for side in whole.sides:
        result = pair[side.workflow].result() or {}
        assert side.runs == [str(pair[side.workflow].folder)]
        assert side.test_accuracy == result["test_accuracy"]
        assert side.validation_accuracy == result["validation_accuracy"]
        assert side.training
        assert side.training.seconds == result["train_seconds"]
        assert side.training.seconds_per_epoch == result["train_seconds"] / 2
        assert side.training.peak_memory_mib == result["peak_memory_mib"]
        assert side.deviation is None


def test_a_comparison_in_print_and_in_a_notebook(whole: Comparison) -> None:
    text = str(whole)
    for word in ("tensorflow", "numpy", "Test accuracy", "Lines of the script", whole.conclusion):
        assert word in text
        assert word.split()[0] in whole._repr_html_()
    assert "\x1b" not in text
    assert whole._repr_html_().startswith("<pre>")


def test_runs_that_have_not_ended_are_trained_to_their_end(
    new_run: Callable[..., Run], pair: dict[str, Run], tmp_path: Path
) -> None:
    events: list[Event] = []
    made = [new_run("numpy"), pair["tensorflow"]]
    found = compare_runs(made, runs=tmp_path, report=events.append)
    assert made[0].status == "done"
    assert [event.run for event in events if isinstance(event, Loading)] == found.sides[0].runs
    assert_same_training(made[0], pair["numpy"])


def test_runs_of_several_machines_or_versions(made, tmp_path: Path) -> None:
    laptop, server = made("numpy", [1], seconds=30.0), made("keras", [2], seconds=12.0)
    machine = server.description()["machine"] | {"processor": "another"}
    versions = server.description()["versions"] | {"numpy": "1.0"}
    other = server.description() | {"machine": machine, "versions": versions}
    write_json(server.folder / "run.json", other)
    found = compare_runs([laptop, server], runs=tmp_path)
    assert found.machine is None
    assert found.versions["numpy"] == f"{np.__version__} and 1.0"
    assert "keras 3" in ", ".join(f"{name} {version}" for name, version in found.versions.items())
    assert "several machines" in found.conclusion
    assert "times as fast" not in found.conclusion
    assert "several machines" in str(found)


def test_compare_trains_each_workflow_with_each_seed(
    tmp_path: Path, few_digits: Path, small: Any, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second workflow is NumPy under another name, which starts sooner."""

    def carry_out(run: Run, report: Any, tensorboard: bool) -> Run:
        real = run.description()
        write_json(run.folder / "run.json", real | {"workflow": "numpy"})
        training_of(run, lambda _: None)
        write_json(run.folder / "run.json", run.description() | {"workflow": real["workflow"]})
        return run

    training_of = training.carry_out
    monkeypatch.setattr(training, "carry_out", carry_out)
    data = diptych.load_data(few_digits)
    found = diptych.compare(("numpy", "keras"), small, quick, data, (4, 5), runs=tmp_path)
    assert [side.seeds for side in found.sides] == [[4, 5], [4, 5]]
    assert found.sides[0].test_accuracies == found.sides[1].test_accuracies
    assert found.differences[0].p_value is None
    assert found.disagreements == []
    # A spread of nothing would be an interval of no width.
    equal = found.sides[0].test_accuracies[0] == found.sides[0].test_accuracies[1]
    assert (found.sides[0].interval is None) == equal
    assert found.conclusion.startswith("The workflows are equally accurate as far as this")
