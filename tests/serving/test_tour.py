"""The guided tour in a real Chromium, held to the NumPy reference at each step."""

import json

import numpy as np
import pytest
from browsing import PHONE, needs_chromium, playwright, wait_until
from playwright.sync_api import Page
from scipy import special

from diptych.activations import layer_outputs
from diptych.data import Data
from diptych.serving.models import Model
from support import violations

pytestmark = needs_chromium

STEPS = (
    *("pixels", "conv_1", "relu", "conv_2", "relu", "max_pool_1", "dropout_1", "conv_3", "relu"),
    *("conv_4", "relu", "max_pool_2", "dropout_2", "flatten_1", "dense_1", "relu", "dropout_3"),
    *("output", "softmax"),
)
SAMPLE, OTHER = 1, 3


@pytest.fixture
def expected(models: list[Model], mnist: Data) -> dict[str, np.ndarray]:
    """The output of each layer of the first network for the image."""
    image = mnist.test.images[SAMPLE][None]
    return {
        name: output[0]
        for name, output in layer_outputs(models[0].network, models[0].weights, image).items()
    }


@pytest.fixture
def tour(open_page, server: str) -> Page:
    page = open_page(f"{server}/#tour")
    page.locator("#samples button").nth(SAMPLE).click()
    playwright.expect(page.locator(".answer").first).to_have_text("2")
    return page


def go(page: Page, step: str, at: int = 0) -> None:
    """Goes to a step by its link; `at` counts those of one name."""
    page.locator("#tour ol a").get_by_text(step, exact=True).nth(at).click()
    playwright.expect(page.locator("#tour ol [aria-current]")).to_have_text(step)
    page.locator("#tour .sum > *").first.wait_for()


def shown(page: Page, name: str) -> float:
    return float(page.locator("#tour .sum").get_attribute(f"data-{name}") or "nan")


def point(page: Page, canvas: str, size: tuple[int, int], row: int, column: int) -> None:
    place = page.locator(f"#tour {canvas}")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box
    page.mouse.move(
        box["x"] + box["width"] * (column + 0.5) / size[1],
        box["y"] + box["height"] * (row + 0.5) / size[0],
    )


def choose(page: Page, number: int) -> None:
    """The map or unit of that number, counted from 0."""
    field = page.locator("#tour .chooser input")
    field.fill(str(number + 1))
    field.press("Enter")


def test_every_step_has_its_words(tour: Page) -> None:
    assert tuple(tour.locator("#tour ol a").all_inner_texts()) == STEPS
    words = []
    for number in range(len(STEPS)):
        title = tour.locator("#tour-title")
        playwright.expect(title).to_contain_text(f"{number + 1}. ")
        words.append(tour.locator("#tour .words").inner_text())
        tour.locator("#tour .sum > *").first.wait_for()
        if number + 1 < len(STEPS):
            tour.locator("#tour .next").click()
    assert tour.locator("#tour .next").is_disabled()
    assert all(text.endswith(".") for text in words)
    assert "64 × (3×3×1 weights + 1 bias) = 640 parameters, 0.1%" in words[1]
    assert "256 × (1,568 weights + 1 bias) = 401,664 parameters, 86%" in words[14]
    tour.go_back()
    playwright.expect(tour.locator("#tour-title")).to_contain_text("18. ")


def test_pixels_and_a_convolution(tour: Page, expected, models: list[Model], mnist: Data) -> None:
    """The window is drawn where it is, and the products are what is added up."""
    row, column, channel = 9, 12, 5
    go(tour, "pixels")
    point(tour, "canvas", (28, 28), row, column)
    image = mnist.test.images[SAMPLE, ..., 0]
    playwright.expect(tour.locator("#tour .sum .chosen")).to_have_text(str(image[row, column]))
    assert shown(tour, "value") == pytest.approx(image[row, column] / 255, abs=1e-6)

    go(tour, "conv_1")
    choose(tour, channel)
    point(tour, "canvas.output", (28, 28), row, column)
    kernel, bias = (models[0].weights[f"conv_1/{name}"] for name in ("kernel", "bias"))
    patch = expected["input"][row - 1 : row + 2, column - 1 : column + 2, 0]
    total = float((patch * kernel[..., 0, channel]).sum())
    wait_until(tour, lambda: abs(shown(tour, "sum") - total) < 1e-4)
    assert shown(tour, "bias") == pytest.approx(bias[channel], abs=1e-6)
    assert shown(tour, "value") == pytest.approx(total + bias[channel], abs=1e-4)
    cells = tour.locator("#tour .products td").all_inner_texts()
    factors = [cell.replace("−", "-").replace("\n", " ").split() for cell in cells]
    values = [float(cell[0]) for cell in factors]
    assert values == pytest.approx(patch.ravel(), abs=6e-4)
    assert [float(cell[2]) for cell in factors] == pytest.approx(
        kernel[..., 0, channel].ravel(), abs=6e-4
    )
    assert sum(float(cell[4]) for cell in factors) == pytest.approx(total, abs=6e-3)
    # One pixel of padding on each side: the canvas shows 30 × 30.
    corner = """([row, column]) => { const canvas = document.querySelector('#tour canvas.enlarged');
        const zoom = canvas.width / 30;
        const at = [column * zoom - 1, row * zoom - 1];
        return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3); }"""
    wait_until(tour, lambda: tour.evaluate(corner, [row, column]) == [255, 255, 255])


