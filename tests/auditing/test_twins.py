"""Inputs of twins, and questions that a side is spared because the other cannot answer."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.auditing import drawn_gradients
from diptych.auditing.certificate import TWINS, Coverage
from diptych.auditing.examples import Examples
from diptych.auditing.pair import Pair
from diptych.auditing.side import Unable
from diptych.auditing.twins import exact_inputs

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
LABELS = np.array([0, 1])


class Scaling:
    """A twin that scales images before its network."""

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images / 255, labels


class Cropping(Scaling):
    """One that turns them, which a random preparation may."""

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[:, ::-1] / 255, labels


class Without(Scaling):
    """One that prepares nothing."""

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise Unable("not available")


class Raw(Scaling):
    """One whose network scales them."""

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images, labels


def examples(prepared: bool = True) -> Examples:
    x = {"a": IMAGES, "b": (IMAGES / 255).astype(np.float32)}
    y: dict[Any, Any] = dict.fromkeys("ab", LABELS)
    return Examples(x, y, x, y, (IMAGES, LABELS) if prepared else None)


def test_a_twin_prepares_in_float64() -> None:
    inputs = exact_inputs(examples(), {"a": Raw(), "b": Scaling()})  # pyright: ignore
    assert inputs["a"].dtype == np.uint8
    np.testing.assert_array_equal(inputs["b"], IMAGES / 255)


@pytest.mark.parametrize("twin", [Cropping(), Without()])
def test_a_twin_that_prepares_something_else_gets_what_its_side_prepared(twin: Scaling) -> None:
    inputs = exact_inputs(examples(), {"a": Raw(), "b": twin})  # pyright: ignore
    np.testing.assert_array_equal(inputs["b"], (IMAGES / 255).astype(np.float32))
    assert inputs["b"].dtype == np.float64


def test_inputs_of_the_other_side_are_not_prepared_again() -> None:
    inputs = exact_inputs(examples(prepared=False), {"a": Raw(), "b": Scaling()})  # pyright: ignore
    np.testing.assert_array_equal(inputs["b"], (IMAGES / 255).astype(np.float32))


def test_what_one_adapter_lacks_is_known_before_either_is_asked() -> None:
    sides: Any = {
        "a": SimpleNamespace(framework="TensorFlow 2", lacks=["later_outputs"]),
        "b": SimpleNamespace(framework="Keras 3", lacks=[]),
    }
    pair = Pair(sides, *[None] * 6)  # pyright: ignore[reportArgumentType]
    assert pair.lacks("later_outputs") == "not available for TensorFlow 2"
    assert not pair.lacks("drawn_gradients")


def test_draws_that_no_side_gave_are_not_counted() -> None:
    def ask(question: Any) -> Any:
        raise Unable("not available")

    x = dict.fromkeys("ab", np.zeros((8, 2)))
    twins: Any = SimpleNamespace(
        inputs=x,
        examples=SimpleNamespace(y=x),
        precision=TWINS,
        load=lambda weights: None,
        ask=ask,
    )
    coverage = Coverage()
    with pytest.raises(Unable):
        drawn_gradients.compare_drawn(twins, {"w": np.zeros(2)}, coverage, lambda *_: (0.0, {}))
    assert coverage.probes == 0 and not coverage.extents
