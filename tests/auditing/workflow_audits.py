"""Audits our workflows against each other and writes docs/results/audits-of-workflows.md.

python tests/auditing/workflow_audits.py              all of them
python tests/auditing/workflow_audits.py --kept FILE  keeps the answers in a file, and goes on after
                                                      those that are there
"""

import argparse
import json
import platform
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kept_workers import end_workers, keep_workers

from diptych import InputError, machine
from diptych.auditing import audit

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "results" / "audits-of-workflows.md"
NETWORKS = ("article", "article-valid", "leaky", "examples/audit/strided.toml")
OTHERS = ("tensorflow", "keras@jax", "keras@torch", "torch", "jax", "numpy")
COLUMNS = {
    "forward": "outputs",
    "gradients": "gradients",
    "update": "optimiser",
    "trajectory": "training",
    "numerics": "own twin",
}
"""The stages of the table, and what its columns are called."""
HEAD = """\
# Our workflows, audited against each other

Every workflow against Keras on TensorFlow, on four networks, as `python
tests/auditing/workflow_audits.py` does it; `strided` (examples/audit/strided.toml) has batch
normalisation, and strides of 2 with padding `same`, where PyTorch pads evenly and the others do
not.

**{same} of {count} audits found no difference.** Each column has the largest difference and what
rounding explains: of a layer's output, a parameter's gradient, the weights in the optimiser's
steps, the weights in training side by side, and of each side from its own float64 twin. Outputs
and the last column are computed in float32, the others in float64 where there are twins.
"""
PACKAGES = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "torch": "PyTorch",
    "jax": "JAX",
    "numpy": "NumPy",
}


def answer(network: str, workflow: str) -> dict[str, Any]:
    """The answer of the audit of a workflow against Keras on TensorFlow."""
    path = str(ROOT / network) if network.endswith(".toml") else network
    began = time.perf_counter()
    line: dict[str, Any] = {"network": Path(network).stem, "workflow": workflow}
    try:
        result = audit(f"{workflow}:{path}", f"keras:{path}")
    except InputError as problem:
        return line | {"problem": str(problem)}
    return line | {
        "conclusion": result.conclusion,
        "findings": [finding.code for finding in result.findings],
        "seconds": time.perf_counter() - began,
        "not_compared": [
            f"{stage.name}: {left}" for stage in result.stages for left in stage.coverage.left_out
        ]
        + [f"{stage.name}: {stage.note}" for stage in result.stages if stage.ok is None],
        "stages": {
            stage.name: [stage.largest_difference, stage.rounding_bound]
            for stage in result.stages
            if stage.name in COLUMNS and stage.largest_difference is not None
        },
    }


def table(answers: list[dict[str, Any]]) -> str:
    """The page."""
    same = sum(not line.get("findings") and "problem" not in line for line in answers)
    steps = sorted(line["seconds"] for line in answers if "seconds" in line)
    lines = [
        HEAD.format(same=same, count=len(answers)),
        f"| network | against `keras` | findings | {' | '.join(COLUMNS.values())} |",
        "| --- | --- | --- |" + " --- |" * len(COLUMNS),
    ]
    for line in answers:
        cells = [_cell(line.get("stages", {}).get(name)) for name in COLUMNS]
        found = line.get("problem") or ", ".join(line["findings"]) or "none"
        lines.append(f"| {line['network']} | {line['workflow']} | {found} | {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {version(package)}" for package, name in PACKAGES.items())
    described = machine.describe()
    where = f"{described['processor']}, {described['cores']} cores, {time.strftime('%Y-%m-%d')}"
    lines += [
        f"\n{versions}; {where}; Python {platform.python_version()}.",
        f"An audit took {steps[len(steps) // 2]:.0f} s in the median, beside other work, with",
        "frameworks imported once for a dozen.\n",
        "## Not compared\n",
        "As the audits themselves say; the number is of the audits that said so.\n",
    ]
    counts = Counter(left for line in answers for left in set(line.get("not_compared", ())))
    lines += [f"- {left} ({count})" for left, count in counts.most_common()]
    return "\n".join(lines) + "\n"


def _cell(stage: list[float] | None) -> str:
    return f"{stage[0]:.1e} of {stage[1]:.1e}" if stage else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, help="a file of JSON lines")
    kept: Path | None = parser.parse_args().kept
    done: dict[tuple[str, str], dict[str, Any]] = {}
    if kept and kept.exists():
        for text in kept.read_text().splitlines():
            line = json.loads(text)
            done[line["network"], line["workflow"]] = line
    keep_workers()
    answers: list[dict[str, Any]] = []
    for network in NETWORKS:
        for workflow in OTHERS:
            line = done.get((Path(network).stem, workflow)) or answer(network, workflow)
            answers.append(line)
            if kept and (line["network"], workflow) not in done:
                with kept.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            print(line["network"], workflow, line.get("problem") or line["findings"], flush=True)
    end_workers()
    TABLE.write_text(table(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
