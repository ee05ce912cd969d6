"""The networks in low-level TensorFlow, with whatever a variant plants in them."""

# The frameworks' annotations say less than they take and give.
# pyright: basic, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportOperatorIssue=false

import tensorflow as tf
from variants import Variant, batches_of, houses, parse, prepare_images, signals, texts


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    network, v = parse(name)
    return lambda: NETWORKS[network](v)


def kernel(v: Variant, *shape: int) -> tf.Tensor:
    receptive = 1
    for size in shape[:-2]:
        receptive *= size
    fan_in, fan_out = receptive * shape[-2], receptive * shape[-1]
    if v.initialiser == "he":
        return tf.random.truncated_normal(shape, stddev=(2 / fan_in) ** 0.5 / 0.87962566)
    if v.initialiser == "normal":
        return tf.random.normal(shape, stddev=0.05)
    limit = (6 / (fan_in + fan_out)) ** 0.5
    return tf.random.uniform(shape, -limit, limit)


def bias(v: Variant, units: int) -> tf.Tensor:
    return tf.zeros(units) if v.biases == "zeros" else tf.fill([units], 0.1)


class Trained:
    """The loss, the optimisers and the step; a network adds its variables and ``forward``."""

    v: Variant
    variables: dict[str, tf.Variable]
    first: str

    def prepare_training(self) -> None:
        v = self.v
        self.trained = {
            name: variable
            for name, variable in self.variables.items()
            if not (v.frozen and name.startswith(self.first))
        }
        self.m = {name: tf.Variable(tf.zeros_like(x)) for name, x in self.trained.items()}
        self.s = {name: tf.Variable(tf.zeros_like(x)) for name, x in self.trained.items()}
        self.sums = {name: tf.Variable(tf.zeros_like(x)) for name, x in self.trained.items()}
        self.t = tf.Variable(0.0)

    def penalty(self) -> tf.Tensor:
        return self.v.penalty * tf.reduce_sum(tf.square(self.variables[self.first + "/kernel"]))

    @tf.function
    def step(self, x, y):
        v = self.v
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        gradients = tape.gradient(loss, self.trained)
        self.t.assign_add(1.0)
        rate = v.rate_of_learning * (0.9 ** (self.t - 1) if v.schedule else 1.0)
        if v.clip:
            names = list(gradients)
            clipped, _ = tf.clip_by_global_norm([gradients[name] for name in names], v.clip)
            gradients = dict(zip(names, clipped, strict=True))
        for name, variable in self.trained.items():
            gradient = gradients[name]
            if not v.cleared:
                gradient = self.sums[name].assign_add(gradient)
            if v.decay:
                gradient += v.decay * variable
            variable.assign_sub(rate * self.direction(name, gradient))
            if v.constraint and name == "last/kernel":
                variable.assign(tf.clip_by_norm(variable, v.constraint, axes=[0]))
        return loss

    def direction(self, name: str, gradient):
        v, m, s = self.v, self.m[name], self.s[name]
        if v.optimiser == "sgd":
            return m.assign(v.beta_1 * m + gradient)
        m.assign(v.beta_1 * m + (1 - v.beta_1) * gradient)
        s.assign(v.beta_2 * s + (1 - v.beta_2) * tf.square(gradient))
        correction = tf.sqrt(1 - v.beta_2**self.t) / (1 - v.beta_1**self.t)
        return correction * m / (tf.sqrt(s) + v.epsilon)


