"""The article's claims as a page, `docs/results/claims.md`, from studies that have been run.

    python bench/claims.py --quick --runs runs > docs/results/claims.md

Studies that have not been run to their ends are named as such; none is left out.
"""

import argparse
from pathlib import Path

from diptych.errors import InputError
from diptych.render.study import quick_sentence, sentence, value_of
from diptych.study.chosen import CLAIMS, chosen
from diptych.study.description import Study
from diptych.study.space import Search
from diptych.study.study import Outcome, shown

WORDS = {"yes": "yes", "no": "**no**", "not decided": "not decided"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    studies = chosen(CLAIMS)
    assert not isinstance(studies, Search)
    outcomes: list[Outcome] = []
    missing: list[Study] = []
    for study in studies:
        try:
            outcomes.append(shown(study.name, given.runs, given.quick))
        except InputError:
            missing.append(study)
    print(page(outcomes, missing, given.quick))


def page(outcomes: list[Outcome], missing: list[Study], quick: bool) -> str:
    """The page in Markdown."""
    lines = ["# The article's claims", ""]
    lines += [f"`diptych study run claims{' --quick' if quick else ''}`.", ""]
    if outcomes:
        lines += ["| study | seeds | answer |", "| --- | ---: | --- |"]
        lines += [
            f"| [{one.study.name}](#{one.study.name}) | {one.seeds} | {WORDS[one.verdict.word]} |"
            for one in outcomes
        ]
        lines.append("")
    if missing:
        names = ", ".join(f"`{study.name}`" for study in missing)
        lines += [f"Not run to their ends: {names}.", ""]
    for one in outcomes:
        lines += section(one)
    return "\n".join(lines).rstrip()


def section(one: Outcome) -> list[str]:
    """A study: its question, the article's sentence, its table and its answer."""
    answer = one.study.answer
    contrasts = {contrast.arm: contrast for contrast in one.verdict.contrasts}
    lines = [f"## {one.study.name}", "", one.study.question, "", f"> {one.study.claim}", ""]
    lines += [
        f"| arm | {answer.measure.replace('_', ' ')} | spread | difference | 95% interval | p |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for arm in one.verdict.arms:
        cells = [arm.name, value_of(answer.measure, arm.mean)]
        cells.append("–" if arm.spread is None else value_of(answer.measure, arm.spread))
        contrast = contrasts.get(arm.name)
        if contrast is None:
            cells += ["", "", ""]
        else:
            ends = contrast.interval and " to ".join(
                value_of(answer.measure, end) for end in contrast.interval
            )
            p = "–" if contrast.p_value is None else f"{contrast.p_value:.2g}"
            cells += [value_of(answer.measure, contrast.difference), ends or "–", p]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", sentence(one)]
    if one.quick:
        lines += ["", quick_sentence(one.study)]
    return [*lines, ""]


if __name__ == "__main__":
    main()
