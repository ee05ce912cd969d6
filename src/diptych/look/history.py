"""``look curves``: loss and accuracy over the epochs, and where overfitting starts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from diptych.errors import InputError
from diptych.look import style
from diptych.look.images import opened
from diptych.runs import Run

METHOD = (
    "overfitting starts after the epoch with the smallest validation loss, "
    "if the training loss falls on from there"
)


@dataclass(frozen=True)
class Overfitting:
    """The start of overfitting in a training."""

    epoch: int | None
    """The last epoch before it; None where there is no sign of it."""
    rise: float
    """The rise of the validation loss at the end, as a share of its smallest value."""
    since: int
    """Epochs after the one with the smallest validation loss."""
    words: str
    method: str = METHOD


def overfitting(epochs: Sequence[dict[str, Any]]) -> Overfitting:
    """Finds it by `METHOD` in a run's metrics.

    The training loss is the mean over each epoch, with dropout on; only whether it falls matters.

    Args:
        epochs: as `Run.metrics` gives them, one or more.
    """
    validation = [epoch["validation_loss"] for epoch in epochs]
    training = [epoch["train_loss"] for epoch in epochs]
    best = int(np.argmin(validation))
    since = len(epochs) - 1 - best
    rise = (validation[-1] - validation[best]) / validation[best] if validation[best] else 0.0
    if not since:
        words = (
            "one epoch says nothing of overfitting"
            if len(epochs) == 1
            else "no sign of overfitting: the last validation loss is the smallest"
        )
        return Overfitting(None, 0.0, 0, words)
    if training[-1] >= training[best]:
        words = (
            f"no overfitting by this measure: the training loss does not fall after epoch "
            f"{best + 1} either"
        )
        return Overfitting(None, rise, since, words)
    chance = "; a single epoch may be chance" if since == 1 else ""
    words = (
        f"overfitting after epoch {best + 1}: the validation loss ends {100 * rise:.0f}% higher "
        f"while the training loss falls{chance}"
    )
    return Overfitting(best + 1, rise, since, words)


@style.styled
def curves(runs: Sequence[Run | str | Path]) -> style.Picture:
    """Loss and accuracy of training and validation over the epochs, for one run or several.

    Args:
        runs: runs that have ended at least one epoch, or their folders.

    Raises:
        InputError: no run, a run given twice, more than there are colours for, or one without an
            epoch.
    """
    found = [opened(run) for run in runs]
    if not 1 <= len(found) <= len(style.COLOURS):
        raise InputError(
            f"runs: {len(found)} given, expected 1 to {len(style.COLOURS)}, a colour each"
        )
    folders = [run.folder.resolve() for run in found]
    if len(set(folders)) < len(folders):
        raise InputError("runs: one is given twice, expected different ones")
    histories = [run.metrics() for run in found]
    for run, epochs in zip(found, histories, strict=True):
        if not epochs:
            raise InputError(f"run {run.name}: no epoch has ended yet, so there is no curve")
    names = labels(found)
    signs = [overfitting(epochs) for epochs in histories]
    made = style.figure(style.HEIGHT + 0.24 * (len(found) - 1), "Training against validation")
    loss, accuracy = made.subplots(1, 2)
    # Curves that lie on each other: the later ones are thinner.
    widths = np.linspace(4.0, 1.6, len(found)) if len(found) > 1 else [2.2]
    for name, colour, width, epochs, sign in zip(
        names, style.COLOURS, widths, histories, signs, strict=False
    ):
        x = [epoch["epoch"] for epoch in epochs]
        marker = "o" if len(x) < 25 else ""
        for axes, what in ((loss, "loss"), (accuracy, "accuracy")):
            looks = {"color": colour, "marker": marker, "markersize": width + 3, "lw": width}
            training = [epoch[f"train_{what}"] for epoch in epochs]
            validation = [epoch[f"validation_{what}"] for epoch in epochs]
            axes.plot(x, training, ls=(0, (4, 2)), label=f"{name}, training", **looks)
            axes.plot(x, validation, ls="-", label=f"{name}, validation", **looks)
            if sign.epoch:
                axes.axvline(sign.epoch, color=colour, lw=1.4, ls=":")
        if sign.epoch:
            y = epochs[sign.epoch - 1]["validation_loss"]
            loss.plot(sign.epoch, y, "o", ms=13, mfc="none", mec=colour, mew=2)
    longest = max(len(epochs) for epochs in histories)
    for axes, what in ((loss, "Loss"), (accuracy, "Accuracy")):
        axes.set(xlabel="Epoch", title=what, xlim=(0.7, longest + 0.3))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
        axes.grid(axis="y")
    loss.set_yscale("log")
    loss.yaxis.set_major_formatter("{x:g}")
    loss.yaxis.set_minor_formatter("{x:g}")
    loss.yaxis.set_minor_locator(_minor(loss))
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    made.legend(
        *loss.get_legend_handles_labels(),
        loc="outside upper right",
        ncols=2,
        handlelength=3.5,
    )
    lines = [
        f"{name}: {sign.words}." if len(found) > 1 else f"{sign.words[0].upper()}{sign.words[1:]}."
        for name, sign in zip(names, signs, strict=True)
    ]
    lines.append(f"Measure: {METHOD}.")
    style.footer(made, "\n".join(lines))
    facts = {
        "runs": [
            {"run": str(run.folder), "epochs": epochs, "overfitting": asdict(sign)}
            for run, epochs, sign in zip(found, histories, signs, strict=True)
        ]
    }
    what = found[0].name if len(found) == 1 else "-".join(dict.fromkeys(r.workflow for r in found))
    return style.Picture(f"curves-{what}", made, facts)


def labels(runs: Sequence[Run]) -> list[str]:
    """The shortest names that tell the runs apart: workflow, workflow and seed, or the folder."""
    for name in (
        lambda run: run.workflow,
        lambda run: f"{run.workflow}, seed {run.seed}",
        lambda run: style.short(run.name, 40),
    ):
        found = [name(run) for run in runs]
        if len(set(found)) == len(runs):
            return found
    return [f"{number}. {run.workflow}" for number, run in enumerate(runs, 1)]


def _minor(axes: Any):
    """Lines between the powers of ten only where few powers are in sight."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axes.get_ylim()
    return LogLocator(subs=(2, 5)) if low > 0 and high / low < 1000 else NullLocator()
