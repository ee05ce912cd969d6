"""Synthetic pen drawings: digits as strokes of varied width, size, place, slant and polarity.

The skeletons are how people are taught to write, in a box one high, y downwards; several digits
have more than one. Nothing here is fitted to a network.
"""

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

Stroke = list[tuple[float, float]]
SCALE = 3
"""Drawn so much larger and reduced, for smooth edges."""


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Stroke:
    """An elliptic arc about (x, y), in degrees, 0 to the right and 90 below."""
    angles = np.radians(np.linspace(start, end, 24))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


SKELETONS: dict[int, list[list[Stroke]]] = {
    0: [[arc(0.35, 0.5, 0.33, 0.5, -90, 270)], [arc(0.3, 0.5, 0.27, 0.5, -70, 290)]],
    1: [[[(0.3, 0.0), (0.3, 1.0)]], [[(0.1, 0.22), (0.32, 0.0), (0.32, 1.0)]]],
    2: [
        [[*arc(0.33, 0.28, 0.31, 0.28, -170, 30), (0.03, 1.0), (0.68, 1.0)]],
        [[*arc(0.33, 0.27, 0.3, 0.27, -180, 40), (0.05, 0.97), (0.35, 0.93), (0.7, 0.98)]],
    ],
    3: [
        [arc(0.3, 0.26, 0.28, 0.26, -150, 90) + arc(0.3, 0.74, 0.32, 0.26, -90, 150)],
        [arc(0.28, 0.27, 0.3, 0.27, -130, 80) + arc(0.28, 0.74, 0.36, 0.26, -80, 140)],
    ],
    4: [
        [[(0.12, 0.0), (0.06, 0.56), (0.66, 0.56)], [(0.5, 0.1), (0.5, 1.0)]],
        [[(0.45, 0.0), (0.02, 0.66), (0.72, 0.66)], [(0.52, 0.3), (0.52, 1.0)]],
    ],
    5: [
        [[(0.62, 0.0), (0.14, 0.0), (0.1, 0.43), *arc(0.3, 0.68, 0.32, 0.31, -120, 140)]],
        [
            [(0.12, 0.02), (0.12, 0.42), *arc(0.28, 0.69, 0.34, 0.3, -115, 130)],
            [(0.12, 0.02), (0.62, 0.02)],
        ],
    ],
    6: [
        [[(0.5, 0.0), (0.25, 0.25), (0.08, 0.6), *arc(0.34, 0.7, 0.28, 0.29, 180, -180)]],
        [[(0.58, 0.06), (0.3, 0.12), (0.1, 0.45), *arc(0.33, 0.7, 0.26, 0.29, 190, -170)]],
    ],
    7: [
        [[(0.02, 0.02), (0.64, 0.02), (0.26, 1.0)]],
        [[(0.02, 0.05), (0.62, 0.0), (0.3, 1.0)], [(0.2, 0.5), (0.6, 0.48)]],
    ],
    8: [
        [
            arc(0.32, 0.24, 0.24, 0.24, -60, -270)
            + arc(0.32, 0.74, 0.3, 0.26, -90, 270)
            + arc(0.32, 0.24, 0.24, 0.24, 90, -60)
        ],
        [arc(0.32, 0.24, 0.25, 0.24, 0, 360), arc(0.32, 0.74, 0.3, 0.26, 0, 360)],
    ],
    9: [
        [[*arc(0.3, 0.29, 0.27, 0.29, 0, -360), (0.55, 0.6), (0.5, 1.0)]],
        [[*arc(0.3, 0.29, 0.28, 0.29, -20, -360), (0.58, 0.29), (0.57, 1.0)]],
    ],
}


def drawings(count: int, seed: int) -> Iterator[tuple[int, Image.Image]]:
    """So many drawings, each digit as often as any other, with the digit that each is."""
    random = np.random.Generator(np.random.Philox(seed))
    for number in range(count):
        digit = number % 10
        yield digit, draw(digit, random)


def draw(digit: int, random: np.random.Generator) -> Image.Image:
    """One drawing, as on a pad, a phone or paper."""
    skeletons = SKELETONS[digit]
    strokes = skeletons[random.integers(len(skeletons))]
    width, height = random.integers(160, 420, 2)
    size = random.uniform(0.4, 0.85) * min(width, height)
    pen = random.uniform(0.05, 0.14) * size
    slant, turn = random.uniform(-0.1, 0.3), np.radians(random.uniform(-8, 8))
    broad = random.uniform(0.8, 1.15)
    wobble = random.normal(0, 0.012, (2, 3)), random.uniform(0, 2 * np.pi, (2, 3))
    cos, sin = math.cos(turn), math.sin(turn)

    def placed(stroke: Stroke) -> np.ndarray:
        x, y = np.array(stroke).T
        along = 2 * np.pi * np.outer([1, 2, 3], (x + y) / 2)
        x, y = (
            v + (amount[:, None] * np.sin(along + phase[:, None])).sum(axis=0)
            for v, amount, phase in zip((x, y), *wobble, strict=True)
        )
        x = (x - 0.35) * broad + slant * (0.5 - y)
        y = y - 0.5
        return size * np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)

    lines = [placed(stroke) for stroke in strokes]
    low, high = (f(np.concatenate(lines), axis=0) for f in (np.min, np.max))
    room = np.array([width, height]) - (high - low) - 2 * pen
    corner = pen - low + np.maximum(room, 0) * random.uniform(0.1, 0.9, 2)

    paper, ink = (random.integers(225, 256), random.integers(0, 70))
    if random.random() < 0.5:
        paper, ink = ink, paper
    image = Image.new("L", (SCALE * int(width), SCALE * int(height)), int(paper))
    brush = ImageDraw.Draw(image)
    radius = SCALE * pen / 2
    for line in lines:
        points = [tuple(SCALE * (point + corner)) for point in line]
        brush.line(points, int(ink), round(2 * radius), joint="curve")
        for x, y in points:
            brush.ellipse((x - radius, y - radius, x + radius, y + radius), int(ink))
    return image.reduce(SCALE)
