"""Black boxes are run on what their own code takes."""

from typing import Any

import numpy as np

from diptych.auditing.black_boxes import Comparison
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.match import Match, Transfer, simplified
from diptych.auditing.pair import Pair
from diptych.auditing.report import Audit, Stage
from diptych.auditing.side import Failed

NODES = (
    Node("images", "reshape", (INPUT,), (16, 3), {"shape": [16, 3]}),
    Node("joined", "custom", ("images",), (17, 3), {"class": "cat"}),
)


class Joining:
    """A side that puts a token before the pixels of an image, as a vision transformer does."""

    def __init__(self, token: float) -> None:
        self.token = token

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        (pixels,) = inputs
        if pixels.shape[1:] != (16, 3):
            raise Failed(f"cat: a token of 3 numbers does not fit {pixels.shape[1:]}")
        return np.concatenate([np.full_like(pixels[:, :1], self.token), pixels], axis=1)


def compared(*tokens: float) -> tuple[Reporter, Stage]:
    """Compares two such sides on one batch."""
    x = np.random.default_rng(0).normal(size=(4, 4, 4, 3)).astype(np.float32)
    graph = Graph(x.shape[1:], NODES)
    small, _ = simplified(graph)
    assert [node.inputs for node in small.nodes] == [(INPUT,)]  # What changes nothing is gone.
    sides: Any = {"a": Joining(tokens[0]), "b": Joining(tokens[1])}
    records: dict[Any, Any] = {}
    for which, side in sides.items():
        pixels = x.reshape(4, 16, 3)
        records[which] = {INPUT: x, "images": pixels}
        records[which]["joined"] = side.run_node("joined", [pixels], False)
    match = Match(small.nodes[0], small.nodes[0])
    nothing: Any = {"a": None, "b": None}
    graphs: Any = {"a": graph, "b": graph}
    pair = Pair(sides, graphs, small, small, nothing, [match], Transfer({}, {}))
    report = Reporter(Audit("a.py:build", "b.py:build", ("PyTorch", "Keras")), "forward")
    stage = Stage("forward")
    Comparison(pair, 1.0, records, False, report).compare(match, stage)
    return report, stage


def test_a_box_behind_a_reshaping_takes_what_was_reshaped() -> None:
    report, stage = compared(1.0, 1.0)
    assert not report.audit.findings and not stage.coverage.left_out
    assert stage.rounding_bound  # It was compared.


def test_a_difference_of_such_a_box_is_seen() -> None:
    report, _ = compared(1.0, 2.0)
    assert [finding.code for finding in report.audit.findings] == ["unexplained"]
