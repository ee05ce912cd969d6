"""Puts the workflows' own code, and the newest figures, into docs/explanation/workflows.md.

What the page shows is marked in it: ``<!-- cut keras/model: build, activation -->`` stands before
symbols of ``workflows/keras/model.py``, and ``<!-- figures -->`` before the table. So the page
follows the code, and a test fails where it does not. The figures are two measurements that are kept
beside the page:

    diptych compare --workflows all --seeds 3 --json docs/figures/comparison.json
    diptych bench --json docs/figures/steps.json
    python bench/workflows.py
"""

import argparse
import ast
import json
import re
import statistics
import textwrap
from pathlib import Path
from typing import Any

from diptych.benchmarks.benchmark import STOCK
from diptych.errors import InputError
from diptych.scripts.counting import lines_of_code
from diptych.scripts.script import write

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "explanation" / "workflows.md"
FIGURES = PROJECT / "docs" / "figures"
FILES = PROJECT / "src" / "diptych" / "workflows"

CODE = re.compile(r"(<!-- cut ([\w/]+): (.+?) -->\n)(?:```python\n.*?\n```\n)?", re.DOTALL)
TABLE = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->\n)", re.DOTALL)


def filled(text: str, comparison: dict[str, Any], steps: dict[str, Any]) -> str:
    """The page with the code as it is, and these figures.

    Args:
        text: the page as it was, in Markdown.
        comparison: what ``diptych compare --json`` wrote.
        steps: what ``diptych bench --json`` wrote, on the same machine.

    Raises:
        InputError: a mark names what is not there, or the figures do not belong together.
    """

    def code(mark: re.Match[str]) -> str:
        source = (FILES / f"{mark[2]}.py").read_text(encoding="utf-8")
        parts = [cut(source, symbol.strip()) for symbol in mark[3].split(",")]
        shown = "\n\n\n".join(parts)
        return f"{mark[1]}```python\n{shown}\n```\n"

    table = measured(comparison, steps)
    return TABLE.sub(lambda mark: f"{mark[1]}{table}{mark[2]}", CODE.sub(code, text))


def cut(source: str, symbol: str) -> str:
    """The source of one symbol, without what stands before and after it.

    Args:
        source: a file's.
        symbol: ``function``, ``Class`` or ``Class.method``; ``function@value`` is the
            ``case "value":`` in that function.

    Raises:
        InputError: there is no such symbol, or case.
    """
    name, _, value = symbol.partition("@")
    here: Any = ast.parse(source)
    for part in name.split("."):
        kinds = ast.FunctionDef | ast.ClassDef
        found = [each for each in here.body if isinstance(each, kinds) and each.name == part]
        if not found:
            raise InputError(
                f"symbol {symbol}: no {part} there; fix its mark in docs/explanation/workflows.md"
            )
        here = found[0]
    first = min([here.lineno, *(each.lineno for each in here.decorator_list)])
    if value:
        cases = [
            each
            for each in ast.walk(here)
            if isinstance(each, ast.match_case)
            and isinstance(each.pattern, ast.MatchValue)
            and isinstance(each.pattern.value, ast.Constant)
            and each.pattern.value.value == value
        ]
        if not cases:
            raise InputError(f"symbol {symbol}: {name} has no case {value!r}")
        here, first = cases[0].body[-1], cases[0].pattern.lineno
    lines = source.splitlines()[first - 1 : here.end_lineno]
    return textwrap.dedent("\n".join(lines))


def measured(comparison: dict[str, Any], steps: dict[str, Any]) -> str:
    """The table of the figures, and what and where they were measured.

    Raises:
        InputError: they are of different networks, machines or versions.
    """
    alike, sides = comparison["alike"], comparison["sides"]
    for what, of_comparison in (
        ("network", alike.get("network")),
        ("machine", comparison["machine"]),
        ("versions", comparison["versions"]),
    ):
        if of_comparison != steps[what]:
            raise InputError(
                f"figures: the comparison is of {what} {of_comparison} and the steps are of "
                f"{steps[what]}; expected the same: measure both on one machine"
            )
    seeds = len(sides[0]["seeds"])
    costs = {(cost["side"], cost["what"]): cost["microseconds"] for cost in steps["costs"]}

    def step(side: str, what: str) -> str:
        found = costs.get((side, what))
        return f"{statistics.median(found):,.0f}" if found else "–"

    rows: dict[str, list[str]] = {
        f"test accuracy{f', mean of {seeds} seeds' * (seeds > 1)}": [
            f"{100 * side['test_accuracy']:.2f}%" for side in sides
        ],
        "95% interval": [
            "–"
            if side["interval"] is None
            else "{:.2f} to {:.2f}%".format(*(100 * each for each in side["interval"]))
            for side in sides
        ],
        "training, an epoch, s": [f"{side['training']['seconds_per_epoch']:.1f}" for side in sides],
        "a step in float32, µs a sample": [step(side["workflow"], "float32") for side in sides],
        "a step in bfloat16, µs a sample": [step(side["workflow"], "bfloat16") for side in sides],
        "the framework's stock way, float32": [
            step(STOCK + side["workflow"], "float32") for side in sides
        ],
        "peak memory, MiB": [f"{side['training']['peak_memory_mib']:,.0f}" for side in sides],
        "start-up, s": [f"{side['training']['start_seconds']:.1f}" for side in sides],
        "lines of the plain script": [
            str(lines_of_code(write(side["workflow"], side["network"], side["recipe"])))
            for side in sides
        ],
    }
    rows = {name: cells for name, cells in rows.items() if set(cells) != {"–"}}
    header = ["", *(side["workflow"] for side in sides)]
    table = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * len(sides)}"]
    table += [f"| {' | '.join([name, *cells])} |" for name, cells in rows.items()]
    machine, versions = comparison["machine"], comparison["versions"]
    said = (
        f"Network `{alike['network']}`, recipe `{alike['recipe']}` in "
        f"{sides[0]['precision']}, epochs: {sides[0]['training']['epochs']:g}, "
        f"data {alike['data']}; "
        f"{steps['title'][0].lower()}{steps['title'][1:]}. {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gib']:.0f} GiB, Python {machine['python']}; "
        f"{', '.join(f'{name} {number}' for name, number in versions.items())}."
    )
    return f"\n{textwrap.fill(said, 100)}\n\n" + "\n".join(table) + "\n\n"


def figures() -> tuple[dict[str, Any], dict[str, Any]]:
    """What was measured: the comparison, and the steps."""
    comparison, steps = (
        json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("comparison", "steps")
    )
    return comparison, steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), *figures()), encoding="utf-8")


if __name__ == "__main__":
    main()
