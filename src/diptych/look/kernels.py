"""``look edges``: a picture before and after a kernel, the article's or another by its name."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.data.pictures import BLACK, WHITE, plain, read_images, to_array, to_bytes
from diptych.errors import InputError
from diptych.look import style
from diptych.look.images import file_part, for_display

LONGEST_SIDE = 800
"""Pixels; larger pictures are scaled down first, since a kernel sees three pixels at a time."""


@dataclass(frozen=True)
class Kernel:
    """A 3×3 kernel and how its sums are shown."""

    values: tuple[tuple[float, ...], ...]
    does: str
    zero: float = BLACK
    """The grey that a sum of zero is shown as."""

    @property
    def array(self) -> np.ndarray:
        return np.array(self.values, np.float32)


KERNELS = {
    "edges": Kernel(((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)), "edges, as in the article"),
    "laplace": Kernel(((0, -1, 0), (-1, 4, -1), (0, -1, 0)), "edges, by four neighbours"),
    "sobel-x": Kernel(((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), "upright edges", 128),
    "sobel-y": Kernel(((-1, -2, -1), (0, 0, 0), (1, 2, 1)), "level edges", 128),
    "emboss": Kernel(((-2, -1, 0), (-1, 1, 1), (0, 1, 2)), "relief"),
    "sharpen": Kernel(((0, -1, 0), (-1, 5, -1), (0, -1, 0)), "sharper"),
    "blur": Kernel(((1 / 9,) * 3,) * 3, "the mean of nine pixels"),
    "identity": Kernel(((0, 0, 0), (0, 1, 0), (0, 0, 0)), "the same again"),
}
"""The kernels that have a name."""
ALL = [name for name in KERNELS if name != "identity"]


def filtered(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The sums of a kernel at each pixel, each channel by itself; the picture's edge goes on.

    Args:
        pixels: (height, width, channels).
        kernel: (rows, columns), both odd.

    Returns:
        float32 of the pixels' shape. As in convolution layers, the kernel is not turned around.
    """
    rows, columns = kernel.shape
    height, width, _ = pixels.shape
    padding = ((rows // 2,) * 2, (columns // 2,) * 2, (0, 0))
    padded = np.pad(pixels.astype(np.float32), padding, mode="edge")
    sums = np.zeros(pixels.shape, np.float32)
    for row, column in np.ndindex(rows, columns):
        sums += kernel[row, column] * padded[row : row + height, column : column + width]
    return sums


@style.styled
def edges(image: str | Path, kernels: Sequence[str] = ("edges",)) -> style.Picture:
    """A picture, each kernel's numbers, and what the kernel makes of the picture.

    Args:
        image: the picture's file, or ``-`` for standard input.
        kernels: names from `KERNELS`; ``all`` for all that change anything.

    Raises:
        InputError: no such picture, or no such kernel.
    """
    names = ALL if "all" in kernels else list(dict.fromkeys(kernels))
    for name in names:
        if name not in KERNELS:
            close = difflib.get_close_matches(name, KERNELS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KERNELS)}, all"
            raise InputError(f"kernel {name!r}: no such kernel ({hint})")
    if not names:
        raise InputError(f"kernels: none given, expected some of {', '.join(KERNELS)}")
    if Path(image).is_dir():
        raise InputError(f"{image} is a folder, expected one picture")
    [(given, opened)] = read_images([image])
    picture = plain(opened)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = to_array(picture, 1 if picture.mode in ("L", "LA", "F") else 3)
    title = "standard input" if given == "-" else Path(given).name

    if len(names) == 1:
        made = style.figure(4.6, f"{style.short(title, 40)}: {KERNELS[names[0]].does}")
        before, between, after = made.subplots(1, 3, width_ratios=(1, 0.45, 1))
        _show(before, pixels, "before")
        _numbers(between, names[0])
        _show(after, _shown(pixels, names[0]), "after")
    else:
        columns = min(4, len(names) + 1)
        rows = -(-(len(names) + 1) // columns)
        made = style.figure(0.6 + 2.75 * rows, style.short(title, 60))
        cells = made.subplots(rows, columns, squeeze=False).ravel()
        for cell in cells:
            cell.axis("off")
        _show(cells[0], pixels, "before")
        for cell, name in zip(cells[1:], names, strict=False):
            _show(cell, _shown(pixels, name), f"{name}\n{KERNELS[name].does}")
    grey = any(KERNELS[name].zero for name in names)
    style.footer(
        made,
        "Sums below 0 are black and above 255 white"
        + ("; with sobel, 0 is grey and sums are halved." if grey else "."),
    )
    facts = {"image": given, "kernels": {name: KERNELS[name].values for name in names}}
    what = names[0] if len(names) == 1 else "kernels"
    return style.Picture(f"{what}-{file_part(Path(title).stem)}", made, facts)


def _shown(pixels: np.ndarray, name: str) -> np.ndarray:
    kernel = KERNELS[name]
    sums = filtered(pixels, kernel.array)
    return kernel.zero + sums / 2 if kernel.zero else sums


def _show(axes, pixels: np.ndarray, title: str) -> None:
    small = max(pixels.shape) < 200
    axes.imshow(
        for_display(to_bytes(pixels)),
        cmap="gray",
        vmin=BLACK,
        vmax=WHITE,
        interpolation="nearest" if small else "antialiased",
    )
    axes.axis("on")
    style.bare(axes)
    axes.set_title(title)


def _numbers(axes, name: str) -> None:
    """The kernel itself, as a table of its numbers."""
    values = KERNELS[name].array
    limit = np.abs(values).max()
    axes.imshow(values, cmap=style.SIGNED, vmin=-limit * 1.6, vmax=limit * 1.6)
    for (row, column), value in np.ndenumerate(values):
        words = f"{value:.2g}".replace("-", "−")
        axes.text(column, row, words, ha="center", va="center", size=style.LARGE)
    style.bare(axes)
    axes.set_title(f"kernel {name}")
