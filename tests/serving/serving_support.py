"""What several tests of serving need."""

import io
import subprocess
import sys

import numpy as np
from pen import draw

from support import plain_environment


def png_of_a_drawing(digit: int) -> bytes:
    """A drawing of that digit as a PNG file."""
    file = io.BytesIO()
    draw(digit, np.random.Generator(np.random.Philox(3))).save(file, "PNG")
    return file.getvalue()


def start_server(*options: str) -> tuple[subprocess.Popen[str], str]:
    """`diptych serve` of the built-in networks, or as told, and the page's address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "diptych.cli", "serve", "--port", "0", *(options or ["--built-in"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=plain_environment() | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    line = process.stdout.readline()
    if not line.startswith("Page: "):
        raise AssertionError(process.communicate()[1])
    return process, line.split()[1].rstrip("/")
