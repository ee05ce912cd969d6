"""Inputs that were reshaped where they should have been transposed."""

from typing import Any

import numpy as np
import pytest

from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.layouts import as_taken, reshaped
from diptych.auditing.match import Transfer, align
from diptych.auditing.pair import Pair
from diptych.auditing.report import Audit
from diptych.auditing.stages import input

IMAGES = np.random.default_rng(0).normal(size=(8, 6, 5, 3)).astype(np.float32)
FILMS = np.random.default_rng(1).normal(size=(8, 4, 6, 6, 3)).astype(np.float32)
NODE = Node("dense", "dense", (INPUT,), (2,), {}, {"kernel": "kernel"})
KERNEL = np.random.default_rng(2).normal(size=(90, 2)).astype(np.float32)


class Side:
    """A side with one dense layer, which may flatten transposed images."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.axes, self.packed_inputs = axes, []
        self.graph = Graph(shape, (NODE,))
        self.own: Arrays = {"kernel": KERNEL}
        self.prepares, self.trains, self.targets, self.data = True, False, "classes", {}
        self.load(self.own)

    def load(self, parameters: Arrays) -> None:
        self.kernel = parameters["kernel"]

    def outputs(self, x: np.ndarray, training: bool, runs: int = 1) -> np.ndarray:
        return (x.transpose(0, *self.axes).reshape(len(x), -1) @ self.kernel)[None]


def taken(axes: tuple[int, ...], x: np.ndarray) -> tuple[Examples, Pair]:
    """The examples of A, which takes images as they are, and of B, which takes these."""
    sides: Any = {"a": Side((6, 5, 3), (1, 2, 3)), "b": Side(x.shape[1:], axes)}
    graphs = {which: side.graph for which, side in sides.items()}
    matches = align(graphs["a"], graphs["b"], sides["a"].own, sides["b"].own)
    transfer = Transfer.between(graphs["a"], graphs["b"], matches, sides["a"].own, sides["b"].own)
    pair = Pair(sides, graphs, graphs["a"], graphs["b"], dict.fromkeys("ab"), matches, transfer)
    both, y = {"a": IMAGES, "b": x}, dict.fromkeys("ab", np.zeros(8))
    return as_taken(pair, Examples(both, y, both, y)), pair


def test_reshaped_images_are_named_and_given_as_they_should_be() -> None:
    examples, pair = taken((2, 3, 1), IMAGES.reshape(8, 3, 6, 5))
    assert examples.reshaped
    np.testing.assert_array_equal(examples.x["b"], IMAGES.transpose(0, 3, 1, 2))
    audit = Audit("a", "b", ("Keras", "PyTorch"))
    assert input.check(pair, examples, Reporter(audit, "input")).ok is False
    [finding] = audit.findings
    assert (finding.code, finding.a) == ("input-layout", "inputs of 6×5×3")
    assert finding.b == "the same numbers reshaped to 3×6×5, not transposed"


@pytest.mark.parametrize("axes", [(1, 2, 3), (1, 3, 2)], ids=["agrees", "agrees with neither"])
def test_a_network_may_take_its_numbers_in_any_shape(axes: tuple[int, ...]) -> None:
    examples, _ = taken(axes, IMAGES.reshape(8, 3, 6, 5))
    assert not examples.reshaped and examples.columns is None


def test_transposed_films_and_packed_inputs() -> None:
    shape = FILMS.shape[1:]
    first = np.moveaxis(FILMS, -1, 2)
    wrong = FILMS.reshape(first.shape)
    # As a graph has a film of PyTorch's: the second axis is the last one.
    of_graph = [np.moveaxis(film, 1, -1) for film in (first, wrong)]
    for right, given in ((first, wrong), of_graph):
        columns = reshaped(FILMS, given, [shape], [given.shape[1:]])
        assert columns is not None
        np.testing.assert_array_equal(FILMS.reshape(8, -1)[:, columns], right.reshape(8, -1))
        assert reshaped(FILMS, right, [shape], [right.shape[1:]]) is None
    numbers = np.arange(16.0).reshape(8, 2)
    packed = [np.concatenate([x.reshape(8, -1), numbers], 1) for x in (FILMS, wrong, first)]
    columns = reshaped(packed[0], packed[1], [shape, (2,)], [wrong.shape[1:], (2,)])
    assert columns is not None
    np.testing.assert_array_equal(packed[0][:, columns], packed[2])


def test_axes_of_one_and_vectors_are_in_no_other_order() -> None:
    grey = IMAGES[..., :1]
    assert reshaped(grey, grey.reshape(8, 1, 6, 5), [(6, 5, 1)], [(1, 6, 5)]) is None
    assert reshaped(IMAGES, IMAGES.reshape(8, 90), [(6, 5, 3)], [(90,)]) is None
