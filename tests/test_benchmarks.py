"""What is measured is there, adds up, and is refused where it cannot be."""

import numpy as np
import pytest

from diptych import extras, load_data
from diptych.benchmarks.benchmark import _readers, bench_inference, bench_steps, recipe
from diptych.benchmarks.inference import reader
from diptych.benchmarks.steps import Clock
from diptych.errors import InputError
from diptych.network import Network
from diptych.workflows.progress import Progress
from support import diptych


def test_reading_is_measured_in_turns(small: Network) -> None:
    said: list[str] = []
    found = bench_inference(
        ["numpy"], small, batch_sizes=(1, 8), rounds=1, seconds=0.2, say=said.append
    )
    assert [(cost.side, cost.what) for cost in found.costs] == [
        ("numpy", "batch 1"),
        ("numpy", "batch 8"),
    ]
    one, eight = (cost.median for cost in found.costs)
    assert one > eight > 0
    assert said == ["round 1 of 1: numpy, 1 at a time", "round 1 of 1: numpy, 8 at a time"]
    assert found.to_dict()["costs"][0]["microseconds"] == [one]
    assert "Reading images" in repr(found)


def test_onnx_runtime_reads_the_same_network(small: Network) -> None:
    pytest.importorskip("onnx", reason="needs diptych[onnx]")
    pytest.importorskip("onnxruntime", reason="needs diptych[onnx]")
    images = load_data("mnist").test.images[:5]
    logits = [reader(side, small)(images) for side in ("numpy", "onnxruntime")]
    assert np.allclose(*logits, atol=1e-5) and np.ptp(logits[0]) > 0.01
    for names in (None, ["all"], ["numpy", "onnxruntime"]):
        assert _readers(names)[-1] == "onnxruntime"
    found = bench_inference(["onnxruntime"], small, batch_sizes=(8,), rounds=1, seconds=0.1)
    assert found.costs[0].median > 0 and "onnxruntime" in found.versions


def test_what_is_not_installed_is_no_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert "onnxruntime" not in _readers(None)
    with pytest.raises(InputError, match=r"needs onnx and onnxruntime, .*\[onnx\]"):
        bench_inference(["onnxruntime"])


def test_work_of_a_step_is_counted() -> None:
    """Three times the forward pass but for the first layer's input gradient: 211 MFLOP a sample."""
    article = Network.load("article")
    forward = sum(row.multiply_adds for row in article.summary())
    assert article.training_multiply_adds == 3 * forward - 28 * 28 * 64 * 9
    assert 2 * article.training_multiply_adds / 1e6 == pytest.approx(211, abs=1)


def test_steps_are_measured_on_whole_images() -> None:
    """Cropped ones cost half of what is counted."""
    for precision in ("float32", "bfloat16", "float64"):
        assert recipe(precision, 50).cropped_steps(1000) == 0


def test_what_cannot_be_measured() -> None:
    with pytest.raises(InputError, match="no such workflow"):
        bench_steps(["nobody"])
    with pytest.raises(InputError, match="batch size 0"):
        bench_steps(["numpy"], batch_size=0)
    with pytest.raises(InputError, match="steps 19: expected 20 or more"):
        bench_steps(["numpy"], steps=19)
    clock = Clock(80)
    clock.advanced(Progress(step=80), None)  # As JAX on a GPU, where an epoch is one call.
    with pytest.raises(InputError, match="takes all 80 steps in one call"):
        clock.seconds_a_step()
    done = diptych("bench", "--workflows", "kers")
    assert done.returncode == 2
    assert "did you mean keras?" in done.stderr
