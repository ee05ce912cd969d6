"""The page in a real Chromium: drawn on, dropped on, looked into, on a phone, by keyboard."""

from typing import Any

import numpy as np
import pytest
from browsing import (
    PHONE,
    THREE,
    draw,
    expect_answers,
    go_to,
    needs_chromium,
    playwright,
    seen,
    wait_until,
)
from playwright.sync_api import Page
from scipy import special
from serving_support import png_of_a_drawing, start_server

from diptych import training
from diptych.activations import layer_outputs
from diptych.data import Data, load_data
from diptych.runs import Run
from diptych.serving.models import Model
from diptych.snapshots import keep_snapshots, read_snapshot
from support import violations

pytestmark = needs_chromium


def test_both_networks_classify_a_drawn_three_until_it_is_cleared(open_page) -> None:
    page = open_page()
    draw(page, THREE)
    expect_answers(page, "3")
    playwright.expect(page.locator(".bars li.chosen .class")).to_have_text(["3", "3"])
    wait_until(page, lambda: seen(page).max() == 255)
    page.locator("#clear").click()
    playwright.expect(page.locator("#pad-hint")).to_be_visible()
    expect_nothing(page)
    draw(page, THREE)
    expect_answers(page, "3")


def expect_nothing(page: Page) -> None:
    """No answer, no image and no map is left."""
    expect_answers(page, "–")
    playwright.expect(page.locator(".bars li.chosen")).to_have_count(0)
    playwright.expect(page.locator(".why:enabled")).to_have_count(0)
    wait_until(page, lambda: seen(page).max() == 0)
    painted = "canvases => canvases.some(c => c.getContext('2d').getImageData(0, 0, 1, 1).data[3])"
    wait_until(page, lambda: not page.locator("#layers canvas").evaluate_all(painted))


def drop(page: Page, name: str, contents: bytes) -> None:
    transfer = page.evaluate_handle(
        """([name, bytes]) => { const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'}));
            return data; }""",
        [name, list(contents)],
    )
    page.dispatch_event("#pad", "drop", {"dataTransfer": transfer})


def test_a_dropped_picture_is_classified_and_a_refused_one_leaves_no_answer(open_page) -> None:
    page = open_page(refusals=True)  # It begins with a test image, a seven.
    drop(page, "two.png", png_of_a_drawing(2))
    expect_answers(page, "2")
    drop(page, "broken.png", b"no picture")
    playwright.expect(page.locator("#message")).to_contain_text("broken.png")
    expect_nothing(page)


def test_the_chosen_test_image_is_marked(open_page) -> None:
    page = open_page()
    marked = page.locator("#samples [aria-pressed=true]")
    playwright.expect(marked).to_have_attribute("title", "Test image 0: 7")
    page.locator("#samples button").nth(3).click()
    playwright.expect(marked).to_have_attribute("title", "Test image 3: 0")
    draw(page, THREE)
    playwright.expect(marked).to_have_count(0)


def test_a_click_beside_the_dialog_closes_it_and_one_inside_does_not(open_page) -> None:
    page = open_page()
    page.locator(".maps button").first.click()
    dialog = page.locator("#detail")
    dialog.locator("canvas.output").wait_for()
    dialog.locator("h2").click()
    box = dialog.bounding_box()
    assert box
    page.mouse.click(box["x"] + 3, box["y"] + 3)  # Its own padding.
    playwright.expect(dialog).to_be_visible()
    page.mouse.click(box["x"] - 5, box["y"] + 30)
    playwright.expect(dialog).to_be_hidden()


def test_colours_mean_what_they_mean_in_the_pictures(open_page) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra look")
    from diptych.look import style

    page = open_page()
    tables = page.evaluate(
        """async () => { const of = await import(new URL('page/colours.js', document.baseURI));
            const shares = Array.from({length: 33}, (_, i) => i / 32);
            return [shares.map((s) => of.map(s)), shares.map((s) => of.signed(2 * s - 1))]; }"""
    )
    for table, name in zip(tables, (style.SEQUENTIAL, style.SIGNED), strict=True):
        theirs = 255 * matplotlib.colormaps[name](np.linspace(0, 1, 33))[:, :3]
        assert np.abs(np.array(table) - theirs).max() < 3  # of 255
    bars = page.locator(".answers article").evaluate_all(
        "cards => cards.map((card) => getComputedStyle(card).getPropertyValue('--fill').trim())"
    )
    assert [bar.lower() for bar in bars] == [colour.lower() for colour in style.COLOURS[:2]]


@pytest.mark.parametrize("size", [(1280, 800), (1440, 900)])
def test_maps_are_above_the_fold(size: tuple[int, int], open_page) -> None:
    page = open_page(viewport={"width": size[0], "height": size[1]})
    grids = page.locator(".maps").evaluate_all(
        "all => all.map((g) => g.getBoundingClientRect().bottom)"
    )
    assert sum(bottom <= size[1] for bottom in grids) >= 4  # Two convolutions of both networks.


