"""The distributions hold what they need: the source for tests and Makefile, the wheel to run."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "bench", "docs", "examples")
FILES = (
    "action.yml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints-dev.txt",
    "constraints.txt",
    "mkdocs.yml",
    "pyproject.toml",
)


def built(target: str, folder: Path) -> Path:
    """The source distribution (``sdist``) or the wheel."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    [file] = folder.iterdir()
    return file


def test_the_source_distribution_is_complete(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path)) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {
        str(path.relative_to(PROJECT))
        for folder in FOLDERS
        for path in (PROJECT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", ".hypothesis"} & set(path.parts)
    }
    assert wanted | set(FILES) <= held, sorted((wanted | set(FILES)) - held)
    assert not any("__pycache__" in name or name.startswith(".venv") for name in held)


def test_the_wheel_works_without_the_sources(tmp_path: Path) -> None:
    """In this environment's Python; `.ci/wheel` does it with all that a wheel brings, in others."""
    installed = tmp_path / "installed"
    with zipfile.ZipFile(built("wheel", tmp_path)) as archive:
        archive.extractall(installed)
    (tmp_path / "elsewhere").mkdir()

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path / "elsewhere",
            env=os.environ | {"PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = python("-c", "import diptych; print(diptych.__file__)").strip()
    assert Path(where).is_relative_to(installed)
    assert "469,514" in python("-m", "diptych.cli", "summary", "article")
    assert "mnist" in python("-m", "diptych.cli", "data", "info", "mnist")
    assert "keras" in python("-m", "diptych.cli", "code", "keras:article")
    embedded = installed / "diptych" / "serving" / "embedded"
    for run in embedded.iterdir():
        assert (run / "weights.safetensors").exists()
    assert (installed / "diptych" / "py.typed").exists()
    entries = next(installed.glob("diptych-*.dist-info")) / "entry_points.txt"
    assert "diptych = diptych.cli:main" in entries.read_text()
