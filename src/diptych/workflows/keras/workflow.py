"""The compiled Keras model as a workflow: freezing, checkpoints, weights in the shared layout."""

# Keras' annotations say less than Keras takes and gives: verbose=0, a schedule as a learning rate,
# parameters of a callback.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false

import keras
import numpy as np

from diptych.data import Data
from diptych.data.batches import to_float
from diptych.layers import Shape
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.keras import model as networks
from diptych.workflows.keras import training
from diptych.workflows.keras.batches import Images
from diptych.workflows.keras.callbacks import to_array
from diptych.workflows.keras.model import build
from diptych.workflows.keras.optimiser import CaughtGradients, RateTable, adam
from diptych.workflows.progress import Monitor, Progress, State


class Workflow:
    """The network as a compiled Keras model."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        self.network, self.recipe, self.seed = network, recipe, seed
        self.model = build(network, seed, recipe.precision, crops=recipe.crop > 0)
        self.frozen = 0
        """The number of frozen convolutions."""
        self.learning_rate: float | RateTable = recipe.learning_rate
        self.compile()
        self.load(network.initial_weights(seed))
        self.saved_metrics: list[np.ndarray] = []

    def compile(self) -> None:
        """Compiles the model with a new optimiser."""
        networks.compile(self.model, self.recipe, self.learning_rate)

    def freeze(self, convolutions: int) -> None:
        """Freezes the weights up to and including this number of convolutions.

        Keras needs a new optimiser for a different set of variables; it continues where the last
        one stopped. Variables are frozen instead of layers, because a layer that is not trainable
        normalises a batch as in inference.
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
        training.fit(self, data, monitor, progress, state)

    def logits(self, images: np.ndarray) -> np.ndarray:
        model = self.model
        if self.recipe.precision != "float32":
            model = build(self.network, self.seed)
            model.set_weights(self.model.get_weights())
        if not len(images):
            return np.empty((0, self.network.classes), np.float32)
        return model.predict(Images(images), verbose=0)

    def weights(self) -> Weights:
        self.take_values()
        return {
            f"{layer.name}/{variable.name}": to_array(variable)
            for layer in self.model.layers
            for variable in layer.weights
        }

    def load(self, weights: Weights) -> None:
        self.network.check_weights(weights)
        for layer in self.model.layers:
            layer.set_weights([weights[f"{layer.name}/{v.name}"] for v in layer.weights])

    def take_values(self) -> None:
        """On JAX, puts the values of the moment into the variables."""
        if keras.backend.backend() == "jax":
            # While it trains, the values are in the arguments of a pure function.
            self.model.jax_state_sync()

    def averages(self) -> list[keras.Variable]:
        """Running averages of the trainable variables, in their order, if the recipe has any."""
        return [v for v in self.model.optimizer.variables if v.name.endswith("_average")]

    def state(self, best: list[np.ndarray]) -> State:
        """All arrays that `restore` needs: each variable of the model, dropout's seeds included."""
        self.take_values()
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
