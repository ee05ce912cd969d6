"""``look network``: a network drawn to scale, with shapes and parameters."""

import math
from dataclasses import dataclass, field
from typing import Any, assert_never

from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle

from diptych.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Shape,
)
from diptych.look import style
from diptych.network import Network

A_ROW = 5
"""Most blocks in a row."""
LEFT, TOP, BOTTOM, ROW = 0.15, 0.75, 0.45, 2.4
"""Inches: the margins, and the height of a row."""
SPACE_HIGH, SPACE_WIDE = 1.2, 1.35
"""Inches that the largest block of a row may take."""
LEAST = 0.035
"""Inches of what would be too thin to see."""
SLANT = (0.42, 0.28)
"""The projection of an inch of an image's width on paper: to the right, and up."""
FILLS = {
    "input": style.LIGHT,
    "conv": style.BLUE,
    "pool": style.ORANGE,
    "flatten": style.LIGHT,
    "dense": style.GREEN,
}


@dataclass
class Block:
    """A layer that makes something of another shape, and those after it that leave the shape."""

    name: str
    kind: str
    does: str
    shape: Shape
    parameters: int = 0
    then: list[str] = field(default_factory=list)


@style.styled
def network(network: Network | str = "article") -> style.Picture:
    """The architecture, to scale: image sides, channels and units each to a scale of their own.

    Args:
        network: a network, its name in the zoo, or a TOML file.

    Raises:
        InputError: there is no such network.
    """
    if not isinstance(network, Network):
        network = Network.load(network)
    blocks = _blocks(network)
    rows = math.ceil(len(blocks) / A_ROW)
    a_row = math.ceil(len(blocks) / rows)
    height = TOP + rows * ROW + BOTTOM
    made = style.Figure(figsize=(style.WIDTH, height))
    axes = made.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, style.WIDTH), ylim=(0, height), aspect="equal")
    axes.axis("off")
    work = sum(row.multiply_adds for row in network.summary())
    axes.text(
        LEFT,
        height - 0.38,
        f"Network {style.short(network.name, 44)}: {network.parameters:,} parameters",
        size=style.LARGE,
        weight="bold",
        va="center",
    )
    axes.text(
        LEFT,
        0.2,
        f"{_rounded(work)} multiply-adds an image. To scale, each to its own: image sides, "
        "channels (along the page), units (columns).",
        size=style.SMALL,
        color=style.GREY,
        va="center",
    )
    scale = _Scale(blocks)
    cell = (style.WIDTH - 2 * LEFT) / a_row
    for number, block in enumerate(blocks):
        row, column = divmod(number, a_row)
        x, y = LEFT + (column + 0.5) * cell, height - TOP - row * ROW
        _draw(axes, scale, block, x, y, cell)
        if number + 1 < len(blocks):
            _arrow(axes, x + cell / 2, y - 0.1 - SPACE_HIGH / 2)
    facts = {
        "network": network.to_dict(),
        "parameters": network.parameters,
        "multiply_adds": work,
    }
    return style.Picture(f"network-{network.name}", made, facts)


def _blocks(network: Network) -> list[Block]:
    blocks = [Block("input", "input", "pixels in [0, 1]", network.input_shape)]
    parameters = {row.name: row.parameters for row in network.summary()}
    for layer, _, after in network.steps():
        match layer:
            case Dropout():
                blocks[-1].then.append(f"dropout {layer.rate:.3g}")
            case BatchNorm():
                blocks[-1].then.append("batch norm")
                blocks[-1].parameters += parameters[layer.name]
            case Activate():
                blocks[-1].then.append(_activation(layer))
            case _:
                kind, does = _kind(layer)
                blocks.append(Block(layer.name, kind, does, after, parameters[layer.name]))
    return blocks


