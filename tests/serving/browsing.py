"""Fixtures of tests of the page in a browser."""

import math
import shutil
from collections.abc import Callable

import numpy as np
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page  # noqa: E402

playwright.expect.set_options(timeout=30_000)
"""In milliseconds: a busy machine's page answers late, and is no fault of the page."""

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""Chromium's own download is not needed: the system's is driven."""
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

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
    playwright.expect(page.locator(".answer")).to_have_text([digit, digit])


def seen(page: Page) -> np.ndarray:
    """The image that the page shows as the networks see it: (28, 28)."""
    pixels = page.locator("#seen").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    return np.array(pixels).reshape(28, 28, 4)[..., 0]


def go_to(page: Page, size: tuple[int, int], row: int, column: int) -> None:
    """Points at a pixel of the enlarged output in the dialog."""
    canvas = page.locator("#detail canvas.output")
    canvas.wait_for(state="visible")
    box = canvas.bounding_box()
    assert box
    y = box["y"] + box["height"] * (row + 0.5) / size[0]
    x = box["x"] + box["width"] * (column + 0.5) / size[1]
    page.mouse.move(x, y)
    playwright.expect(page.locator("#detail .sum p").first).to_contain_text(f"Row {row + 1}, ")


def wait_until(page: Page, true: Callable[[], bool]) -> None:
    for _ in range(300):
        if true():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come about")
