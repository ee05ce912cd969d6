"""The scikit-learn classifier: held to scikit-learn's own checks, and to `diptych.train`."""

# scikit-learn's annotations say less than it takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file, save_file

import diptych
from diptych import in_memory
from diptych.data import load_data
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install .[sklearn]")

import joblib
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from diptych.sklearn import ConvNetClassifier
from diptych.sklearn.images import is_table, to_images, value_range

DENSE = Network.from_dict(
    {
        "name": "table",
        "input_shape": [1, 2, 1],
        "layers": [
            {"kind": "flatten"},
            {"kind": "dense", "units": 16, "activation": "relu"},
            {"kind": "dense", "units": 2},
        ],
    }
)
ALONG = Network.from_dict(
    {
        "name": "along",
        "input_shape": [1, 2, 1],
        "layers": [
            {"kind": "conv", "filters": 8, "kernel": [1, 3], "padding": "same"}
            | {"activation": "relu"},
            {"kind": "flatten"},
            {"kind": "dense", "units": 2},
        ],
    }
)
DIGITS = Network.from_dict(
    {
        "name": "digits",
        "input_shape": [8, 8, 1],
        "layers": [
            {"kind": "conv", "filters": 8, "kernel": 3, "padding": "same", "activation": "relu"},
            {"kind": "max_pool", "size": 2},
            {"kind": "flatten"},
            {"kind": "dense", "units": 10},
        ],
    }
)
THIRTY = Recipe(name="thirty", epochs=30, batch_size=20, learning_rate=0.02)
SHORT = Recipe(name="short", epochs=6, batch_size=50, learning_rate=0.03, schedule="one-cycle")


