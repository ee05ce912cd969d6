"""Layers that are known only by what they do."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from diptych.auditing.black_boxes import Comparison
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Node
from diptych.auditing.match import Match
from diptych.auditing.report import Audit, Stage
from diptych.auditing.side import Failed


def test_a_layer_that_does_not_take_its_partners_inputs_is_another_layer() -> None:
    """Its code raises, and the audit goes on."""

    def raises(*_: Any) -> np.ndarray:
        raise Failed("B: expected 6 numbers, got 5")

    node = Node("rows", "custom", ("input",), (5,), {"class": "LSTM"})
    pair: Any = SimpleNamespace(sides={"b": SimpleNamespace(run_node=raises)})
    record = {"input": np.ones((2, 5), np.float32), "rows": np.ones((2, 5), np.float32)}
    result = Audit("a", "b", ("PyTorch 2", "PyTorch 2"))
    weights: Any = {"a": {}, "b": {}}
    records: Any = {"a": record, "b": record}
    reporter = Reporter(result, "forward")
    comparison = Comparison(pair, weights, 1.0, records, False, reporter)
    comparison.compare(Match(node, node), Stage("forward"))
    [finding] = result.findings
    assert finding.code == "layer-kind"
    assert finding.effect == "the second does not take the inputs of the first"
