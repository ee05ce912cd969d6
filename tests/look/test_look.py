"""Each picture is drawn, opened, looked at as far as a program can, and holds known answers."""

import io
import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.text import Text
from PIL import Image
from scipy.ndimage import correlate

from diptych import cli, look
from diptych.data import Data
from diptych.errors import InputError
from diptych.look import style
from diptych.look.history import overfitting
from diptych.look.kernels import KERNELS, filtered
from diptych.look.layers import mosaic
from diptych.look.saliency import grad_cam, occlusion
from diptych.network import Network
from diptych.runs import Run


def texts(picture: look.Picture) -> Iterator[Text]:
    """All letters that can be seen."""
    figure = picture.figure
    for found in (figure.texts, *(legend.get_texts() for legend in figure.legends)):
        yield from found
    for axes in figure.axes:
        yield from axes.texts
        if not axes.axison:
            continue
        yield axes.title
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.label
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if low <= tick.get_loc() <= high:
                    yield tick.label1


def check(picture: look.Picture, folder: Path) -> dict[str, Path]:
    """It is written, of the right size, not blank, and its letters are large, whole and apart."""
    files = picture.save(folder)
    wide, high = picture.figure.get_size_inches()
    assert wide == style.WIDTH
    with Image.open(files["png"]) as image:
        assert image.size == pytest.approx((wide * style.DPI, high * style.DPI), abs=1)
        pixels = np.asarray(image.convert("L"))
    assert len(np.unique(pixels)) > 20
    assert pixels.std() > 10
    if not picture.name.startswith("mistakes"):  # Of which there can be few.
        for part in np.array_split(pixels, 3, axis=1):
            assert part.std() > 5, f"a third of {picture.name} is blank"
    root = ElementTree.parse(files["svg"]).getroot()
    assert root.tag.endswith("svg")
    assert root.get("width") == f"{72 * wide:g}pt"
    editable = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}

    picture.figure.draw_without_rendering()  # SVG, which came last, is laid out in other units.
    boxes = []
    for text in texts(picture):
        if not text.get_visible() or not text.get_text().strip():
            continue
        assert float(text.get_fontsize()) >= style.SMALL, text
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= pixels.shape[1], text
        assert box.y1 <= pixels.shape[0], text
        boxes.append((box.padded(-1.5), text.get_text()))
        assert "\n" in text.get_text() or text.get_text() in editable
    assert boxes
    for (box, text), (other, beside) in combinations(boxes, 2):
        assert not box.overlaps(other), f"{text!r} lies on {beside!r}"
    json.dumps(picture.facts, allow_nan=False)
    return files


WIDE = {
    "name": "a-network-with-a-name-that-is-far-too-long-for-any-title",
    "input_shape": [224, 160, 3],
    "layers": [
        {"kind": "conv", "filters": 512, "kernel": 7, "stride": 2, "padding": "same"}
        | {"activation": "leaky_relu", "slope": 0.125, "name": "convolution_with_a_very_long_name"},
        {"kind": "batch_norm"},
        {"kind": "dropout", "rate": 0.123456},
        *[{"kind": "max_pool", "size": [3, 2], "stride": 2, "padding": "same"}] * 5,
        {"kind": "flatten"},
        *[{"kind": "dense", "units": 1000}] * 6,
    ],
}
TINY = {
    "input_shape": [1, 1, 1],
    "layers": [{"kind": "flatten"}, {"kind": "dense", "units": 2}],
}


@pytest.mark.parametrize(
    "network", ["article", "dense", WIDE, TINY], ids=("article", "dense", "wide", "tiny")
)
def test_networks(network: str | dict, tmp_path: Path) -> None:
    made = Network.from_dict(network) if isinstance(network, dict) else network
    picture = look.network(made)
    check(picture, tmp_path)
    described = Network.load(made) if isinstance(made, str) else made
    assert picture.facts["parameters"] == described.parameters
    shown = {text.get_text() for text in texts(picture)}
    for row in described.summary():
        if row.kind in ("conv", "dense", "flatten", "max_pool"):
            assert "×".join(map(str, row.output_shape)) in shown


# Kernels.


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))),
    st.sampled_from(list(KERNELS)),
)
def test_kernels_are_scipys_correlation(pixels: np.ndarray, name: str) -> None:
    kernel = KERNELS[name].array
    expected = correlate(pixels.astype(np.float64), kernel[..., None], mode="nearest")
    np.testing.assert_allclose(filtered(pixels, kernel), expected, atol=1e-3)