class Cnn(Trained):
    first = "first"

    def __init__(self, v: Variant) -> None:
        self.v = v
        width = (28 if v.padding == "same" else 29 - v.kernel) // v.stride // 2
        width = (width - (2 if v.instead == "conv" else 0)) // 2
        window = (3, 3) if v.instead == "conv" else ()
        flat = width * width * 8
        self.variables = {
            "first/kernel": tf.Variable(kernel(v, v.kernel, v.kernel, 1, v.units)),
            "second/kernel": tf.Variable(kernel(v, *window, v.units, 8)),
            "second/bias": tf.Variable(bias(v, 8)),
        }
        if v.extra:
            self.variables["extra/kernel"] = tf.Variable(kernel(v, flat, 10))
            self.variables["extra/bias"] = tf.Variable(bias(v, 10))
            flat = 10
        self.variables["last/kernel"] = tf.Variable(kernel(v, flat, 10))
        self.variables["last/bias"] = tf.Variable(bias(v, 10))
        if v.bias:
            self.variables["first/bias"] = tf.Variable(bias(v, v.units))
        self.prepare_training()
        self.batches = batches_of(v, 32, seed=3)

    def prepare(self, images, labels):
        return prepare_images(self.v, images, labels)

    def forward(self, x, training: bool):
        v, w = self.v, self.variables
        dtype = tf.bfloat16 if v.precision == "bfloat16" else tf.float32
        x = tf.cast(x, dtype)
        x = tf.nn.conv2d(x, tf.cast(w["first/kernel"], dtype), v.stride, v.padding.upper())
        if v.bias:
            x = tf.nn.bias_add(x, tf.cast(w["first/bias"], dtype))
        if v.activation != "leaky_relu":
            x = getattr(tf.nn, v.activation)(x)
        elif v.explicit:
            x = tf.maximum(x, v.slope * x)
        else:
            x = tf.nn.leaky_relu(x, v.slope)
        pool = tf.nn.max_pool2d if v.pool == "max" else tf.nn.avg_pool2d
        x = pool(x, 2, 2, "VALID")
        if v.rate and training and v.mode == "training":
            x = tf.nn.dropout(x, v.rate)
        second = tf.cast(w["second/kernel"], dtype)
        if v.instead == "conv":
            x = tf.nn.conv2d(x, second, 1, "VALID")
        else:
            x = tf.tensordot(x, second, 1)
        x = tf.nn.relu(tf.nn.bias_add(x, tf.cast(w["second/bias"], dtype)))
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        if v.order == "first":
            x = tf.transpose(x, [0, 3, 1, 2])
        x = tf.reshape(x, [tf.shape(x)[0], -1])
        if v.extra:
            x = x @ w["extra/kernel"] + w["extra/bias"]
        x = x @ tf.cast(w["last/kernel"], dtype) + tf.cast(w["last/bias"], dtype)
        return tf.cast(x, tf.float32)

    def logits(self, x):
        return self.forward(x, training=False)

    def loss(self, x, y):
        return classification(self.v, self.forward(x, training=True), y, self.penalty())


def classification(v: Variant, z, y, penalty):
    """The loss of outputs z against classes y."""
    if v.softmax == "twice":
        z = tf.nn.softmax(z)
    if v.probabilities:
        chosen = tf.gather(z, y, batch_dims=1)
        losses = -tf.math.log(tf.clip_by_value(chosen, 1e-7, 1.0))
    else:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, z)
    total = tf.reduce_sum(losses) if v.reduction == "sum" else tf.reduce_mean(losses)
    return total + penalty if v.penalty else total


class Residual(Trained):
    first = "first"

    def __init__(self, v: Variant) -> None:
        self.v = v
        self.variables = {
            "first/kernel": tf.Variable(kernel(v, v.kernel, v.kernel, 1, v.units)),
            "first/bias": tf.Variable(bias(v, v.units)),
            "second/kernel": tf.Variable(kernel(v, 3, 3, v.units, v.units)),
            "second/bias": tf.Variable(bias(v, v.units)),
            "last/kernel": tf.Variable(kernel(v, v.units, 10)),
            "last/bias": tf.Variable(bias(v, 10)),
        }
        self.averages = {}
        for norm in ("norm_1", "norm_2"):
            self.variables[norm + "/gamma"] = tf.Variable(tf.ones(v.units))
            self.variables[norm + "/beta"] = tf.Variable(tf.zeros(v.units))
            self.averages[norm + "/mean"] = tf.Variable(tf.zeros(v.units), trainable=False)
            self.averages[norm + "/variance"] = tf.Variable(tf.ones(v.units), trainable=False)
        self.prepare_training()
        self.variables |= self.averages
        self.batches = batches_of(v, 32, seed=3)

    def prepare(self, images, labels):
        return prepare_images(self.v, images, labels)

    def normalise(self, norm: str, x, training: bool):
        v, w = self.v, self.variables
        mean, variance = w[norm + "/mean"], w[norm + "/variance"]
        if training and v.mode == "training":
            moving, (mean, variance) = (mean, variance), tf.nn.moments(x, [0, 1, 2])
            for average, batch in zip(moving, (mean, variance), strict=True):
                average.assign(v.momentum * average + (1 - v.momentum) * batch)
        return tf.nn.batch_normalization(
            x, mean, variance, w[norm + "/beta"], w[norm + "/gamma"], v.bn_epsilon
        )

    def forward(self, x, training: bool):
        v, w = self.v, self.variables
        x = tf.nn.conv2d(x, w["first/kernel"], 2, "SAME") + w["first/bias"]
        x = self.normalise("norm_1", x, training)
        x = tf.nn.selu(x) if v.activation == "leaky_relu" else getattr(tf.nn, v.activation)(x)
        y = tf.nn.conv2d(x, w["second/kernel"], 1, "SAME") + w["second/bias"]
        x = tf.nn.relu(x + self.normalise("norm_2", y, training))
        return tf.reduce_mean(x, [1, 2]) @ w["last/kernel"] + w["last/bias"]

    def logits(self, x):
        return self.forward(x, training=False)

    def loss(self, x, y):
        return classification(self.v, self.forward(x, training=True), y, self.penalty())


