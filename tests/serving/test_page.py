"""The page in a real Chromium: drawn on, dropped on, looked into, on a phone, by keyboard."""

import math
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page  # noqa: E402
from serving_support import png_of_a_drawing  # noqa: E402

from diptych.activations import layer_outputs  # noqa: E402
from diptych.data import Data  # noqa: E402
from diptych.serving.models import Model  # noqa: E402

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")
"""Chromium's own download is not needed: the system's is driven."""

THREE = [
    *(
        (0.5 + 0.17 * math.cos(a), 0.33 + 0.15 * math.sin(a))
        for a in np.radians(range(-140, 91, 10))
    ),
    *(
        (0.5 + 0.2 * math.cos(a), 0.66 + 0.18 * math.sin(a))
        for a in np.radians(range(-80, 141, 10))
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as started:
        # Chromium's own sandbox does not run as root, as tests in containers do.
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server: str) -> Iterator[Callable[..., Page]]:
    """Opens the page, and afterwards holds that nothing was logged and no other host asked."""
    contexts, problems, asked = [], [], []

    def note(message: str) -> None:
        if "willReadFrequently" not in message:  # It is the tests that read pixels back.
            problems.append(message)

    def open_one(**options: object) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: note(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server)
        page.wait_for_selector(".answer[data-share]")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert problems == []
    elsewhere = [url for url in asked if not url.startswith((server + "/", "blob:", "data:"))]
    assert elsewhere == []
    assert asked


def draw(page: Page, points: list[tuple[float, float]]) -> None:
    box = page.locator("#pad").bounding_box()
    assert box
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places:
        page.mouse.move(*place)
    page.mouse.up()


def answers(page: Page) -> list[str]:
    return page.locator(".answer").all_text_contents()


def expect_answers(page: Page, digit: str) -> None:
    playwright.expect(page.locator(".answer")).to_have_text([digit, digit], timeout=20_000)


def seen(page: Page) -> np.ndarray:
    """What the page shows of what the networks see: (28, 28)."""
    pixels = page.locator("#seen").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    return np.array(pixels).reshape(28, 28, 4)[..., 0]


def test_both_networks_read_a_drawn_three(open_page) -> None:
    page = open_page()
    draw(page, THREE)
    expect_answers(page, "3")
    assert page.locator(".bars li.chosen .class").all_text_contents() == ["3", "3"]
    assert seen(page).max() == 255
    page.locator("#clear").click()
    assert page.locator("#pad-hint").is_visible()


def test_a_dropped_picture_is_read(open_page) -> None:
    page = open_page()
    transfer = page.evaluate_handle(
        """bytes => { const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'seven.png', {type: 'image/png'}));
            return data; }""",
        list(png_of_a_drawing(7)),
    )
    page.dispatch_event("#pad", "drop", {"dataTransfer": transfer})
    # The test image that the page begins with is a seven as well.
    transfer_two = page.evaluate_handle(
        """bytes => { const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'two.png', {type: 'image/png'}));
            return data; }""",
        list(png_of_a_drawing(2)),
    )
    page.dispatch_event("#pad", "drop", {"dataTransfer": transfer_two})
    expect_answers(page, "2")


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
    found = page.locator("#detail-sum")
    assert float(found.get_attribute("data-sum") or 0) == pytest.approx(total, abs=1e-3)
    assert float(found.get_attribute("data-bias") or 0) == pytest.approx(bias[channel], abs=1e-6)
    value = right["conv_2"][0, row, column, channel]
    assert float(found.get_attribute("data-value") or 0) == pytest.approx(value, abs=1e-3)
    assert max(total + bias[channel], 0) == pytest.approx(value, abs=1e-3)
    assert f"row {row + 1}, column {column + 1}" in found.inner_text()
    page.keyboard.press("Escape")

    page.get_by_label(f"Map {channel + 1} of max_pool_1, {model.workflow}").click()
    go_to(page, (14, 14), 5, 6)
    largest = right["conv_2"][0, 10:12, 12:14, channel].max()
    assert float(found.get_attribute("data-sum") or 0) == pytest.approx(largest, abs=1e-3)


def go_to(page: Page, size: tuple[int, int], row: int, column: int) -> None:
    """Points at a pixel of the enlarged map."""
    canvas = page.locator("#detail-map")
    canvas.wait_for(state="visible")
    box = canvas.bounding_box()
    assert box
    y = box["y"] + box["height"] * (row + 0.5) / size[0]
    x = box["x"] + box["width"] * (column + 0.5) / size[1]
    page.mouse.move(x, y)
    playwright.expect(page.locator("#detail-sum p").first).to_contain_text(f"row {row + 1}, ")


def test_sliders_change_what_the_networks_see(open_page, mnist: Data) -> None:
    page = open_page()
    before = mnist.test.images[0, ..., 0]
    assert np.array_equal(seen(page), before)
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
    assert page.locator("#shuffle-note").is_visible()


def wait_until(page: Page, true: Callable[[], bool]) -> None:
    for _ in range(100):
        if true():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come about")


def test_by_keyboard(open_page, mnist: Data) -> None:
    page = open_page()
    page.locator("#samples button").nth(0).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect_answers(page, "2")
    page.locator(".maps button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator("#detail-map").wait_for(state="visible")
    before = page.locator("#detail-sum p").first.inner_text()
    page.keyboard.press("ArrowDown")
    assert page.locator("#detail-sum p").first.inner_text() != before
    assert "map 2" in page.locator("#detail-title").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(scheme: str, open_page) -> None:
    page = open_page(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, color_scheme=scheme
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    draw(page, THREE)
    expect_answers(page, "3")
    page.locator(".maps button").first.click()
    box = page.locator("#detail").bounding_box()
    assert box
    assert box["width"] <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(", "))) > 382) == (scheme == "light")


def test_the_documentation_lists_what_there_is(open_page, server: str) -> None:
    page = open_page()
    page.goto(server + "/docs")
    page.locator("#paths section").first.wait_for()
    titles = page.locator("#paths h2").all_inner_texts()
    assert {"POST /predict", "POST /layers", "GET /models", "GET /metrics"} <= set(titles)
