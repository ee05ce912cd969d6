"""A comparison: what differs, the figures of the sides, and the conclusion."""

from collections.abc import Callable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from diptych.comparison import Comparison, Difference, Side, Training
from diptych.render.columns import Column, Columns
from diptych.render.machine import machine_line

DISAGREEMENTS_SHOWN = 12

Cell = Callable[[Side], str]


def comparison_tables(comparison: Comparison) -> RenderableType:
    """The differences, the sides, the statistical tests, the disagreements, and the conclusion."""
    rows = list(side_rows(comparison.sides))
    sides = Columns(
        [Column("", [name for name, _ in rows])],
        [Column(side.name, [cell(side) for _, cell in rows]) for side in comparison.sides],
    )
    parts: list[RenderableType] = [*head_lines(comparison), "", sides, ""]
    parts += [difference_line(one, _several(comparison.sides)) for one in comparison.differences]
    parts += [f"Left out: {one.what}: {one.why}" for one in comparison.left_out]
    if comparison.disagreements:
        parts += ["", *_disagreements(comparison)]
    for audit in comparison.audits:
        parts += ["", f"Audit of {audit['a']} and {audit['b']}: {audit['conclusion']}"]
        parts += [f"  Note: {note}" for note in audit["notes"]]
    parts += ["", machine_line(comparison.machine, comparison.versions), "", comparison.conclusion]
    return Group(*parts)


def head_lines(comparison: Comparison) -> list[str]:
    """Lines that name what differs between the sides, and what is the same."""
    lines = []
    for aspect, values in comparison.differs.items():
        lines.append(f"Differs: {_aspect(aspect, values[0])} ({', '.join(dict.fromkeys(values))})")
    alike = [f"{_aspect(aspect, value)} {value}" for aspect, value in comparison.alike.items()]
    if alike:
        lines.append(f"Alike:   {', '.join(alike)}")
    return lines


def _aspect(aspect: str, value: str) -> str:
    return "seed" if aspect == "seeds" and "," not in value else aspect


def _several(sides: list[Side]) -> bool:
    return any(len(side.seeds) > 1 for side in sides)


def difference_line(difference: Difference, several: bool) -> str:
    """The number of images that only one of two sides classifies correctly, and the test of it."""
    a, b = difference.first, difference.second
    if difference.p_value is None:
        p = "undefined (all differences are equal)"
    else:
        p = f"{difference.p_value:.3g} (significant below {difference.significance:g})"
    if difference.test.startswith("Welch"):
        return f"{a} and {b}: no seed in common; {difference.test}: p = {p}"
    return (
        f"{a} and {b}: only {a} is right on {difference.only_first_right}, only {b} on "
        f"{difference.only_second_right}, neither on {difference.both_wrong} test images"
        f"{' (summed over the seeds)' if several else ''}; {difference.test}: p = {p}"
    )


def side_rows(sides: list[Side]) -> Iterator[tuple[str, Cell]]:
    """The rows of figures: the name of each, and the function that formats it for a side."""

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.2f}%"

    def interval(side: Side) -> str:
        if side.interval is None:
            return "–"
        return f"{100 * side.interval[0]:.2f} to {100 * side.interval[1]:.2f}%"

    def of_training(text: Callable[[Training], str]) -> Cell:
        return lambda side: "–" if side.training is None else text(side.training)

    several = _several(sides)
    mean = ", mean" if several else ""
    yield f"Test accuracy{mean}", lambda side: percent(side.test_accuracy)
    if several:
        yield "  deviation over seeds", lambda side: percent(side.deviation)
        yield "  95% interval of the mean", interval
    else:
        yield "  95% interval", interval
    yield "Validation accuracy", lambda side: percent(side.validation_accuracy)
    yield "Arithmetic", lambda side: side.precision if side.training else "–"
    yield "Epochs", of_training(lambda training: f"{training.epochs:g}")
    yield "Training time", of_training(lambda training: f"{training.seconds:.1f} s")
    yield "  per epoch", of_training(lambda training: f"{training.seconds_per_epoch:.1f} s")
    yield "  images per second", of_training(lambda t: f"{t.images_per_second:,.0f}")
    yield "Start-up", of_training(lambda training: f"{training.start_seconds:.1f} s")
    yield "Peak memory", of_training(lambda training: f"{training.peak_memory_mib:,.0f} MiB")
    yield "Lines of the script", lambda side: f"{side.lines_of_code}"


def _disagreements(comparison: Comparison) -> Iterator[RenderableType]:
    names = list(comparison.disagreements[0].answers)
    total = len(comparison.disagreements)
    shown = comparison.disagreements[:DISAGREEMENTS_SHOWN]
    rest = f", the first {DISAGREEMENTS_SHOWN}" if total > DISAGREEMENTS_SHOWN else ""
    seed = comparison.sides[0].seeds[0]
    of = f", seed {seed}" if len(comparison.sides[0].seeds) > 1 else ""
    yield f"Test images that one classifies correctly and another does not ({total}{rest}{of}):"

    def answer(label: str, predicted: str) -> Text:
        return Text(predicted, style="" if predicted == label else "bold red")

    yield Columns(
        [
            Column("  image", [str(one.image) for one in shown]),
            Column("label", [one.label for one in shown]),
        ],
        [Column(name, [answer(one.label, one.answers[name]) for one in shown]) for name in names],
        left=0,
    )
