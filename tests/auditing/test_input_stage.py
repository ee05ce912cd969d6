"""The stage input: what each side makes of the same data, told from a few arrays."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.auditing import examples
from diptych.auditing.axes import columns_of
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.report import Audit, Stage
from diptych.auditing.stages import input

IMAGES = np.random.default_rng(1).integers(0, 256, (32, 6, 6, 3)) / 255.0
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE = np.array([103.939, 116.779, 123.68])


def audited(
    a: np.ndarray, b: np.ndarray, columns: Any = None, /, **told: dict[str, Any]
) -> tuple[Any, Audit]:
    """What the stage finds for two sides' inputs."""
    sides = {
        which: SimpleNamespace(prepares=True, trains=False, targets="classes", data=data)
        for which, data in (("a", told.get("a", {})), ("b", told.get("b", {})))
    }
    graphs = {"a": Graph(a.shape[1:], ()), "b": Graph(b.shape[1:], ())}
    pair: Any = SimpleNamespace(sides=sides, graphs=graphs)
    y = {"a": np.zeros(32), "b": np.zeros(32)}
    audit = Audit("a", "b", ("Keras", "PyTorch"))
    x = {"a": a.astype(np.float32), "b": b.astype(np.float32)}
    both = Examples(x, y, x, y, columns=columns)
    return input.check(pair, both, Reporter(audit, "input")), audit


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


# The order of the axes.


def flat(*arrays: np.ndarray) -> np.ndarray:
    """Several inputs as one array, as they are packed."""
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def frames_in_front_of_channels(films: np.ndarray) -> np.ndarray:
    """Films (n, frames, height, width, channels) as PyTorch's users have them, (n, frames,
    channels, height, width), in the layout of a graph, which has the second axis last."""
    return np.moveaxis(np.moveaxis(films, -1, 2), 1, -1)


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_the_order_of_the_axes_is_seen_in_the_data(scale: float) -> None:
    films = np.random.default_rng(2).integers(0, 256, (8, 2, 6, 6, 3)).astype(np.float32)
    turned = frames_in_front_of_channels(films) * scale
    columns = columns_of(films, turned, [films.shape[1:]], [turned.shape[1:]])
    assert columns is not None
    np.testing.assert_array_equal(flat(films)[:, columns] * np.float32(scale), flat(turned))


def test_each_of_several_inputs_has_its_own_order() -> None:
    chance = np.random.default_rng(3)
    image, numbers = chance.normal(size=(8, 5, 5, 3)), chance.normal(size=(8, 4))
    first = np.moveaxis(image, -1, 1)
    shapes = [image.shape[1:], (4,)], [first.shape[1:], (4,)]
    columns = columns_of(flat(image, numbers), flat(first, numbers), *shapes)
    assert columns is not None
    np.testing.assert_array_equal(flat(image, numbers)[:, columns], flat(first, numbers))


def test_no_order_is_made_up() -> None:
    shape, turned = IMAGES.shape[1:], np.moveaxis(IMAGES, -1, 1)
    assert columns_of(IMAGES, IMAGES.swapaxes(1, 2), [shape], [shape]) is None
    # Height and width swapped.
    wide = np.random.default_rng(5).random((8, 6, 5, 3))
    for swapped in (wide.swapaxes(1, 2), wide.swapaxes(1, 3)):
        assert columns_of(wide, swapped, [wide.shape[1:]], [swapped.shape[1:]]) is None
    # A reshape in the place of a transpose.
    assert columns_of(IMAGES, IMAGES.reshape(turned.shape), [shape], [turned.shape[1:]]) is None
    other = np.random.default_rng(4).random(turned.shape)
    assert columns_of(IMAGES, other, [shape], [turned.shape[1:]]) is None


def test_axes_in_another_order_are_no_difference() -> None:
    films = np.random.default_rng(2).random((32, 2, 6, 6, 3))
    turned = frames_in_front_of_channels(films)
    shapes = films.shape[1:], turned.shape[1:]
    columns = columns_of(films, turned, [shapes[0]], [shapes[1]])
    one, other = (SimpleNamespace(graph=Graph(shape, ())) for shape in shapes)
    received = examples._as_a_gets_it(
        {"a": films, "b": turned},
        one,  # pyright: ignore[reportArgumentType]
        other,  # pyright: ignore[reportArgumentType]
        columns,
    )
    np.testing.assert_allclose(received, turned, rtol=1e-12)
    stage, audit = audited(films, turned, columns)
    assert stage.ok and not audit.findings
    sides = {
        which: SimpleNamespace(trains=True, targets="own", packed_targets=[])
        for which in ("a", "b")
    }
    pair: Any = SimpleNamespace(sides=sides)
    for targets, codes in ((turned, []), (turned[..., ::-1], ["label-encoding"])):
        audit = Audit("a", "b", ("Keras", "PyTorch"))
        y = {"a": films, "b": targets}
        input._targets(pair, Examples(y, y, y, y), Stage("input"), Reporter(audit, "input"))
        assert [finding.code for finding in audit.findings] == codes
    for wrong in (films.swapaxes(2, 3), films[..., ::-1], films * 2):
        stage, audit = audited(films, frames_in_front_of_channels(wrong), columns)
        assert stage.ok is False and audit.findings
