"""``look filters``: a layer's kernels as they were initialised and as they were learned, and how
far training moved each layer."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych.errors import InputError
from diptych.layers import Conv, Dense, Flatten, Shape
from diptych.look import style
from diptych.look.images import opened
from diptych.look.layers import MOST_TILES, mosaic
from diptych.network import Network, Weights
from diptych.runs import Run

MOST_COLUMNS, MOST_ROWS = 16, 8
"""Filters and input channels of a layer that are shown where it has many channels."""


@dataclass(frozen=True)
class Change:
    """The change of a layer's kernel in training."""

    layer: str
    change: float
    """‖learned − initial‖ / ‖initial‖: 0 if nothing changed; can be more than 1."""
    similarity: float
    """The cosine of the angle between the two: 1 if the learned kernel is the initial one, 0 if
    nothing of it is left."""
    frozen_after: float | None
    """The share of the training's steps after which the recipe froze the layer."""


def initial_weights(run: Run) -> Weights | None:
    """The weights that the run's training started from; None for an imported run, whose training
    is not known."""
    if "imported" in run.description():
        return None
    return run.network.initial_weights(run.seed)


def changes(run: Run) -> list[Change]:
    """The change of each kernel, in the order of the layers; empty for an imported run.

    Raises:
        InputError: the run has no weights yet.
    """
    learned, initial = run.weights(), initial_weights(run)
    if initial is None:
        return []
    frozen = _frozen(run)
    found = []
    for layer in run.network.layers:
        if isinstance(layer, Conv | Dense):
            before, after = (
                weights[f"{layer.name}/kernel"].astype(np.float64).ravel()
                for weights in (initial, learned)
            )
            size, norms = np.linalg.norm(before), np.linalg.norm(before) * np.linalg.norm(after)
            found.append(
                Change(
                    layer.name,
                    float(np.linalg.norm(after - before) / size),
                    float(np.clip(before @ after / norms, -1, 1)) if norms else 0.0,
                    frozen.get(layer.name),
                )
            )
    return found


def _frozen(run: Run) -> dict[str, float]:
    """The convolutions that the recipe freezes, each with its share of the steps."""
    convolutions = [layer.name for layer in run.network.layers if isinstance(layer, Conv)]
    return dict(zip(convolutions, run.recipe.frozen_after, strict=False))


@style.styled
def filters(run: Run | str | Path, layer: str | None = None) -> style.Picture:
    """A layer's kernels, initial and learned: a tile per filter, or the weights of each unit of the
    first dense layer.

    Args:
        run: a finished run or its folder.
        layer: a convolution's name, or the first dense layer's; by default the first layer that
            has kernels.

    Returns:
        The picture; its facts have the `Change` of every layer.

    Raises:
        InputError: the run has no weights yet, or the layer no kernels that can be shown.
    """
    run = opened(run)
    learned = kernels(run.network, run.weights())
    name = next(iter(learned)) if layer is None else layer
    if name not in learned:
        raise InputError(
            f"layer {name!r} of network {run.network.name}: no kernels to show; "
            f"there are those of {', '.join(learned)}"
        )
    initial = initial_weights(run)
    of_layers = changes(run)
    kernel = learned[name]
    panels = [("learned", kernel)]
    if initial is not None:
        change = next(one for one in of_layers if one.layer == name)
        panels = [
            (f"initial, seed {run.seed}", kernels(run.network, initial)[name]),
            (f"learned: {100 * change.change:.0f}% away from the initial ones", kernel),
        ]
    height, width, channels, count = kernel.shape
    rest = f", the first {MOST_TILES}" if count > MOST_TILES else ""
    made = style.figure(
        style.HEIGHT,
        f"{name}: {count:,} filters of {style.shape_of((height, width, channels))}{rest}",
    )
    limit = float(max(np.abs(values).max() for _, values in panels)) or 1.0
    note = ""
    all_axes = made.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, values) in zip(all_axes, panels, strict=True):
        note = _draw(axes, values, limit, 1.9 / len(panels))
        axes.set_title(title)
    if channels != 3:
        made.colorbar(all_axes[-1].images[0], ax=list(all_axes), shrink=0.8, label="weight")
    unknown = "" if initial else " Imported: its initial weights are not known."
    style.footer(made, f"{note} Run {style.short(run.name, 60)}.{unknown}")
    facts = {
        "run": str(run.folder),
        "layer": name,
        "shape": list(kernel.shape),
        "changes": [asdict(one) for one in of_layers],
    }
    return style.Picture(f"filters-{name}-{run.name}", made, facts)


def kernels(network: Network, weights: Weights) -> dict[str, np.ndarray]:
    """The kernels that can be shown, by layer, as (height, width, channels, filters): those of the
    convolutions and of the first dense layer, whose units see the whole image before it."""
    by_layer = {}
    image: Shape = ()
    for layer, before, _ in network.steps():
        match layer:
            case Conv():
                by_layer[layer.name] = weights[f"{layer.name}/kernel"]
            case Flatten() if len(before) == 3:
                image = before
            case Dense():
                if image:
                    units = weights[f"{layer.name}/kernel"]
                    by_layer[layer.name] = units.reshape(*image, layer.units)
                break
    return by_layer


def _draw(axes: Any, kernel: np.ndarray, limit: float, wide: float) -> str:
    """Draws a kernel (height, width, channels, filters); returns an explanation of the tiles."""
    channels = kernel.shape[2]
    if channels == 3:
        axes.imshow(_colours(kernel, limit, wide), interpolation="nearest")
        note = f"Colours: weights from −{limit:.2g} (0) to {limit:.2g} (full); grey: 0."
    else:
        values, note = _tiles(kernel, wide)
        axes.imshow(values, cmap=style.SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    style.bare(axes)
    return note


def _colours(kernel: np.ndarray, limit: float, wide: float) -> np.ndarray:
    """The filters of three channels as colours, as the first layer of a colour network sees
    them."""
    shown = kernel[..., :MOST_TILES]
    parts = [mosaic(shown[:, :, channel].transpose(2, 0, 1), wide) for channel in range(3)]
    return np.nan_to_num(np.stack(parts, axis=-1) / limit / 2 + 0.5, nan=1.0)


def _tiles(kernel: np.ndarray, wide: float) -> tuple[np.ndarray, str]:
    """The filters as one image of weights, and an explanation of its tiles."""
    height, width, channels, count = kernel.shape
    if channels == 1:
        shown = kernel[..., :MOST_TILES]
        return mosaic(shown[:, :, 0].transpose(2, 0, 1), wide), "A tile per filter."
    columns, rows = min(count, MOST_COLUMNS), min(channels, MOST_ROWS)
    tiles = kernel[:, :, :rows, :columns].transpose(2, 3, 0, 1)
    some = [f"first {columns} of {count:,} filters"] if columns < count else []
    some += [f"first {rows} of {channels:,} inputs"] if rows < channels else []
    note = "A column per filter, a row per input channel"
    note += f" ({', '.join(some)})." if some else "."
    return _grid(tiles.reshape(rows * columns, height, width), columns), note


def _grid(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Tiles (n, height, width) in rows of so many, with lines of NaN in between."""
    count, height, width = tiles.shape
    made = np.full(((count // columns) * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        y, x = row * (height + 1), column * (width + 1)
        made[y : y + height, x : x + width] = tile
    return made
