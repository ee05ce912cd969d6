"""Keras sides, made of ingredients."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportOperatorIssue=false

import math
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

sys.path.insert(0, str(Path(__file__).parent))
from ingredients import CLASSES, SIZE, Recipe, images, sequences


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    recipe = Recipe(name)
    return lambda: side(recipe)


def side(recipe: Recipe):
    if recipe("start") == "checkpoint":
        keras.utils.set_random_seed(int(recipe.number("start")))
    sequential = recipe("network") != "plain"
    model = (recurrent if sequential else pictures)(recipe)
    model.compile(optimizer=optimiser_of(recipe), loss=loss_of(recipe, model))
    x, y = sequences() if sequential else images()
    extras = {"data": (x, y)}
    if recipe("fit") != "plain":
        extras["fit"] = fit_of(recipe, x, y)
    if recipe("batches") != "plain":
        extras["batches"] = batches_of(recipe)
    return model, extras


def pictures(recipe: Recipe) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 1))
    x = begin(recipe, inputs)
    penalty = keras.regularizers.L2(recipe.number("penalty")) if recipe("penalty") == "l2" else None
    x = layers.Conv2D(4, 3, padding="same", kernel_regularizer=penalty, name="convolution")(x)
    x = layers.MaxPooling2D(2)(middle(recipe)(x))
    x = layers.Flatten()(after(recipe, x))
    x = layers.Dense(CLASSES, name="dense")(x)
    word = recipe("end")
    if word == "late_scale":
        x = Late(int(recipe.number("end")))(x)
    if word == "predicting_softmax":
        x = Predicting(ops.softmax)(x)
    if recipe("step") != "plain":
        return OwnStep(recipe("step"), recipe.number("step"), inputs, x)
    return keras.Model(inputs, x)


class OwnStep(keras.Model):
    """A model with a step of its own, which adds noise to the examples or to the gradients."""

    def __init__(self, word, deviation, inputs, outputs):
        super().__init__(inputs, outputs)
        self.word, self.deviation = word, deviation

    def train_step(self, data):
        x, y = data
        if self.word == "noise":
            x = x + self.noise(x)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        if self.word == "noisy_gradients":
            gradients = [gradient + self.noise(gradient) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}

    def noise(self, like):
        return tf.random.normal(tf.shape(like), stddev=self.deviation, dtype=like.dtype)


def recurrent(recipe: Recipe) -> keras.Model:
    rate = recipe.number("network")
    kinds = {"lstm": layers.LSTM, "gru": layers.GRU}
    kind = kinds[recipe("network").split("_")[0]]
    which = "recurrent_dropout" if recipe("network").endswith("states") else "dropout"
    return keras.Sequential([keras.Input((6, 5)), kind(6, **{which: rate}), layers.Dense(CLASSES)])


class Predicting(layers.Layer):
    """Applies a function in inference only."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x, training=False):
        return x if training else self.function(x)


class Late(layers.Layer):
    """Halves its inputs after so many steps of training."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps
        self.taken = self.add_weight(
            name="taken", dtype="int64", initializer="zeros", trainable=False
        )

    def call(self, x, training=False):
        if training:
            self.taken.assign(self.taken + 1)
        return ops.where(self.taken > self.steps, x / 2, x)


class Training(layers.Layer):
    """Applies a function of inputs and a seed generator in training only."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.seeds = keras.random.SeedGenerator()

    def call(self, x, training=False):
        return self.function(x, self.seeds) if training else x


class Always(layers.Layer):
    """Applies a function of the batch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def begin(recipe: Recipe, x):
    word = recipe("begin")
    if word == "plain":
        return x
    number = recipe.number("begin")

    def flipped(x, seeds):
        flips = keras.random.uniform((ops.shape(x)[0], 1, 1, 1), seed=seeds) < number
        return ops.where(flips, ops.flip(x, 2), x)

    def one_is_none(x):
        return ops.where(ops.shape(x)[0] == 1, x * 0, x)

    layer = {
        "rotation": lambda: layers.RandomRotation(number),
        "flip": lambda: layers.RandomFlip("horizontal"),
        "flip_by_hand": lambda: Training(flipped),
        "noise": lambda: layers.GaussianNoise(number),
        "noise_by_hand": lambda: Training(
            lambda x, seeds: x + number * keras.random.normal(ops.shape(x), seed=seeds)
        ),
        "brightness": lambda: layers.RandomBrightness(number, value_range=(0, 1)),
        "one_is_none": lambda: Always(one_is_none),
    }[word]()
    return layer(x)


def middle(recipe: Recipe) -> layers.Layer:
    word = recipe("middle")
    if word == "plain":
        return layers.ReLU()
    number = recipe.number("middle")
    return {
        "limited": lambda: layers.ReLU(max_value=number),
        "relu6": lambda: layers.Activation("relu6"),
        "threshold": lambda: layers.ReLU(threshold=number),
    }[word]()


def after(recipe: Recipe, x):
    word = recipe("after")
    if word == "plain":
        return x
    number = recipe.number("after")
    layer = {
        "dropout": lambda: layers.Dropout(number),
        "dropout_channels": lambda: layers.SpatialDropout2D(number),
        "norm": lambda: layers.BatchNormalization(momentum=number, epsilon=1e-3),
    }[word]()
    return layer(x)


def rate_of(recipe: Recipe, rate: float):
    """The optimiser's learning rate: a number or a schedule."""
    word = recipe("schedule")
    if word == "plain":
        return rate
    schedules, steps = keras.optimizers.schedules, int(recipe.number("schedule"))
    if word == "cosine":
        return schedules.CosineDecay(rate, steps)
    if word == "stairs":
        return schedules.ExponentialDecay(rate, steps, 0.5, staircase=True)
    if word == "exponential":
        return schedules.ExponentialDecay(rate, steps, 0.5)
    if word == "piecewise":
        return schedules.PiecewiseConstantDecay([steps], [rate, rate / 10])
    return ByHand(word, rate, steps)


