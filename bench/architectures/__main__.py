"""Audits networks that nobody here wrote, and prints a table.

Each is audited against itself, against itself with one fault deep inside, and against a faithful
port to the other framework where there is one. Results are appended to a file of JSON lines; what
is in it is not run again, so that the table can be made in pieces:

    python bench/architectures --only "VAE (PyTorch)" --out architectures.jsonl
    python bench/architectures --table --out architectures.jsonl

It needs torchvision, timm, transformers and segmentation_models_pytorch, beside Diptych with Keras
and PyTorch. The last table is in `docs/results/architectures.md`.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import running
from networks import NETWORKS
from table import Results, written


def main() -> int:
    """Runs what is asked for, and prints the table; 2 where a library is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", default=[], help="a network's name, or a part")
    parser.add_argument("--audit", action="append", default=[], choices=("itself", "fault", "port"))
    parser.add_argument("--out", type=Path, default=Path("architectures.jsonl"))
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for an audit")
    parser.add_argument("--again", action="store_true", help="also what is in the file already")
    parser.add_argument("--table", action="store_true", help="only print the table")
    arguments = parser.parse_args()
    if not arguments.table:
        if missing := running.environment_is_ready():
            print(f"{missing} is missing: install it to audit its networks", file=sys.stderr)
            return 2
        fill(arguments)
    print(written(read(arguments.out)))
    return 0


def fill(arguments: argparse.Namespace) -> None:
    """Runs the chosen audits that the file has no result of, and appends each."""
    there = {} if arguments.again else read(arguments.out)
    for network in NETWORKS:
        if arguments.only and not any(part in network.name for part in arguments.only):
            continue
        for audit, pair in network.pairs().items():
            if (network.name, audit) in there or (arguments.audit and audit not in arguments.audit):
                continue
            result = running.run(pair, arguments.timeout)
            line = {"network": network.name, "audit": audit} | result
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(f"{network.name}, {audit}: {result['seconds']:.0f} s", file=sys.stderr)


def read(path: Path) -> Results:
    """The results in a file, the last one of each audit; none where there is no file."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["network"], line["audit"]): line for line in lines}


if __name__ == "__main__":
    sys.exit(main())