def test_the_newest_runs_are_served_from_their_first_step_on(open_page, new_run) -> None:
    """The page says which they are, and its slider goes over their training."""
    run: Run = new_run(dropout_scale=0)
    keep_snapshots(run)
    training.carry_out(run, lambda _: None)
    network, logits = run.network, {}
    weights = {step: read_snapshot(run, step) for step in (0, 9)} | {None: run.weights()}
    for step in weights:
        outputs = layer_outputs(network, weights[step], run_image(run)[None])
        logits[step] = outputs["output"][0]
    process, address = start_server("--runs", str(run.folder.parent))
    try:
        page = open_page(address)
        playwright.expect(page.locator(".answers .note").first).to_contain_text(str(run.folder))
        slider, output = page.locator("#training input"), page.locator("#training output")
        playwright.expect(output).to_have_text("trained")
        for value, step, words in (
            ("0", 0, "before the first step"),
            ("3", 9, "after 9 steps"),
            ("4", None, "trained"),
        ):
            slider.fill(value)
            playwright.expect(output).to_have_text(words)
            answer = str(logits[step].argmax())
            share = special.softmax(logits[step]).max()
            shown = f"{100 * share:.{0 if share > 0.9995 else 1}f}%"
            playwright.expect(page.locator(".answer")).to_have_attribute("data-share", shown)
            playwright.expect(page.locator(".answer")).to_have_text(answer)
        assert violations(page) == []
        # The weights that a layer is explained by are those of that step as well.
        slider.fill("0")
        page.locator(".maps button").first.click()
        page.locator("#detail .sum p").first.wait_for()
        bias = float(page.locator("#detail .sum").get_attribute("data-bias") or "nan")
        assert bias == weights[0]["conv_1/bias"][0]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def run_image(run: Run) -> np.ndarray:
    """The test image that the page begins with."""
    return load_data(run.description()["data"]["source"]).test.images[0]


def test_a_pixels_sum_is_numpys(open_page, models: list[Model], mnist: Data) -> None:
    """Click through to a pixel of the second convolution, and of a pool, of the second network."""
    page, model = open_page(), models[1]
    page.locator("#samples button").nth(1).click()
    expect_answers(page, "2")
    image = mnist.test.images[1]
    right = layer_outputs(model.network, model.weights, image[None])
    channel, (row, column) = 5, (10, 12)
    page.get_by_label(f"Map {channel + 1} of conv_2, {model.workflow}").click()
    go_to(page, (28, 28), row, column)
    kernel, bias = (model.weights[f"conv_2/{name}"] for name in ("kernel", "bias"))
    patch = right["conv_1"][0, row - 1 : row + 2, column - 1 : column + 2]
    total = float((patch * kernel[..., channel]).sum())
    found = page.locator("#detail .sum")
    assert float(found.get_attribute("data-sum") or 0) == pytest.approx(total, abs=1e-3)
    assert float(found.get_attribute("data-bias") or 0) == pytest.approx(bias[channel], abs=1e-6)
    value = right["conv_2"][0, row, column, channel]
    assert float(found.get_attribute("data-value") or 0) == pytest.approx(value, abs=1e-3)
    assert max(total + bias[channel], 0) == pytest.approx(value, abs=1e-3)
    assert f"Row {row + 1}, column {column + 1}" in found.inner_text()
    page.keyboard.press("Escape")

    page.get_by_label(f"Map {channel + 1} of max_pool_1, {model.workflow}").click()
    go_to(page, (14, 14), 5, 6)
    largest = right["conv_2"][0, 10:12, 12:14, channel].max()
    assert float(found.get_attribute("data-sum") or 0) == pytest.approx(largest, abs=1e-3)


def test_sliders_change_what_the_networks_see(open_page, mnist: Data) -> None:
    page = open_page()
    before = mnist.test.images[0, ..., 0]
    wait_until(page, lambda: np.array_equal(seen(page), before))
    page.locator("[name=right]").fill("4")
    wait_until(page, lambda: np.array_equal(seen(page)[:, 4:], before[:, :-4]))
    page.locator("#changes button").click()
    wait_until(page, lambda: np.array_equal(seen(page), before))
    page.locator("[name=turn]").fill("90")
    wait_until(page, lambda: np.array_equal(seen(page), np.rot90(before, -1)))
    page.locator("#changes button").click()
    page.locator("[name=shuffle]").check()
    wait_until(page, lambda: np.array_equal(np.sort(seen(page), None), np.sort(before, None)))
    assert not np.array_equal(seen(page), before)
    playwright.expect(page.locator("#shuffle-note")).to_be_visible()


def test_by_keyboard(open_page, mnist: Data) -> None:
    page = open_page()
    page.locator("#samples button").nth(0).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect_answers(page, "2")
    page.locator(".maps button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator("#detail .sum p").first.wait_for()
    before = page.locator("#detail .sum p").first.inner_text()
    page.keyboard.press("ArrowDown")
    playwright.expect(page.locator("#detail .sum p").first).not_to_have_text(before)
    playwright.expect(page.locator("#detail figcaption").last).to_have_text("Output: map 2")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#detail")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(scheme: str, open_page) -> None:
    page = open_page(**PHONE, color_scheme=scheme)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    draw(page, THREE)
    expect_answers(page, "3")
    page.locator(".maps button").first.click()
    box = page.locator("#detail").bounding_box()
    assert box
    assert box["width"] <= 390
    page.locator("#detail .sum p").first.wait_for()
    assert violations(page) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(", "))) > 382) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["wide", "phone"])
def test_the_page_of_the_api_lists_what_there_is(
    scheme: str, options: dict[str, Any], open_page, server: str
) -> None:
    page = open_page(**options, color_scheme=scheme)
    page.goto(server + "/docs")
    page.locator("#paths section").first.wait_for()
    titles = page.locator("#paths h2").all_inner_texts()
    assert {"POST /predict", "POST /layers", "GET /models", "GET /metrics"} <= set(titles)
    assert f"{server}/predict" in page.locator("pre").first.inner_text()
    assert violations(page) == []