def test_relu_and_pooling(tour: Page, expected, models: list[Model]) -> None:
    channel = 5
    kernel, bias = (models[0].weights[f"conv_2/{name}"] for name in ("kernel", "bias"))
    row, column = np.argwhere(expected["conv_2"][..., channel] == 0)[200]
    around = np.pad(expected["conv_1"], ((1, 1), (1, 1), (0, 0)))[
        row : row + 3, column : column + 3
    ]
    total = float((around * kernel[..., channel]).sum() + bias[channel])
    assert total < 0
    go(tour, "relu", 1)
    choose(tour, channel)
    point(tour, "canvas.output", (28, 28), row, column)
    wait_until(tour, lambda: abs(shown(tour, "before") - total) < 1e-3)
    assert shown(tour, "value") == 0

    go(tour, "max_pool_1")
    choose(tour, channel)
    point(tour, "canvas.output", (14, 14), 5, 6)
    largest = expected["conv_2"][10:12, 12:14, channel].max()
    wait_until(tour, lambda: abs(shown(tour, "value") - largest) < 1e-3)
    playwright.expect(tour.locator("#tour .products .chosen").first).to_be_visible()


def test_flatten_dense_and_softmax(tour: Page, expected, models: list[Model]) -> None:
    go(tour, "flatten_1")
    choose(tour, 5)
    point(tour, "canvas >> nth=0", (7, 7), 3, 2)
    wait_until(tour, lambda: shown(tour, "index") == (3 * 7 + 2) * 32 + 5)
    assert shown(tour, "value") == pytest.approx(expected["max_pool_2"][3, 2, 5], abs=1e-3)

    for step, unit, before in (("dense_1", 100, "flatten_1"), ("output", 2, "dense_1")):
        go(tour, step)
        choose(tour, unit)
        kernel, bias = (
            models[0].weights[f"{step}/{name}"][..., unit] for name in ("kernel", "bias")
        )
        products = expected[before] * kernel
        wait_until(tour, lambda: abs(shown(tour, "sum") - products.sum()) < 1e-3)  # noqa: B023
        assert shown(tour, "value") == pytest.approx(products.sum() + bias, abs=1e-3)
        first = tour.locator("#tour .shares tr").nth(1).locator("td").last.inner_text()
        strongest = products[np.abs(products).argmax()]
        assert float(first.replace("−", "-")) == pytest.approx(strongest, abs=2e-3)

    go(tour, "softmax")
    wait_until(tour, lambda: tour.locator("#tour .sum").get_attribute("data-shares") is not None)
    shares = json.loads(tour.locator("#tour .sum").get_attribute("data-shares") or "[]")
    assert shares == pytest.approx(special.softmax(expected["output"]), abs=1e-5)


def test_the_window_slides_and_the_tour_follows_the_image(tour: Page) -> None:
    go(tour, "conv_1")
    play = tour.locator("#tour .play")
    before = tour.locator("#tour .sum p").first.inner_text()
    play.click()
    playwright.expect(play).to_have_text("Stop")
    wait_until(tour, lambda: tour.locator("#tour .sum p").first.inner_text() != before)
    place = tour.locator("#tour .sum p").first.inner_text()
    wait_until(tour, lambda: tour.locator("#tour .sum p").first.inner_text() != place)
    hidden = """canvas => [...canvas.getContext('2d').getImageData(
        canvas.width - 2, canvas.height - 2, 1, 1).data].slice(0, 3)"""
    assert tour.locator("#tour canvas.output").evaluate(hidden) == [140, 140, 140]  # Not yet there.
    play.click()
    playwright.expect(play).to_have_text("Slide the window")
    point(tour, "canvas.output", (28, 28), 14, 14)  # The other image is a zero: nothing is there.
    value = shown(tour, "value")
    tour.locator("#samples button").nth(OTHER).click()
    wait_until(tour, lambda: shown(tour, "value") != value)
    tour.locator("#clear").click()
    playwright.expect(tour.locator("#tour .sum")).to_have_count(0)
    tour.locator(".overview").click()
    playwright.expect(tour.locator("#tour")).to_be_hidden()
    playwright.expect(tour.locator("#layers")).to_be_visible()


def test_a_click_on_a_flat_layer_opens_it(open_page, models: list[Model]) -> None:
    page = open_page()
    page.get_by_label(f"values of dense_1, {models[1].workflow}").click()
    playwright.expect(page.locator("#detail-title")).to_contain_text("dense_1")
    playwright.expect(page.locator("#detail .shares tr").nth(5)).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".why").first.click()
    playwright.expect(page.locator("#detail-title")).to_have_text("Softmax (tensorflow)")
    playwright.expect(page.locator("#detail meter")).to_have_count(10)


@pytest.mark.parametrize("options", [{}, PHONE, {"color_scheme": "dark"}])
def test_the_tour_is_accessible(options: dict, open_page, server: str) -> None:
    page = open_page(f"{server}/#tour", **options)
    for step in ("pixels", "conv_2", "max_pool_1", "flatten_1", "output", "softmax"):
        go(page, step)
        assert violations(page) == [], step
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
