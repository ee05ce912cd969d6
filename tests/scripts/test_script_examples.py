"""``examples/article`` holds what the generator writes."""

from pathlib import Path

import pytest

from diptych.scripts.counting import lines_of_code
from diptych.scripts.script import FORMS, write

FOLDER = Path(__file__).parents[2] / "examples" / "article"


@pytest.mark.parametrize("form", FORMS)
def test_the_articles_scripts_are_the_generators(form: str) -> None:
    path = FOLDER / f"article_{form.replace('+', '_')}.py"
    written = write(form, "article", "article")
    assert path.read_text(encoding="utf-8") == written, f"diptych code {form}:article --out {path}"


def test_the_page_gives_each_scripts_lines() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for form in FORMS:
        name = f"article_{form.replace('+', '_')}.py"
        lines = lines_of_code((FOLDER / name).read_text(encoding="utf-8"))
        [row] = [line for line in page.splitlines() if f"({name})" in line]
        assert row.endswith(f"| {lines} |"), row
