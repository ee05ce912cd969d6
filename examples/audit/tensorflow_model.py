"""The network of keras_model.py in low-level TensorFlow: variables, a loss, a step."""

# pyright: reportOperatorIssue=false

import tensorflow as tf


def glorot(*shape: int) -> tf.Variable:
    receptive = 9 if len(shape) == 4 else 1
    limit = (6 / (receptive * (shape[-2] + shape[-1]))) ** 0.5
    return tf.Variable(tf.random.uniform(shape, -limit, limit))


class Network:
    def __init__(self) -> None:
        self.variables = {
            "conv_1/kernel": glorot(3, 3, 1, 16),
            "conv_1/bias": tf.Variable(tf.zeros(16)),
            "conv_2/kernel": glorot(3, 3, 16, 32),
            "conv_2/bias": tf.Variable(tf.zeros(32)),
            "output/kernel": glorot(7 * 7 * 32, 10),
            "output/bias": tf.Variable(tf.zeros(10)),
        }
        self.velocities = {name: tf.Variable(v * 0) for name, v in self.variables.items()}

    def logits(self, x, training=False):
        w = self.variables
        for name in ("conv_1", "conv_2"):
            x = tf.nn.conv2d(x, w[f"{name}/kernel"], 1, "SAME") + w[f"{name}/bias"]
            x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
        x = tf.reshape(x, [-1, 7 * 7 * 32])
        x = tf.nn.dropout(x, 0.25) if training else x
        return x @ w["output/kernel"] + w["output/bias"]

    def loss(self, x, y):
        logits = self.logits(x, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        return tf.reduce_mean(losses)

    @tf.function
    def step(self, x, y):
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        for name, gradient in tape.gradient(loss, self.variables).items():
            velocity = self.velocities[name].assign(0.9 * self.velocities[name] + gradient)
            self.variables[name].assign_sub(0.05 * velocity)
        return loss


build = Network
