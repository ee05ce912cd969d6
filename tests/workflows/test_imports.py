"""Only a workflow's own file imports its framework, and the files that audit and export it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import diptych

FRAMEWORKS = {"tensorflow", "keras", "torch", "jax"}
PACKAGE = Path(diptych.__file__).parent


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_module_imports_a_framework_that_is_not_its_own(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    own = {path.stem.split("_")[0]} if path.parent.name == "stock" else set()
    if path.parent.parent.name == "workflows":
        own = {path.parent.name}
    if "frameworks" in path.parts:
        own = {path.relative_to(PACKAGE / "auditing" / "frameworks").parts[0]}
        if own & {"keras", "ours"}:
            own = FRAMEWORKS  # Whichever Keras, or a workflow of ours, runs on.
    if "formats" in path.parts:
        own = {path.relative_to(PACKAGE / "formats").with_suffix("").parts[0]}
        if own & {"savedmodel", "litert"}:
            own = {"tensorflow"}
    if path.name == "peak.py":
        own = {"tensorflow"}  # It lives in a process of its own.
    assert imported & FRAMEWORKS <= own


def test_nothing_but_a_workflow_loads_a_framework() -> None:
    modules = (
        "auditing cli render.terminal comparison evaluation formats.exporting formats.importing "
        "in_memory training worker workflows.registry workflows.numpy.workflow"
    )
    code = "".join(f"import diptych.{module}\n" for module in modules.split())
    code += "import json, sys; print(json.dumps(list(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert FRAMEWORKS.isdisjoint(json.loads(output))
