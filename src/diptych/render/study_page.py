"""The report of a study or a search: one self-contained HTML file."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich.console import RenderableType

from diptych.errors import InputError
from diptych.render.terminal import html
from diptych.whole_files import write_whole

NAME = "report.html"
WIDTH = 150
"""The width of the report in characters."""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
pre {{ line-height: 1.3; overflow-x: auto; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
{text}
{pictures}
</body>
</html>
"""


def write_page(
    folder: str | Path, title: str, shown: RenderableType, pictures: Sequence[Path] = ()
) -> Path:
    """Writes ``report.html`` into a study's folder.

    Args:
        folder: the folder of the study.
        title: the title of the page.
        shown: the same tables and sentences as on a terminal.
        pictures: PNG files to embed below them.

    Raises:
        InputError: the file cannot be written, or a picture cannot be read.
    """
    path = Path(folder) / NAME
    try:
        images = "\n".join(_embedded(picture) for picture in pictures)
        page = PAGE.format(title=escape(title), text=html(shown, WIDTH), pictures=images)
        write_whole(path, page.encode())
    except OSError as problem:
        raise InputError(f"{problem.filename or path}: {problem.strerror or problem}") from None
    return path


def _embedded(picture: Path) -> str:
    data = base64.b64encode(picture.read_bytes()).decode()
    return f'<img alt="{escape(picture.stem)}" src="data:image/png;base64,{data}">'
