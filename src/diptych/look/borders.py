"""``look padding``: the two kinds of padding drawn, same against valid."""

from typing import Any

from matplotlib.patches import Rectangle

from diptych.errors import InputError
from diptych.layers import Conv, Padding
from diptych.look import style

LARGEST = 12
"""Pixels a side that can still be seen one by one."""


@style.styled
def padding(size: int = 6, kernel: int = 3, stride: int = 1) -> style.Picture:
    """The positions of a window on an image, with padding same and with padding valid.

    Args:
        size: the image's height and width, in pixels.
        kernel: the window's height and width.
        stride: how far the window moves at a time.

    Raises:
        InputError: too large to be drawn, or the window is larger than the image.
    """
    for name, value in (("size", size), ("kernel", kernel), ("stride", stride)):
        if not 1 <= value <= LARGEST:
            raise InputError(f"{name} {value}: expected a number of pixels from 1 to {LARGEST}")
    if kernel > size:
        raise InputError(f"kernel {kernel}: larger than the image of {size}×{size} pixels")
    made = style.figure(
        style.HEIGHT, f"A {kernel}×{kernel} window, stride {stride}, on {size}×{size} pixels"
    )
    facts = {"size": size, "kernel": kernel, "stride": stride, "outputs": {}, "pads": {}}
    layers = {kind: _layer(kind, kernel, stride) for kind in ("same", "valid")}
    largest = max(size + sum(layer.pads((size, size))[0]) for layer in layers.values())
    for axes, (kind, layer) in zip(made.subplots(1, 2), layers.items(), strict=True):
        (before, after), _ = layer.pads((size, size))
        output = layer.output_shape((size, size, 1))[0]
        _draw(axes, size, kernel, stride, before, after, output, largest)
        facts["outputs"][kind], facts["pads"][kind] = output, [before, after]
        if not before + after:
            zeros = "no zeros around it"
        elif before == after:
            zeros = f"zeros around it: {before} on each side"
        else:
            zeros = f"zeros: {before} before, {after} after"
        axes.set_title(
            f"{kind}: {output}×{output} outputs\n{zeros}", size=style.TEXT + 1, color=style.BLACK
        )
    style.footer(
        made,
        "Blue: pixels. Dashed: zeros. Dots: where the window's middle is, one for each output. "
        "Frames: first and last window.",
    )
    return style.Picture(f"padding-{size}-{kernel}-{stride}", made, facts)


def _layer(kind: Padding, kernel: int, stride: int) -> Conv:
    return Conv(filters=1, kernel=(kernel, kernel), stride=(stride, stride), padding=kind)


def _draw(
    axes: Any,
    size: int,
    kernel: int,
    stride: int,
    before: int,
    after: int,
    output: int,
    largest: int,
) -> None:
    for row in range(-before, size + after):
        for column in range(-before, size + after):
            inside = 0 <= row < size and 0 <= column < size
            looks = (
                {"facecolor": "#b9d6ea", "edgecolor": "white", "linewidth": 1.5}
                if inside
                else {
                    "facecolor": "white",
                    "edgecolor": style.GREY,
                    "linestyle": (0, (3, 3)),
                    "zorder": 1.5,
                }
            )
            axes.add_patch(Rectangle((column, row), 1, 1, **looks))
            if not inside:
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    "0",
                    ha="center",
                    va="center",
                    size=style.SMALL,
                    color=style.GREY,
                )
    starts = [-before + step * stride for step in range(output)]
    middles = [start + kernel / 2 for start in starts]
    axes.plot(
        [x for _ in middles for x in middles],
        [y for y in middles for _ in middles],
        "o",
        color=style.BLACK,
        markersize=5,
    )
    for start, colour in ((starts[0], style.ORANGE), (starts[-1], style.GREEN)):
        axes.add_patch(
            Rectangle(
                (start, start),
                kernel,
                kernel,
                fill=False,
                edgecolor=colour,
                linewidth=3.5,
                zorder=3,
            )
        )
    margin = (largest - size) / 2 + 0.7
    axes.set(xlim=(-margin, size + margin), ylim=(size + margin, -margin), aspect="equal")
    style.bare(axes)