class ByHand(keras.optimizers.schedules.LearningRateSchedule):
    """The schedules again, as a user would write them."""

    def __init__(self, word: str, rate: float, steps: int) -> None:
        self.word, self.rate, self.steps = word, rate, steps

    def __call__(self, step):
        n = ops.cast(step, keras.config.floatx())
        if self.word == "cosine_by_hand":
            share = ops.minimum(n / self.steps, 1.0)
            return self.rate * 0.5 * (1 + ops.cos(math.pi * share))
        if self.word == "stairs_by_hand":
            return self.rate * ops.power(0.5, ops.floor(n / self.steps))
        if self.word == "exponential_by_hand":
            return self.rate * ops.power(0.5, n / self.steps)
        return ops.where(n <= self.steps, self.rate, self.rate / 10)


def optimiser_of(recipe: Recipe):
    word, more = recipe("optimiser"), {}
    if recipe("ema") == "used":
        more |= {"use_ema": True, "ema_momentum": recipe.number("ema")}
    if recipe("accumulate") == "steps":
        more["gradient_accumulation_steps"] = int(recipe.number("accumulate"))
    if recipe("clip") == "norm":
        more["global_clipnorm"] = recipe.number("clip")
    if word in ("plain", "sgd"):
        rate = recipe.number("optimiser") if word == "sgd" else 0.05
        return keras.optimizers.SGD(rate_of(recipe, rate), **more)
    if word == "adam":
        return keras.optimizers.Adam(rate_of(recipe, recipe.number("optimiser")), **more)
    decay = recipe.number("optimiser")
    kinds = {"adamw": keras.optimizers.AdamW, "adam_decayed": keras.optimizers.Adam}
    return kinds[word](rate_of(recipe, 1e-3), weight_decay=decay, **more)


def loss_of(recipe: Recipe, model: keras.Model):
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if recipe("loss") == "smooth":
        smooth = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.number("loss")
        )
        return lambda y, outputs: smooth(
            ops.one_hot(ops.reshape(ops.cast(y, "int32"), [-1]), CLASSES), outputs
        )
    if recipe("penalty") == "l2_by_hand":
        kernel, factor = model.get_layer("convolution").kernel, recipe.number("penalty")
        return lambda y, outputs: sparse(y, outputs) + factor * ops.sum(ops.square(kernel))
    return sparse


def fit_of(recipe: Recipe, x: np.ndarray, y: np.ndarray) -> dict:
    """The arguments of ``fit``."""
    word = recipe("fit")
    number = recipe.number("fit")
    result = {"batch_size": 16, "epochs": 2}
    if word == "epochs":
        return result | {"epochs": int(number)}
    if word.startswith("class_weight"):
        rare = int(recipe.number("fit", 1))
        weights = {rare: number}
        if word == "class_weight_of_all":
            weights = {n: number if n == rare else 1.0 for n in range(CLASSES)}
        return result | {"class_weight": weights}
    if word == "sample_weight":
        return result | {"sample_weight": np.where(y == 7, number, 1.0).astype(np.float32)}
    if word == "validation":
        return result | {"validation_split": number}
    if word == "steps":
        return result | {"steps_per_epoch": int(number)}
    if word == "unshuffled":
        return result | {"shuffle": False}
    callbacks = keras.callbacks
    return result | {
        "callbacks": [
            {
                "plateau": lambda: callbacks.ReduceLROnPlateau(
                    monitor="loss", patience=int(number)
                ),
                "stopping": lambda: callbacks.EarlyStopping(monitor="loss", patience=int(number)),
                "rate_per_epoch": lambda: callbacks.LearningRateScheduler(
                    lambda epoch, rate: rate * number if epoch else rate
                ),
                "rate_per_epoch_by_hand": lambda: callbacks.LearningRateScheduler(
                    lambda epoch, rate: [1.0, number][epoch > 0] * rate
                ),
            }[word]()
        ]
    }


def batches_of(recipe: Recipe):
    word = recipe("batches")
    number = recipe.number("batches") if recipe.ingredients["batches"][1] else 0
    chance = np.random.default_rng()

    def batches(x, y):
        x, y = np.asarray(x), np.asarray(y)
        order = chance.permutation(len(x))
        for start in range(0, len(x), 16):
            rows = order[start : start + 16]
            images = x[rows]
            flips = chance.random(len(rows)) < number
            if word == "flip":
                images = np.where(flips[:, None, None, None], images[:, :, ::-1], images)
            elif word == "flip_by_index":
                images = images.copy()
                images[flips] = images[flips][:, :, ::-1]
            elif word == "noise":
                images = images + number * chance.normal(size=images.shape).astype(images.dtype)
            yield images, y[rows]

    return batches
