"""A comparison: what differs, the sides, and the conclusion."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from diptych.comparison import Comparison, Difference, Side
from diptych.render.machine import machine_line
from diptych.render.terminal import table

DISAGREEMENTS_SHOWN = 12


def comparison_tables(found: Comparison) -> RenderableType:
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
    parts += ["", machine_line(found.machine, found.versions), "", found.conclusion]
    return Group(*parts)


def difference_line(difference: Difference, several: bool) -> str:
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

    def interval(side: Side) -> str:
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
    yield "Lines of code", lambda side: f"{side.lines_of_code}"


def _disagreements(found: Comparison) -> Iterable[RenderableType]:
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
