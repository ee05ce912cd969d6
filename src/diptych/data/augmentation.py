"""New images from old ones: moved, turned, stretched and bent, as pens and hands do.

Pure functions of images and random numbers; which numbers an image gets is for `batches` to say.
"""

from functools import cache

import numpy as np

from diptych.recipe import Recipe

KNOTS = 7
"""Control points of the elastic field along each side: about one every four pixels of MNIST."""


def shifted(
    images: np.ndarray,
    offsets: np.ndarray,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> np.ndarray:
    """Moves each image by its own offset and fills with zeros.

    Args:
        images: (n, height, width, channels).
        offsets: integers (n, 2): pixels down and pixels to the right.
        window: the rows and columns of the new images that are made; all, if not given.
    """
    count, height, width, _ = images.shape
    reach = int(np.abs(offsets).max(initial=0))
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    rows = np.arange(height)[window[0]] + reach - offsets[:, :1]
    columns = np.arange(width)[window[1]] + reach - offsets[:, 1:]
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def warps(recipe: Recipe) -> bool:
    """True if the recipe asks for more than whole-pixel shifts."""
    return bool(recipe.rotation or recipe.scaling or recipe.shear or recipe.elastic)


def warp_field(
    recipe: Recipe,
    offsets: np.ndarray,
    size: tuple[int, int],
    random: np.random.Generator,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> np.ndarray:
    """The source of each pixel of each new image, in pixels of the old one.

    A rotation, a scaling along each axis, a shear and a shift about the centre, plus an elastic
    field (Simard, Steinkraus & Platt, 2003): normal displacements of `KNOTS` × `KNOTS` control
    points, joined by uniform cubic B-splines.

    Args:
        recipe: ``rotation``, ``scaling`` and ``shear`` bound what is drawn, ``elastic`` is the
            standard deviation of the displacements.
        offsets: (n, 2): pixels down and pixels to the right.
        size: height and width.
        random: where the draws come from.
        window: the rows and columns of the new images that are made; all, if not given.

    Returns:
        float32 (2, n, height, width): rows, then columns.
    """
    count = len(offsets)
    angle = np.deg2rad(random.uniform(-recipe.rotation, recipe.rotation, count))
    reach = np.log1p(recipe.scaling)
    shrink = np.exp(random.uniform(-reach, reach, (2, count)))
    slant = random.uniform(-recipe.shear, recipe.shear, count)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin + slant * cos, cos - slant * sin]]) * shrink[:, None]
    middle = [(length - 1) / 2 for length in size]
    rows, columns = (
        (np.arange(length, dtype=np.float32) - centre)[part]
        for length, centre, part in zip(size, middle, window, strict=True)
    )
    down, right = turn.astype(np.float32)[..., None, None].swapaxes(0, 1)
    start = (np.array(middle)[:, None] - offsets.T).astype(np.float32)[..., None, None]
    field = down * rows[:, None] + right * columns + start
    if recipe.elastic:
        points = random.standard_normal((2, count, KNOTS, KNOTS), np.float32)
        down, across = (_splines(n)[part] for n, part in zip(size, window, strict=True))
        field += down @ (points * np.float32(recipe.elastic)) @ across.T
    return field


def warped(images: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Samples each image where its field says, bilinearly; beyond the edge everything is zero.

    Args:
        images: uint8 (n, height, width, channels).
        field: (2, n, rows, columns), as `warp_field` gives it.

    Returns:
        uint8 (n, rows, columns, channels), rounded.
    """
    count, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2), (0, 0)))
    stride = width + 3
    row, column = (
        np.clip(axis + 1, 0, length + 1)
        for axis, length in zip(field, (height, width), strict=True)
    )
    top, left = row.astype(np.int64), column.astype(np.int64)
    below, beside = (row - top)[..., None], (column - left)[..., None]
    corner = np.arange(count)[:, None, None] * ((height + 3) * stride) + top * stride + left
    pixels = padded.reshape(-1, channels)
    upper, lower = (
        first + (pixels[at + 1] - first) * beside
        for at in (corner, corner + stride)
        for first in [pixels[at].astype(np.float32)]
    )
    return (upper + (lower - upper) * below + np.float32(0.5)).astype(np.uint8)


@cache
def _splines(length: int) -> np.ndarray:
    """Uniform cubic B-splines over ``length`` pixels: float32 (length, `KNOTS`); rows sum to 1."""
    from scipy.interpolate import BSpline

    inner = KNOTS - 3
    at = np.linspace(0, inner, length)
    basis = BSpline.design_matrix(at, np.arange(-3.0, inner + 4), 3).toarray()
    return basis.astype(np.float32)
