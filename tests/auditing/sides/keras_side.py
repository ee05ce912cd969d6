"""The networks in Keras, with whatever a variant plants in them."""

# The frameworks' annotations say less than they take and give.
# pyright: basic, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportOperatorIssue=false

import keras
from keras import layers
from variants import (
    Variant,
    batches_of,
    houses,
    parse,
    prepare_images,
    short_signals,
    signals,
    texts,
)


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    network, v = parse(name)
    return lambda: NETWORKS[network](v)


def initialisers(v: Variant) -> dict:
    kernel = {"glorot": "glorot_uniform", "he": "he_normal", "normal": "random_normal"}
    bias = {"zeros": "zeros", "ones": keras.initializers.Constant(0.1)}
    return {
        "kernel_initializer": kernel[v.initialiser],
        "bias_initializer": bias[v.biases],
    }


def activate(v: Variant, x):
    if v.activation == "leaky_relu":
        if v.explicit:
            return layers.Activation(lambda z: keras.ops.maximum(z, v.slope * z))(x)
        return layers.LeakyReLU(negative_slope=v.slope)(x)
    return layers.Activation(v.activation)(x)


def pool(v: Variant, x):
    kind = layers.MaxPooling2D if v.pool == "max" else layers.AveragePooling2D
    return kind(2)(x)


def first_conv(v: Variant, x):
    options = dict(initialisers(v), use_bias=v.bias, strides=v.stride)
    if v.penalty:
        options["kernel_regularizer"] = keras.regularizers.L2(v.penalty)
    padding = v.padding
    if v.explicit or padding == "symmetric":
        x = layers.ZeroPadding2D(v.kernel // 2)(x)
        padding = "valid"
    convolution = layers.Conv2D(v.units, v.kernel, padding=padding, **options)
    convolution.trainable = not v.frozen
    return convolution(x)


def head(v: Variant, x, classes: int):
    if v.extra:
        x = layers.Dense(classes, **initialisers(v))(x)
    options = initialisers(v)
    if v.constraint:
        options["kernel_constraint"] = keras.constraints.MaxNorm(v.constraint)
    return layers.Dense(classes, activation=None if v.softmax == "none" else "softmax", **options)(
        x
    )


class QuietNormalization(layers.BatchNormalization):
    """Normalises by the moving averages, ever."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


def build_cnn(v: Variant):
    image = keras.Input((28, 28, 1))
    x = pool(v, activate(v, first_conv(v, image)))
    if v.rate:
        x = layers.Dropout(v.rate)(x)
    if v.instead == "dense":
        x = layers.Dense(8, activation="relu", **initialisers(v))(x)
    elif v.explicit:
        x = layers.ReLU()(layers.Conv2D(8, 3, **initialisers(v))(x))
    else:
        x = layers.Conv2D(8, 3, activation="relu", **initialisers(v))(x)
    x = layers.MaxPooling2D(2)(x)
    if v.order == "first":
        x = layers.Permute((3, 1, 2))(x)
    return compiled(v, keras.Model(image, head(v, layers.Flatten()(x), 10)))


def build_residual(v: Variant):
    image = keras.Input((28, 28, 1))
    kind = layers.BatchNormalization if v.mode == "training" else QuietNormalization
    norm = {"momentum": v.momentum, "epsilon": v.bn_epsilon}
    x = layers.Conv2D(v.units, v.kernel, strides=2, padding="same", **initialisers(v))(image)
    x = kind(**norm)(x)
    x = layers.Activation("selu" if v.activation == "leaky_relu" else v.activation)(x)
    y = layers.Conv2D(v.units, 3, padding="same", **initialisers(v))(x)
    y = kind(**norm)(y)
    x = layers.ReLU()(layers.Add()([x, y] if v.explicit else [y, x]))
    x = layers.GlobalAveragePooling2D()(x)
    return compiled(v, keras.Model(image, head(v, x, 10)))


LAYERS = {
    "clip": lambda v: layers.ReLU(max_value=v.layer_limit),
    "group_norm": lambda v: layers.GroupNormalization(v.layer_groups, epsilon=v.layer_epsilon),
    "layer_norm": lambda v: layers.LayerNormalization(epsilon=v.layer_epsilon),
    "prelu": lambda v: layers.PReLU(
        alpha_initializer=keras.initializers.Constant(0.25),
        shared_axes=[1] if v.layer_shared else None,
    ),
    "rms_norm": lambda v: layers.RMSNormalization(epsilon=v.layer_epsilon),
    "unit_norm": lambda v: layers.UnitNormalization(axis=v.layer_axis),
}
"""By kind, the layer behind the hidden one of the regression."""


def build_regression(v: Variant):
    activation = "tanh" if v.activation == "leaky_relu" else v.activation
    house = keras.Input((13,))
    hidden = layers.Dense(
        v.units,
        activation=None if v.layer else activation,
        kernel_regularizer=keras.regularizers.L2(v.penalty) if v.penalty else None,
        **initialisers(v),
    )
    hidden.trainable = not v.frozen
    x = hidden(house)
    if v.layer:
        x = layers.Activation(activation)(LAYERS[v.layer](v)(x))
    return compiled(v, keras.Model(house, head(v, x, 1)), "mse", houses())


def build_signal(v: Variant):
    wave = keras.Input((40, 2))
    x = layers.Conv1D(v.units, v.kernel, padding=v.padding, activation="relu", **initialisers(v))(
        wave
    )
    kind = layers.MaxPooling1D if v.pool == "max" else layers.AveragePooling1D
    x = layers.Flatten()(kind(2)(x))
    return compiled(v, keras.Model(wave, head(v, x, 3)), data=signals())


def build_series(v: Variant):
    steps = keras.Input((10, 2))
    own = {"return_sequences": True}
    function = "tanh" if v.activation == "leaky_relu" else v.activation
    x = layers.SimpleRNN(v.units, function, go_backwards=v.backwards, **own)(steps)
    x = layers.LSTM(5, recurrent_activation=v.gates, **own)(x)
    last = v.taken == "step"
    gru = layers.GRU(4, reset_after=v.reset == "after", return_sequences=last)
    x = layers.Bidirectional(gru)(x)
    x = x[:, -1] if last else x
    return compiled(v, keras.Model(steps, head(v, x, 3)), data=short_signals())


def build_attention(v: Variant):
    steps = keras.Input((10, 2))
    x = layers.Dense(8, **initialisers(v))(steps)
    attention = layers.MultiHeadAttention(v.heads, 8 // v.heads, dropout=0.0)
    x = attention(x, x, use_causal_mask=v.causal)
    x = layers.Flatten()(x)
    return compiled(v, keras.Model(steps, head(v, x, 3)), data=short_signals())


def build_words(v: Variant):
    text = keras.Input((12,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(20, v.units)(text))
    return compiled(v, keras.Model(text, head(v, x, 3)), data=texts())


class AgainstEvery(keras.losses.Loss):
    """A mean square that is written out, on targets in another shape than the outputs."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true[:, 0] - y_pred))


class Predicting(keras.Model):
    """A step of one's own with a tape, which runs the model as it predicts."""

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=False))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class Uncleared(keras.Model):
    """A step of one's own for Keras on PyTorch, which forgets `zero_grad`."""

    def train_step(self, data):
        x, y = data
        loss = self.compute_loss(x, y, self(x, training=True))
        loss.backward()
        weights = self.trainable_weights
        self.optimizer.apply([weight.value.grad for weight in weights], weights)
        return {"loss": loss}