def photograph(path: Path, mode: str = "RGB", size: tuple[int, int] = (300, 180)) -> Path:
    """A shape with edges on a background without."""
    image = Image.new(mode, size, "white")
    image.paste("black", (size[0] // 4, size[1] // 4, 3 * size[0] // 4, 3 * size[1] // 4))
    image.save(path)
    return path


@pytest.mark.parametrize("kernels", [["edges"], ["sobel-x", "blur"], ["all"]])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_edges(kernels: list[str], mode: str, tmp_path: Path) -> None:
    picture = look.edges(photograph(tmp_path / "a $photo$.png", mode), kernels)
    check(picture, tmp_path)
    assert set(picture.facts["kernels"]) == set(
        KERNELS.keys() - {"identity"} if kernels == ["all"] else kernels
    )


def test_the_articles_kernel_finds_edges_and_nothing_else(tmp_path: Path) -> None:
    with Image.open(photograph(tmp_path / "photo.png", "L")) as image:
        sums = filtered(np.asarray(image)[..., None], KERNELS["edges"].array)[..., 0]
    rows, columns = np.nonzero(sums)
    assert ({rows.min(), rows.max()}, {columns.min(), columns.max()}) == ({44, 135}, {74, 225})
    assert not sums[46:134, 76:224].any()


# Runs.


def test_pictures_of_a_run_that_reads_digits(reader: Run, mnist: Data, tmp_path: Path) -> None:
    for picture in (
        look.filters(reader),
        look.maps(reader, "test:3"),
        look.curves([reader]),
        look.mistakes(reader),
        look.confusion(reader),
        look.saliency(reader, "test:3"),
    ):
        check(picture, tmp_path)
    maps, saliency = look.maps(reader, "test:3").facts, look.saliency(reader, "test:3").facts
    logits, labels = reader.predictions()
    assert maps["answer"] == saliency["answer"] == str(logits[3].argmax())
    assert maps["label"] == str(labels[3])
    shares = np.exp(logits[3] - logits[3].max())
    shares /= shares.sum()
    np.testing.assert_allclose(list(maps["probabilities"].values()), shares, atol=1e-5)

    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)
    facts = look.mistakes(reader, limit=100).facts
    assert facts["misread"] == len(wrong) > 0
    assert {one["image"] for one in facts["shown"]} <= set(wrong)
    sureness = [one["probability"] for one in facts["shown"]]
    assert sureness == sorted(sureness, reverse=True)
    matrix = np.array(look.confusion(reader).facts["confusion"])
    assert matrix.sum() == len(labels)
    assert matrix.sum() - np.trace(matrix) == len(wrong)
    for one in facts["shown"]:
        assert matrix[int(one["label"]), int(one["answer"])] > 0


def test_pictures_of_colours_and_other_shapes(colour_run: Run, tmp_path: Path) -> None:
    for picture in (
        look.filters(colour_run),
        look.maps(colour_run, "test:0"),
        look.mistakes(colour_run),
        look.confusion(colour_run),
        look.saliency(colour_run, "test:1"),
    ):
        check(picture, tmp_path)
    if colour_run.network.name == "normalised":
        last = "a_layer_with_a_name_that_does_not_fit_anywhere"
        check(look.filters(colour_run, last), tmp_path)
        assert last in look.saliency(colour_run, "test:1").facts["method"]


def test_a_picture_from_a_file_is_put_into_the_runs_form(
    reader: Run, mnist: Data, tmp_path: Path
) -> None:
    Image.fromarray(255 - mnist.test.images[3, ..., 0]).resize((200, 200)).save(tmp_path / "0.png")
    picture = look.maps(reader, tmp_path / "0.png")
    assert picture.facts["label"] is None
    assert picture.facts["answer"] == look.maps(reader, "test:3").facts["answer"]
    assert picture.facts["shapes"]["input"] == [28, 28, 1]


def test_a_mosaic_has_each_tile_in_its_place() -> None:
    tiles = np.arange(7 * 2 * 3).reshape(7, 2, 3)
    made = mosaic(tiles)
    assert np.nanmin(made) == 0
    found = [part[~np.isnan(part)] for part in made]
    assert sum(len(row) for row in found) == tiles.size
    assert np.array_equal(made[:2, :3], tiles[0])
    assert np.array_equal(made[:2, 4:7], tiles[1])


# Where a network looks.


def one_place(row: int, column: int) -> tuple[Network, dict[str, np.ndarray]]:
    """A network whose second class is one pixel of its 8×8, and whose first one is always 0."""
    conv = {"kind": "conv", "filters": 1, "kernel": 1, "padding": "same"}
    layers = [conv, {"kind": "flatten"}, {"kind": "dense", "units": 2}]
    network = Network.from_dict({"input_shape": [8, 8, 1], "layers": layers})
    weights = {name: np.zeros(shape) for name, shape in network.weight_shapes().items()}
    weights["conv_1/kernel"][:] = 1
    weights["output/kernel"][row * 8 + column, 1] = 4
    return network, weights


@given(st.integers(0, 7), st.integers(0, 7))
def test_occlusion_finds_the_place_that_counts(row: int, column: int) -> None:
    network, weights = one_place(row, column)
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[row, column] = 255
    fall = occlusion(network, weights, pixels, 1)
    # All squares that cover the place take the whole logit away, and no other square anything.
    assert fall[row, column] == pytest.approx(4, rel=1e-6)
    assert fall.max() == fall[row, column]
    far = np.maximum(*np.abs(np.indices((8, 8)) - np.array([row, column])[:, None, None])) >= 2
    assert not fall[far].any()


def test_grad_cam_is_the_weighted_maps() -> None:
    network, weights = one_place(2, 5)
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    seen, method = grad_cam(network, weights, pixels, 1)
    # The gradient is 4 at one of 64 places, so the map's weight is 1/16.
    np.testing.assert_allclose(seen, pixels[..., 0] / 255 / 16, rtol=1e-5)
    assert method == "Grad-CAM at conv_1"


def test_what_grad_cam_leaves_nothing_of_gets_hires_cam() -> None:
    network, weights = one_place(2, 5)
    weights["output/kernel"][0, 1] = -8  # Now the map speaks against the class in the mean.
    pixels = np.full((8, 8, 1), 255, np.uint8)
    seen, method = grad_cam(network, weights, pixels, 1)
    assert method == "HiResCAM at conv_1"
    assert np.argwhere(seen).tolist() == [[2, 5]]
    assert seen[2, 5] == pytest.approx(4, rel=1e-6)


def test_a_digit_is_read_where_its_ink_is(reader: Run, mnist: Data) -> None:
    weights = reader.weights()
    for pixels, label in zip(mnist.test.images[:4], mnist.test.labels[:4], strict=True):
        fall = occlusion(reader.network, weights, pixels, int(label))
        ink = pixels[..., 0] > 127
        assert fall[ink].mean() > 2 * fall[~ink].mean()


# Padding and curves.


@pytest.mark.parametrize(
    ("values", "outputs", "pads"),
    [((6, 3, 1), (6, 4), [1, 1]), ((7, 4, 2), (4, 2), [1, 2]), ((12, 1, 12), (1, 1), [0, 0])],
)
def test_padding(
    values: tuple[int, int, int], outputs: tuple[int, int], pads: list[int], tmp_path: Path
) -> None:
    picture = look.padding(*values)
    check(picture, tmp_path)
    assert picture.facts["outputs"] == dict(zip(("same", "valid"), outputs, strict=True))
    assert picture.facts["pads"] == {"same": pads, "valid": [0, 0]}


def epochs(training: list[float], validation: list[float]) -> list[dict[str, float]]:
    pairs = zip(training, validation, strict=True)
    return [{"train_loss": one, "validation_loss": other} for one, other in pairs]


@pytest.mark.parametrize(
    ("training", "validation", "epoch", "words"),
    [
        ([3, 2, 1, 0.5], [3, 1, 1.5, 2], 2, "ends 100% higher while the training loss falls"),
        ([3, 2, 1], [3, 1, 1.1], 2, "a single epoch may be chance"),
        ([3, 2, 1], [3, 2, 1.5], None, "the last validation loss is the smallest"),
        ([1, 2, 3], [1, 2, 3], None, "the training loss does not fall after epoch 1 either"),
        ([1], [1], None, "one epoch says nothing"),
    ],
)
def test_overfitting(
    training: list[float], validation: list[float], epoch: int | None, words: str
) -> None:
    found = overfitting(epochs(training, validation))
    assert found.epoch == epoch
    assert words in found.words


def test_curves_of_two_runs_one_of_which_overfits(pair: dict[str, Run], tmp_path: Path) -> None:
    overfitted = Run(tmp_path / "overfitted")
    overfitted.folder.mkdir()
    for name in ("run.json", "metrics.jsonl"):
        (overfitted.folder / name).write_bytes((pair["numpy"].folder / name).read_bytes())
    lines = []
    [first, *_] = overfitted.metrics()
    for number, (training, validation) in enumerate([(1, 1), (0.5, 0.4), (0.2, 0.5), (0.1, 0.7)]):
        values = {"epoch": number + 1, "train_loss": training, "validation_loss": validation}
        lines.append(json.dumps(first | values) + "\n")
    (overfitted.folder / "metrics.jsonl").write_text("".join(lines))
    picture = look.curves([pair["tensorflow"], overfitted])
    check(picture, tmp_path)
    assert [one["overfitting"]["epoch"] for one in picture.facts["runs"]] == [None, 2]
    loss = picture.figure.axes[0]
    [marked] = [line.get_xdata() for line in loss.lines if line.get_linestyle() == ":"]
    assert np.array_equal(marked, [2, 2])


# As a person would.


def test_the_commands_say_where_the_files_are(
    reader: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, run, json_file = tmp_path / "made" / "here", str(reader.folder), tmp_path / "a.json"
    for arguments in (
        ["network", "dense"],
        ["padding", "--size", "5"],
        ["confusion", run],
        ["mistakes", run, "--limit", "3"],
        ["curves", run],
        ["saliency", run, "test:0", "--class", "7"],
        ["edges", str(photograph(tmp_path / "photo.jpg"))],
    ):
        command = ["look", *arguments, "--out", str(out), "--json", str(json_file)]
        assert cli.run(command) == 0
        png, svg = capsys.readouterr().out.splitlines()
        answer = json.loads(json_file.read_text())
        assert (answer["schema"], answer["png"], answer["svg"]) == (1, png, svg)
        assert Path(png).parent == Path(svg).parent == out
        assert {path.suffix for path in (Path(png), Path(svg)) if path.stat().st_size} == {
            ".png",
            ".svg",
        }
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["maps", "RUN", "7"], "no file or folder 7; .*; test:7 is the test image of that number"),
        (["maps", "RUN", "test:1000"], "expected test: and a number from 0 to 999"),
        (["maps", "RUN", "test:-1"], "expected test: and a number"),
        (["saliency", "RUN", "TEXT"], "is not a picture"),
        (["saliency", "RUN", "test:0", "--class", "ten"], "class 'ten': there is none"),
        (["maps", "RUN", "FOLDER"], "is a folder, expected one picture"),
        (["filters", "RUN", "--layer", "flatten_1"], "there are those of conv_1"),
        (["mistakes", "RUN", "--limit", "0"], "limit 0: expected 1 to 100"),
        (["confusion", "nothing"], "run nothing: no run.json"),
        (["curves", "RUN", "RUN"], "one is given twice"),
        (["edges", "PHOTO", "--kernel", "edge"], "did you mean edges"),
        (["edges", "FOLDER"], "is a folder, expected one picture"),
        (["padding", "--kernel", "9"], "larger than the image"),
        (["padding", "--size", "99"], "size 99: expected a number of pixels from 1 to 12"),
        (["network", "articl"], "article"),
        (["network", "--out", "TEXT"], "--out .*: "),
    ],
)
def test_wrong_requests_get_one_line(
    arguments: list[str],
    words: str,
    reader: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "words.txt").write_text("no picture")
    named = {
        "RUN": reader.folder,
        "FOLDER": tmp_path,
        "TEXT": tmp_path / "words.txt",
        "PHOTO": photograph(tmp_path / "photo.png"),
    }
    before = set(tmp_path.iterdir())
    given_ = [str(named.get(argument, argument)) for argument in arguments]
    out = [] if "--out" in given_ else ["--out", str(tmp_path / "out")]
    assert cli.run(["look", *given_, *out]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("diptych: ")
    assert re.search(words, line), line
    assert set(tmp_path.iterdir()) == before


def test_a_run_without_weights_says_how_to_get_them(new_run) -> None:
    run = new_run()
    for draw in (look.filters, look.mistakes, look.confusion):
        with pytest.raises(InputError, match=r"no weights yet.*resume"):
            draw(run)
    with pytest.raises(InputError, match="no epoch has ended yet"):
        look.curves([run])


def test_a_notebook_shows_a_picture() -> None:
    shown = look.padding()._repr_png_()
    with Image.open(io.BytesIO(shown)) as image:
        assert image.format == "PNG"


def test_the_same_picture_is_the_same_file(tmp_path: Path) -> None:
    first, second = look.padding(), look.padding()
    for kind in ("png", "svg"):
        assert first.rendered(kind) == second.rendered(kind)
