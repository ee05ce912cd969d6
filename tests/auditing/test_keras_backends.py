"""The Keras adapter on other backends than TensorFlow."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

import pytest
from keras_sides import on_backend

ON_TORCH = """
import keras, numpy as np
from keras import layers
from diptych.auditing.frameworks.keras.adapter import Adapter

def build(seed):
    model = keras.Sequential([
        keras.Input((5, 5, 2)),
        layers.Conv2D(3, 2, padding="same", activation="relu", name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.AveragePooling2D(2, padding="same", name="odd"),
        layers.AveragePooling2D(3, 1, padding="same", name="even"),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(3, name="out", kernel_constraint="non_neg"),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), loss)
    return model, {"fit": {"batch_size": 4, "shuffle": False}}

model = Adapter(build)
assert "PyTorch" in model.framework, model.framework
nodes = {node.name: node for node in model.graph().nodes}
assert nodes["conv"].attributes["padding"] == [[0, 1], [0, 1]]
assert nodes["odd"].kind == "custom" and nodes["even"].kind == "average_pool"
x = np.random.default_rng(0).random((6, 5, 5, 2), np.float32)
y, before = np.arange(6) % 3, model.parameters()
record = model.record(x, True)
np.testing.assert_allclose(
    record["norm"].reshape(-1, 3).mean(0), np.zeros(3), atol=1e-5)
assert "parameter:norm/moving_mean" in record
loss, gradients = model.loss_and_gradients(x, y)
assert len(gradients) == 6
updated = model.updates([gradients])[0]
losses, after = model.steps([(x, y)])
assert abs(losses[0] - loss) < 1e-6
for name in gradients:
    np.testing.assert_allclose(updated[name], after[0][name], atol=1e-6)
assert updated["out/kernel"].min() >= 0
outputs = model.record(x, False)["out"]
assert np.isfinite(model.loss(outputs, y))
for name, value in model.parameters().items():
    np.testing.assert_array_equal(value, before[name])
assert [len(y) for _, y in model.batches(10, 1)[0]] == [4, 4, 2]
print("fine")
"""


def test_on_pytorch() -> None:
    pytest.importorskip("torch")
    assert on_backend("torch", ON_TORCH).endswith("fine")
