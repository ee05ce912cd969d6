"""``look mistakes`` and ``look confusion``: the test images that a run classifies wrong."""

import math
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.special import softmax

from diptych.errors import InputError
from diptych.look import style
from diptych.look.images import data_of, for_display, opened
from diptych.runs import Run

MOST_NUMBERED = 20
"""Classes up to which each cell of a confusion matrix has room for its number."""
A_ROW = 10


@style.styled
def mistakes(run: Run | str | Path, limit: int = 30) -> style.Picture:
    """The misread test images with both answers, those first of which the run was surest.

    Args:
        run: a finished run or its folder.
        limit: show no more than so many, 1 to 100.

    Raises:
        InputError: the run has not ended, or its data are not there any more.
    """
    if not 1 <= limit <= 100:
        raise InputError(f"limit {limit}: expected 1 to 100 images")
    run = opened(run)
    logits, true = _answers(run)
    names, images = run.description()["data"]["class_names"], data_of(run).test.images
    numbers, read, shares = misread(logits, true)
    wrong = len(numbers)
    share = f"{wrong:,} of {len(true):,} test images classified wrongly"
    some = f"; the {limit} of which it was surest" if wrong > limit else ""
    numbers = numbers[:limit]
    columns = min(A_ROW, max(len(numbers), 4))
    rows = max(1, math.ceil(len(numbers) / columns))
    tall = images.shape[1] / images.shape[2]
    cell = style.WIDTH / columns
    height = 1.0 + rows * (0.82 * cell * min(max(tall, 0.4), 2) + 0.4)
    made = style.figure(height, f"{share}{some}")
    if not wrong:
        made.text(0.5, 0.5, "None.", ha="center", size=style.LARGE)
    cells = made.subplots(rows, columns, squeeze=False).ravel()
    letters = max(3, int(cell / 0.1) - 2)
    for axes in cells:
        axes.axis("off")
    for axes, number in zip(cells, numbers, strict=False):
        axes.imshow(
            for_display(images[number]), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest"
        )
        is_, said = names[true[number]], names[read[number]]
        if len(is_) + len(said) + 3 <= letters:
            title = f"{is_} → {said}"
        else:
            title = f"{style.short(is_, letters)}\n→ {style.short(said, letters)}"
        axes.set_title(title, size=style.TEXT, pad=3)
    style.footer(made, f"Label → answer. Run {style.short(run.name, 70)}")
    facts = {
        "run": str(run.folder),
        "test_images": len(true),
        "misread": wrong,
        "shown": [
            {
                "image": int(number),
                "label": names[true[number]],
                "answer": names[read[number]],
                "probability": float(shares[number]),
            }
            for number in numbers
        ],
    }
    return style.Picture(f"mistakes-{run.name}", made, facts)


def misread(logits: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The misclassified images, the most confident first.

    Args:
        logits: (n, classes).
        true: the labels, integers (n,).

    Returns:
        The numbers of the misread images, and for all images the class that was read (n,) and its
        probability (n,).
    """
    read = logits.argmax(axis=1)
    shares = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    numbers = np.flatnonzero(read != true)
    return numbers[np.argsort(-shares[numbers], kind="stable")], read, shares


@style.styled
def confusion(run: Run | str | Path) -> style.Picture:
    """The confusion matrix of the test images.

    Args:
        run: a finished run or its folder.

    Raises:
        InputError: the run has not ended.
    """
    run = opened(run)
    logits, true = _answers(run)
    read = logits.argmax(axis=1)
    names = run.description()["data"]["class_names"]
    count = len(names)
    matrix = np.bincount(true * count + read, minlength=count * count).reshape(count, count)
    wrong = matrix - np.diag(np.diag(matrix))
    right = int(np.trace(matrix))
    made = style.figure(
        6.6,
        f"{len(true):,} test images, {len(true) - right:,} wrong "
        f"(accuracy {100 * right / len(true):.2f}%)",
    )
    axes, beside = made.subplots(1, 2, width_ratios=(2.1, 1), sharey=True)
    seen = np.where(wrong > 0, wrong, np.nan)
    most = max(2, int(wrong.max()))
    # From below 1, so that a single image is seen.
    axes.imshow(seen, cmap=style.COUNTS, norm=LogNorm(0.4, most), aspect="equal")
    if count <= MOST_NUMBERED:
        size = style.TEXT if count <= 12 else style.SMALL
        for (row, column), number in np.ndenumerate(matrix):
            if row == column:
                looks = {"color": style.GREY, "weight": "bold"}
            elif number:
                dark = math.log(number / 0.4) > 0.6 * math.log(most / 0.4)
                looks = {"color": "white" if dark else style.BLACK}
            else:
                continue
            words = f"{number}" if number < 10_000 else f"{number / 1000:.0f}k"
            axes.text(column, row, words, ha="center", va="center", size=size, **looks)
    places = np.arange(0, count, math.ceil(count / MOST_NUMBERED))
    shown = [style.short(names[place], 14) for place in places]
    axes.set_xticks(places, shown, rotation=90 if max(map(len, shown)) > 4 else 0)
    axes.set_yticks(places, shown)
    axes.set(xlabel="Predicted class", ylabel="Label", title="Confusion matrix")
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.tick_params(which="both", length=0)
    axes.grid(which="minor", linewidth=0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)

    of_class = matrix.sum(axis=1)
    shares = np.where(of_class > 0, wrong.sum(axis=1) / np.maximum(of_class, 1), 0)
    beside.barh(np.arange(count), shares, color=style.BLUE, height=0.6)
    beside.set(title="Misread, of each class", xlim=(0, max(1.15 * shares.max(), 1e-3)))
    beside.xaxis.set_major_formatter(PercentFormatter(1.0))
    beside.xaxis.set_major_locator(MaxNLocator(4))
    beside.tick_params(axis="y", which="both", length=0, labelleft=False)
    beside.grid(axis="x")
    style.footer(made, f"Diagonal: read rightly. Run {style.short(run.name, 70)}")
    facts = {"run": str(run.folder), "classes": names, "confusion": matrix.tolist()}
    return style.Picture(f"confusion-{run.name}", made, facts)


def _answers(run: Run) -> tuple[np.ndarray, np.ndarray]:
    run.weights()  # Says how to end a run that has not ended.
    return run.predictions()
