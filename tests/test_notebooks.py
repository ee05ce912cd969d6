"""The notebooks run from their first cell to their last, and print what is stored in them.

``python tests/test_notebooks.py`` stores what they print now.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(notebook: Path) -> dict[str, Any]:
    return json.loads(notebook.read_text(encoding="utf-8"))


def code_cells(contents: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in contents["cells"] if cell["cell_type"] == "code"]


def printed(notebook: Path) -> list[str]:
    """The text that each code cell prints when all are run in order."""
    names: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for number, cell in enumerate(code_cells(read(notebook))):
        code = compile("".join(cell["source"]), f"{notebook.name}[{number}]", "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, names)
        outputs.append(out.getvalue())
    return outputs


def stored(notebook: Path) -> list[str]:
    """The text that each code cell had printed when it was stored."""
    cells = code_cells(read(notebook))
    return ["".join(line for one in cell["outputs"] for line in one["text"]) for cell in cells]


def store(notebook: Path) -> None:
    contents = read(notebook)
    cells = code_cells(contents)
    for number, (cell, text) in enumerate(zip(cells, printed(notebook), strict=True), start=1):
        lines = text.splitlines(keepends=True)
        stream = {"name": "stdout", "output_type": "stream", "text": lines}
        cell |= {"outputs": [stream] if lines else [], "execution_count": number}
    text = json.dumps(contents, indent=1, ensure_ascii=False) + "\n"
    notebook.write_text(text, encoding="utf-8")


def test_there_are_four() -> None:
    assert len(NOTEBOOKS) == 4


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_is_stored(
    notebook: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = printed(notebook)
    assert all(outputs), "each code cell prints something"
    assert outputs == stored(notebook)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for notebook in NOTEBOOKS:
            if not sys.argv[1:] or notebook.stem in sys.argv[1:]:
                store(notebook)
