"""Tries an installed Diptych, without a framework and away from its sources."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("diptych"))

os.chdir(tempfile.mkdtemp())
import diptych  # noqa: E402

assert "site-packages" in str(diptych.__file__), diptych.__file__


def run(*arguments: str) -> str:
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


assert "audit" in run("--help")
assert "469,514" in run("summary", "article")
assert "mnist" in run("data", "info", "mnist")
assert "keras" in run("code", "keras:article")
done = subprocess.run([COMMAND, "train", "torch"], capture_output=True, text=True)
assert done.returncode == 2 and "diptych[torch]" in done.stderr, done.stderr
print(f"Python {sys.version.split()[0]}: the wheel works")
