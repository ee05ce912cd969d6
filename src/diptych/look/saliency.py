"""``look saliency``: where a network looks, by Grad-CAM and by occlusion."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from PIL import Image
from scipy.special import softmax

from diptych.activations import layer_outputs, logit_gradients
from diptych.errors import InputError
from diptych.layers import Activate, BatchNorm, Conv
from diptych.look import style
from diptych.look.images import file_part, for_display, image_for, opened
from diptych.look.layers import title_of
from diptych.network import Network, Weights
from diptych.runs import Run

PLACES = 14
"""About how many places along each side are covered, one after the other."""
PATCH = 0.25
"""The side of what is covered, as a share of the image's."""
AT_ONCE = 2**22
"""Input values that are computed at once: a few images, or a few hundred small ones."""


def grad_cam(
    network: Network, weights: Weights, pixels: np.ndarray, of: int
) -> tuple[np.ndarray, str]:
    """Grad-CAM (Selvaraju et al., 2017): the last convolution's maps, weighted by their gradients.

    Each map counts as much as the mean of the logit's gradient over it; what speaks against the
    class is left out. For 14 of MNIST's first 200 test images nothing is left then, in the
    article's network: behind a flatten, the same map speaks for the class here and against it
    there. Such an image gets HiResCAM (Draelos & Carin, 2020), which weighs each place by its own
    gradient. A network without convolutions has no such maps, and gets the size of its gradient
    with respect to each pixel (Simonyan et al., 2014).

    Args:
        network: the network.
        weights: its weights.
        pixels: uint8 (height, width, channels).
        of: the number of the class.

    Returns:
        float64 (height, width), 0 or more, and what was computed, such as ``Grad-CAM at conv_4``.
    """
    images, classes = pixels[None], np.array([of])
    gradients = logit_gradients(network, weights, images, classes)
    name = _last_maps(network)
    if name is None:
        return np.abs(gradients["input"][0]).max(axis=-1), "gradient of the pixels"
    maps, method = layer_outputs(network, weights, images)[name][0], "Grad-CAM"
    seen = np.maximum(maps @ gradients[name][0].mean(axis=(0, 1)), 0)
    if not seen.any():
        seen, method = np.maximum((maps * gradients[name][0]).sum(axis=-1), 0), "HiResCAM"
    height, width = pixels.shape[:2]
    # Mode F keeps the numbers as they are; float32 is enough for a picture.
    larger = Image.fromarray(seen.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    return np.asarray(larger, np.float64), f"{method} at {name}"


def occlusion(network: Network, weights: Weights, pixels: np.ndarray, of: int) -> np.ndarray:
    """Occlusion (Zeiler & Fergus, 2014): what covering a place costs the class.

    A square of a quarter of the image's side moves over the image, in the image's own median
    colour.

    Args:
        network, weights, pixels, of: as `grad_cam` takes them.

    Returns:
        float64 (height, width): the fall of the class's log-odds, the mean over the squares that
        cover a pixel. Negative where covering helps.
    """
    height, width, _ = pixels.shape
    patch = [max(1, round(PATCH * side)) for side in (height, width)]
    step = [max(1, math.ceil(side / PLACES)) for side in (height, width)]
    cover = np.median(pixels.reshape(-1, pixels.shape[2]), axis=0).astype(np.uint8)
    corners = [
        (row, column)
        for row in range(step[0] - patch[0], height, step[0])
        for column in range(step[1] - patch[1], width, step[1])
    ]
    places = [
        (slice(max(row, 0), row + patch[0]), slice(max(column, 0), column + patch[1]))
        for row, column in corners
    ]
    last = network.layers[-1].name
    whole = _log_odds(layer_outputs(network, weights, pixels[None])[last], of)[0]
    fall, covered = np.zeros((height, width)), np.zeros((height, width))
    values = sum(math.prod(after) for _, _, after in network.steps())
    at_once = max(1, AT_ONCE // values)
    for start in range(0, len(places), at_once):
        here = places[start : start + at_once]
        images = np.repeat(pixels[None], len(here), axis=0)
        for image, place in zip(images, here, strict=True):
            image[place] = cover
        costs = whole - _log_odds(layer_outputs(network, weights, images)[last], of)
        for place, cost in zip(here, costs, strict=True):
            fall[place] += cost
            covered[place] += 1
    return fall / np.maximum(covered, 1)


@style.styled
def saliency(
    run: Run | str | Path, image: str | Path | np.ndarray, of: str | None = None
) -> style.Picture:
    """Grad-CAM and occlusion of a run's network, beside the image.

    Args:
        run: a finished run or its folder.
        image: a picture's file, ``test:N`` for a test image, or pixels in the network's form.
        of: the name of the class that is asked about; by default the one that the network reads.

    Raises:
        InputError: the run has no weights yet, or there is no such image or class.
    """
    run = opened(run)
    shown = image_for(run, image)
    network, weights, pixels = run.network, run.weights(), shown.pixels
    names = run.description()["data"]["class_names"]
    logits = layer_outputs(network, weights, pixels[None])[network.layers[-1].name][0]
    shares = softmax(logits)
    answer = int(shares.argmax())
    if of is not None and of not in names:
        raise InputError(f"class {of!r}: there is none of that name, only {', '.join(names)}")
    asked = answer if of is None else names.index(of)
    seen, method = grad_cam(network, weights, pixels, asked)
    fall = occlusion(network, weights, pixels, asked)

    height = 1.8 + 3.2 * min(max(pixels.shape[0] / pixels.shape[1], 0.3), 1.8)
    made = style.figure(height, title_of(shown, names[answer], float(shares[answer])))
    (first, second, third), bars = made.subplots(2, 3, height_ratios=(1, 0.04))
    bars[0].axis("off")
    what = style.short(names[asked], 12)
    first.imshow(for_display(pixels), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    first.set_title(f"input\n{style.shape_of(pixels.shape)}")
    top = float(seen.max()) or 1.0
    _overlay(made, second, bars[1], seen, pixels, style.SEQUENTIAL, Normalize(0, top))
    bars[1].set_xticks([0, top], ["nothing", "most"])
    second.set_title(f"what speaks for {what}\n{style.short(method, 30)}")
    limit = float(np.abs(fall).max()) or 1.0
    _overlay(made, third, bars[2], fall, pixels, style.SIGNED, Normalize(-limit, limit))
    bars[2].set_xlabel("fall of the log-odds", size=style.SMALL)
    third.set_title(f"what covering costs {what}\nocclusion by {_patch(pixels)} squares")
    for axes in (first, second, third):
        style.bare(axes)
    style.footer(made, f"Outlines: the image. Run {style.short(run.name, 60)}")
    facts = {
        "run": str(run.folder),
        "image": shown.name,
        "label": shown.label,
        "answer": names[answer],
        "class": names[asked],
        "probability": float(shares[asked]),
        "method": method,
        "most": [int(i) for i in np.unravel_index(seen.argmax(), seen.shape)],
        "costs_most": [int(i) for i in np.unravel_index(fall.argmax(), fall.shape)],
    }
    return style.Picture(f"saliency-{file_part(shown.name)}-{run.name}", made, facts)


def _last_maps(network: Network) -> str | None:
    """The last convolution, or what normalises or activates its output."""
    name, following = None, False
    for layer in network.layers:
        if isinstance(layer, Conv) or (following and isinstance(layer, BatchNorm | Activate)):
            name, following = layer.name, True
        else:
            following = False
    return name


def _log_odds(logits: np.ndarray, of: int) -> np.ndarray:
    """log(p / (1 - p)) of one class, for logits (n, classes); exact where p is nearly 1."""
    others = np.delete(logits, of, axis=1)
    most = others.max(axis=1)
    return logits[:, of] - most - np.log(np.exp(others - most[:, None]).sum(axis=1))


def _patch(pixels: np.ndarray) -> str:
    return style.shape_of(tuple(max(1, round(PATCH * side)) for side in pixels.shape[:2]))


def _overlay(
    made: Any, axes: Any, bar: Any, values: np.ndarray, pixels: np.ndarray, colours: str, norm: Any
) -> None:
    """Values as colours, their scale, and the image's outlines over them."""
    shown = axes.imshow(values, cmap=colours, norm=norm, interpolation="nearest")
    made.colorbar(shown, cax=bar, orientation="horizontal", ticks=MaxNLocator(4))
    grey = pixels[..., : min(3, pixels.shape[2])].mean(axis=-1)
    if min(grey.shape) > 1 and np.ptp(grey):
        line = style.BLACK if colours == style.SIGNED else "white"
        axes.contour(grey, [(grey.max() + grey.min()) / 2], colors=line, linewidths=1.2)
