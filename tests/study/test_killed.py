"""Studies and searches whose whole process is killed: they go on, and end as if it had not been."""

import json
import time
from pathlib import Path

import pytest

from diptych.runs import find
from support import NEEDS_PROC, diptych, kill, start

pytestmark = NEEDS_PROC
STUDY = """
question = "Is a higher rate better?"
seeds = 2
base.workflow = "numpy"
base.data = "{data}"
base.recipe = "plain"
base.images = 330
base.values.epochs = 3
base.layers = [{{ kind = "flatten" }}, {{ kind = "dense", units = 10 }}]
answer.kind = "higher"
[arms]
fast = {{ values = {{ learning_rate = 0.01 }} }}
slow = {{ values = {{ learning_rate = 0.00001 }} }}
"""


@pytest.mark.parametrize("runs_before", [(0, 2)])
def test_a_killed_study_goes_on(runs_before: tuple[int, ...], digits: Path, tmp_path: Path) -> None:
    """Killed while its data or plan are made, and when some runs have ended."""
    file = tmp_path / "rate.toml"
    file.write_text(STUDY.format(data=digits))
    runs = tmp_path / "runs"
    for count in runs_before:
        process = start("study", "run", file, "--runs", runs)
        until = time.monotonic() + 120
        while sum(run.status == "done" for run in find(runs)) < count or not runs.exists():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        kill(process.pid)
        process.communicate()
    answers = [tmp_path / "killed.json", tmp_path / "whole.json"]
    for folder, answer in zip((runs, tmp_path / "whole"), answers, strict=True):
        done = diptych("study", "run", file, "--runs", folder, "--json", answer)
        assert done.returncode == 0, done.stderr
    killed, whole = (json.loads(answer.read_text())["studies"][0] for answer in answers)
    assert killed.pop("folder") != whole.pop("folder")
    assert killed == whole
    assert len(find(runs)) == 4
