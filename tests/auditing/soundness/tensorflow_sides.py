"""Low-level TensorFlow sides, made of ingredients."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import math
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))
from ingredients import CLASSES, SIZE, Recipe, images

FEATURES = 4 * (SIZE // 2) ** 2


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    recipe = Recipe(name)
    return lambda: Side(recipe)


def glorot(*shape: int) -> tf.Variable:
    receptive = math.prod(shape[:-2])
    limit = (6 / (receptive * (shape[-2] + shape[-1]))) ** 0.5
    return tf.Variable(tf.random.uniform(shape, -limit, limit))


class Side:
    """The network, its loss and its step, which descends the gradient."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.trained = {
            "convolution/kernel": glorot(3, 3, 1, 4),
            "convolution/bias": tf.Variable(tf.zeros(4)),
            "dense/kernel": glorot(FEATURES, CLASSES),
            "dense/bias": tf.Variable(tf.zeros(CLASSES)),
        }
        self.moving = {}
        if recipe("after") == "norm":
            self.trained |= {"gamma": tf.Variable(tf.ones(4)), "beta": tf.Variable(tf.zeros(4))}
            self.moving = {"mean": tf.Variable(tf.zeros(4)), "variance": tf.Variable(tf.ones(4))}
        self.variables = self.trained | self.moving
        self.steps_taken = tf.Variable(0.0)
        self.sums = {name: tf.Variable(tf.zeros_like(v)) for name, v in self.trained.items()}
        self.data = images()
        if recipe("batches") != "plain":
            self.batches = self.batches_of

    def forward(self, x, training: bool):
        v, word = self.trained, self.recipe("middle")
        x = tf.nn.conv2d(x, v["convolution/kernel"], 1, "SAME") + v["convolution/bias"]
        x = tf.nn.relu(x)
        if word == "limited":
            x = tf.minimum(x, self.recipe.number("middle"))
        x = self.after(tf.nn.max_pool2d(x, 2, 2, "VALID"), training)
        x = tf.reshape(x, [-1, FEATURES])
        x = tf.matmul(x, v["dense/kernel"]) + v["dense/bias"]
        if self.recipe("end") == "predicting_softmax" and not training:
            x = tf.nn.softmax(x)
        return x

    def after(self, x, training: bool):
        word = self.recipe("after")
        if word == "norm":
            return self.normalised(x, training)
        if not training or word == "plain":
            return x
        rate = self.recipe.number("after")
        if word == "dropout":
            return tf.nn.dropout(x, rate)
        kept = tf.random.uniform(tf.shape(x)) >= rate
        return tf.where(kept, x / (1 - rate), tf.zeros_like(x))

    def normalised(self, x, training: bool):
        mean, variance = self.moving["mean"], self.moving["variance"]
        if training:
            momentum = self.recipe.number("after")
            of_batch = tf.nn.moments(x, [0, 1, 2])
            for moving, value in zip((mean, variance), of_batch, strict=True):
                moving.assign(momentum * moving + (1 - momentum) * value)
            mean, variance = of_batch
        return tf.nn.batch_normalization(
            x, mean, variance, self.trained["beta"], self.trained["gamma"], 1e-3
        )

    def logits(self, x):
        return self.forward(x, training=False)

    def loss(self, x, y):
        outputs = self.forward(x, training=True)
        value = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs))
        kernel, word = self.trained["convolution/kernel"], self.recipe("penalty")
        if word == "l2":
            value += self.recipe.number("penalty") * tf.reduce_sum(tf.square(kernel))
        if word == "l2_by_hand":
            value += 2 * self.recipe.number("penalty") * tf.nn.l2_loss(kernel)
        return value

    def rate(self):
        word, n = self.recipe("schedule"), self.steps_taken
        rate = self.recipe.number("optimiser") if self.recipe("optimiser") == "sgd" else 0.05
        if word == "plain":
            return rate
        steps = self.recipe.number("schedule")
        if word == "stairs":
            return rate * tf.pow(0.5, tf.floor(n / steps))
        if word == "stairs_by_hand":
            return (
                tf.where(n < steps, rate, rate / 2)
                * tf.where(n < 2 * steps, 1.0, 0.5)
                * (tf.where(n < 3 * steps, 1.0, 0.5))
            )
        if word == "cosine":
            return rate * 0.5 * (1 + tf.cos(math.pi * tf.minimum(n / steps, 1.0)))
        return rate * tf.square(tf.cos(math.pi / 2 * tf.minimum(n / steps, 1.0)))

    @tf.function
    def step(self, x, y):
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        gradients = tape.gradient(loss, self.trained)
        rate = self.rate()
        self.steps_taken.assign_add(1.0)
        for name, variable in self.trained.items():
            self.update(name, variable, gradients[name], rate)
        return loss

    def update(self, name: str, variable, gradient, rate):
        word, n = self.recipe("step"), self.steps_taken
        if word.startswith("accumulate"):
            count = self.recipe.number("step")
            share = 1.0 if word == "accumulate_sum" else 1 / count
            total = self.sums[name].assign_add(gradient * share)
            now = tf.equal(tf.math.floormod(n, count), 0.0)
            gradient = tf.where(now, total / (count * share), tf.zeros_like(total))
            self.sums[name].assign(tf.where(now, tf.zeros_like(total), total))
        if word.startswith("unfreeze") and name.startswith("convolution"):
            late = n > self.recipe.number("step")
            if word == "unfreeze":
                gradient = tf.where(late, gradient, tf.zeros_like(gradient))
            else:
                gradient = gradient * tf.cast(late, gradient.dtype)
        decay = self.recipe("decay")
        if decay == "decoupled":
            variable.assign_sub(self.recipe.number("decay") * rate * variable)
        if decay == "by_factor":
            variable.assign(variable * (1 - self.recipe.number("decay") * rate))
        variable.assign_sub(rate * gradient)

    def batches_of(self, x, y):
        x, y = np.asarray(x), np.asarray(y)
        chance = np.random.default_rng()
        order = chance.permutation(len(x))
        for start in range(0, len(x), 16):
            rows = order[start : start + 16]
            images = x[rows]
            if self.recipe("batches") == "flip":
                flips = chance.random((len(rows), 1, 1, 1)) < self.recipe.number("batches")
                images = np.where(flips, images[:, :, ::-1], images)
            yield images, y[rows]
