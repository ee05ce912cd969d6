"""The list of runs."""

from rich.console import RenderableType

from diptych import changes
from diptych.render.terminal import table, words
from diptych.runs import Run


def one_run(run: Run) -> RenderableType:
    """A run as a row of the table of `diptych runs`."""
    return run_table([run])


def run_table(runs: list[Run]) -> RenderableType:
    """One row per run, in 80 columns."""
    rows = table("Run", "Changes", "Data", "Status", "Epochs", "Accuracy", "Time", left=4)
    words(rows, 0)
    words(rows, 1)
    for run in runs:
        description, result = run.description(), run.result()
        seconds = sum(epoch["train_seconds"] for epoch in run.metrics())
        epochs = f"{len(run.metrics())}/{run.recipe.epochs}"
        rows.add_row(
            str(run.folder),
            changes.of_run(run) or "–",
            description["data"]["name"],
            run.status_now,
            "–" if "imported" in description else epochs,  # It was trained elsewhere.
            f"{100 * result['test_accuracy']:.2f}%" if result else "–",
            f"{seconds:.0f} s" if seconds else "–",
        )
    return rows
