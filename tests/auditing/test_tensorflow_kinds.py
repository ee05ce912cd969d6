"""Low-level TensorFlow's normalisations, slopes, embeddings and joins, against the reference."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import tensorflow as tf
from tensorflow_networks import Sgd, variable

from diptych.auditing import reference
from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.graph import INPUT


def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return gamma * (x - mean) * tf.math.rsqrt(variance + 1e-5) + beta


def rms_norm(x: Any, gamma: Any) -> Any:
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6) * gamma


CASES: list[tuple[str, Callable, int, dict[str, Any]]] = [
    ("layer_norm", layer_norm, 2, {"epsilon": 1e-5, "axes": [-1]}),
    ("rms_norm", rms_norm, 1, {"epsilon": 1e-6, "axes": [-1]}),
    ("prelu", lambda x, a: tf.maximum(x, 0) + a * tf.minimum(x, 0), 1, {}),
    ("learned_scale", lambda x, a: x * a, 1, {}),
    ("activation", lambda x: tf.clip_by_value(x, -1, 0.5), 0, {"limits": [-1.0, 0.5]}),
    ("activation", lambda x: x * tf.nn.relu6(x + 3) / 6, 0, {"function": "hard_swish"}),
    ("activation", lambda x: tf.nn.relu6(x + 3) / 6, 0, {"function": "hard_sigmoid"}),
    ("activation", lambda x: x * tf.tanh(tf.nn.softplus(x)), 0, {"function": "mish"}),
    ("activation", tf.nn.softsign, 0, {"function": "softsign"}),
]


@pytest.mark.parametrize(("kind", "function", "count", "attributes"), CASES)
def test_a_layer_written_out(
    kind: str, function: Callable, count: int, attributes: dict[str, Any]
) -> None:
    class Small(Sgd):
        input_shape: ClassVar = [6]

        def __init__(self) -> None:
            vectors = [variable(8) for _ in range(count)]
            self.variables = [variable(6, 8), variable(8, 3), *vectors]

        def loss(self, x: Any, y: Any) -> Any:
            first, last, *vectors = self.variables
            logits = function(x @ first, *vectors) @ last
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    model = Adapter(lambda _: Small())
    graph = model.graph()
    assert [node.kind for node in graph.nodes] == ["dense", kind, "dense"]
    assert graph.nodes[1].attributes.items() >= attributes.items()
    x = 3 * np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    record = model.record(x, False) | {INPUT: x}
    for distance in reference.check(graph, model.parameters(), record, False).values():
        assert distance.ratio <= 1


def test_an_embedding_with_a_gate() -> None:
    class Words(Sgd):
        input_shape: ClassVar = [4]
        data = (np.arange(40).reshape(10, 4) % 7, np.arange(10) % 3)

        def __init__(self) -> None:
            self.variables = {
                "words": variable(7, 5),
                "gate": variable(5, 5),
                "last": variable(20, 3),
            }

        def loss(self, x: Any, y: Any) -> Any:
            x = tf.gather(self.variables["words"], x)
            gate = tf.sigmoid(tf.tensordot(x, self.variables["gate"], 1))
            x = tf.reshape(x * gate, [-1, 20])
            logits = x @ self.variables["last"]
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    model = Adapter(lambda _: Words())
    kinds = [node.kind for node in model.graph().nodes]
    assert kinds == ["embedding", "dense", "activation", "multiply", "flatten", "dense"]
