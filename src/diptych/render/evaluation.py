"""An evaluation of a run, and predictions for pictures."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from diptych.evaluation import Evaluation
from diptych.render.terminal import table, words


def evaluation_tables(evaluation: Evaluation) -> RenderableType:
    """The accuracy, the scores of each class, and the confusion matrix."""
    low, high = evaluation.interval
    scores = table("Class", "Images", "Precision", "Recall")
    for score in evaluation.classes:
        scores.add_row(score.name, str(score.images), _share(score.precision), _share(score.recall))
    matrix = table("label \\ classified as", *(score.name for score in evaluation.classes))
    rows_of_matrix = zip(evaluation.classes, evaluation.confusion, strict=True)
    for number, (score, row) in enumerate(rows_of_matrix):
        cells = [
            Text(str(count), style="bold" if i == number else "red" if count else "dim")
            for i, count in enumerate(row)
        ]
        matrix.add_row(score.name, *cells)
    return Group(
        f"Run {evaluation.run} on {evaluation.images:,} test images of {evaluation.data}",
        f"Accuracy: {100 * evaluation.accuracy:.2f}% (95% interval {100 * low:.2f} to "
        f"{100 * high:.2f}%), loss: {evaluation.loss:.4f}, "
        f"wrong: {evaluation.images - evaluation.correct}",
        "",
        scores,
        "",
        matrix,
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def prediction_table(predictions: list[dict[str, Any]]) -> RenderableType:
    """One row per classified picture: its class, the probability, and the next two classes."""
    rows = table("Picture", "Answer", "Probability", "Next", left=2)
    words(rows, 0)
    for one in predictions:
        if "problem" in one:
            continue
        ranked = sorted(one["probabilities"].items(), key=lambda item: item[1], reverse=True)
        then = ", ".join(f"{name} {100 * share:.1f}%" for name, share in ranked[1:3])
        rows.add_row(one["image"], ranked[0][0], f"{100 * ranked[0][1]:.1f}%", then)
    return rows
