"""The source distribution holds what its tests and its Makefile need."""

import subprocess
import sys
import tarfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "bench", "docs", "examples")
FILES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    "mkdocs.yml",
    "pyproject.toml",
)


def test_the_source_distribution_is_complete(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {
        str(path.relative_to(PROJECT))
        for folder in FOLDERS
        for path in (PROJECT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", ".hypothesis"} & set(path.parts)
    }
    assert wanted | set(FILES) <= held, sorted((wanted | set(FILES)) - held)
    assert not any("__pycache__" in name or name.startswith(".venv") for name in held)
