"""What commands show: tables and a progress bar on a terminal, plain lines into a pipe."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from diptych.training import line_of

if TYPE_CHECKING:
    from diptych.benchmarks import Benchmark
    from diptych.comparison import Comparison, Difference, Side
    from diptych.data import Data, KnownData
    from diptych.evaluation import Evaluation
    from diptych.network import Network
    from diptych.recipe import Recipe
    from diptych.runs import Run

PIPE_WIDTH = 10_000
"""Columns where nobody says how many there are: no line is broken in two, and no path cut off."""
DISAGREEMENTS_SHOWN = 12
AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""Folders and classes may be named ``[red]`` or ``:smile:``."""


class Output(Console):
    """A console that tells its caller when the reader of a pipe, such as `head`, has gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """Where to print; wide enough for whole lines if it is not a terminal."""
    found = Output(stderr=stderr, **AS_IT_IS)
    if found.is_terminal:
        return found
    return Output(stderr=stderr, width=PIPE_WIDTH, soft_wrap=True, **AS_IT_IS)


@contextmanager
def working(first: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; yields what is called with the next step's name."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield lambda step: None
        return
    with shown.status(first) as status:
        yield status.update


def plain(shown: RenderableType) -> str:
    """The same as plain text, for a pipe or ``print``."""
    text = io.StringIO()
    lines = Console(file=text, width=PIPE_WIDTH, force_terminal=False, no_color=True, **AS_IT_IS)
    lines.print(shown, soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def html(shown: RenderableType) -> str:
    """The same as HTML, for a notebook."""
    recorder = Console(file=io.StringIO(), width=PIPE_WIDTH, record=True, **AS_IT_IS)
    recorder.print(shown)
    return recorder.export_html(code_format="<pre>{code}</pre>", inline_styles=True)


def table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """An empty table whose first ``left`` columns hold words and whose others hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(
            column, justify="left" if number < left else "right", no_wrap=True, style=""
        )
    return made


def words(made: Table, column: int) -> None:
    """Lets a column of words take more lines where the screen is narrow: the others stay whole."""
    made.columns[column].justify = "left"
    made.columns[column].no_wrap = False
    made.columns[column].overflow = "fold"


class TrainingView:
    """Shows trainings as their events come in: a bar on a terminal, the article's lines anywhere.

    Args:
        lines: where the lines go.
        trainings: how many trainings there will be.
    """

    def __init__(self, lines: Console, trainings: int = 1) -> None:
        self.lines, self.trainings, self.training = lines, trainings, 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]}  accuracy {task.fields[accuracy]}"),
            console=console(stderr=True),
            transient=True,
            disable=not Console(stderr=True).is_terminal,
        )
        self.task = self.bar.add_task("", total=None, loss="–", accuracy="–", visible=False)

    def __enter__(self) -> "TrainingView":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "loading":
                self.training += 1
                self._bar(f"{event['workflow']}: loading", total=None, completed=0)
            case "start":
                if event["epoch"] > 1 or event["step"]:
                    self._print(f"Resumed in epoch {event['epoch']}, after step {event['step']}")
            case "steps":
                self._bar(
                    f"epoch {event['epoch']}/{event['epochs']}",
                    total=event["steps"] * event["epochs"],
                    completed=event["steps"] * (event["epoch"] - 1) + event["step"],
                    loss=f"{event['loss']:.4f}",
                    accuracy=f"{event['accuracy']:.4f}",
                )
            case "testing":
                self._bar("test images", total=None, completed=0)
            case "auditing":
                self._bar(f"audit: {event['stage']}", total=None, completed=0)
            case "done":
                self.bar.update(self.task, visible=False)
        if line := line_of(event):
            counted = event["event"] == "loading" and self.trainings > 1
            self._print(f"({self.training} of {self.trainings}) {line}" if counted else line)

    def _bar(self, description: str, **values: Any) -> None:
        self.bar.update(self.task, description=description, visible=True, **values)

    def _print(self, line: str) -> None:
        # On a terminal the bar's own console knows how to print above the bar.
        shared = self.lines.is_terminal and not self.bar.disable
        try:
            (self.bar.console if shared else self.lines).print(line)
        except BrokenPipeError:
            self.lines.quiet = True  # The training is worth more than its reader.


def summary(network: "Network") -> RenderableType:
    """The article's table, with the multiply-adds beside it."""
    rows = table("Layer (kind)", "Output shape", "Parameters", "Multiply-adds", left=2)
    for row in network.summary():
        rows.add_row(
            f"{row.name} ({row.kind})",
            str(row.output_shape),
            f"{row.parameters:,}",
            f"{row.multiply_adds:,}",
        )
    total, trained = network.parameters, network.trained_parameters
    work = sum(row.multiply_adds for row in network.summary())
    height, width, channels = network.input_shape
    return Group(
        f"Network {network.name}: {height}×{width}×{channels} images, {network.classes} classes",
        *([network.description] if network.description else []),
        "",
        rows,
        "",
        f"Total parameters: {total:,}",
        f"Trained parameters: {trained:,}",
        f"Other parameters: {total - trained:,}",
        f"Multiply-adds an image: {work:,}",
    )


