import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from diptych.events import (
    Done,
    EpochEnded,
    Evaluating,
    Event,
    Loading,
    Started,
    Stepped,
    WeightsKept,
)
from diptych.network import Network
from diptych.render import terminal
from diptych.render.columns import Column, Columns
from diptych.render.data import data_list
from diptych.render.description import network_summary, zoo_list
from diptych.render.evaluation import prediction_table
from diptych.render.runs import run_table
from diptych.render.training import TrainingView
from diptych.runs import Run
from diptych.workflows.progress import Epoch
from diptych.zoo import names

EPOCH = Epoch(
    epoch=1,
    last_batch_loss=0.5,
    last_batch_accuracy=0.75,
    train_loss=0.6,
    train_accuracy=0.7,
    validation_loss=0.25,
    validation_accuracy=0.875,
    train_seconds=1.0,
    validation_seconds=1.0,
)
LINE = (
    "Epoch 1 | Last Batch Train Loss: 0.5000 | Last Batch Train Accuracy: 0.7500 | "
    "Validation Loss: 0.2500 | Validation Accuracy: 0.8750"
)


def loading(workflow: str, run: str = "runs/a") -> Loading:
    return Loading(
        run=run, workflow=workflow, network="article", recipe="fast", precision="bfloat16", seed=3
    )


def shown(events: Sequence[Event], trainings: int = 1) -> list[str]:
    """The lines that a view prints into a pipe."""
    file = io.StringIO()
    with TrainingView(
        Console(file=file, width=300, soft_wrap=True, **terminal.AS_IT_IS), trainings
    ) as view:
        for event in events:
            view(event)
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("early", "said"),
    [
        (True, "Stopped early after epoch 4: the weights of epoch 2 are kept"),
        (False, "The weights of epoch 2 are kept"),
    ],
)
def test_early_stopping_says_which_weights_it_kept(early: bool, said: str) -> None:
    assert shown([WeightsKept(epoch=2, epochs=4, early=early)]) == [said]


@pytest.mark.parametrize("width", [50, 80])
def test_a_narrow_screen_cuts_nothing_off(width: int) -> None:
    path = "a folder with a rather long name for pictures of scanned digits/seven.png"
    found = [{"image": path, "answer": "7", "probabilities": {"1": 0.25, "7": 0.625, "9": 0.125}}]
    networks = [Network.load(name) for name in names("networks")]
    for table in (prediction_table(found), zoo_list(networks, []), data_list([])):
        file = io.StringIO()
        Console(file=file, width=width, **terminal.AS_IT_IS).print(table)
        assert "…" not in file.getvalue()
        assert all(len(line) <= width for line in file.getvalue().splitlines())


def test_a_training_is_one_line_an_epoch() -> None:
    start = Started(epoch=1, epochs=2, step=0, steps=9)
    step = Stepped(epoch=1, epochs=2, step=5, steps=9, loss=1.0, accuracy=0.5)
    done = Done(test_accuracy=0.9932, epoch_of_the_weights=1)
    lines = shown([loading("keras"), start, step, EpochEnded(EPOCH), Evaluating(), done])
    assert lines[1:] == [LINE, "Final accuracy on test set: 0.9932"]
    for word in ("keras", "article", "fast", "seed 3", "runs/a"):
        assert word in lines[0]


def test_several_trainings_are_counted() -> None:
    lines = shown([loading("tensorflow"), loading("keras")], trainings=2)
    assert "(1 of 2)" in lines[0]
    assert "(2 of 2)" in lines[1]
    assert "of" not in shown([loading("keras")])[0].split("network")[0]


@pytest.mark.parametrize(("epoch", "step", "said"), [(1, 0, False), (2, 0, True), (1, 7, True)])
def test_a_resumed_training_says_where_it_goes_on(epoch: int, step: int, said: bool) -> None:
    lines = shown([Started(epoch=epoch, epochs=2, step=step, steps=9)])
    assert lines == ([f"Resumed in epoch {epoch}, after step {step}"] if said else [])


def test_the_table_of_runs_fits_a_terminal(pair: dict[str, Run]) -> None:
    """Of 80 columns, with the paths whole, so that they can be copied."""
    file = io.StringIO()
    screen = Console(file=file, width=80, **terminal.AS_IT_IS)
    screen.print(run_table(list(pair.values())))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in file.getvalue()
    first_column = "".join(line.split("  ")[0] for line in lines[1:])
    for run in pair.values():
        assert str(run.folder) in first_column


def test_the_summary_is_the_article_s() -> None:
    text = terminal.plain(network_summary(Network.load("article")))
    rows = [line.split() for line in text.splitlines()]
    for name, parameters in (("conv_1", "640"), ("conv_2", "36,928"), ("output", "2,570")):
        [row] = [row for row in rows if row and row[0] == name]
        assert parameters in row
    assert "Total parameters: 469,514" in text


@pytest.mark.parametrize("text", ["[red]a[/red]", "[/]", ":smile:", "https://a.b/c 1.5 'd'"])
def test_text_is_shown_as_it_is(text: str) -> None:
    assert terminal.plain(text) == text
    rows = terminal.table("Name")
    rows.add_row(text)
    assert terminal.plain(rows) == f"Name\n{text}"
    assert shown([loading("numpy", run=text)])[0].endswith(text)


def test_plain_text_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = terminal.table("Name")
    rows.add_row("value", style="bold red")
    assert terminal.plain(rows) == "Name\nvalue"
    assert "<pre>" in terminal.html(rows)


# Wide tables.


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_wide_table_becomes_several_with_whole_words(width: int) -> None:
    names = [f"keras dropout_scale=0.{number}" for number in range(7)]
    wide = Columns(
        [Column("", ["Test accuracy", "  95% interval"])],
        [Column(name, ["99.31%", "99.13 to 99.45%"]) for name in names],
    )
    file = io.StringIO()
    Console(file=file, width=width, **terminal.AS_IT_IS).print(wide)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in file.getvalue()
    assert sum(line.count("keras dropout_scale=0.") for line in lines) == 7
    tables = sum(line.startswith("Test accuracy") for line in lines)
    assert tables == {60: 7, 80: 4, 200: 1}[width], "14 characters, then 2 + 23 for each"
    assert file.getvalue().count("99.13 to 99.45%") == 7


def test_a_table_in_a_pipe_has_80_columns() -> None:
    wide = Columns([Column("", ["row"])], [Column(f"column {n}", ["1"]) for n in range(20)])
    lines = terminal.plain(wide).splitlines()
    assert 60 < max(map(len, lines)) <= 80
    assert sum(line.startswith("row") for line in lines) == 3
