"""What the site makes of the code itself: the command line's reference and the table of causes.

A page has a mark, such as ``<!-- command line -->``; MkDocs calls `on_page_markdown` for each page.
Links to files of the repository outside of the pages lead to the repository.
"""

import re
from typing import Any

import typer

from diptych.auditing.causes import CAUSES
from diptych.cli import app

MARK = re.compile(r"<!-- (command line|causes) -->")
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?:src|bench|examples|tests)/[^)#]*)[^)]*\)")
"""A link from a page to a file that is not a page: its path is written out instead."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts in what the marks stand for."""
    makers = {"command line": command_line, "causes": causes}
    text = MARK.sub(lambda mark: makers[mark[1]](), markdown)
    return OUTSIDE.sub(r"\1 (`\2`)", text)


def command_line() -> str:
    """Every command with its arguments and options, as typer writes them."""
    from typer.cli import get_docs_for_click

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="diptych")
    return get_docs_for_click(obj=command, ctx=context, name="diptych")


def causes() -> str:
    """Each cause with its fix in each framework."""
    lines = []
    for code, fixes in CAUSES.items():
        lines += [f"## {code} {{#{code}}}", ""]
        lines += [f"- **{name or 'Anywhere'}**: {fix}" for name, fix in fixes.items()]
        lines.append("")
    return "\n".join(lines)