def comparison(found: "Comparison") -> RenderableType:
    """The sides, whether they differ, where they do, and the conclusion."""
    several = len(found.sides[0].seeds) > 1
    seeds = ", ".join(map(str, found.sides[0].seeds))
    title = (
        f"Network {found.network}, recipe {found.recipe}, data {found.data}, "
        f"{'seeds' if several else 'seed'} {seeds}"
    )
    sides = table("", *(side.workflow for side in found.sides))
    for name, cell in side_rows(several):
        sides.add_row(name, *(cell(side) for side in found.sides))
    parts: list[RenderableType] = [title, "", sides, ""]
    parts += [difference_line(difference, several) for difference in found.differences]
    if found.disagreements:
        parts += ["", *_disagreements(found)]
    for one in found.audits:
        parts += ["", f"Audit of {one['a']} and {one['b']}: {one['conclusion']}"]
    parts += ["", _machine_line(found.machine, found.versions), "", found.conclusion]
    return Group(*parts)


def _machine_line(machine: dict[str, Any] | None, versions: dict[str, str]) -> str:
    where = (
        f"{machine['processor']}, {machine['cores']} cores"
        if machine
        else "several machines, so their times say nothing"
    )
    return f"{where}; " + ", ".join(f"{name} {version}" for name, version in versions.items())


def difference_line(difference: "Difference", several: bool) -> str:
    """Who is right on how many images alone, and whether that means anything."""
    a, b = difference.first, difference.second
    if difference.p_value is None:
        p = "none, all differences are equal"
    else:
        limit = f"below {difference.significance:g} it would be a real difference"
        p = f"{difference.p_value:.3g} ({limit})"
    return (
        f"{a} and {b}: only {a} is right on {difference.only_first_right}, only {b} on "
        f"{difference.only_second_right}, neither on {difference.both_wrong} test images"
        f"{' (summed over the seeds)' if several else ''}; {difference.test}: p = {p}"
    )


def side_rows(several: bool) -> Iterable[tuple[str, Any]]:
    """What is said of each side of a comparison, and how it is written."""

    def percent(value: float) -> str:
        return f"{100 * value:.2f}%"

    def interval(side: "Side") -> str:
        if side.interval is None:
            return "–"
        return f"{100 * side.interval[0]:.2f} to {100 * side.interval[1]:.2f}%"

    yield (
        "Test accuracy" + (", mean" if several else ""),
        lambda side: percent(side.test_accuracy),
    )
    if several:
        yield "  deviation between seeds", lambda side: percent(side.deviation)
        yield "  95% interval of the mean", interval
    else:
        yield "  95% interval", interval
    yield "Validation accuracy", lambda side: percent(side.validation_accuracy)
    yield "Arithmetic", lambda side: side.precision
    yield "Epochs", lambda side: f"{side.epochs:g}"
    yield "Training time", lambda side: f"{side.train_seconds:.1f} s"
    yield "  an epoch", lambda side: f"{side.seconds_an_epoch:.1f} s"
    yield "  images a second", lambda side: f"{side.images_per_second:,.0f}"
    yield "Start-up", lambda side: f"{side.start_seconds:.1f} s"
    yield "Peak memory", lambda side: f"{side.peak_memory_mib:,.0f} MiB"
    yield "Lines of its script", lambda side: f"{side.lines_of_code}"


def _disagreements(found: "Comparison") -> Iterable[RenderableType]:
    names = [side.workflow for side in found.sides]
    total = len(found.disagreements)
    rest = f", the first {DISAGREEMENTS_SHOWN}" if total > DISAGREEMENTS_SHOWN else ""
    seed = found.sides[0].seeds[0]
    of = f", seed {seed}" if len(found.sides[0].seeds) > 1 else ""
    yield f"Test images that one reads and another does not ({total}{rest}{of}):"
    rows = table("  image", "label", *names, left=0)
    for one in found.disagreements[:DISAGREEMENTS_SHOWN]:
        cells = [
            Text(one.answers[name], style="" if one.answers[name] == one.label else "bold red")
            for name in names
        ]
        rows.add_row(str(one.image), one.label, *cells)
    yield rows


