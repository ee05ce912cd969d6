"""The stage input: what each side makes of the same data, told from a few arrays."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.auditing import examples
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.report import Audit
from diptych.auditing.stages import input

IMAGES = np.random.default_rng(1).integers(0, 256, (32, 6, 6, 3)) / 255.0
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE = np.array([103.939, 116.779, 123.68])


def audited(a: np.ndarray, b: np.ndarray, /, **told: dict[str, Any]) -> tuple[Any, Audit]:
    """What the stage finds for two sides' inputs."""
    sides = {
        which: SimpleNamespace(prepares=True, trains=False, targets="classes", data=data)
        for which, data in (("a", told.get("a", {})), ("b", told.get("b", {})))
    }
    graph = Graph(a.shape[1:], ())
    pair: Any = SimpleNamespace(sides=sides, graphs={"a": graph, "b": graph})
    y = {"a": np.zeros(32), "b": np.zeros(32)}
    audit = Audit("a", "b", ("Keras", "PyTorch"))
    x = {"a": a.astype(np.float32), "b": b.astype(np.float32)}
    return input.check(pair, Examples(x, y, x, y), Reporter(audit, "input")), audit


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda x: x, []),
        (lambda x: (x - MEAN) / STD, ["input-scale"]),
        (lambda x: x * 2 - 1, ["input-scale"]),
        (lambda x: x[..., ::-1], ["channel-order"]),
        (lambda x: x[..., ::-1] * 255 - CAFFE, ["channel-order", "input-scale"]),
        (lambda x: x.swapaxes(1, 2), ["input-layout"]),
        (lambda x: x**2, ["input-layout"]),
    ],
    ids=["same", "torchvision", "scale", "BGR", "caffe", "transposed", "squared"],
)
def test_what_was_done_to_the_inputs_has_a_name(change: Any, codes: list[str]) -> None:
    stage, audit = audited(IMAGES, change(IMAGES))
    assert [finding.code for finding in audit.findings] == codes
    assert stage.ok is (codes == [])


def test_the_numbers_of_each_channel_are_told() -> None:
    _, audit = audited(IMAGES, (IMAGES - MEAN) / STD)
    assert "A's times 4.367, 4.464, 4.444 plus -2.118, -2.036, -1.804" in audit.findings[0].b


def test_data_that_differ_late_are_found() -> None:
    told = {"count": 200, "mean": 0.5, "deviation": 0.2, "smallest": 0.0, "largest": 1.0}
    stage, audit = audited(IMAGES, IMAGES, a=told, b=told | {"mean": 0.51})
    assert [finding.code for finding in audit.findings] == ["examples"] and stage.ok is False
    assert audited(IMAGES, IMAGES, a=told, b=told | {"count": 180})[1].findings
    assert not audited(IMAGES, IMAGES, a=told, b=told)[1].findings


@pytest.mark.parametrize("flat", [False, True])
def test_a_network_that_scales_each_channel_gets_what_the_other_gets(flat: bool) -> None:
    def scaling(scale: Any, offset: Any) -> Any:
        attributes = {"scale": list(scale), "offset": list(offset)}
        node = Node("rescale", "rescale", (INPUT,), IMAGES.shape[1:], attributes)
        return SimpleNamespace(graph=Graph(IMAGES.shape[1:], (node,)))

    plain: Any = SimpleNamespace(graph=Graph((108,) if flat else IMAGES.shape[1:], ()))
    scaled = scaling(1 / STD, -MEAN / STD)
    given = IMAGES.reshape(32, 108) if flat else IMAGES
    x = {"a": ((IMAGES - MEAN) / STD).reshape(given.shape), "b": IMAGES}
    np.testing.assert_allclose(examples._as_a_gets_it(x, plain, scaled), IMAGES, rtol=1e-9)
    assert examples._as_a_gets_it({"a": IMAGES, "b": IMAGES}, scaled, scaled) is IMAGES
    caffe = scaling((255.0, 255.0, 255.0), -CAFFE)
    received = examples._as_a_gets_it({"a": IMAGES, "b": IMAGES}, scaled, caffe)
    np.testing.assert_allclose(received * 255 - CAFFE, (IMAGES - MEAN) / STD, rtol=1e-9)
