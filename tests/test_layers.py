"""The package's own order: which modules may import which, and how long a file may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import diptych

PACKAGE = Path(diptych.__file__).parent
LONGEST_FILE, LONGEST_CLASS = 400, 250


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_files_and_classes_are_short() -> None:
    paths = list(PACKAGE.rglob("*.py"))
    assert len(paths) > 100
    too_long = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if (length := len(text.splitlines())) > LONGEST_FILE:
            too_long.append((str(path), length))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_CLASS:
                    too_long.append((f"{path}: {node.name}", length))
    assert too_long == []


def test_formats_know_nothing_of_what_uses_them() -> None:
    above = ("auditing", "cli", "serving", "look", "benchmarks", "comparison", "sklearn")
    for path in (PACKAGE / "formats").rglob("*.py"):
        for name in imports(path):
            assert not name.startswith(tuple(f"diptych.{module}" for module in above)), path


def test_only_what_shows_things_knows_how_they_are_shown() -> None:
    """Classes of trainings and comparisons name their view (`diptych.shown`), and no more."""
    shows = ("render", "cli", "look", "pytest_plugin.py")
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in shows:
            for name in imports(path):
                assert not name.startswith("diptych.render"), path


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("diptych.formats.keras.archive", set[str]()),
        ("diptych.formats.onnx.reader", {"onnx"}),
        ("diptych.child, diptych.auditing.jobs", set[str]()),
        ("diptych.auditing.frameworks.onnx.adapter", {"onnx"}),
        ("diptych.auditing.frameworks.torch.adapter", {"torch"}),
    ],
)
def test_the_process_of_a_side_imports_its_framework_alone(module: str, allowed: set[str]) -> None:
    """Each module is imported in a process where the others cannot be."""
    others = {
        *("tensorflow", "keras", "torch", "jax", "onnx", "h5py"),
        *("scipy", "pydantic", "rich", "safetensors", "typer", "PIL", "autograd"),
    }
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(others - allowed)!r}))\n"
        f"import {module}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_packages_hold_no_logic() -> None:
    """Their ``__init__.py`` import and name. Two import late, by a table of names."""
    late = {"__init__.py", "auditing/__init__.py"}
    for path in PACKAGE.rglob("__init__.py"):
        if str(path.relative_to(PACKAGE)) not in late:
            defined = [
                node.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.FunctionDef | ast.ClassDef)
            ]
            assert not defined, path