def evaluation(found: "Evaluation") -> RenderableType:
    """Accuracy, a row a class, and the confusion matrix."""
    low, high = found.interval
    scores = table("Class", "Images", "Precision", "Recall")
    for score in found.classes:
        scores.add_row(score.name, str(score.images), _share(score.precision), _share(score.recall))
    matrix = table("label \\ read as", *(score.name for score in found.classes))
    for number, (score, row) in enumerate(zip(found.classes, found.confusion, strict=True)):
        cells = [
            Text(str(count), style="bold" if i == number else "red" if count else "dim")
            for i, count in enumerate(row)
        ]
        matrix.add_row(score.name, *cells)
    return Group(
        f"Run {found.run} on {found.images:,} test images of {found.data}",
        f"Accuracy: {100 * found.accuracy:.2f}% (95% interval {100 * low:.2f} to "
        f"{100 * high:.2f}%), loss: {found.loss:.4f}, misread: {found.images - found.correct}",
        "",
        scores,
        "",
        matrix,
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def predictions(found: list[dict[str, Any]]) -> RenderableType:
    """A row a picture: the answer, its probability, and the two next ones."""
    rows = table("Picture", "Answer", "Probability", "Then", left=2)
    words(rows, 0)
    for one in found:
        ranked = sorted(one["probabilities"].items(), key=lambda item: item[1], reverse=True)
        then = ", ".join(f"{name} {100 * share:.1f}%" for name, share in ranked[1:3])
        rows.add_row(one["image"], ranked[0][0], f"{100 * ranked[0][1]:.1f}%", then)
    return rows


def benchmark(found: "Benchmark") -> RenderableType:
    """A row a side; the first one's median is what the others are held against."""
    columns = ["", "µs a sample", "lowest", "highest", "images a second", "to the first"]
    peaks = [f"{name} {peak:,.0f} GFLOP/s" for name, peak in found.peaks.items()]
    rows = table("", *columns, *(["of the peak"] if peaks else []), left=2, title=found.title)
    first = found.costs[0].median
    for cost in found.costs:
        values = (cost.median, min(cost.microseconds), max(cost.microseconds))
        cells = [f"{value:,.0f}" for value in (*values, 1e6 / cost.median)]
        share = "–" if cost.share_of_peak is None else f"{cost.share_of_peak:.0%}"
        shares = [share] if peaks else []
        rows.add_row(cost.side, cost.what, *cells, f"{cost.median / first:.2f}", *shares)
    lines = [Text(), Text(_machine_line(found.machine, found.versions))]
    if peaks:
        lines.insert(1, Text(f"The machine's fastest matrix product: {', '.join(peaks)}"))
    return Group(rows, *lines)


def runs(found: "list[Run]") -> RenderableType:
    """A row a run, in 80 columns; its name says workflow, network, recipe and seed."""
    rows = table("Run", "Data", "Status", "Epochs", "Accuracy", "Time", left=3)
    words(rows, 0)
    for run in found:
        description, result = run.description(), run.result()
        seconds = sum(epoch["train_seconds"] for epoch in run.metrics())
        epochs = f"{len(run.metrics())}/{run.recipe.epochs}"
        rows.add_row(
            str(run.folder),
            description["data"]["name"],
            run.status_now,
            "–" if "imported" in description else epochs,  # It was trained, but not here.
            f"{100 * result['test_accuracy']:.2f}%" if result else "–",
            f"{seconds:.0f} s" if seconds else "–",
        )
    return rows


def zoo(networks: "list[Network]", recipes: "list[Recipe]") -> RenderableType:
    """A row a network, and a row a recipe."""
    shown = table("Network", "Parameters", "Description", left=1)
    words(shown, 2)
    for network in networks:
        shown.add_row(network.name, f"{network.parameters:,}", network.description)
    below = table("Recipe", "Epochs", "Description", left=1)
    words(below, 2)
    for recipe in recipes:
        below.add_row(recipe.name, str(recipe.epochs), recipe.description)
    return Group(shown, "", below)


def data_list(found: "Iterable[KnownData]") -> RenderableType:
    """A row a data set that has a name."""
    rows = table("Data", "Here", "Description", left=3)
    words(rows, 2)
    for one in found:
        rows.add_row(one.name, "yes" if one.offline else "to download", one.description)
    return Group(
        rows, "", "Or a folder: of four IDX files, or of one subfolder of pictures a class."
    )


def data_facts(data: "Data") -> dict[str, Any]:
    """What `data_info` shows, as plain data."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        "schema": 1,
        "name": data.name,
        "source": data.source,
        "image_shape": list(data.image_shape),
        "class_names": list(data.class_names),
        "images": {name: len(split.labels) for name, split in splits.items()},
        "images_by_class": {
            name: [int((split.labels == number).sum()) for number in range(data.classes)]
            for name, split in splits.items()
        },
        "notice": data.notice,
    }


def data_info(data: "Data") -> RenderableType:
    """Images of each class in each split."""
    facts = data_facts(data)
    height, width, channels = data.image_shape
    rows = table("Class", *facts["images"])
    for number, name in enumerate(data.class_names):
        counts = [str(by_class[number]) for by_class in facts["images_by_class"].values()]
        rows.add_row(name, *counts)
    rows.add_row("all", *(str(count) for count in facts["images"].values()))
    return Group(
        f"Data {data.name}: {height}×{width}×{channels} images, {data.classes} classes",
        "",
        rows,
        *(["", data.notice] if data.notice else []),
    )
