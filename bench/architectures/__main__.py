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
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import audits  # noqa: E402
from built_networks import NETWORKS  # noqa: E402
from markdown import written  # noqa: E402

LIBRARIES = ("torchvision", "timm", "transformers", "segmentation_models_pytorch", "keras")
KEYS = ("network", "audit")


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
        missing = [name for name in LIBRARIES if find_spec(name) is None]
        if missing:
            print(f"{missing[0]} is missing: install it to audit its networks", file=sys.stderr)
            return 2
        fill(arguments)
    print(written(audits.read(arguments.out, *KEYS)))
    return 0


def fill(arguments: argparse.Namespace) -> None:
    """Runs the chosen audits that the file has no result of, and appends each."""
    there = {} if arguments.again else audits.read(arguments.out, *KEYS)
    for network in NETWORKS:
        if arguments.only and not any(part in network.name for part in arguments.only):
            continue
        for audit, pair in network.pairs().items():
            if (network.name, audit) in there or (arguments.audit and audit not in arguments.audit):
                continue
            result = audits.run(pair, HERE / "sides", arguments.timeout)
            audits.append(arguments.out, {"network": network.name, "audit": audit} | result)
            print(f"{network.name}, {audit}: {result['seconds']:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
