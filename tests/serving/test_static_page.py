"""The exported page from a plain file server, in a Chromium that reaches no other host."""

import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browsing import (
    PHONE,
    THREE,
    draw,
    expect_answers,
    needs_chromium,
    playwright,
    seen,
    wait_until,
)
from pen import drawings
from playwright.sync_api import Page
from serving_support import png_of_a_drawing

from diptych.activations import layer_outputs
from diptych.data import Data
from diptych.data.drawing import prepare_image
from diptych.serving.models import Model
from diptych.serving.static_page import export_page
from support import diptych, violations

pytestmark = needs_chromium
IMAGES = 12
DRAWINGS = 30


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(models: list[Model], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page's address, below another path as on GitHub Pages."""
    folder = tmp_path_factory.mktemp("site")
    export_page(models, folder / "digits")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/digits/"
        server.shutdown()


API = "const api = await import(new URL('page/api.js', document.baseURI));"


def test_it_computes_what_onnx_runtime_does(
    site: str, open_page, models: list[Model], mnist: Data
) -> None:
    page = open_page(site)
    images = mnist.test.images[:IMAGES]
    answers = page.evaluate(
        f"async (images) => {{ {API} const models = await api.models();"
        "const { answersOf } = await import(new URL('page/training.js', document.baseURI));"
        "const all = [];"
        "for (const image of images) all.push(answersOf(await api.layers(image), models));"
        "return all; }",
        images.tolist(),
    )
    for model in models:
        theirs = [answer[model.name]["probabilities"] for answer in answers]
        assert np.abs(np.array(theirs) - model.probabilities(images)).max() < 1e-5
    outputs = page.evaluate(
        f"async ([image, name]) => {{ {API} const all = (await api.layers(image)).models[name];"
        "return Object.fromEntries(Object.entries(all).map(([k, v]) => [k, [...v.values]])); }",
        [images[1].tolist(), models[0].name],
    )
    expected = layer_outputs(models[0].network, models[0].weights, images[1:2])
    for layer in models[0].network.layers:
        assert np.abs(np.array(outputs[layer.name]) - expected[layer.name].ravel()).max() < 1e-3


def test_pictures_are_prepared_as_python_does(site: str, open_page) -> None:
    """Grey by grey; halves may fall to either side where sums are rounded in another order."""
    page = open_page(site)
    for digit, drawing in drawings(DRAWINGS, seed=5):
        file = io.BytesIO()
        drawing.save(file, "PNG")
        theirs = page.evaluate(
            f"async (bytes) => {{ {API} const blob = new Blob([new Uint8Array(bytes)]);"
            "return api.prepare(blob); }",
            list(file.getvalue()),
        )
        ours = prepare_image(drawing).astype(int)
        assert np.abs(np.array(theirs) - ours).max() <= 1, digit


def test_drawing_refusing_and_the_tour(site: str, open_page, models: list[Model]) -> None:
    page = open_page(site)
    draw(page, THREE)
    expect_answers(page, "3")
    playwright.expect(page.locator("#api")).to_have_count(0)
    for name, contents in (("seven.png", png_of_a_drawing(7)), ("broken.png", b"no picture")):
        transfer = page.evaluate_handle(
            """([name, bytes]) => { const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], name)); return data; }""",
            [name, list(contents)],
        )
        page.dispatch_event("#pad", "drop", {"dataTransfer": transfer})
        expect_answers(page, "7" if name == "seven.png" else "–")
    playwright.expect(page.locator("#message")).to_contain_text("broken.png: not a picture")
    draw(page, THREE)
    expect_answers(page, "3")
    page.goto(f"{site}#tour-15")
    playwright.expect(page.locator("#tour-title")).to_contain_text("dense_1")
    page.locator("#tour .shares tr").nth(5).wait_for()
    unit = int(page.locator("#tour .chooser input").input_value()) - 1
    bias = float(page.locator("#tour .sum").get_attribute("data-bias") or "nan")
    assert bias == pytest.approx(models[0].weights["dense_1/bias"][unit], abs=1e-6)


@pytest.mark.parametrize("options", [{}, PHONE, PHONE | {"color_scheme": "dark"}])
def test_it_is_accessible_and_fits_a_phone(options: dict, site: str, open_page) -> None:
    page: Page = open_page(site, **options)
    wait_until(page, lambda: seen(page).max() > 0)
    assert violations(page) == []
    assert page.viewport_size
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.goto(f"{site}#tour-4")
    page.locator("#tour .sum > *").first.wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "thesis.txt"
    kept.write_text("mine")
    done = diptych("serve", "--built-in", "--export", tmp_path)
    assert done.returncode == 2
    assert "there is something else in it" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_export_is_replaced(models: list[Model], tmp_path: Path) -> None:
    export_page(models, tmp_path)
    export_page(models[:1], tmp_path)
    names = {path.name for path in (tmp_path / "data").iterdir()}
    name = models[0].name
    assert names == {"models.json", "samples.json", f"{name}.onnx", f"{name}.safetensors"}
    assert (tmp_path / "page/onnxruntime/LICENSE").read_text().startswith("MIT License")
