"""Studies: what decides them, their plans, and runs that are killed or shared."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diptych import zoo
from diptych.data import load_data
from diptych.data.dataset import Data
from diptych.errors import InputError
from diptych.study.description import Answer, Arm, Study
from diptych.study.executors import Local
from diptych.study.plan import PLAN, planned, read
from diptych.study.study import run_study, shown
from diptych.study.verdict import verdict

TINY = [{"kind": "flatten"}, {"kind": "dense", "units": 10}]


def study(digits: Path, **values: object) -> Study:
    described = {
        "name": "small",
        "question": "Is a higher rate better?",
        "seeds": 2,
        "base": {
            "workflow": "numpy",
            "layers": TINY,
            "data": str(digits),
            "values": {"epochs": 1},
        },
        "arms": {
            "fast": {"values": {"learning_rate": 0.01}},
            "slow": {"values": {"learning_rate": 0.00001}},
        },
        "answer": {"kind": "higher"},
    }
    return Study.from_dict(described | values)


def test_a_study_runs_to_its_verdict_and_is_shown(digits: Path, tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []
    small = study(digits)
    result = run_study(small, runs=tmp_path, progress=lambda *count: counts.append(count))
    assert counts == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    fast, slow = result.verdict.arms
    assert fast.mean > slow.mean and len(fast.values) == 2
    again = shown("small", tmp_path)
    assert again.to_dict() == result.to_dict()
    assert json.loads((tmp_path / "study-small" / "study.json").read_text())["word"] == (
        result.verdict.word
    )


def test_a_study_goes_on_with_what_is_missing(digits: Path, tmp_path: Path) -> None:
    small = study(digits)
    plan = planned(small, tmp_path)
    run_before = plan.unfinished()[0]

    class Killed(Local):
        def carry_out(self, runs, told):
            super().carry_out(runs[:1], told)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(small, runs=tmp_path, executor=Killed())
    assert run_before.status == "done"
    weights = (run_before.folder / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="3 of 4 runs have not ended"):
        shown("small", tmp_path)
    run_study(small, runs=tmp_path, executor=Local(at_once=2))
    assert (run_before.folder / "weights.safetensors").read_bytes() == weights
    assert read(tmp_path / "study-small").runs == plan.runs


def test_studies_share_runs_of_the_same_settings(digits: Path, tmp_path: Path) -> None:
    first = planned(study(digits), tmp_path)
    second = planned(study(digits, name="other", question="Another?"), tmp_path)
    assert [run.run for run in first.runs] == [run.run for run in second.runs]
    assert len(list(tmp_path.glob("*/run.json"))) == 4


def test_a_changed_study_is_refused(digits: Path, tmp_path: Path) -> None:
    planned(study(digits), tmp_path)
    with pytest.raises(InputError, match="other arms or seeds"):
        planned(study(digits), tmp_path, seeds=3)
    (tmp_path / "study-small" / PLAN).write_text("{")
    with pytest.raises(InputError, match="damaged"):
        planned(study(digits), tmp_path)


def test_shuffled_pixels_are_the_same_pixels(digits: Path, tmp_path: Path) -> None:
    arms = {"whole": {}, "shuffled": {"shuffled": True}}
    plan = planned(study(digits, arms=arms), tmp_path)
    sources = [run.description()["data"]["source"] for _, run in plan.opened()][:2]
    whole, shuffled = (load_data(source) for source in sources)
    for one, other in ((whole.train, shuffled.train), (whole.test, shuffled.test)):
        assert np.array_equal(one.labels, other.labels)
        rows = [np.asarray(split.images).reshape(len(split), -1) for split in (one, other)]
        assert not np.array_equal(rows[0], rows[1])
        assert np.array_equal(np.sort(rows[0], axis=1), np.sort(rows[1], axis=1))


def test_fewer_images_are_the_first_ones(digits: Path, tmp_path: Path) -> None:
    arms = {"few": {"images": 110}, "all": {}}
    plan = planned(study(digits, arms=arms), tmp_path)
    few, whole = (
        load_data(run.description()["data"]["source"]) for _, run in list(plan.opened())[:2]
    )
    assert np.array_equal(few.train.images, whole.train.images[:110])
    assert np.array_equal(few.validation.labels, whole.validation.labels[:10])
    assert np.array_equal(few.test.images, whole.test.images)
    with pytest.raises(InputError, match=r"images = 441: .* has 440 training images"):
        planned(study(digits, name="many", arms={"all": {}, "more": {"images": 441}}), tmp_path)


def test_data_of_a_study_are_whole_or_not_there(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that is killed while it writes its data makes them anew."""
    from diptych.study import plan

    def killed(data: Data, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    few = study(digits, arms={"few": {"images": 110}, "all": {}})
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(plan, "save_idx_folder", killed)
        planned(few, tmp_path)
    sources = [run.description()["data"]["source"] for _, run in planned(few, tmp_path).opened()]
    assert len(load_data(sources[0]).train) == 110
    assert all(Path(source).is_absolute() for source in sources)


def test_quick_changes_single_arms(digits: Path) -> None:
    quick = study(digits, quick={"values": {"epochs": 3}}, quick_arms={"slow": {"images": 22}})
    arms = quick.complete_arms(quick=True)
    assert arms["fast"].values["epochs"] == arms["slow"].values["epochs"] == 3
    assert (arms["fast"].images, arms["slow"].images) == (None, 22)
    assert quick.complete_arms(quick=False)["slow"].images is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"arms": {"one": {"worflow": "numpy"}}}, "unknown key"),
        ({"arms": {"one": {"workflow": "nunpy"}}}, "nunpy"),
        ({"arms": {"one": {}}}, "two or more"),
        ({"arms": {}}, "arms"),
        ({"answer": {"kind": "higher", "measure": "acuracy"}}, "there are|did you mean"),
        ({"answer": {"kind": "below"}}, "limit belongs to kind 'below'"),
        ({"answer": {"kind": "higher", "margin": 0.1}}, "margin belongs to kind 'equal'"),
        ({"seeds": 0}, "seeds"),
        ({"quick_arms": {"fats": {}}}, r"quick_arms: no arm .fats. .did you mean fast"),
    ],
)
def test_a_wrong_study_gets_one_line(digits: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        study(digits, **change)
    assert "\n" not in str(caught.value)


def test_an_arm_that_cannot_be_trained_leaves_nothing_behind(digits: Path, tmp_path: Path) -> None:
    arms = {"one": {}, "two": {"values": {"learnin_rate": 1.0}}}
    with pytest.raises(InputError, match="learning_rate"):
        planned(study(digits, arms=arms), tmp_path)
    assert not list(tmp_path.iterdir())


def test_all_studies_of_the_zoo_are_complete() -> None:
    article = [Study.load(name) for name in zoo.names("studies")]
    assert sum(bool(one.claim) for one in article) >= 8
    for one in article:
        for quick in (False, True):
            for name, arm in one.complete_arms(quick).items():
                assert arm.described_network(name).classes == 10
                arm.described_recipe()


def test_an_arm_takes_what_it_leaves_open_from_the_base() -> None:
    base = Arm(workflow="numpy", network="dense", values={"epochs": 2, "shift": 1})
    arm = Arm(values={"epochs": 3}).over(base)
    assert arm == Arm(workflow="numpy", network="dense", values={"epochs": 3, "shift": 1})
    assert Arm(layers=TINY).over(base).network is None


HIGHER = Answer(kind="higher")


def test_verdicts_of_known_answers() -> None:
    clear = {"a": [0.99, 0.991, 0.992], "b": [0.95, 0.951, 0.952]}
    assert verdict(HIGHER, clear).word == "yes"
    assert verdict(HIGHER, dict(reversed(clear.items()))).word == "no"
    assert verdict(HIGHER, {"a": [0.9, 0.8, 0.85], "b": [0.85, 0.9, 0.8]}).word == "not decided"
    assert verdict(HIGHER, {"a": [0.9], "b": [0.1]}).word == "not decided"  # One seed.
    lower = Answer(kind="lower")
    assert verdict(lower, clear).word == "no"
    assert verdict(lower, dict(reversed(clear.items()))).word == "yes"
    equal = Answer(kind="equal", margin=0.01)
    assert verdict(equal, {"a": [0.9, 0.91], "b": [0.9, 0.91]}).word == "yes"
    assert verdict(equal, clear).word == "no"
    below = Answer(kind="below", limit=0.98)
    assert verdict(below, {"b": clear["b"]}).word == "yes"
    assert verdict(below, clear).word == "no"


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.tuples(*[st.floats(0.5, 1)] * 3), min_size=3, max_size=8),
)
def test_p_values_are_those_of_the_paired_t_test(rows: list[tuple[float, ...]]) -> None:
    a, b, c = (np.array(column) for column in zip(*rows, strict=True))
    if min(np.ptp(a - b), np.ptp(a - c)) < 1e-6:
        return
    found = verdict(HIGHER, {"a": list(a), "b": list(b), "c": list(c)})
    raw = [float(stats.ttest_rel(a, other, alternative="greater").pvalue) for other in (b, c)]
    low, high = sorted(raw)
    expected = {low: min(1.0, 2 * low), high: max(min(1.0, 2 * low), high)}
    for contrast, p in zip(found.contrasts, raw, strict=True):
        assert contrast.p_value == pytest.approx(expected[p], rel=1e-6, abs=1e-12)


