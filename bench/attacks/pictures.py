"""Pictures whose bytes were changed: decoded, or refused in one line, and never for long.

They are opened in processes of their own, since a decoder that crashes takes its process along.
"""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from attack import Attack, Tally, damaged
from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
BATCH = 2_000
LONGEST = 5.0
"""Seconds of processor time that one picture may take."""


def originals() -> list[bytes]:
    """A grey and a coloured picture of 40 by 30 pixels in each format."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    contents = []
    for name in FORMATS:
        for mode in ("L", "RGB"):
            file = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(file, name)
            contents.append(file.getvalue())
    return contents


def open_some(seed: int, count: int) -> dict[str, object]:
    """Opens so many changed pictures in this process."""
    from diptych.data.pictures import open_picture, to_uint8
    from diptych.errors import InputError

    generator, pictures = np.random.default_rng(seed), originals()
    outcomes, failures = {"decoded": 0, "refused in a line": 0}, []
    for number in range(count):
        contents = pictures[number % len(pictures)]
        for _ in range(int(generator.integers(1, 5))):
            contents = damaged(contents, generator)
        start = time.process_time()
        try:
            to_uint8(open_picture(contents, "a picture"), 3)
            outcomes["decoded"] += 1
        except InputError as problem:
            outcomes["refused in a line"] += 1
            if "\n" in str(problem):
                failures.append(f"picture {number} of seed {seed}: more than one line")
        except Exception as problem:
            failures.append(f"picture {number} of seed {seed}: {problem!r}"[:300])
        if time.process_time() - start > LONGEST:
            failures.append(f"picture {number} of seed {seed}: took over {LONGEST:g} s")
    return {"outcomes": outcomes, "failures": failures}


def carry_out(folder: Path, generator: np.random.Generator, seconds: float, bar: int) -> Tally:
    tally, end = Tally(ATTACK), time.monotonic() + seconds
    while tally.tries < bar and time.monotonic() < end:
        seed, count = int(generator.integers(2**31)), min(BATCH, bar - tally.tries)
        code = f"import json, pictures; print(json.dumps(pictures.open_some({seed}, {count})))"
        command = [sys.executable, "-c", code]
        path = [str(Path(__file__).parent), *sys.path]
        done = subprocess.run(
            command, capture_output=True, text=True, env={"PYTHONPATH": ":".join(path)}
        )
        tally.tries += count
        if done.returncode:
            tally.failures.append(f"seed {seed}: the process ended with {done.returncode}")
            continue
        answer = json.loads(done.stdout.splitlines()[-1])
        tally.outcomes.update(answer["outcomes"])
        tally.failures += answer["failures"]
    return tally


ATTACK = Attack(
    "pictures",
    "a picture of seven formats with changed bytes",
    f"decoded or refused in one line, within {LONGEST:g} s of processor time, no crash",
    100_000,
    2.0,
    carry_out,
)
