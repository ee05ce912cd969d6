import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import special

from diptych.data import Data, Split, load_data
from diptych.errors import InputError
from diptych.evaluation import (
    Evaluation,
    accuracy_interval,
    evaluate,
    predict,
    predict_pictures,
    scored,
)
from diptych.runs import Run
from support import write_digits


def scores(labels: list[int], read: list[int], classes: int = 3) -> Evaluation:
    """The evaluation of answers that are given with full certainty."""
    split = Split(np.zeros((len(labels), 1, 1, 1), np.uint8), np.array(labels, np.int64))
    names = tuple("abcdefghij"[:classes])
    return scored(50 * np.eye(classes, dtype=np.float32)[read], split, "run", "data", names)


def test_a_known_answer() -> None:
    found = scores([0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 1])
    assert found.confusion == [[3, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert (found.correct, found.images, found.accuracy) == (4, 7, 4 / 7)
    assert [score.name for score in found.classes] == ["a", "b", "c"]
    assert [score.images for score in found.classes] == [4, 2, 1]
    assert [score.precision for score in found.classes] == [3 / 4, 1 / 3, None]
    assert [score.recall for score in found.classes] == [3 / 4, 1 / 2, 0]
    assert found.loss == pytest.approx(50 * 3 / 7)


def test_a_class_without_images_has_no_recall() -> None:
    assert scores([0, 0], [0, 2]).classes[1].recall is None


def test_the_loss_of_logits_that_are_all_equal() -> None:
    split = Split(np.zeros((2, 1, 1, 1), np.uint8), np.array([0, 3], np.int64))
    found = scored(np.full((2, 4), 7, np.float32), split, "run", "data", tuple("abcd"))
    assert found.loss == pytest.approx(np.log(4))


ANSWERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@given(ANSWERS, st.permutations(range(5)), st.randoms())
def test_scores_are_consistent(answers: list[tuple[int, int]], names: list[int], chance) -> None:
    labels, read = map(list, zip(*answers, strict=True))
    found = scores(labels, read, classes=5)
    confusion = np.array(found.confusion)
    assert confusion.sum() == found.images == len(labels)
    assert confusion.trace() == found.correct == sum(a == b for a, b in answers)
    low, high = found.interval
    assert 0 <= low <= found.accuracy <= high <= 1
    for number, score in enumerate(found.classes):
        right = confusion[number, number]
        assert score.images == labels.count(number)
        assert (score.recall or 0) * labels.count(number) == pytest.approx(right)
        assert (score.precision or 0) * read.count(number) == pytest.approx(right)
        assert (score.recall is None) == (number not in labels)
        assert (score.precision is None) == (number not in read)

    # The order of the images does not matter, nor what the classes are called.
    shuffled = chance.sample(answers, len(answers))
    assert scores(*map(list, zip(*shuffled, strict=True)), classes=5) == found
    renamed = scores([names[i] for i in labels], [names[i] for i in read], classes=5)
    assert np.array_equal(np.array(renamed.confusion)[np.ix_(names, names)], confusion)
    assert renamed.correct == found.correct


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [
        # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_s_interval(correct: int, images: int, low: float, high: float) -> None:
    assert accuracy_interval(correct, images) == pytest.approx((low, high), abs=5e-5)


# With trained networks.


def test_a_run_is_evaluated_as_it_was_tested(
    tensorflow_reader: Run, reader: Run, pair: dict[str, Run]
) -> None:
    for run in (tensorflow_reader, reader, pair["numpy"]):
        found = evaluate(run.folder)
        result = run.result() or {}
        assert (found.correct, found.images) == (result["test_correct"], result["test_images"])
        assert found.run == run.name
    assert evaluate(reader).accuracy > 0.9


def test_a_run_is_evaluated_on_other_data(tmp_path: Path, mnist: Data, reader: Run) -> None:
    other = write_digits(mnist, tmp_path / "other", 24, 50)
    found = evaluate(reader, str(other))
    assert (found.data, found.images) == ("other", 50)
    assert found.correct > 40


def test_data_of_another_form_are_refused(tmp_path: Path, reader: Run) -> None:
    for name in ("train", "test"):
        for kind in ("a", "b"):
            (tmp_path / "two" / name / kind).mkdir(parents=True)
            for number in range(3):
                picture = Image.new("L", (28, 28), 50 * number)
                picture.save(tmp_path / "two" / name / kind / f"{number}.png")
    with pytest.raises(InputError, match=r"^[^\n]*10 units, data two has 2 classes$"):
        evaluate(reader, str(tmp_path / "two"))


def test_data_with_other_classes_are_refused(tmp_path: Path, mnist: Data, reader: Run) -> None:
    for number in range(10):
        place = tmp_path / "words" / f"digit {number}"
        place.mkdir(parents=True)
        for i, image in enumerate(mnist.test.images[mnist.test.labels == number][:3]):
            Image.fromarray(image[..., 0]).save(place / f"{i}.png")
    with pytest.raises(InputError) as raised:
        evaluate(reader, str(tmp_path / "words"))
    assert "classes are digit 0, digit 1" in str(raised.value)
    assert str(raised.value).endswith("was trained on: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9")


def test_a_run_that_has_not_ended(new_run: Callable[..., Run]) -> None:
    run = new_run()
    for action in (lambda: evaluate(run), lambda: predict(run, np.zeros((1, 28, 28, 1), np.uint8))):
        with pytest.raises(InputError, match=r"^[^\n]*`diptych resume .*` ends it$"):
            action()


def test_probabilities(reader: Run, mnist: Data) -> None:
    shares = predict(reader, mnist.test.images[:200])
    assert (shares.shape, shares.dtype) == ((200, 10), np.float32)
    assert (shares >= 0).all()
    assert np.allclose(shares.sum(axis=1), 1)
    assert (shares.argmax(1) == mnist.test.labels[:200]).mean() > 0.9


def test_no_images_have_no_probabilities(pair: dict[str, Run]) -> None:
    assert predict(pair["numpy"], np.zeros((0, 28, 28, 1), np.uint8)).shape == (0, 10)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 28, 28), np.uint8),
        np.zeros((28, 28, 1), np.uint8),
        np.zeros((1, 28, 28, 3), np.uint8),
        np.zeros((1, 28, 28, 1), np.float32),
        [[[0]]],
    ],
)
def test_images_of_another_form_are_refused(reader: Run, images) -> None:
    with pytest.raises(InputError, match=r"^images: given .*, expected uint8 \(n, 28, 28, 1\)$"):
        predict(reader, images)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, mnist: Data) -> Path:
    """Forty digits as people have them: large, dark on light, in several formats."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, pixels in enumerate(mnist.test.images[:40, ..., 0]):
        side = 150 + 20 * (number % 10)
        picture = Image.fromarray(255 - pixels).resize((side, side), Image.Resampling.BICUBIC)
        picture.convert("RGB").save(folder / f"{number}{('.png', '.jpg', '.bmp')[number % 3]}")
    return folder


def test_pictures_of_digits_are_read(photographs: Path, reader: Run, mnist: Data) -> None:
    found = predict_pictures(reader.folder, [str(photographs)])
    assert len(found) == 40
    right = 0
    for one in found:
        shares = one["probabilities"]
        assert list(shares) == list("0123456789")
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert one["answer"] == max(shares, key=shares.__getitem__)
        number = int(Path(one["image"]).stem)
        right += one["answer"] == str(mnist.test.labels[number])
    assert right >= 34


def test_a_picture_from_standard_input(
    photographs: Path, reader: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(photographs / "0.png")
    contents = io.BytesIO(Path(path).read_bytes())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(contents))
    piped, named = predict_pictures(reader, ["-"]) + predict_pictures(reader, [path])
    assert piped["image"] == "-"
    assert piped["probabilities"] == named["probabilities"]


def test_bad_pictures_are_named_and_the_others_classified(
    tmp_path: Path, photographs: Path, reader: Run
) -> None:
    Image.new("L", (100, 100), 255).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no picture")
    alone = predict_pictures(reader, [str(photographs / "0.png")])
    (tmp_path / "zero.png").write_bytes((photographs / "0.png").read_bytes())
    blank, text, zero = predict_pictures(reader, [str(tmp_path)])
    assert set(blank) == set(text) == {"image", "problem"}
    assert blank["problem"].startswith(f"{tmp_path / 'blank.png'}: the picture is blank")
    assert text["problem"].startswith(f"{tmp_path / 'text.png'} is not a picture")
    assert zero["probabilities"] == pytest.approx(alone[0]["probabilities"], abs=1e-6)
    for bad, others in (("blank", ""), ("text", "")):
        with pytest.raises(InputError, match=rf"^[^\n]*{bad}\.png[^\n]*{others}$"):
            predict_pictures(reader, [str(tmp_path / f"{bad}.png")])
    (tmp_path / "zero.png").unlink()
    with pytest.raises(InputError, match=r"^[^\n]*blank\.png: [^\n]*\(and 1 others?\)$"):
        predict_pictures(reader, [str(tmp_path)])


def test_no_framework_is_loaded_where_onnx_runtime_is(
    tensorflow_reader: Run, mnist: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    by_framework = tensorflow_reader.predictions()[0][:20]

    def no_worker() -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("diptych.evaluation.Worker", no_worker)
    data = load_data(tensorflow_reader.description()["data"]["source"])
    shares = predict(tensorflow_reader, data.test.images[:20])
    assert np.allclose(shares, special.softmax(by_framework, axis=1), atol=1e-4)
    evaluation = evaluate(tensorflow_reader)  # By the stored predictions.
    assert evaluation.correct == (tensorflow_reader.result() or {})["test_correct"]


def test_data_are_checked_before_a_framework_is_loaded(
    reader: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_worker() -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("diptych.evaluation.Worker", no_worker)
    (tmp_path / "empty").mkdir()
    for action in (
        lambda: evaluate(reader, str(tmp_path / "nowhere")),
        lambda: predict(reader, np.zeros((1, 8, 8, 1), np.uint8)),
        lambda: predict_pictures(reader, [str(tmp_path / "nowhere.png")]),
        lambda: predict_pictures(reader, [str(tmp_path / "empty")]),
    ):
        with pytest.raises(InputError):
            action()


def test_the_data_of_a_run_must_be_as_they_were(
    tmp_path: Path, mnist: Data, reader: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = load_data(write_digits(mnist, tmp_path / "changed", 48, 30))
    monkeypatch.setattr("diptych.evaluation.load_data", lambda _: changed)
    with pytest.raises(InputError, match="changed since the run was started"):
        evaluate(reader)