def compiled(v: Variant, model: keras.Model, loss: str = "classes", data=None):
    if v.precision == "bfloat16":
        # A copy of the model whose layers all have the other policy.
        config = model.get_config()
        for layer in config["layers"]:
            if layer["class_name"] != "InputLayer":
                layer["config"]["dtype"] = "mixed_bfloat16"
        model = keras.Model.from_config(config)
    if any(isinstance(layer, layers.Dropout) for layer in model.layers) and v.mode == "inference":
        model = Predicting(model.inputs, model.outputs)
    if not v.cleared:
        model = Uncleared(model.inputs, model.outputs)
    reduction = "sum" if v.reduction == "sum" else "sum_over_batch_size"
    if loss == "mse" and v.broadcast:
        chosen = AgainstEvery()
    elif loss == "mse":
        chosen = keras.losses.MeanSquaredError(reduction=reduction)
    else:
        chosen = keras.losses.SparseCategoricalCrossentropy(
            from_logits=v.softmax != "loss" and not v.probabilities, reduction=reduction
        )
    model.compile(optimiser(v), chosen)
    extras = {"batches": batches_of(v, 32, seed=1)}
    if data is None:
        extras["prepare"] = lambda images, labels: prepare_images(v, images, labels)
    else:
        extras["data"] = data
    return model, extras


def optimiser(v: Variant):
    rate = v.rate_of_learning
    if v.schedule:
        rate = keras.optimizers.schedules.ExponentialDecay(rate, 2, 0.8)
    common = {"clipnorm": v.clip} if v.clip else {}
    if v.decay:
        common["weight_decay"] = v.decay
    if v.optimiser == "sgd":
        return keras.optimizers.SGD(rate, momentum=v.beta_1, **common)
    if v.optimiser == "rmsprop":
        return keras.optimizers.RMSprop(rate, epsilon=v.epsilon, **common)
    return keras.optimizers.Adam(
        rate, beta_1=v.beta_1, beta_2=v.beta_2, epsilon=v.epsilon, **common
    )


NETWORKS = {
    "cnn": build_cnn,
    "residual": build_residual,
    "regression": build_regression,
    "signal": build_signal,
    "series": build_series,
    "attention": build_attention,
    "words": build_words,
}
