"""Searches: the space, the trials and what is left of them, the verdict, wrong input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from diptych import training, zoo
from diptych.data import load_data
from diptych.errors import InputError
from diptych.render.search import sentence
from diptych.render.search import test_sentence as sentence_of_the_test
from diptych.runs import Run, find
from diptych.study.picture import draw
from diptych.study.search import SearchOutcome, run_search, shown_search
from diptych.study.space import Search
from diptych.study.trials import SEED

TINY = [{"kind": "flatten"}, {"kind": "dense", "units": 10}]


def search(digits: Path, **values: object) -> Search:
    described = {
        "name": "tiny",
        "question": "Which rate is best?",
        "trials": 6,
        "seeds": 3,
        "base": {
            "workflow": "numpy",
            "layers": TINY,
            "data": str(digits),
            "recipe": "plain",
            "values": {"epochs": 2, "learning_rate": 1e-5, "precision": "float32"},
        },
        "space": {
            "learning_rate": {"low": 1e-5, "high": 0.01, "log": True},
            "batch_size": {"choices": [64, 20]},
        },
    }
    return Search.from_dict(described | values)


@pytest.fixture(scope="module")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchOutcome, Path]:
    root = tmp_path_factory.mktemp("search")
    return run_search(search(digits), runs=root), root


def test_a_search_beats_a_bad_default(finished: tuple[SearchOutcome, Path]) -> None:
    outcome, root = finished
    assert outcome.default == {"learning_rate": 1e-5, "batch_size": 64}
    assert outcome.best_value < outcome.default_value
    assert outcome.trials == 6
    assert outcome.verdict is not None and outcome.verdict.word == "yes"
    best, default = outcome.verdict.arms
    assert best.mean < default.mean and len(best.values) == 3
    assert np.mean(outcome.test_accuracy["best"]) > np.mean(outcome.test_accuracy["default"])
    assert "hardly by chance" in sentence(outcome)
    assert "measured only at the end" in sentence_of_the_test(outcome)
    assert shown_search("tiny", root) == outcome
    assert (root / "study-tiny" / "trials.png").read_bytes()[:4] == b"\x89PNG"


def test_the_trials_never_see_the_test_images(
    finished: tuple[SearchOutcome, Path], digits: Path
) -> None:
    _, root = finished
    runs = find(root)
    trials = [run for run in runs if run.seed == SEED]
    ends = [run for run in runs if run.seed != SEED]
    whole = load_data(digits)
    assert len(trials) == 6 and sorted(run.seed for run in ends) == [0, 0, 1, 1, 2, 2]
    for run in trials:
        data = load_data(run.description()["data"]["source"])
        assert np.array_equal(data.test.images, whole.validation.images)
        assert np.array_equal(data.train.images, whole.train.images)
    for run in ends:
        assert run.description()["data"]["source"] == str(digits)


def test_optuna_opens_the_storage(finished: tuple[SearchOutcome, Path]) -> None:
    outcome, _ = finished
    study = optuna.load_study(study_name="tiny", storage=outcome.storage)
    assert study.best_value == outcome.best_value
    assert study.best_params == outcome.best
    assert study.trials[0].params == outcome.default  # The default is tried first.
    assert study.trials[0].intermediate_values.keys() == {1, 2}


def test_a_search_that_has_ended_trains_nothing(
    finished: tuple[SearchOutcome, Path], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, root = finished
    monkeypatch.setattr(training, "Worker", None)
    assert run_search(search(digits), runs=root) == outcome


def test_a_stopped_search_goes_on_with_its_trial(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out = training.carry_out
    begun: list[Path] = []

    def stopped(run: Run, *rest: Any) -> Run:
        begun.append(run.folder)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return carry_out(run, *rest)

    small = search(digits, trials=3, seeds=1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "carry_out", stopped)
        run_search(small, runs=tmp_path)
    assert Run(begun[1]).status == "new"
    outcome = run_search(small, runs=tmp_path)
    assert outcome.trials == 3
    assert Run(begun[1]).status == "done"
    assert len([run for run in find(tmp_path) if run.seed == SEED]) == 3


def test_hopeless_trials_are_pruned(digits: Path, tmp_path: Path) -> None:
    space = {"learning_rate": {"choices": [0.01, 1e-9]}}
    base = search(digits).base.model_dump(exclude_unset=True)
    base["values"] |= {"learning_rate": 0.01}
    small = search(digits, base=base, space=space, trials=12, seeds=1)
    outcome = run_search(small, runs=tmp_path, sampler="random")
    assert outcome.best == {"learning_rate": 0.01} == outcome.default
    assert outcome.verdict is None and "No trial was better" in sentence(outcome)
    study = optuna.load_study(study_name="tiny", storage=outcome.storage)
    pruned = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert len(pruned) == outcome.pruned
    assert all(t.params["learning_rate"] == 1e-9 for t in pruned)


def test_a_storage_is_shared(digits: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    small = search(digits, trials=2, seeds=1)
    first = run_search(small, runs=tmp_path / "one", storage=url)
    second = run_search(small, runs=tmp_path / "two", storage=url, trials=3)
    assert (first.trials, second.trials) == (2, 3)
    with pytest.raises(InputError, match="holds another search of that name"):
        run_search(search(digits, question="Another?"), runs=tmp_path, storage=url)


@pytest.mark.parametrize(
    "space, message",
    [
        ({"learning_rate": {"low": 0.1, "high": 0.01}}, "low = 0.1 is not below high = 0.01"),
        ({"learning_rate": {"low": 0.1, "high": 0.1}}, "the range is empty"),
        ({"learning_rate": {"low": 0.0, "high": 0.1, "log": True}}, "begins above 0"),
        ({"learning_rate": {"low": 0.1}}, "low and high, or choices"),
        ({"learning_rate": {"choices": []}}, "choices"),
        ({"learning_rate": {"choices": [1.0], "low": 1.0}}, "give them, or low and high"),
        ({"learning_rate": {"lo": 0.1}}, "unknown key"),
        ({}, "space"),
        ({"learnin_rate": {"low": 0.1, "high": 0.2}}, "did you mean learning_rate"),
        ({"name": {"choices": ["a"]}}, "space.name: no such value"),
        ({"learning_rate": {"low": -1.0, "high": 0.2}}, "space.learning_rate: .*greater than 0"),
        ({"batch_size": {"low": 16.5, "high": 64}}, "space.batch_size: .*16.5"),
        ({"learning_rate": {"low": 0.1, "high": 0.2}}, "the base has 1e-05, which is not in it"),
    ],
)
def test_a_wrong_space_is_one_line(
    digits: Path, tmp_path: Path, space: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run_search(search(digits, space=space), runs=tmp_path)
    assert "\n" not in str(caught.value)
    assert not find(tmp_path)


def test_a_storage_that_cannot_be_opened_is_one_line(digits: Path, tmp_path: Path) -> None:
    other = tmp_path / "no.db"
    other.write_text("no database " * 1_000)
    for url in ("sqlite:////nowhere/at/all.db", "nonsense", f"sqlite:///{other}", "mysqll://x/y"):
        with pytest.raises(InputError, match="Optuna cannot open it") as caught:
            run_search(search(digits), runs=tmp_path, storage=url)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="--sampler tep: did you mean tpe"):
        run_search(search(digits), runs=tmp_path, sampler="tep")
    with pytest.raises(InputError, match=r"no .*search\.json"):
        shown_search("tiny", tmp_path)


def test_the_searches_of_the_zoo_are_complete() -> None:
    for name in zoo.names("searches"):
        known = Search.load(name)
        for quick in (False, True):
            recipe = known.complete_base(quick).described_recipe()
            assert recipe is not None and known.default_values(recipe).keys() == known.space.keys()


def test_the_outcome_is_plain_data(finished: tuple[SearchOutcome, Path]) -> None:
    outcome, root = finished
    written = json.loads((root / "study-tiny" / "search.json").read_text())
    assert written == json.loads(json.dumps(outcome.to_dict()))


def test_the_picture_leaves_the_callers_plots_as_they_are(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib import pyplot
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    study = optuna.create_study()
    spans = {"rate": FloatDistribution(1e-4, 1, log=True), "mode": CategoricalDistribution((1, 2))}
    for value in (0.1, 0.2):
        values = {"rate": value, "mode": 2}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=spans, value=value))
    before = matplotlib.get_backend()
    try:
        matplotlib.use("svg")
        pyplot.close("all")
        draw(study, tmp_path / "trials.png")
        assert matplotlib.get_backend() == "svg" and not pyplot.get_fignums()
    finally:
        matplotlib.use(before)
    assert pyplot.imread(tmp_path / "trials.png").std() > 0