# None of scikit-learn's checks is expected to fail: what is made for images takes tables as well.
@parametrize_with_checks(
    [
        ConvNetClassifier(DENSE, THIRTY, "numpy"),
        ConvNetClassifier(ALONG, THIRTY, "numpy", image_shape=(1, -1)),
    ]
)
def test_what_scikit_learn_checks(estimator, check) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 real digits that come with scikit-learn: float64 (n, 64) from 0 to 16, and labels."""
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(digits) -> ConvNetClassifier:
    X, y = digits
    return ConvNetClassifier(DIGITS, SHORT, "numpy", random_state=1).fit(X[:1000], y[:1000])


def test_it_reads_real_digits(fitted: ConvNetClassifier, digits) -> None:
    X, y = digits
    assert fitted.score(X[1000:], y[1000:]) > 0.88
    shares = fitted.predict_proba(X[1000:])
    assert shares.shape == (797, 10)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert fitted.n_features_in_ == 64
    assert fitted.n_iter_ == len(fitted.history_) == 6
    assert fitted.history_[-1]["train_loss"] < fitted.history_[0]["train_loss"]
    assert "validation_loss" not in fitted.history_[0]


def test_the_weights_are_those_that_train_gives(few_digits: Path, small: Network, quick, tmp_path):
    """To the bit: the same seed, the same weights to start from, the same batches."""
    run = diptych.train("numpy", small, quick, str(few_digits), seed=5, runs=tmp_path)
    train = load_data(str(few_digits)).train
    estimator = ConvNetClassifier(small, quick, "numpy", random_state=5)
    estimator.fit(train.images, np.array(list("abcdefghij"))[train.labels])
    for name, value in Run.open(run.folder).weights().items():
        np.testing.assert_array_equal(estimator.weights_[name], value)
    assert estimator.history_[-1]["train_loss"] == run.metrics()[-1]["train_loss"]
    images = load_data(str(few_digits)).test.images
    expected = diptych.predict(run, images)
    np.testing.assert_allclose(estimator.predict_proba(images), expected, atol=1e-6)
    assert set(estimator.predict(images)) <= set("abcdefghij")


def test_images_in_any_form_are_the_same_images(fitted: ConvNetClassifier, digits) -> None:
    X, y = digits
    expected = fitted.predict_proba(X)
    for form in (
        X.reshape(-1, 8, 8),
        X.reshape(-1, 8, 8, 1),
        X.astype(np.uint8),
        X.astype(np.float32),
        X.reshape(-1, 8, 8).tolist(),
        X.tolist(),
    ):
        np.testing.assert_array_equal(fitted.predict_proba(form), expected)
    again = clone(fitted).fit(X[:1000].reshape(-1, 8, 8) / 16 - 3, y[:1000])
    np.testing.assert_array_equal(again.predict_proba(X / 16 - 3), expected)


def test_a_pipeline_and_cross_validation(digits) -> None:
    X, y = digits
    estimator = ConvNetClassifier(DIGITS, SHORT, "numpy", random_state=0)
    pipeline = make_pipeline(FunctionTransformer(np.sqrt), estimator)
    assert cross_val_score(pipeline, X[:600], y[:600], cv=2, error_score="raise").min() > 0.7


def test_a_search_over_numbers_and_recipes_in_several_processes(digits) -> None:
    X, y = digits
    search = GridSearchCV(
        ConvNetClassifier(DIGITS, SHORT, "numpy", random_state=0),
        [
            {"learning_rate": np.array([1e-6, 0.01]), "epochs": np.array([3])},
            {"recipe": [SHORT.with_changes(epochs=1)], "network": [DIGITS]},
        ],
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(X[:400], y[:400])
    assert search.best_params_ == {"learning_rate": 0.01, "epochs": 3}
    assert search.best_estimator_.recipe_.epochs == 3
    assert search.predict(X[:5]).shape == (5,)


def test_columns_of_a_table_have_their_own_ranges_and_stay_in_their_places() -> None:
    chance = np.random.default_rng(0)
    X = chance.normal(size=(200, 3)) * [1e-6, 1, 1e6]
    y = X[:, 0] > 0
    moving = THIRTY.with_changes(shift=1, rotation=30, scaling=0.2, shear=0.2, elastic=1, crop=0.3)
    estimator = ConvNetClassifier(DENSE, moving, "numpy", random_state=0).fit(X, y)
    assert estimator.score(X, y) > 0.85
    assert estimator.network_.input_shape == (1, 3, 1)
    assert estimator.recipe_.to_dict() == THIRTY.to_dict()
    assert estimator.low_.shape == (3,)
    scaled = make_pipeline(StandardScaler(), clone(estimator)).fit(X, y)
    assert scaled.score(X, y) > 0.85


@given(st.data(), st.booleans())
def test_scaling(data: st.DataObject, table: bool) -> None:
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    size = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 4)))
    rows = data.draw(arrays(np.float64, size, elements=numbers))
    low, high = value_range(rows, table)
    with np.errstate(all="raise", under="ignore"):
        images = to_images(rows, low, high, (1, size[1], 1))
    flat = images.reshape(rows.shape)
    for column in range(size[1]) if table else [slice(None)]:
        values, got = rows[:, column].ravel(), flat[:, column].ravel()
        order = np.argsort(values)
        assert np.all(np.diff(got[order].astype(int)) >= 0)
        if values.max() / 2 - values.min() / 2 > 0:
            assert got.min() == 0
            assert got.max() == 255
        else:
            assert not got.any()
    most = np.full((1, size[1]), np.finfo(float).max)
    ends = np.broadcast_to(high, (1, size[1]))
    shape = (1, size[1], 1)
    np.testing.assert_array_equal(
        to_images(most, low, high, shape), to_images(ends, low, high, shape)
    )


def test_whole_and_divided_values_lose_nothing() -> None:
    rows = np.arange(256, dtype=np.uint8).reshape(1, 256)
    for form in (rows, rows.astype(int), rows / 255, np.float32(rows) / 255, rows * 3.7 - 100):
        low, high = value_range(form, table=False)
        np.testing.assert_array_equal(to_images(form, low, high, (1, 256, 1)).ravel(), rows[0])


def test_validation_and_early_stopping(digits, capsys: pytest.CaptureFixture[str]) -> None:
    X, y = digits
    recipe = SHORT.with_changes(early_stopping=1, epochs=20, learning_rate=0.1)
    estimator = ConvNetClassifier(
        DIGITS, recipe, "numpy", validation_fraction=0.2, random_state=3, verbose=1
    ).fit(X[:300], y[:300])
    losses = [epoch["validation_loss"] for epoch in estimator.history_]
    assert len(losses) == estimator.n_iter_ < 20
    assert min(losses) == losses[-2]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == estimator.n_iter_
    assert lines[0].startswith("Epoch 1 | Last Batch Train Loss: ")
    clone(estimator).set_params(validation_fraction=0, recipe=SHORT, epochs=1).fit(X[:50], y[:50])
    assert re.fullmatch(
        r"Epoch 1 \| Train Loss: \d\.\d{4} \| Train Accuracy: \d\.\d{4}\n", capsys.readouterr().out
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # What such a rate does to the numbers.
def test_a_training_that_fails_leaves_what_was_fitted(fitted: ConvNetClassifier, digits) -> None:
    X, y = digits
    estimator = pickle.loads(pickle.dumps(fitted)).set_params(learning_rate=1e300)
    with pytest.raises(diptych.TrainingFailed, match="lower the learning rate"):
        estimator.fit(X[:100], y[:100])
    np.testing.assert_array_equal(estimator.predict_proba(X), fitted.predict_proba(X))


X4 = np.arange(16.0).reshape(4, 4)
Y4 = [0, 1, 0, 1]
IMAGES = np.zeros((4, 2, 2))


@pytest.mark.parametrize(
    ("parameters", "X", "y", "message"),
    [
        ({"workflow": "nunpy"}, X4, Y4, "did you mean numpy"),
        ({"network": "artikle"}, X4, Y4, "did you mean article"),
        ({"network": "none.toml"}, X4, Y4, "network none.toml: no such file"),
        ({"recipe": "fats"}, X4, Y4, "did you mean fast"),
        ({"epochs": 0}, X4, Y4, "epochs = 0"),
        ({"batch_size": 1.5}, X4, Y4, "batch_size = 1.5"),
        ({"validation_fraction": 1}, X4, Y4, "validation_fraction = 1: expected a share"),
        ({"validation_fraction": "a"}, X4, Y4, "validation_fraction = 'a'"),
        ({"recipe": SHORT.with_changes(early_stopping=2)}, X4, Y4, "give validation_fraction"),
        ({"network": DIGITS}, X4, Y4, r"takes 8×8×1 images: say how .* image_shape=\(2, 2\)"),
        ({"network": DIGITS}, X4[:, :3], Y4, r"X has 3 columns.*image_shape=\(height, width\)"),
        ({"network": "article-valid"}, IMAGES, Y4, r"layer 1 \(conv_1\): its 3×3 window is larger"),
        ({"image_shape": (2, 3)}, X4, Y4, "6 values, but X has 4 columns"),
        ({"image_shape": (-1, 3)}, X4, Y4, "3 values, but X has 4 columns"),
        ({"image_shape": (1, 4)}, IMAGES, Y4, "4 values, but X has 2×2×1 images"),
        ({"image_shape": 4}, X4, Y4, "image_shape = 4: expected"),
        ({"image_shape": (-1, -1)}, X4, Y4, "one of which may be -1"),
        ({"image_shape": (0, 4)}, X4, Y4, "expected"),
        ({}, X4, [1, 1, 1, 1], "y has 1 class"),
        ({}, X4, [0.1, 0.2, 0.3, 0.4], "continuous"),
        ({}, np.zeros((4, 2, 2, 1, 1)), Y4, "dim 5"),
        ({}, np.zeros((0, 2, 2)), [], "0 sample"),
        ({}, X4[:3], Y4, "inconsistent numbers of samples"),
        ({}, [["a", "b"]] * 4, Y4, "could not convert|dtype='numeric'"),
        ({"random_state": -1}, X4, Y4, "Seed must be between"),
    ],
)
def test_wrong_requests(parameters, X, y, message: str) -> None:
    estimator = ConvNetClassifier(**{"network": DENSE, "recipe": SHORT, "workflow": "numpy"})
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**parameters).fit(X, y)
    assert not hasattr(estimator, "weights_")


def test_images_of_another_shape(fitted: ConvNetClassifier) -> None:
    with pytest.raises(diptych.InputError, match="X holds 4×16×1 images, expected 8×8×1 as in fit"):
        fitted.predict(np.zeros((1, 4, 16)))
    with pytest.raises(ValueError, match=r"X has 63 features, but .* is expecting 64"):
        fitted.predict(np.zeros((1, 63)))


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, -(2**62)]),
        np.array([0.1, 2.0]) * 10 // 1,
        np.array([False, True]),
        np.array(["no", "är"]),
        np.array(["no", "longer"], object),
        np.array([0, 255], np.uint8),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_saved_and_loaded(labels: np.ndarray, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    X, which = chance.normal(size=(40, 3)), np.arange(40) % 2
    estimator = ConvNetClassifier(
        DENSE, "fast", "numpy", epochs=np.int64(2), random_state=np.random.RandomState(3)
    ).fit(X, labels[which])
    path = tmp_path / "fitted.safetensors"
    estimator.save(path)
    loaded = ConvNetClassifier.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    assert loaded.classes_.dtype == labels.dtype
    assert loaded.history_ == estimator.history_
    assert loaded.recipe_ == estimator.recipe_
    assert loaded.get_params() == estimator.get_params() | {
        "random_state": estimator.seed_,
        "epochs": 2,
    }
    again = clone(loaded).fit(X, labels[which])
    np.testing.assert_array_equal(again.predict_proba(X), estimator.predict_proba(X))
    assert list(tmp_path.iterdir()) == [path]
    assert load_file(path).keys() == estimator.weights_.keys()


def test_pickles_and_joblib(fitted: ConvNetClassifier, digits, tmp_path: Path) -> None:
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    for copy in (pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "fitted.joblib")):
        np.testing.assert_array_equal(
            copy.predict_proba(digits[0]), fitted.predict_proba(digits[0])
        )


def changed(path: Path, to: Path, weights: dict | None = None, **values) -> Path:
    """A copy of a saved classifier with other weights or other values in its description."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    description = json.loads(header["__metadata__"]["diptych.sklearn"]) | values
    description = {key: value for key, value in description.items() if value is not ...}
    save_file(
        load_file(path) if weights is None else weights,
        to,
        {"diptych.sklearn": json.dumps(description)},
    )
    return to


