"""``look maps``: every layer's feature maps for one image."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from diptych.activations import layer_outputs
from diptych.layers import Dropout, Flatten
from diptych.look import style
from diptych.look.images import Shown, file_part, for_display, image_for, opened
from diptych.runs import Run

MOST_TILES = 256
"""More maps or filters of a layer than this would be too small to see; the first are shown."""
MOST_CLASSES = 10
CUT = 0.005
"""The share of a layer's largest values that are all shown as the brightest, so that the others do
not drown in the dark."""


def mosaic(tiles: np.ndarray, wide: float = 1.0) -> np.ndarray:
    """Tiles (n, height, width) side by side, row by row, with lines of NaN in between.

    Args:
        wide: about how many times as wide as high the mosaic is to be.
    """
    count, height, width = tiles.shape
    columns = max(1, min(count, round(math.sqrt(count * wide * (height + 1) / (width + 1)))))
    rows = -(-count // columns)
    gap = max(1, round(min(height, width) / 14)) if count > 1 else 0
    made = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        y, x = row * (height + gap), column * (width + gap)
        made[y : y + height, x : x + width] = tile
    return made


@style.styled
def maps(run: Run | str | Path, image: str | Path | np.ndarray) -> style.Picture:
    """Every layer's feature maps for one image, and what the network reads in it.

    Args:
        run: a finished run or its folder.
        image: a picture's file, ``test:N`` for a test image, or pixels in the network's form.

    Raises:
        InputError: the run has no weights yet, or there is no such image.
    """
    run = opened(run)
    shown = image_for(run, image)
    network = run.network
    outputs = layer_outputs(network, run.weights(), shown.pixels[None])
    same = {layer.name for layer in network.layers if isinstance(layer, Dropout | Flatten)}
    output = network.layers[-1].name
    names = [name for name in outputs if name not in same and name not in ("input", output)]
    cells = len(names) + 2
    rows = math.ceil(cells / 5)
    columns = math.ceil(cells / rows)
    class_names = run.description()["data"]["class_names"]
    shares = softmax(outputs[output][0])
    answer = class_names[int(shares.argmax())]
    made = style.figure(0.7 + 2.45 * rows, title_of(shown, answer, float(shares.max())))
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for cell in axes:
        cell.axis("off")
    _image(axes[0], shown)
    for cell, name in zip(axes[1:], names, strict=False):
        _maps(cell, name, outputs[name][0])
    _shares(axes[cells - 1], f"{style.short(output, 14)}: probability", class_names, shares)
    style.footer(
        made,
        f"Each layer from its smallest value (dark) to its largest (bright; the top "
        f"{100 * CUT:g}% alike). Flatten and dropout change no value here.",
    )
    facts = {
        "run": str(run.folder),
        "image": shown.name,
        "label": shown.label,
        "answer": answer,
        "probabilities": dict(zip(class_names, map(float, shares), strict=True)),
        "shapes": {name: list(outputs[name].shape[1:]) for name in outputs},
    }
    return style.Picture(f"maps-{file_part(shown.name)}-{run.name}", made, facts)


def title_of(shown: Shown, answer: str, share: float) -> str:
    label = "" if shown.label is None else f" ({style.short(shown.label, 16)})"
    percent = f"{100 * share:.1f}%"
    name, answer = style.short(shown.name, 32), style.short(answer, 16)
    return f"{name}{label} is classified as {answer}, {percent}"


def _image(axes: Any, shown: Shown) -> None:
    axes.axis("on")
    axes.imshow(for_display(shown.pixels), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    style.bare(axes)
    axes.set_title(f"input\n{style.shape_of(shown.pixels.shape)}")


def _maps(axes: Any, name: str, values: np.ndarray) -> None:
    flat = values.ndim == 1
    tiles = values.reshape(-1, 1, 1) if flat else values.transpose(2, 0, 1)
    few = tiles if flat else tiles[:MOST_TILES]
    if flat:  # A square of units, no lines between them.
        side = math.ceil(math.sqrt(len(values)))
        square = np.full(side * math.ceil(len(values) / side), np.nan)
        square[: len(values)] = values
        pixels = square.reshape(-1, side)
    else:
        pixels = mosaic(few)
    top = float(np.quantile(values, 1 - CUT))
    axes.axis("on")
    axes.imshow(
        pixels,
        cmap=style.SEQUENTIAL,
        vmin=values.min(),
        vmax=top if top > values.min() else None,
        interpolation="nearest",
    )
    style.bare(axes)
    some = f" (first {MOST_TILES})" if len(few) < len(tiles) else ""
    shape = f"{len(values):,} units" if flat else style.shape_of(values.shape) + some
    axes.set_title(f"{style.short(name, 18)}\n{shape}")


def _shares(axes: Any, title: str, class_names: list[str], shares: np.ndarray) -> None:
    """The probabilities as bars, all of them or the largest."""
    if len(shares) <= MOST_CLASSES:
        order = np.arange(len(shares))
    else:
        order = np.argsort(shares)[::-1][:MOST_CLASSES]
    best = int(shares.argmax())
    axes.axis("on")
    axes.barh(
        range(len(order)),
        shares[order],
        color=[style.ORANGE if number == best else style.GREY for number in order],
    )
    axes.set_yticks(range(len(order)), [style.short(class_names[number], 10) for number in order])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1))
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_title(title)
