"""An evaluation of a run, and predictions for pictures."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from diptych.evaluation import Evaluation
from diptych.render.terminal import table, words


def evaluation_tables(found: Evaluation) -> RenderableType:
    """Accuracy, a row a class, and the confusion matrix."""
    low, high = found.interval
    scores = table("Class", "Images", "Precision", "Recall")
    for score in found.classes:
        scores.add_row(score.name, str(score.images), _share(score.precision), _share(score.recall))
    matrix = table("label \\ classified as", *(score.name for score in found.classes))
    for number, (score, row) in enumerate(zip(found.classes, found.confusion, strict=True)):
        cells = [
            Text(str(count), style="bold" if i == number else "red" if count else "dim")
            for i, count in enumerate(row)
        ]
        matrix.add_row(score.name, *cells)
    return Group(
        f"Run {found.run} on {found.images:,} test images of {found.data}",
        f"Accuracy: {100 * found.accuracy:.2f}% (95% interval {100 * low:.2f} to "
        f"{100 * high:.2f}%), loss: {found.loss:.4f}, wrong: {found.images - found.correct}",
        "",
        scores,
        "",
        matrix,
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def prediction_table(found: list[dict[str, Any]]) -> RenderableType:
    """A row for each classified picture: the answer, its probability, and the two next ones."""
    rows = table("Picture", "Answer", "Probability", "Then", left=2)
    words(rows, 0)
    for one in found:
        if "problem" in one:
            continue
        ranked = sorted(one["probabilities"].items(), key=lambda item: item[1], reverse=True)
        then = ", ".join(f"{name} {100 * share:.1f}%" for name, share in ranked[1:3])
        rows.add_row(one["image"], ranked[0][0], f"{100 * ranked[0][1]:.1f}%", then)
    return rows
