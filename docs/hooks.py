"""Generates pages of the site from the code: the command line, the causes, the notebooks.

MkDocs calls these functions. A mark in a page, such as ``<!-- command line -->``, is replaced by
generated text. Each cause gets its own page, from `causes.toml` and the audit's table of fixes.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from diptych.auditing.causes import CAUSES
from diptych.cli.app import app

MARK = re.compile(r"<!-- (command line|causes) -->")
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?:src|bench|examples|tests)/[^)#]*)[^)]*\)")
"""Links from a page to a file that is not a page. The path is written out instead."""
TEXTS = Path(__file__).with_name("causes.toml")
NOTEBOOKS = Path(__file__).with_name("notebooks")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the marks of a page by the generated text."""
    makers = {"command line": command_line, "causes": causes}
    text = MARK.sub(lambda mark: makers[mark[1]](), markdown)
    return OUTSIDE.sub(r"\1 (`\2`)", text)


def command_line() -> str:
    """Every command with its arguments and options, as typer documents them."""
    from typer.cli import get_docs_for_click

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="diptych")
    return get_docs_for_click(obj=command, ctx=context, name="diptych")


def causes() -> str:
    """One line per cause, with a link to its page."""
    lines = [f"- [`{code}`](causes/{code}.md): {text['is']}" for code, text in described().items()]
    return "\n".join(lines)


def described() -> dict[str, dict[str, Any]]:
    """The texts of each cause, in the order of the audit's table."""
    texts = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    return {code: texts[code] for code in CAUSES}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each cause and for each notebook."""
    for code, text in described().items():
        page = File.generated(config, f"reference/causes/{code}.md", content=page_of(code, text))
        files.append(page)
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = notebook_page(notebook)
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=text))
    return files


def notebook_page(notebook: Path) -> str:
    """A notebook's cells as a page, with the outputs that are stored in it."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        outputs = ("".join(output["text"]).rstrip() for output in cell.get("outputs", ()))
        parts += [f"```text\n{text}\n```" for text in outputs]
    return "\n\n".join(
        [*parts, f"This page is `docs/notebooks/{notebook.name}`; open that in Jupyter."]
    )


def thread(text: str) -> str:
    """A list item with a link, for a thread given as ``owner/repository#number: sentence``."""
    name, sentence = text.split(": ", 1)
    repository, number = name.split("#")
    return f"- [{repository} {number}](https://github.com/{repository}/issues/{number}): {sentence}"


def page_of(code: str, text: dict[str, Any]) -> str:
    """The page of one cause."""
    threads = [thread(one) for one in text.get("threads", ())]
    fixes = [f"- {f'**{name}**: ' if name else ''}{fix}" for name, fix in CAUSES[code].items()]
    return "\n\n".join(
        [
            f"# {code}",
            text["is"],
            f"## What it looks like\n\n{text['looks']}",
            f"## How it comes about\n\n{text['how']}",
            "## The fix\n\n" + "\n".join(fixes),
            *(["## Public threads\n\n" + "\n".join(threads)] if threads else []),
        ]
    )
