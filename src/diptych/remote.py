"""A worker's process behind a command, such as ``ssh host python``.

The command must start a Python with NumPy. This package's code is sent to it, and messages go
through its standard input and output: nothing else needs to be installed at the other end but the
framework.
"""

import io
import json
import shlex
import zipfile
from pathlib import Path

from diptych.errors import InputError

PACKAGE = Path(__file__).parent
READ = r"import os;exec(b''.join(iter(lambda:os.read(0,1),b'\0')))"
"""Runs what comes in up to a zero byte."""
START = """
import io, json, os, shutil, signal, sys, tempfile, zipfile
def read(size):
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            sys.exit(1)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
lengths = read(16)
environment = json.loads(read(int.from_bytes(lengths[:8], "big")))
code = read(int.from_bytes(lengths[8:], "big"))
folder = tempfile.mkdtemp(prefix="diptych-")
child = os.fork()
if child:  # Waits for the worker, and removes what it leaves.
    os.closerange(0, 2)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    status = os.waitpid(child, 0)[1]
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(os.waitstatus_to_exitcode(status) & 255)
zipfile.ZipFile(io.BytesIO(code)).extractall(folder)
os.environ.update(environment)
os.environ["TMPDIR"] = tempfile.tempdir = folder
requests, answers = os.dup(0), os.dup(1)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
sys.path[:] = [folder] + [path for path in sys.path if path]
sys.argv = ["worker", str(requests), str(answers)]
from diptych.child import main
main()
"""


def words(command: str) -> list[str]:
    """The command's words, and behind them what has its Python take in the code.

    Raises:
        InputError: the command has no words, or an open quotation mark.
    """
    try:
        parts = shlex.split(command)
    except ValueError as problem:
        raise InputError(f"command {command!r}: {problem}") from None
    if not parts:
        raise InputError("command '': expected words such as `ssh host python`")
    # ssh hands its words to a shell at the other end.
    code = shlex.quote(READ) if Path(parts[0]).name == "ssh" else READ
    return [*parts, "-c", code]


def code(environment: dict[str, str]) -> bytes:
    """The program that the command's Python reads before the first message.

    Args:
        environment: variables to set at the other end.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]):
            archive.write(file, Path(PACKAGE.name) / file.relative_to(PACKAGE))
    variables = json.dumps(environment).encode()
    lengths = len(variables).to_bytes(8, "big") + len(packed.getvalue()).to_bytes(8, "big")
    return START.encode() + b"\0" + lengths + variables + packed.getvalue()


def package_alone(scratch: str) -> str:
    """A folder in which another Python finds this package, and none of its neighbours."""
    folder = Path(scratch) / "package"
    folder.mkdir()
    package = Path(__file__).parent
    (folder / package.name).symlink_to(package)
    return str(folder)
