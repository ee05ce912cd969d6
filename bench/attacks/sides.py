"""Sides of an audit whose code misbehaves: it ends in a line, and leaves nothing behind."""

import os
import signal
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
from attack import Attack, Tally, repeated

from diptych.auditing.side import Side
from diptych.auditing.spec import parse
from diptych.errors import InputError

LIMIT, MARGIN = 5.0, 8.0
"""Seconds that a side may take for an answer, and that the audit may take longer."""
HEAD = """
import ctypes, multiprocessing, os, signal, subprocess, sys, tempfile, threading, time
kept = []
def build():
"""
DOES = {
    "forks a sleeper": "if not os.fork(): time.sleep(1000)",
    "forks a daemon": "if not os.fork(): os.setsid(); os.fork() and os._exit(0); time.sleep(1000)",
    "starts a program": "subprocess.Popen([sys.executable, '-c', 'while True: pass # MARK'], "
    "start_new_session=True)",
    "starts a program without environment": "subprocess.Popen([sys.executable, '-c', "
    "'import time; time.sleep(1000) # MARK'], start_new_session=True, env={})",
    "keeps a pool": "kept.append(multiprocessing.get_context('fork').Pool(2))",
    "writes to descriptors": "[os.write(n, b'hello\\n') for n in range(3, 400) if open_(n)]",
    "closes descriptors": "os.closerange(3, 1024)",
    "prints much": "print('x' * 2_000_000)",
    "prints escapes": "sys.stderr.write('\\x1b[2J\\x1b]0;owned\\x07')",
    "leaves files": "tempfile.mkdtemp(); open(tempfile.mkstemp()[1], 'w').write('left')",
    "changes its folder": "os.chdir('/')",
    "ignores signals": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]",
    "starts a thread": "threading.Thread(target=time.sleep, args=(1000,)).start()",
    "clears its environment": "os.environ.clear()",
    "takes memory": "kept.append(bytearray(200_000_000))",
}
ENDS = {
    "raises": "raise ValueError('two\\nlines \\x1b[2J')",
    "raises what is no exception of its own": "raise KeyboardInterrupt",
    "exits": "sys.exit(3)",
    "ends its process": "os._exit(0)",
    "kills itself": "os.kill(os.getpid(), signal.SIGKILL)",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "reads where nothing is": "ctypes.string_at(0)",
    "aborts": "os.abort()",
    "hangs": "time.sleep(1000)",
    "takes a core": "while True: pass",
    "recurses": "return build()",
    "gives nothing": "return None",
    "gives text": "return 'a network'",
}
OPEN = """
def open_(number):
    try:
        os.fstat(number)
        return True
    except OSError:
        return False
"""


def left(mark: str) -> list[str]:
    """The processes with the mark in their environment or command line, a moment later."""
    there: list[str] = []
    for _ in range(20):
        there = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if any(mark.encode() in (process / n).read_bytes() for n in ("environ", "cmdline")):
                    there.append(process.name)
            except OSError:
                continue
        if not there:
            break
        time.sleep(0.05)
    return there


def carry_out(folder: Path, generator: np.random.Generator, seconds: float, bar: int) -> Tally:
    temporary = folder / "tmp"
    temporary.mkdir()
    tempfile.tempdir = str(temporary)

    def attempt(number: int) -> str:
        mark = uuid.UUID(bytes=generator.bytes(16)).hex
        count = int(generator.integers(1, 4))
        does = [list(DOES)[at] for at in generator.choice(len(DOES), count, replace=False)]
        ends = list(ENDS)[number % len(ENDS)]
        body = "".join(f"    {DOES[name]}\n" for name in does) + f"    {ENDS[ends]}\n"
        path = folder / "side.py"
        path.write_text(OPEN + HEAD + body.replace("MARK", mark))
        what = f"{', '.join(does)}, {ends}"
        os.environ["ATTACK_MARK"] = mark
        start = time.monotonic()
        try:
            with Side("A", parse(f"{path}:build"), LIMIT) as side:
                side.open()
        except InputError as problem:
            assert "\n" not in str(problem), f"{what}: more than one line"
        else:
            raise AssertionError(f"{what}: was opened")
        finally:
            del os.environ["ATTACK_MARK"]
        took = time.monotonic() - start
        assert took < LIMIT + MARGIN, f"{what}: took {took:.0f} s"
        there = left(mark)
        for pid in there:  # They may take a core for ever.
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        assert not there, f"{what}: left {len(there)} processes"
        files = [file.name for file in temporary.iterdir()]
        assert not files, f"{what}: left the files {files}"
        return ends

    try:
        return repeated(ATTACK, attempt, seconds, bar)
    finally:
        tempfile.tempdir = None


ATTACK = Attack(
    "sides",
    "a side of an audit that does one to three bad things, and then ends badly",
    "one line, in time; no process and no temporary file is left",
    500,
    4.0,
    carry_out,
)
