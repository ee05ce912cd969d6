"""The network in Keras: ``Sequential``, ``compile``, ``fit`` with callbacks, ``predict``."""

# Keras' annotations say less than Keras takes and gives: verbose=0, a schedule as a learning rate,
# parameters of a callback.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false

import time
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers

from diptych.data import Data, Split
from diptych.data.batches import Batches, to_float
from diptych.network import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    Shape,
    Weights,
    margins,
)
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows import Epoch, Monitor, Progress, State

IMAGES_A_CALL = 500
"""Images a batch at inference."""

# Whatever the person's own keras.json says.
keras.config.set_floatx("float32")
keras.config.set_image_data_format("channels_last")

WORKERS = 2 if keras.config.backend() == "tensorflow" else 1
"""Threads that make batches. On TensorFlow, Keras leaves the work of one alone to tf.data with its
autotuning, for which the end of an epoch then waits, for up to as long again as it has taken. On
other backends nothing waits, and Keras' first look at the data would leave batches in two threads'
queue."""


def build(
    network: Network, seed: int, precision: str = "float32", crops: bool = False
) -> keras.Sequential:
    """The network as a Keras model that gives logits.

    Args:
        network: its layers.
        seed: for its dropout.
        precision: what it computes in.
        crops: whether it takes cropped images as well as whole ones.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else keras.config.floatx()
    shape = (None, None, network.input_shape[2]) if crops else network.input_shape
    model = keras.Sequential([keras.Input(shape)], name="network")
    for layer, before, _ in network.steps():
        common: dict[str, Any] = {"name": layer.name, "dtype": policy}
        match layer:
            case Conv():
                model.add(
                    layers.Conv2D(
                        layer.filters,
                        layer.kernel,
                        strides=layer.stride,
                        padding=layer.padding,
                        activation=activation(layer, policy),
                        **common,
                    )
                )
            case MaxPool():
                model.add(layers.MaxPooling2D(layer.size, layer.steps, layer.padding, **common))
            case AveragePool():
                pooling = layers.AveragePooling2D
                if layer.padding == "same" and keras.config.backend() == "torch":
                    pooling = partial(AveragePooling2D, layer)
                model.add(pooling(layer.size, layer.steps, layer.padding, **common))
            case Dropout():
                dropout_seed = int(generator(seed, f"dropout/{layer.name}").integers(2**31))
                model.add(layers.Dropout(layer.rate, seed=dropout_seed, **common))
            case Flatten():
                if crops and len(before) == 3:
                    model.add(Margins(before, name=f"{layer.name}.margins", dtype=policy))
                model.add(layers.Flatten(**common))
            case Dense():
                model.add(layers.Dense(layer.units, activation=activation(layer, policy), **common))
            case BatchNorm():
                model.add(
                    layers.BatchNormalization(
                        momentum=layer.momentum, epsilon=layer.epsilon, **common
                    )
                )
            case Activate():
                model.add(layers.Activation(activation(layer, policy), **common))
    return model


class Margins(layers.Layer):
    """Zeros around the features of a cropped image, up to the shape that is expected."""

    def __init__(self, expected: Shape, **common: Any) -> None:
        super().__init__(**common)
        self.expected = expected

    def call(self, inputs):
        given = keras.ops.shape(inputs)[1:]
        return keras.ops.pad(inputs, [(0, 0), *margins(self.expected, given)])

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((None, *self.expected), inputs.dtype)


class AveragePooling2D(layers.AveragePooling2D):
    """With padding ``same`` on PyTorch: where one side gets a pixel more than the other, Keras 3.15
    repeats the image's edge there and counts it. Here no padding counts, as on other backends."""

    def __init__(self, layer: AveragePool, *arguments: Any, **common: Any) -> None:
        super().__init__(*arguments, **common)
        self.layer = layer

    def call(self, inputs):
        def sums(x):
            pads = [(0, 0), *self.layer.pads(inputs.shape[1:]), (0, 0)]
            return keras.ops.average_pool(keras.ops.pad(x, pads), self.pool_size, self.strides)

        return sums(inputs) / sums(keras.ops.ones_like(inputs[:1]))


