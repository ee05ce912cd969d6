"""Several hosts, for real: network namespaces, a Ray head on one, machines of a cluster on two."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hosts import Hosts, permitted

from diptych.runs import CHECKPOINT, Run, find
from support import diptych

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not permitted(), reason="network namespaces are not permitted here"),
]
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
PORT = 6379
STUDY = """
question = "Is a higher rate better?"
seeds = 10
base.workflow = "numpy"
base.data = "{data}"
base.recipe = "plain"
base.values.epochs = {epochs}
base.layers = [{{ kind = "flatten" }}, {{ kind = "dense", units = 10 }}]
answer.kind = "higher"
[arms]
fast = {{ values = {{ learning_rate = 0.01 }} }}
slow = {{ values = {{ learning_rate = 0.00001 }} }}
"""
TORCH = """
input_shape = [28, 28, 1]
layers = [
  { kind = "conv", filters = 4, kernel = 3, padding = "same", activation = "relu" },
  { kind = "max_pool", size = 2 },
  { kind = "dropout", rate = 0.25 },
  { kind = "flatten" },
  { kind = "dense", units = 10 },
]
"""
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a secret of these hosts alone, 32 characters"}
# The head looks every second, and takes a machine for lost after three looks without an answer.
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """A head without room for runs, and two machines with room for one at a time each."""
    with Hosts(3, tmp_path) as three:
        head, *others = three.addresses
        common = ["--num-gpus", "0", "--object-store-memory", str(80 * 2**20)]
        for number, address in enumerate([head, *others]):
            where = ["--head", "--port", str(PORT), "--include-dashboard", "false"]
            if number:
                where = ["--address", f"{head}:{PORT}"]
            # Short: the sockets' names have an end at 107 bytes.
            where += ["--node-ip-address", address, "--num-cpus", str(min(number, 1))]
            started = three.start(number, *RAY, *where, *common, **QUICK, **TOKEN)
            wait_for(lambda host=number: "runtime started" in log(three, host, host), started)
        yield three


def log(hosts: Hosts, host: int, number: int) -> str:
    return (hosts.folder / f"{host}-{number}.log").read_text(errors="replace")


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 300.0
) -> None:
    """Waits until something is so, while a process is at work."""
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.returncode
        assert time.monotonic() < until
        time.sleep(0.1)


def on_head(hosts: Hosts, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """Starts the command line on the head."""
    command = [sys.executable, "-m", "diptych.cli", *map(str, arguments)]
    return hosts.start(0, *command, "--ray", f"{hosts.addresses[0]}:{PORT}", **TOKEN)


def test_a_host_that_is_cut_off_loses_nothing(hosts: Hosts, digits: Path, tmp_path: Path) -> None:
    study = tmp_path / "rate.toml"
    study.write_text(STUDY.format(data=digits, epochs=10))
    there, here = tmp_path / "there", tmp_path / "here"
    process = on_head(
        hosts, "study", "run", study, "--runs", there, "--json", tmp_path / "there.json"
    )

    def ended() -> int:
        return sum(run.status == "done" for run in find(there))

    wait_for(lambda: ended() >= 5, process)
    hosts.cut_off(2)
    assert process.wait(600) == 0, log(hosts, 0, 3)
    assert (
        diptych("study", "run", study, "--runs", here, "--json", tmp_path / "here.json").returncode
        == 0
    )
    ours, theirs = (
        json.loads((tmp_path / f"{name}.json").read_text())["studies"][0]
        for name in ("there", "here")
    )
    assert ours.pop("folder") != theirs.pop("folder")
    assert ours == theirs and len(find(there)) == 20


def test_one_training_on_two_hosts(hosts: Hosts, digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    network = tmp_path / "small.toml"
    network.write_text(TORCH)
    options = ["--network", network, "--recipe", "plain", "--data", digits, "--epochs", "3"]
    options += ["--set", "precision=float32"]
    there, here = tmp_path / "there", tmp_path / "here"
    process = on_head(hosts, "train", "torch", *options, "--runs", there, "--processes", "2")
    assert process.wait(600) == 0, log(hosts, 0, 3)
    assert diptych("train", "torch", *options, "--runs", here).returncode == 0
    [ours], [theirs] = find(there), find(here)
    assert (ours.result() or {})["processes"] == 2
    losses = [[epoch["train_loss"] for epoch in run.metrics()] for run in (ours, theirs)]
    assert np.allclose(*losses, rtol=1e-3)


def test_a_training_whose_host_is_cut_off_resumes(
    hosts: Hosts, digits: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    network = tmp_path / "small.toml"
    network.write_text(TORCH)
    options = ["--network", network, "--recipe", "plain", "--data", digits, "--epochs", "200"]
    runs = tmp_path / "runs"
    process = on_head(hosts, "train", "torch", *options, "--runs", runs, "--processes", "2")
    wait_for(lambda: bool(list(runs.glob(f"*/{CHECKPOINT}"))), process)
    hosts.cut_off(2)
    assert process.wait(300) == 1
    lines = [x for x in log(hosts, 0, 3).splitlines() if x.startswith("diptych:")]
    assert len(lines) == 1 and "diptych resume" in lines[0]
    [folder] = (path.parent for path in runs.glob("*/run.json"))
    assert Run(folder).status != "done"
    assert diptych("resume", folder).returncode == 0