def test_damaged_and_foreign_files(fitted: ConvNetClassifier, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    fitted.save(good)
    weights = load_file(good)
    truncated = tmp_path / "truncated"
    truncated.write_bytes(good.read_bytes()[:-9])
    (tmp_path / "pickle").write_bytes(pickle.dumps(fitted))
    save_file(weights, tmp_path / "foreign")
    for path, message in [
        (tmp_path / "nowhere", "no such file"),
        (tmp_path, "a folder, expected a file"),
        (truncated, "not a safetensors file"),
        (tmp_path / "pickle", "not a safetensors file"),
        (tmp_path / "foreign", "expected what ConvNetClassifier.save writes; 'diptych.sklearn'"),
    ]:
        with pytest.raises(diptych.InputError, match=message):
            ConvNetClassifier.load(path)
    name = next(iter(weights))
    parameters = fitted.get_params()
    for values, message in [
        ({"schema": 2}, "schema 2, expected 1"),
        ({"classes": ...}, "'classes'"),
        ({"classes": {"dtype": "<i8", "values": [1, 2]}}, "2,? .*labels for 10 classes|2 labels"),
        ({"classes": {"dtype": "V8", "values": [1] * 10}}, "labels of dtype"),
        ({"classes": {"dtype": "<i8", "values": ["x"] * 10}}, "invalid literal"),
        ({"low": [0.0, 1.0]}, "ranges of shape"),
        ({"low": {}}, "expected what"),
        ({"network": {"layers": []}}, "input_shape is missing"),
        ({"parameters": 3}, "expected what"),
        (
            {"parameters": {"network": "article", "recipe": None, "image_shape": None, "x": 1}},
            "'x'",
        ),
        ({"feature_names": ["a"]}, "1 names for 64 features"),
        ({"weights": weights | {name: weights[name][:1]}}, "has shape"),
        ({"weights": {name: weights[name]}}, "is missing"),
    ]:
        with pytest.raises(diptych.InputError, match=message) as caught:
            ConvNetClassifier.load(changed(good, bad, **values))
        assert str(bad) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert ConvNetClassifier.load(changed(good, bad)).get_params() == parameters


def test_what_cannot_be_saved(fitted: ConvNetClassifier, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        clone(fitted).save(tmp_path / "a")
    with pytest.raises(diptych.InputError, match="No such file or directory"):
        fitted.save(tmp_path / "none" / "a")
    numbers = ConvNetClassifier(DENSE, THIRTY, "numpy", epochs=1).fit(np.eye(2), [1, 2])
    numbers.classes_ = np.array([1, None], object)
    with pytest.raises(diptych.InputError, match="labels of dtype object: expected numbers or"):
        numbers.save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_framework_is_started_once_and_again_where_it_ended(digits) -> None:
    X, y = digits[0][:200], digits[1][:200]
    estimator = ConvNetClassifier(DIGITS, SHORT, "tensorflow", random_state=0).fit(X, y)
    expected = estimator.predict_proba(X)
    worker = in_memory._kept["tensorflow"]
    again = clone(estimator).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    assert in_memory._kept["tensorflow"] is worker

    by_numpy = pickle.loads(pickle.dumps(estimator)).set_params(workflow="numpy")
    np.testing.assert_allclose(by_numpy.predict_proba(X), expected, atol=1e-5)

    # A forked process must not talk into its parent's pipe, nor end its parent's worker.
    if not (forked := os.fork()):
        os._exit(1 if in_memory._kept else 0)
    assert os.waitpid(forked, 0)[1] == 0
    np.testing.assert_array_equal(estimator.predict_proba(X), expected)

    os.kill(worker.pid, signal.SIGKILL)
    while worker.is_alive:
        time.sleep(0.01)
    np.testing.assert_array_equal(estimator.predict_proba(X), expected)
    assert in_memory._kept["tensorflow"] is not worker
    in_memory._end_all()


def test_without_scikit_learn_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\n"
        "from diptych import InputError\n"
        "try:\n    import diptych.sklearn\n"
        "except InputError as problem:\n    print(problem)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith(
        "diptych.sklearn needs scikit-learn, which is not installed: `pip"
    )
    assert done.stdout.endswith("[sklearn]'`\n")


def test_tables_are_one_pixel_high_and_have_one_channel() -> None:
    assert is_table((1, 5, 1))
    assert not is_table((1, 5, 3))
    assert not is_table((5, 1, 1))
