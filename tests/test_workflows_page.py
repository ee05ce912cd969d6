"""docs/explanation/workflows.md shows the code as it is, and `python bench/workflows.py` is what fixes it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from diptych.errors import InputError
from diptych.workflows import registry

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """The script, which lies outside of the package."""
    spec = importlib.util.spec_from_file_location("page", PROJECT / "bench" / "workflows.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_files_hold(page: ModuleType) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    made = page.filled(text, *page.figures())
    assert made == text, "docs/explanation/workflows.md is stale: run python bench/workflows.py"
    for file in {registry.module(name) for name in registry.NAMES}:
        assert len(re.findall(f"<!-- cut {file}/", text)) >= 3  # Definition, step, LeakyReLU.
    for name in registry.NAMES:
        assert f"\n**`{name}`** " in text


SOURCE = '''
"""A file."""

@first  # one
@second
def found(kind):  # two
    """Says."""
    match kind:
        case "a":
            return 1  # three

        case "b" if kind:
            x = 2
            return x
    return 0


class Known:
    """Words."""

    value = 1

    def method(self):
        if self:
            return 1
        return 2
'''


@pytest.mark.parametrize(
    "symbol, first, last",
    [
        ("found", "@first  # one", "    return 0"),
        ("found@a", 'case "a":', "    return 1  # three"),
        ("found@b", 'case "b" if kind:', "    return x"),
        ("Known", "class Known:", "        return 2"),
        ("Known.method", "def method(self):", "    return 2"),
    ],
)
def test_a_symbol_is_cut_whole(page: ModuleType, symbol: str, first: str, last: str) -> None:
    lines = page.cut(SOURCE, symbol).splitlines()
    assert (lines[0], lines[-1]) == (first, last)


@pytest.mark.parametrize("symbol", ["lost", "Known.lost", "found@c", "Known.method@a"])
def test_what_is_not_there_is_named(page: ModuleType, symbol: str) -> None:
    with pytest.raises(InputError, match=rf"symbol {symbol}: "):
        page.cut(SOURCE, symbol)


def test_changed_code_and_figures_show(page: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison, steps = page.figures()
    text = page.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(page, "cut", lambda source, symbol: f"# {symbol}")
    comparison["sides"][0]["test_accuracy"] = 0.123456
    made = page.filled(text, comparison, steps)
    assert "-->\n```python\n# modules\n\n\n# Model\n```\n" in made and "| 12.35% |" in made
    assert page.filled(made, comparison, steps) == made
    with pytest.raises(InputError, match="expected the same: measure both on one machine"):
        page.filled(text, comparison, steps | {"network": "another"})