class Signal(Trained):
    first = "first"

    def __init__(self, v: Variant) -> None:
        self.v = v
        width = (40 if v.padding == "same" else 41 - v.kernel) // 2
        self.variables = {
            "first/kernel": tf.Variable(kernel(v, v.kernel, 2, v.units)),
            "first/bias": tf.Variable(bias(v, v.units)),
            "last/kernel": tf.Variable(kernel(v, width * v.units, 3)),
            "last/bias": tf.Variable(bias(v, 3)),
        }
        self.prepare_training()
        self.data = signals()
        self.batches = batches_of(v, 32, seed=3)

    def logits(self, x):
        v, w = self.v, self.variables
        x = tf.nn.conv1d(x, w["first/kernel"], 1, v.padding.upper()) + w["first/bias"]
        pool = tf.nn.max_pool1d if v.pool == "max" else tf.nn.avg_pool1d
        x = pool(tf.nn.relu(x), 2, 2, "VALID")
        x = tf.reshape(x, [tf.shape(x)[0], -1])
        return x @ w["last/kernel"] + w["last/bias"]

    def loss(self, x, y):
        return classification(self.v, self.logits(x), y, self.penalty())


def scale_and_offset(v: Variant) -> dict[str, tf.Variable]:
    return {
        "layer/gamma": tf.Variable(tf.ones(v.units)),
        "layer/beta": tf.Variable(tf.zeros(v.units)),
    }


def layer_norm(v: Variant, w, x):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    beta, gamma = w["layer/beta"], w["layer/gamma"]
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, v.layer_epsilon)


def scale(v: Variant) -> dict[str, tf.Variable]:
    return {"layer/gamma": tf.Variable(tf.ones(v.units))}


def rms_norm(v: Variant, w, x):
    mean_square = tf.reduce_mean(tf.square(x), -1, keepdims=True)
    return x * tf.math.rsqrt(mean_square + v.layer_epsilon) * w["layer/gamma"]


def slopes(v: Variant) -> dict[str, tf.Variable]:
    return {"layer/slope": tf.Variable(tf.fill([1 if v.layer_shared else v.units], 0.25))}


def prelu(v: Variant, w, x):
    return tf.maximum(x, 0.0) + w["layer/slope"] * tf.minimum(x, 0.0)


LAYERS = {
    "clip": (lambda v: {}, lambda v, w, x: tf.clip_by_value(x, 0.0, v.layer_limit)),
    "layer_norm": (scale_and_offset, layer_norm),
    "prelu": (slopes, prelu),
    "rms_norm": (scale, rms_norm),
}
"""By kind, the variables and the computation of the layer behind the hidden one of the
regression."""


class Regression(Trained):
    first = "hidden"

    def __init__(self, v: Variant) -> None:
        self.v = v
        self.variables = {
            "hidden/kernel": tf.Variable(kernel(v, 13, v.units)),
            "hidden/bias": tf.Variable(bias(v, v.units)),
            "last/kernel": tf.Variable(kernel(v, v.units, 1)),
            "last/bias": tf.Variable(bias(v, 1)),
        }
        if v.layer:
            self.variables |= LAYERS[v.layer][0](v)
        self.prepare_training()
        x, y = houses()
        self.data = (x, y[:, 0] if v.broadcast else y)
        self.batches = batches_of(v, 32, seed=3)

    def logits(self, x):
        w = self.variables
        hidden = x @ w["hidden/kernel"] + w["hidden/bias"]
        if self.v.layer:
            hidden = LAYERS[self.v.layer][1](self.v, w, hidden)
        hidden = tf.tanh(hidden) if self.v.activation == "leaky_relu" else tf.nn.relu(hidden)
        return hidden @ w["last/kernel"] + w["last/bias"]

    def loss(self, x, y):
        squares = tf.square(self.logits(x) - y)
        total = tf.reduce_sum(squares) if self.v.reduction == "sum" else tf.reduce_mean(squares)
        return total + self.penalty() if self.v.penalty else total


class Words(Trained):
    first = "first"

    def __init__(self, v: Variant) -> None:
        self.v = v
        self.variables = {
            "first/kernel": tf.Variable(tf.random.uniform((20, v.units), -0.05, 0.05)),
            "last/kernel": tf.Variable(kernel(v, 12 * v.units, 3)),
            "last/bias": tf.Variable(bias(v, 3)),
        }
        self.prepare_training()
        self.data = texts()
        self.batches = batches_of(v, 32, seed=3)

    def logits(self, x):
        w = self.variables
        x = tf.nn.embedding_lookup(w["first/kernel"], x)
        return tf.reshape(x, [tf.shape(x)[0], -1]) @ w["last/kernel"] + w["last/bias"]

    def loss(self, x, y):
        return classification(self.v, self.logits(x), y, self.penalty())


NETWORKS = {
    "cnn": Cnn,
    "residual": Residual,
    "regression": Regression,
    "signal": Signal,
    "words": Words,
}
