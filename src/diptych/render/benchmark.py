"""Costs of training steps or inference, side by side."""

from rich.console import Group, RenderableType
from rich.text import Text

from diptych.benchmarks.benchmark import Benchmark
from diptych.render.machine import machine_line
from diptych.render.terminal import table


def benchmark_table(benchmark: Benchmark) -> RenderableType:
    """One row per side, with its median relative to the first side's."""
    columns = ["", "µs per sample", "lowest", "highest", "images per second", "relative"]
    peaks = [f"{name} {peak:,.0f} GFLOP/s" for name, peak in benchmark.peaks.items()]
    rows = table("", *columns, *(["of peak"] if peaks else []), left=2, title=benchmark.title)
    first = benchmark.costs[0].median
    for cost in benchmark.costs:
        values = (cost.median, min(cost.microseconds), max(cost.microseconds))
        cells = [f"{value:,.0f}" for value in (*values, 1e6 / cost.median)]
        share = "–" if cost.share_of_peak is None else f"{cost.share_of_peak:.0%}"
        shares = [share] if peaks else []
        rows.add_row(cost.side, cost.what, *cells, f"{cost.median / first:.2f}", *shares)
    lines = [Text(), Text(machine_line(benchmark.machine, benchmark.versions))]
    if peaks:
        lines.insert(1, Text(f"The machine's fastest matrix product: {', '.join(peaks)}"))
    return Group(rows, *lines)
