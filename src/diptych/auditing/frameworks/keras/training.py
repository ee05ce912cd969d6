"""Training steps of a Keras model: real ones, and steps of its optimiser with other gradients."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.keras import fit
from diptych.auditing.frameworks.keras.arrays import Batch, to_array
from diptych.auditing.frameworks.keras.batching import Batching
from diptych.auditing.frameworks.keras.holding import (
    caught,
    eagerly,
    without_dropout,
    without_gradients,
)
from diptych.auditing.frameworks.keras.network import Network
from diptych.auditing.frameworks.keras.optimisers import optimisers, step_of
from diptych.auditing.frameworks.keras.trace import Trace, traced
from diptych.auditing.gradients import Gradients, Keep, at, whole
from diptych.auditing.graph import Arrays
from diptych.errors import InputError

OF_INPUTS = "the model computes its own loss of its inputs: it takes no other outputs"
"""Why a loss is not asked about outputs of the audit's choice."""


def has_loss(model: keras.Model) -> bool:
    """True if a compiled model has a loss, or computes one itself."""
    cls = type(model)
    return (
        model.loss is not None
        or cls.compute_loss is not keras.Model.compute_loss
        or has_own_step(model)
        or bool(model.losses)
    )


def has_own_step(model: keras.Model) -> bool:
    """True if the user has written the training step."""
    return type(model).train_step is not keras.Model.train_step


def takes_outputs(model: keras.Model) -> bool:
    """True if the loss is one of given outputs. A loss that the model computes of its inputs, or a
    step of the user's in its own code, is none."""
    if "_alone" in vars(model):
        return False
    by_keras = type(model).compute_loss is keras.Model.compute_loss
    return not (has_own_step(model) and model.loss is None and by_keras)


def as_fit_feeds(train_step: Callable[..., Any]) -> Callable[..., Any]:
    """A user's step, which gets (x, y) as from ``fit``; ``train_on_batch`` hands it (x, y, None).

    On JAX there is a state before the data.
    """

    def step(*arguments: Any) -> Any:
        *state, data = arguments
        return train_step(*state, keras.utils.pack_x_y_sample_weight(*data))

    return step


