"""TensorFlow's operations that move, resample and join numbers, against the reference."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from typing import Any

import numpy as np
import pytest
from tensorflow_networks import RANDOM, Adapter, Sgd, tf, variable

from diptych.auditing import reference
from diptych.auditing.graph import INPUT
from diptych.auditing.kinds.registry import KINDS

IMAGE, BLOCK = (8, 8, 8), (4, 6, 6, 2)
resize = tf.image.resize
older = tf.compat.v1.image.resize_bilinear


def transposed(x: Any, kernel: Any, size: int, padding: str) -> Any:
    return tf.nn.conv2d_transpose(x, kernel, (tf.shape(x)[0], size, size, 4), 2, padding)


OPERATIONS: list[tuple[str, tuple[int, ...], Any]] = [
    ("conv_transpose", IMAGE, lambda x, k: transposed(x, k, 16, "SAME")),
    ("conv_transpose", IMAGE, lambda x, k: transposed(x, k, 17, "VALID")),
    ("max_pool", BLOCK, lambda x, k: tf.nn.max_pool3d(x, 2, 2, "SAME")),
    ("average_pool", BLOCK, lambda x, k: tf.nn.avg_pool3d(x, 2, 2, "VALID")),
    ("resize", IMAGE, lambda x, k: resize(x, (16, 16))),
    ("resize", IMAGE, lambda x, k: resize(x, (12, 5), "nearest")),
    ("resize", IMAGE, lambda x, k: resize(x, (16, 16), "bicubic")),
    ("resize", IMAGE, lambda x, k: older(x, (12, 5), align_corners=True)),
    ("resize", IMAGE, lambda x, k: older(x, (12, 5))),
    ("depth_to_space", IMAGE, lambda x, k: tf.nn.depth_to_space(x, 2)),
    ("space_to_depth", IMAGE, lambda x, k: tf.nn.space_to_depth(x, 2)),
    ("pad", IMAGE, lambda x, k: tf.pad(x, [[0, 0], [1, 2], [2, 0], [0, 0]], "REFLECT")),
    ("pad", IMAGE, lambda x, k: tf.pad(x, [[0, 0], [1, 2], [2, 0], [0, 0]], constant_values=0.5)),
    ("rearrange", IMAGE, lambda x, k: tf.transpose(x, (0, 2, 1, 3))),
    ("slice", IMAGE, lambda x, k: x[:, 1:-1, ::2]),
    ("slice", IMAGE, lambda x, k: x[:, -1]),
    ("slice", IMAGE, lambda x, k: x[..., :4]),
    ("slice", IMAGE, lambda x, k: tf.reverse(x, [2])),
    ("roll", IMAGE, lambda x, k: tf.roll(x, 1, 2)),
    ("repeat", IMAGE, lambda x, k: tf.tile(x, (1, 2, 1, 1))),
    ("stack", IMAGE, lambda x, k: tf.stack([x, tf.nn.relu(x)], 2)),
    ("reduce", IMAGE, lambda x, k: tf.reduce_sum(x, [1, 3])),
    ("reduce", IMAGE, lambda x, k: tf.reduce_mean(x, [1, 2], keepdims=True)),
    ("concatenate", IMAGE, lambda x, k: tf.concat([x, tf.nn.relu(x)], 1)),
]


def side(shape: tuple[int, ...], function: Any) -> Adapter:
    """A network that ends with a line of what the function makes, trained by its squared error."""

    class Network(Sgd):
        data = (
            RANDOM.normal(size=(16, *shape)).astype(np.float32),
            RANDOM.normal(size=(16,)).astype(np.float32),
        )

        def __init__(self) -> None:
            self.kernel = variable(3, 3, 4, shape[-1])
            size = function(tf.zeros((1, *shape)), self.kernel).shape.num_elements()
            self.line = variable(size, 1)
            self.variables = {"kernel": self.kernel, "line": self.line}

        def logits(self, x: Any) -> Any:
            x = function(x, self.kernel)
            return tf.reshape(x, (-1, self.line.shape[0])) @ self.line

        def loss(self, x: Any, y: Any) -> Any:
            return tf.reduce_mean(tf.square(self.logits(x)[:, 0] - y))

    return Adapter(lambda seed: Network())


@pytest.mark.parametrize(
    ("kind", "shape", "function"),
    OPERATIONS,
    ids=[f"{kind} {i}" for i, (kind, *_) in enumerate(OPERATIONS)],
)
def test_an_operation_does_what_its_node_says(
    kind: str, shape: tuple[int, ...], function: Any
) -> None:
    model = side(shape, function)
    graph = model.graph()
    others = {"activation", "flatten", "dense"}
    (node,) = (node for node in graph.nodes if node.kind not in others)
    assert node.kind == kind
    assert set(node.attributes) == set(KINDS[kind].attributes)
    x = RANDOM.normal(size=(7, *shape)).astype(np.float32)
    record = model.record(x, False) | {INPUT: x}
    distances = reference.check(graph, model.parameters(), record, False)
    assert distances[node.name].ratio <= 1, distances


def test_bilinear_resizing_and_its_gradient_have_a_twin() -> None:
    """TensorFlow resizes in float32 alone."""
    model = side(
        IMAGE, lambda x, k: resize(tf.nn.conv2d(x, tf.reshape(k, (3, 3, 8, 4)), 1, "SAME"), (12, 5))
    )
    twin = model.twin()
    x = RANDOM.normal(size=(7, *IMAGE)).astype(np.float32)
    y = np.zeros(7, np.float32)
    wide = twin.outputs(x.astype(np.float64), False, 1)
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide, model.outputs(x, False, 1), rtol=1e-4, atol=1e-4)
    loss, gradients = model.loss_and_gradients(x, y)
    wide_loss, wide_gradients = twin.loss_and_gradients(x.astype(np.float64), y)
    assert wide_loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(gradients["kernel"], wide_gradients["kernel"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((7, 1, 1, 8), "spatial_dropout"), ((7, 1, 1, 1), "drop_path"), (None, "dropout")],
)
def test_what_is_dropped_together_says_which_dropout_it_is(shape: Any, kind: str) -> None:
    class Network(Sgd):
        data = (np.ones((7, *IMAGE), np.float32), np.ones(7, np.float32))

        def __init__(self) -> None:
            self.variables = {"scale": variable(8)}

        def loss(self, x: Any, y: Any) -> Any:
            noise = None if shape is None else (tf.shape(x)[0], *shape[1:])
            x = tf.nn.dropout(x, 0.3, noise_shape=noise)
            return tf.reduce_mean(
                tf.square(tf.reduce_sum(x * self.variables["scale"], (1, 2, 3)) - y)
            )

    (node, *_) = Adapter(lambda seed: Network()).graph().nodes
    assert (node.kind, node.attributes) == (kind, {"rate": 0.3})