class LeakyReLU(layers.LeakyReLU):
    """On JAX, whose own has a slope of 1 at exactly zero, where blank background starts; on other
    backends the slope there is the negative side's."""

    def call(self, inputs):
        return keras.ops.where(inputs > 0, inputs, inputs * self.negative_slope)


def activation(layer: Conv | Dense | Activate, policy: str) -> str | keras.Layer:
    """Keras' name for the activation, or a layer where the activation has a parameter."""
    if layer.activation == "leaky_relu":
        leaky_relu = LeakyReLU if keras.config.backend() == "jax" else layers.LeakyReLU
        return leaky_relu(negative_slope=layer.slope, dtype=policy)
    return layer.activation


def to_array(variable: keras.Variable) -> np.ndarray:
    """A copy of a variable's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


class TrainingBatches(keras.utils.PyDataset):
    """The batches that are left of the epoch under way, then those of each following epoch."""

    def __init__(self, batches: Batches, progress: Progress, end: int) -> None:
        super().__init__(workers=WORKERS)
        self.batches, self.progress, self.start, self.end = batches, progress, progress.step, end

    @property
    def num_batches(self) -> int:
        return self.end - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self.batches.batch(self.progress.epoch, self.start + index)
        return to_float(images), labels


class Images(keras.utils.PyDataset):
    """A split's images, or images and labels, in order."""

    def __init__(self, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        # Two threads take a tenth of a second to end, which is long for a single batch.
        super().__init__(workers=WORKERS if len(images) > IMAGES_A_CALL else 1)
        self.images, self.labels = images, labels

    @property
    def num_batches(self) -> int:
        return -(-len(self.images) // IMAGES_A_CALL)

    def __getitem__(self, index: int):
        here = slice(index * IMAGES_A_CALL, (index + 1) * IMAGES_A_CALL)
        images = to_float(self.images[here])
        return (images,) if self.labels is None else (images, self.labels[here].astype(np.int64))


class RateTable(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate for each step, looked up in the recipe's table."""

    def __init__(self, rates: np.ndarray) -> None:
        self.rates = rates

    def __call__(self, step):
        return keras.ops.take(self.rates, keras.ops.cast(step, "int32"))


class LastBatchLoss(keras.metrics.SparseCategoricalCrossentropy):
    """The loss of the newest batch alone; Keras' own ``loss`` is the mean of the epoch so far."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.reset_state()
        super().update_state(y_true, y_pred, sample_weight)


class LastBatchAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """The accuracy of the newest batch alone."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.reset_state()
        super().update_state(y_true, y_pred, sample_weight)


def adam(recipe: Recipe, learning_rate: float | RateTable) -> keras.optimizers.Adam:
    """Keras' Adam; when the averages that it keeps take the weights' place is for us to say."""
    optimizer = keras.optimizers.Adam(
        learning_rate,
        beta_1=recipe.beta_1,
        beta_2=recipe.beta_2,
        epsilon=recipe.epsilon,
        use_ema=recipe.averaging > 0,
        ema_momentum=recipe.averaging,
    )
    # `fit` calls this at its end, which may be that of an epoch that was broken off. No subclass:
    # on PyTorch, Keras has an Adam for all variables at once, but for its own class alone.
    optimizer.finalize_variable_values = lambda trainable_variables: None
    return optimizer


class CaughtGradients(keras.optimizers.Optimizer):
    """Keeps each gradient instead of applying it: Keras' way to gradients on any backend."""

    def __init__(self) -> None:
        super().__init__(learning_rate=1.0)

    def build(self, variables) -> None:
        if not self.built:
            super().build(variables)
            self.caught = self.add_optimizer_variables(variables, "gradient")

    def update_step(self, gradient, variable, learning_rate) -> None:
        self.assign(self.caught[self._get_variable_index(variable)], gradient)


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras' own early stopping, able to go on where a checkpoint left it."""

    def __init__(self, patience: int, progress: Progress, best: list[np.ndarray]) -> None:
        super().__init__("val_loss", mode="min", patience=patience, restore_best_weights=True)
        self.progress, self.kept = progress, best

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        if self.kept:
            self.best, self.best_epoch = self.progress.best_loss, self.progress.best_epoch - 1
            self.best_weights, self.wait = self.kept, self.progress.waited

    def on_epoch_end(self, epoch, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.kept = self.best_weights
        self.progress.best_loss, self.progress.best_epoch = float(self.best), self.best_epoch + 1
        self.progress.waited = self.wait

    def on_train_end(self, logs: Any = None) -> None:
        if self.progress.finished:
            super().on_train_end(logs)


class Stopped(Exception):
    """The monitor asked `fit` to stop, and has saved the state."""


class Recorder(keras.callbacks.Callback):
    """Tells the monitor of every batch and epoch, and has it save the state."""

    def __init__(
        self,
        workflow: "Workflow",
        monitor: Monitor,
        progress: Progress,
        steps_per_epoch: int,
        early_stopping: EarlyStopping | None,
    ) -> None:
        super().__init__()
        self.workflow, self.monitor, self.progress = workflow, monitor, progress
        self.steps_per_epoch = steps_per_epoch
        self.early_stopping = early_stopping
        self.clock = 0.0
        """When what is being timed, training or validation, began."""
        self.validation_seconds = 0.0
        self.newest: list[np.ndarray] = []

    def state(self) -> State:
        return self.workflow.state(self.early_stopping.kept if self.early_stopping else [])

    def on_epoch_begin(self, epoch, logs: Any = None) -> None:
        if self.progress.step:
            self.workflow.restore_metrics()

    def count_seconds(self) -> None:
        """Adds the training since the clock was set to the progress."""
        self.progress.seconds += time.perf_counter() - self.clock

    def on_train_batch_end(self, batch, logs: Any = None) -> None:
        self.count_seconds()
        self.progress.step += 1
        self.progress.loss = float(logs["last_batch_loss"])
        self.progress.accuracy = float(logs["last_batch_accuracy"])
        # After an epoch's last batch comes its validation, and `fit` could not begin there again.
        last = self.progress.step == self.steps_per_epoch
        if not last and self.monitor.advanced(self.progress, self.state):
            raise Stopped
        self.clock = time.perf_counter()  # What the monitor does is not training.

    def on_test_begin(self, logs: Any = None) -> None:
        self.count_seconds()  # The end of the batches' threads.
        self.clock = time.perf_counter()
        averages = self.workflow.averages()
        variables = self.workflow.model.trainable_variables
        self.newest = [to_array(variable) for variable in variables if averages]
        for variable, average in zip(variables, averages, strict=False):
            variable.assign(to_array(average))  # A copy: JAX gives up what it evaluates with.

    def on_test_end(self, logs: Any = None) -> None:
        self.validation_seconds = time.perf_counter() - self.clock

    def on_epoch_end(self, epoch, logs: Any = None) -> None:
        if self.progress.step < self.steps_per_epoch:  # The rest comes in another `fit`.
            return
        self.progress.history.append(
            Epoch(
                epoch=epoch + 1,
                last_batch_loss=self.progress.loss,
                last_batch_accuracy=self.progress.accuracy,
                train_loss=logs["loss"],
                train_accuracy=logs["accuracy"],
                validation_loss=logs["val_loss"],
                validation_accuracy=logs["val_accuracy"],
                train_seconds=self.progress.seconds,
                validation_seconds=self.validation_seconds,
            )
        )
        self.progress.next_epoch()
        self.progress.finished = (
            self.workflow.model.stop_training or self.progress.epoch == self.workflow.recipe.epochs
        )
        if self.progress.finished and self.early_stopping:
            # Keras would put the best weights back only after the last checkpoint.
            self.early_stopping.on_train_end()
        if not self.progress.finished:
            variables = self.workflow.model.trainable_variables
            for variable, value in zip(variables, self.newest, strict=False):
                variable.assign(value)
        if self.monitor.epoch_ended(self.progress, self.state):
            raise Stopped
        self.clock = time.perf_counter()


class Workflow:
    """The network as a compiled Keras model."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        self.network, self.recipe, self.seed = network, recipe, seed
        self.model = build(network, seed, recipe.precision, crops=recipe.crop > 0)
        self.frozen = 0
        """How many convolutions are."""
        self.learning_rate: float | RateTable = recipe.learning_rate
        self.compile()
        self.load(network.initial_weights(seed))
        self.saved_metrics: list[np.ndarray] = []

    def compile(self) -> None:
        self.model.compile(
            optimizer=adam(self.recipe, self.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[
                keras.metrics.SparseCategoricalAccuracy("accuracy"),
                LastBatchLoss("last_batch_loss", from_logits=True),
                LastBatchAccuracy("last_batch_accuracy"),
            ],
        )

    def freeze(self, convolutions: int) -> None:
        """Trains, from now on, all but the weights up to and with so many convolutions.

        Keras wants an optimiser of its own for other variables; it goes on where the last one was.
        Variables, not layers: a layer that is not trainable normalises a batch as in inference.
        """
        if convolutions == self.frozen:
            return
        frozen = self.network.frozen_weights(convolutions)
        trained = frozen | self.network.frozen_weights(self.frozen)
        for layer in self.model.layers:
            for variable in layer.weights:
                if (name := f"{layer.name}/{variable.name}") in trained:
                    variable.trainable = name not in frozen
        before = {variable.name: variable for variable in self.model.optimizer.variables}
        optimizer = adam(self.recipe, self.learning_rate)
        optimizer.build(self.model.trainable_variables)
        for variable in optimizer.variables:
            if variable.name in before:
                variable.assign(before[variable.name])
        self.model.optimizer, self.frozen = optimizer, convolutions
        self.model.make_train_function(force=True)

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        batches = Batches(data.train, self.recipe, self.seed)
        if self.recipe.schedule != "constant":
            self.learning_rate = RateTable(self.recipe.learning_rates(batches.steps))
            self.compile()
        best = []
        if state:  # It is of what was frozen at the last step.
            self.freeze(batches.frozen(progress.epoch, progress.step - 1))
            best = self.restore(state)
        early_stopping = (
            EarlyStopping(self.recipe.early_stopping, progress, best)
            if self.recipe.early_stopping
            else None
        )
        recorder = Recorder(self, monitor, progress, batches.steps_per_epoch, early_stopping)
        try:
            while not progress.finished:
                self.fit_alike(batches, data.validation, progress, early_stopping, recorder)
        except Stopped:
            return

    def fit_alike(
        self,
        batches: Batches,
        validation: Split,
        progress: Progress,
        early_stopping: EarlyStopping | None,
        recorder: Recorder,
    ) -> None:
        """Epochs that one `fit` can do: of the same length, which differ in their images alone.

        What is left of an epoch that was broken off gets a `fit` of its own, and so do the parts of
        an epoch in which the images stop being cropped, or another layer freezes.
        """
        epoch, step, steps = progress.epoch, progress.step, batches.steps_per_epoch
        turn = batches.next_turn(epoch, step)
        end = min(turn, steps)
        last = epoch + (turn // steps if step == 0 and end == steps else 1)
        ends = end == steps
        recorder.clock = time.perf_counter()
        self.freeze(batches.frozen(epoch, step))
        if batches.window(epoch, step) != batches.window(epoch, step - 1):
            # Else the next graph is one for any size, unlike that of a training resumed here.
            self.model.make_train_function(force=True)
        self.model.fit(
            TrainingBatches(batches, progress, end),
            shuffle=False,
            initial_epoch=epoch,
            epochs=last,
            validation_data=Images(validation.images, validation.labels) if ends else None,
            callbacks=[early_stopping, recorder] if early_stopping and ends else [recorder],
            verbose=0,
        )
        if not ends:
            recorder.count_seconds()
            self.saved_metrics = [to_array(v) for v in self.model.metrics_variables]

    def logits(self, images: np.ndarray) -> np.ndarray:
        model = self.model
        if self.recipe.precision != "float32":
            model = build(self.network, self.seed)
            model.set_weights(self.model.get_weights())
        if not len(images):
            return np.empty((0, self.network.classes), np.float32)
        return model.predict(Images(images), verbose=0)

    def weights(self) -> Weights:
        return {
            f"{layer.name}/{variable.name}": to_array(variable)
            for layer in self.model.layers
            for variable in layer.weights
        }

    def load(self, weights: Weights) -> None:
        self.network.check_weights(weights)
        for layer in self.model.layers:
            layer.set_weights([weights[f"{layer.name}/{v.name}"] for v in layer.weights])

    def averages(self) -> list[keras.Variable]:
        """Running averages of the trainable variables, in their order, if the recipe has any."""
        return [v for v in self.model.optimizer.variables if v.name.endswith("_average")]

    def state(self, best: list[np.ndarray]) -> State:
        """All arrays that `restore` needs: each variable of the model, dropout's seeds included."""
        if keras.backend.backend() == "jax":
            # While it trains, the values are in the arguments of a pure function.
            self.model.jax_state_sync()
        self.model.optimizer.build(self.model.trainable_variables)
        groups = {
            "model": [*self.model.trainable_variables, *self.model.non_trainable_variables],
            "optimizer": self.model.optimizer.variables,
            "metrics": self.model.metrics_variables,
            "best": best,
        }
        return {
            f"{group}/{number:03}": to_array(variable)
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }

    def restore(self, state: State) -> list[np.ndarray]:
        """Puts a checkpoint's arrays back; returns the best weights so far, if any."""

        def group(name: str) -> list[np.ndarray]:
            return [state[key] for key in sorted(state) if key.startswith(name + "/")]

        self.model.optimizer.build(self.model.trainable_variables)
        # Keras makes the metrics' variables with the first batch.
        self.model.test_on_batch(np.zeros((1, *self.network.input_shape)), np.zeros(1))
        variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        for variable, value in zip(variables, group("model"), strict=True):
            variable.assign(value)
        for variable, value in zip(self.model.optimizer.variables, group("optimizer"), strict=True):
            variable.assign(value)
        self.saved_metrics = group("metrics")
        return group("best")

    def restore_metrics(self) -> None:
        """Puts the metrics of an epoch that was broken off back; Keras has just reset them."""
        for variable, value in zip(self.model.metrics_variables, self.saved_metrics, strict=True):
            variable.assign(value)

    # What the other workflows can be held against.

    def summary(self) -> dict[str, tuple[Shape, int]]:
        model = build(self.network, self.seed) if self.recipe.crop else self.model
        return {
            layer.name: (tuple(layer.output.shape[1:]), layer.count_params())
            for layer in model.layers
        }

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        self.freeze(0)
        moving = self.model.non_trainable_variables
        before, optimizer = [to_array(v) for v in moving], self.model.optimizer
        catcher = CaughtGradients()
        self.model.compile(catcher, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        loss = self.model.train_on_batch(to_float(images), labels, return_dict=True)["loss"]
        self.compile()
        self.model.optimizer = optimizer
        for variable, value in zip(moving, before, strict=True):
            variable.assign(value)
        names = [
            f"{layer.name}/{variable.name}"
            for layer in self.model.layers
            for variable in layer.trainable_weights
        ]
        return float(loss), dict(zip(names, map(to_array, catcher.caught), strict=True))

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        self.freeze(0)
        logs = self.model.train_on_batch(to_float(images), labels, return_dict=True)
        return float(logs["last_batch_loss"])