class Training:
    """The training of a model with a loss and an optimiser."""

    def __init__(self, network: Network, batching: Batching, extras: dict[str, Any]) -> None:
        self.network, self.batching, self.extras = network, batching, extras
        self.model = network.model
        self.still_function: Any = None
        """Keras' compiled training step with dropout off, once there is one."""
        self.optimiser_step: Any = None
        """The optimiser's step, compiled where ``fit`` compiles it, once there is one."""

    def step(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Takes one training step on a batch as it is fed; returns its loss before the step, and
        its metrics.

        Raises:
            InputError: a step that the user has written does not give the loss.
        """
        for metric in self.model._metrics:
            metric.reset_state()  # A user's own running mean, which Keras may not know of.
        alone = "_alone" in vars(self.model)  # It takes no targets.
        logs = self.model.train_on_batch(
            x,
            None if alone else y,
            sample_weight=None if alone else self.sample_weight(y),
            return_dict=True,
        )
        if "loss" not in logs:
            raise InputError(
                f"train_step of the model {self.model.name} returned {', '.join(logs) or 'nothing'}"
                ": expected a dict with 'loss' in it, the batch's loss"
            )
        return {name: float(value) for name, value in logs.items()}

    def sample_weight(self, y: np.ndarray) -> np.ndarray | None:
        """The sample weights of a batch: from the user's ``class_weight`` and its targets, or the
        first of the user's ``sample_weight``."""
        arguments, floatx = self.extras.get("fit", {}), keras.config.floatx()
        if arguments.get("sample_weight") is not None:
            weights = np.asarray(arguments["sample_weight"], floatx)
            return np.resize(weights, (len(y), *weights.shape[1:]))
        weights = arguments.get("class_weight")
        if weights is None:
            return None
        one_hot = self.batching.targets == "one_hot"
        classes = np.argmax(y, -1) if one_hot else y.reshape(len(y)).astype(int)
        return np.array([weights.get(int(number), 1.0) for number in classes], floatx)

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        if not takes_outputs(self.model):
            raise NotImplementedError(OF_INPUTS)
        y_pred, y = self.network.tensor(outputs), self.batching.targets_from_graph(targets)
        y_pred = self.as_predicted(y_pred)
        weights = self.sample_weight(y)
        with without_gradients():
            self.model._clear_losses()  # Penalties on the outputs of the last call.
            value = self._computed(y, y_pred, weights)
        logits = getattr(y_pred, "_keras_logits", None)
        value = float(to_array(value))
        saturated = logits is not None and not np.all(np.isfinite(to_array(logits)))
        if saturated and not np.isfinite(value):
            raise NotImplementedError(
                "probabilities that are 0 or 1 in all their digits have no logits, and Keras' "
                "loss takes those"
            )
        return value

    def _computed(self, y: np.ndarray, y_pred: Any, weights: np.ndarray | None) -> Any:
        """The loss of outputs by the model's ``compute_loss``, without inputs."""
        own = type(self.model).compute_loss is not keras.Model.compute_loss
        try:
            return self.model.compute_loss(
                x=None,
                y=keras.ops.convert_to_tensor(y),
                y_pred=y_pred,
                sample_weight=None if weights is None else keras.ops.convert_to_tensor(weights),
            )
        except Exception as problem:
            if own:  # The user's code may need the inputs, such as those of a teacher.
                raise NotImplementedError(OF_INPUTS) from problem
            raise

    def as_predicted(self, outputs: Any) -> Any:
        """Outputs as a loss gets them in training: on TensorFlow, Keras' softmax and sigmoid leave
        their logits on the tensor, and losses take those, whatever their ``from_logits`` says."""
        last = self.network.graph.nodes[-1]
        function = last.attributes.get("function") if last.kind == "activation" else None
        if keras.config.backend() == "tensorflow" and function in ("softmax", "sigmoid"):
            logits = keras.ops.log(outputs)
            if function == "sigmoid":
                logits -= keras.ops.log1p(-outputs)  # pyright: ignore
            outputs._keras_logits = logits
        return outputs

    def loss_and_gradients(
        self, x: np.ndarray, targets: np.ndarray, drawing: bool = False
    ) -> tuple[float, Arrays]:
        by_id: dict[int, Any] = {}
        with (
            self.network.experiment(),
            nullcontext() if drawing else without_dropout(self.model),
            eagerly(self.model),
            caught(self.model, by_id),
        ):
            loss = self.step(*self.batching.from_graph(x, targets))["loss"]
            gradients = {
                name: self.network.array(name, by_id[id(key)])
                for name, variable in self.network.variables().items()
                for key in (variable, variable.value)  # The optimiser may be given either.
                if id(key) in by_id
            }
        return loss, gradients

    def trace(self, x: np.ndarray) -> Trace:
        """Records the training step that the user has written, on inputs in Keras' layout.

        Its targets are made up: nothing that the layers give depends on them.
        """
        y = self.batching.targets_from_graph(self.batching.made_up_targets(len(x)))
        with eagerly(self.model), caught(self.model, {}):
            with self.network.experiment():
                self.step(x, y)  # At the first, Keras builds losses and metrics without values.
            return traced(self.network.calls, lambda: self.step(x, y))

    def updates(self, gradients: Iterable[Gradients], keep: Keep = whole) -> list[Arrays]:
        trained, after = self.model.trainable_variables, []
        if self.optimiser_step is None:
            self.optimiser_step = step_of(self.model)
        with self.network.experiment(), without_gradients():
            for given in gradients:
                step = at(given, self.network.parameters)
                values = [self.gradient(step, variable) for variable in trained]
                self.optimiser_step(values)
                after.append(keep(self.network.parameters() | self.averages()))
        return after

    def gradient(self, gradients: Arrays, variable: Any) -> Any:
        """A gradient as the optimiser takes it, times its scale of the loss; None without one."""
        value = gradients.get(self.network.names.get(id(variable), ""))
        if value is None:
            return None
        scaled = self.model.optimizer.scale_loss(value.reshape(variable.shape))
        return keras.ops.cast(keras.ops.convert_to_tensor(scaled), variable.dtype)

    def averages(self) -> Arrays:
        """Averages of parameters that the optimiser keeps (``use_ema``), as ``average:NAME``."""
        averages: Arrays = {}
        for optimiser in optimisers(self.model.optimizer):
            if not optimiser.use_ema:
                continue
            for variable, average in zip(
                optimiser._trainable_variables,
                optimiser._model_variables_moving_average,
                strict=True,
            ):
                name = self.network.names.get(id(variable))
                if name and average is not None:
                    averages[f"average:{name}"] = self.network.array(name, average)
        return averages

    def trained_names(self) -> list[str]:
        """The names of the trained parameters."""
        names = self.network.names
        return [names[id(v)] for v in self.model.trainable_variables if id(v) in names]

    def take(self, batches: Iterable[Batch]) -> None:
        """Takes training steps with everything on."""
        self.model.train_function = None
        try:
            for batch in batches:
                self.step(*self.batching.from_graph(*batch))
        finally:
            self.model.train_function = None

    def steps(
        self, batches: list[Batch], keep: Keep = whole, stays: bool = False
    ) -> tuple[list[float], list[Arrays]]:
        """As `Adapter.steps`; if ``stays``, the model stays as it is after the last step."""
        losses, after = [], []
        own = nullcontext() if stays else self.network.experiment()
        with own, fit.as_it_was(self.model), without_dropout(self.model):
            callbacks = fit.Callbacks(self.extras, self.model)
            self.model.train_function = self.still_function
            try:
                callbacks.begin()
                for number, batch in enumerate(batches):
                    callbacks.before_step(number)
                    logs = self.step(*self.batching.from_graph(*batch))
                    callbacks.after_step(number, logs)
                    losses.append(logs["loss"])
                    after.append(keep(self.network.parameters()))
                self.still_function = self.model.train_function
            finally:
                self.model.train_function = None
        return losses, after
