"""What a side answers, kept in a file and compared later."""

import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import diptych
from diptych import InputError
from diptych.auditing.recorded import Recorded
from diptych.auditing.recording import Recorder
from diptych.auditing.side import Side, Unable
from diptych.auditing.spec import parse
from support import diptych as command

QUICK = ("structure", "initial weights", "forward", "predictions", "loss", "gradients", "update")


def model(momentum: float = 0.9) -> tuple[Any, ...]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum)
    return network, nn.CrossEntropyLoss(), optimizer


def test_an_answer_belongs_to_the_weights_that_were_loaded(tmp_path: Path) -> None:
    path, x = tmp_path / "dense.diptych", np.zeros((2, 28, 28, 1), np.uint8)
    with Side("A", parse("numpy:dense")) as side:
        recorder = side.worker = Recorder(side.worker)
        side.open()
        own = {name: value + 1 for name, value in side.own.items()}
        before = side.record(x, False)
        side.load(own)
        after = side.record(x, False)
        graph, parameters = side.graph, side.own
        recorder.write(path, side.spec.given)
    with Side("A", parse("numpy:dense"), worker=partial(Recorded, path)) as side:
        side.open()
        assert side.graph == graph and side.own.keys() == parameters.keys()
        assert all(np.array_equal(side.own[name], parameters[name]) for name in parameters)
        first = side.record(x, False)
        side.load(own)
        second = side.record(x, False)
        for expected, given in ((before, first), (after, second)):
            assert all(np.array_equal(expected[name], given[name]) for name in expected)
        last = side.graph.nodes[-1].name
        assert not np.array_equal(first[last], second[last])
        side.load({name: value + 2 for name, value in own.items()})
        with pytest.raises(Unable, match="not asked this when it was recorded"):
            side.record(x, False)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "golden.diptych"
    assert diptych.record(lambda: model(), path).same
    return path


def test_a_recorded_side_against_the_same_code(file: Path) -> None:
    result = diptych.audit(file, lambda: model())
    assert result.same, result.conclusion
    compared = {stage.name for stage in result.stages if stage.ok}
    assert compared >= {*QUICK, "trajectory", "numerics"} and not result.no_twins


def test_a_recorded_side_against_changed_code(file: Path) -> None:
    result = diptych.audit(file, lambda: model(momentum=0.5))
    assert [finding.code for finding in result.findings][:1] == ["momentum"]


def test_a_question_that_was_not_asked_is_not_compared(file: Path) -> None:
    def other() -> tuple[Any, ...]:
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Tanh(), nn.Linear(16, 10))
        return network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), 0.1, 0.9)

    result = diptych.audit(file, other, only=["structure", "initial weights"])
    assert [finding.code for finding in result.findings][:1] == ["activation"]


def test_another_versions_recording_is_refused(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "old.diptych"
    with zipfile.ZipFile(file) as archive:
        index = json.loads(archive.read("index.json"))
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("index.json", json.dumps(index | {"version": "0.0.1"}))
    with pytest.raises(InputError, match=r"recorded by diptych 0.0.1, and this is .*again"):
        diptych.audit(other, lambda: model())


def test_wrong_files(tmp_path: Path) -> None:
    (tmp_path / "x.diptych").write_text("no zip")
    with pytest.raises(InputError, match="not a recording of `diptych record`"):
        diptych.audit(tmp_path / "x.diptych", "numpy:article")
    with pytest.raises(InputError, match=r"expected a file that ends in \.diptych"):
        diptych.record("numpy:article", tmp_path / "x.zip")
    done = command("record", "numpy:article", "-o", str(tmp_path / "no" / "x.diptych"))
    assert done.returncode == 2 and "there is no folder" in done.stderr