def _kind(layer: Conv | MaxPool | AveragePool | Dense | Flatten) -> tuple[str, str]:
    """The sort of block, and what the layer does in a few words."""
    match layer:
        case Conv():
            step = "" if layer.stride == (1, 1) else f"/{style.shape_of(layer.stride)}"
            words = [f"conv {style.shape_of(layer.kernel)}{step}", layer.padding]
            return "conv", ", ".join([*words, *_words(layer)])
        case MaxPool() | AveragePool():
            step = "" if layer.steps == layer.size else f"/{style.shape_of(layer.steps)}"
            name = "max" if isinstance(layer, MaxPool) else "average"
            return "pool", f"{name} pool {style.shape_of(layer.size)}{step}, {layer.padding}"
        case Dense():
            return "dense", ", ".join(["dense", *_words(layer)])
        case Flatten():
            return "flatten", "flatten"
        case _:
            assert_never(layer)


def _words(layer: Conv | Dense) -> list[str]:
    return [] if layer.activation == "linear" else [_activation(layer)]


def _activation(layer: Conv | Dense | Activate) -> str:
    return layer.activation if layer.slope is None else f"leaky_relu {layer.slope:g}"


class _Scale:
    """Inches of a pixel, a channel and a unit, so that the largest block just fits."""

    def __init__(self, blocks: list[Block]) -> None:
        images = [block.shape for block in blocks if len(block.shape) == 3]
        flat = [block.shape[0] for block in blocks if len(block.shape) == 1]
        self.pixel = min(
            min(SPACE_HIGH / (h + w * SLANT[1]), 0.6 * SPACE_WIDE / (w * SLANT[0]))
            for h, w, _ in images
        )
        self.channel = min((SPACE_WIDE - w * SLANT[0] * self.pixel) / c for _, w, c in images)
        self.unit = SPACE_HIGH / max(flat)


def _draw(axes: Any, scale: _Scale, block: Block, x: float, top: float, cell: float) -> None:
    """One block in the cell that has its middle at x, and what is to be said of it below."""
    fill, middle = FILLS[block.kind], top - 0.1 - SPACE_HIGH / 2
    edge = {"edgecolor": style.BLACK, "linewidth": 0.8}
    if len(block.shape) == 3:
        height, width, channels = block.shape
        tall, long = max(height * scale.pixel, LEAST), max(channels * scale.channel, LEAST)
        right, up = width * scale.pixel * SLANT[0], width * scale.pixel * SLANT[1]
        x0, y0 = x - (long + right) / 2, middle - (tall + up) / 2
        x1, y1 = x0 + long, y0 + tall
        top_side = [(x0, y1), (x0 + right, y1 + up), (x1 + right, y1 + up), (x1, y1)]
        far_side = [(x1, y0), (x1, y1), (x1 + right, y1 + up), (x1 + right, y0 + up)]
        axes.add_patch(Rectangle((x0, y0), long, tall, facecolor=fill, alpha=0.9, **edge))
        axes.add_patch(Polygon(top_side, facecolor=fill, alpha=0.45, **edge))
        axes.add_patch(Polygon(far_side, facecolor=fill, alpha=0.65, **edge))
    else:
        tall = max(block.shape[0] * scale.unit, LEAST)
        wide = 0.12
        corner = (x - wide / 2, middle - tall / 2)
        axes.add_patch(Rectangle(corner, wide, tall, facecolor=fill, alpha=0.9, **edge))
    letters = int(cell / 0.092)
    lines = [
        (style.short(block.name, letters), style.TEXT, "bold", style.BLACK),
        (style.shape_of(block.shape), style.TEXT, "normal", style.BLACK),
        (style.short(block.does, letters), style.SMALL, "normal", style.GREY),
    ]
    if block.parameters:
        words = f"{block.parameters:,} parameters"
        lines.append((words, style.SMALL, "normal", style.GREY))
    if block.then:
        words = style.short("then " + ", ".join(block.then), letters)
        lines.append((words, style.SMALL, "normal", style.GREY))
    for number, (words, size, weight, colour) in enumerate(lines):
        y = top - 0.12 - SPACE_HIGH - 0.12 - 0.195 * number
        axes.text(x, y, words, size=size, weight=weight, color=colour, ha="center", va="center")


def _arrow(axes: Any, x: float, y: float) -> None:
    arrow = FancyArrowPatch(
        (x - 0.13, y), (x + 0.13, y), arrowstyle="-|>", mutation_scale=13, color=style.GREY
    )
    axes.add_patch(arrow)


def _rounded(count: int) -> str:
    """``35.2 million``."""
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {word}"
    return f"{count:,}"
