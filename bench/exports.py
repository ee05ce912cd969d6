"""Exports a finished run to every format, and prints each file's size and answers.

Every file is read by its own tool on all test images and held against the run:

    python bench/exports.py runs/keras-article-fast-seed0
"""

import argparse
import tempfile
from pathlib import Path

from diptych import Run, export
from diptych.formats.registry import FORMATS

ALL = 10**9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    run = Run.open(parser.parse_args().run)
    print("| format | bytes | to float32 | right | read differently | largest logit difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name, form in FORMATS.items():
            whole = 0
            for int8 in (False, True) if form.int8 else (False,):
                out = Path(folder, f"{name}{'-int8' * int8}{form.suffix}")
                made = export(run, name, out, int8=int8, check=ALL)
                whole = whole or made.bytes
                cells = [name + (", int8" if int8 else ""), f"{made.bytes:,}"]
                cells.append(f"{made.bytes / whole:.3f}" if int8 else "")
                if made.check:
                    check = made.check
                    cells += [f"{check.correct:,} of {check.images:,}", f"{check.different:,}"]
                    cells.append(f"{check.logits:.1e} of {check.span:.3g}")
                else:
                    cells += ["", "", ""]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