@pytest.mark.exhaustive
def test_ray_carries_out_the_same_runs(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from diptych.study.cluster import Ray

    here = run_study(study(digits), runs=tmp_path / "here")
    there = run_study(study(digits), runs=tmp_path / "there", executor=Ray("local"))
    assert there.verdict == here.verdict


def test_a_cluster_that_does_not_answer_is_one_line(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from diptych.study.cluster import Ray

    plan = planned(study(digits), tmp_path)
    with pytest.raises(InputError, match="no cluster answers there"):
        Ray("127.0.0.1:1").carry_out(plan.unfinished(), lambda run: None)
    shutil.rmtree(tmp_path)


def test_early_stopping_is_compared_with_ten_epochs_and_with_averages(
    digits: Path, tmp_path: Path
) -> None:
    """The built-in study, on a small network and few images."""
    described = Study.load("early-stopping").model_dump(mode="json", exclude_unset=True)
    small = {"workflow": "numpy", "layers": TINY, "data": str(digits), "recipe": "plain"}
    # So high a rate overfits 440 images soon.
    base = {**small, "values": {"learning_rate": 0.03}}
    result = run_study(
        Study.from_dict(described | {"base": base}), runs=tmp_path, seeds=2, executor=Local(2)
    )
    assert [arm.name for arm in result.verdict.arms] == ["early", "ten", "averaged"]
    assert [contrast.arm for contrast in result.verdict.contrasts] == ["ten", "averaged"]
    runs = {
        (one.arm, one.seed): run for one, run in read(tmp_path / "study-early-stopping").opened()
    }
    for seed in range(2):
        early, ten, averaged = (runs[arm, seed] for arm in ("early", "ten", "averaged"))
        facts = early.result() or {}
        assert facts["epochs"] == facts["epoch_of_the_weights"] + 3 < 30
        assert len(ten.metrics()) == len(averaged.metrics()) == 10
        assert ten.metrics()[0]["train_loss"] == averaged.metrics()[0]["train_loss"]
        assert ten.metrics()[-1]["validation_loss"] != averaged.metrics()[-1]["validation_loss"]
