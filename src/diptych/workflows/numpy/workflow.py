"""The reference as a workflow: inference, checkpoints, and weights in the shared layout."""

import numpy as np

from diptych.data import Data, Split
from diptych.layers import Shape
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.numpy import training
from diptych.workflows.numpy.model import Model
from diptych.workflows.numpy.operations import Array, cross_entropy
from diptych.workflows.progress import Monitor, Progress, State

IMAGES_A_CALL = 100
"""Images at once at inference; more only need more memory."""


class Workflow(Model):
    """The reference with what every workflow can do; see `diptych.workflows.protocol`."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        super().__init__(network, recipe, seed)
        self.best: Weights = {}

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        training.fit(self, data, monitor, progress, state)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, at inference."""
        logits, labels = self.logits_in_float64(split.images), split.labels
        return float(cross_entropy(logits, labels)[0]), float(np.mean(logits.argmax(1) == labels))

    def exact_weights(self) -> Weights:
        """In float64."""
        return {name: value.copy() for name, value in self.values.items()}

    def averaged_weights(self) -> Weights:
        return self.averages

    def state(self) -> State:
        """All arrays that `restore` needs, in float64."""
        groups = {"weights": self.values, "m": self.adam.m, "v": self.adam.v}
        groups |= {"average": self.averages, "best": self.best}
        return {f"{group}/{k}": v.copy() for group, part in groups.items() for k, v in part.items()}

    def restore(self, state: State) -> Weights:
        """Puts a checkpoint's arrays back; returns the best weights so far, if any."""
        groups: dict[str, Weights] = {
            group: {} for group in ("weights", "m", "v", "average", "best")
        }
        for key, value in state.items():
            group, name = key.split("/", 1)
            groups[group][name] = value.astype(np.float64)
        self.load(groups["weights"])
        self.adam.m, self.adam.v, self.averages = groups["m"], groups["v"], groups["average"]
        return groups["best"]

    def weights(self) -> Weights:
        return {name: value.astype(np.float32) for name, value in self.values.items()}

    def load(self, weights: Weights) -> None:
        """Takes float32 or float64, and keeps float64."""
        self.network.check_weights(weights)
        self.values = {k: weights[k].astype(np.float64) for k in self.network.weight_shapes()}

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.logits_in_float64(images).astype(np.float32)

    def logits_in_float64(self, images: np.ndarray) -> Array:
        parts = range(0, len(images), IMAGES_A_CALL)
        logits = [self.run(images[i : i + IMAGES_A_CALL], training=False)[0][-1] for i in parts]
        return np.concatenate([np.empty((0, self.network.classes)), *logits])

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        loss, gradients, _ = self.backward(images, labels)
        return loss, {name: gradient.astype(np.float32) for name, gradient in gradients.items()}

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        return self.train_step(images, labels, float(np.float32(self.recipe.learning_rate)))[0]

    def summary(self) -> dict[str, tuple[Shape, int]]:
        outputs = self.forward(np.zeros((1, *self.network.input_shape), np.uint8))
        parameters = dict.fromkeys(outputs, 0)
        for name, value in self.values.items():
            parameters[name.split("/")[0]] += value.size
        return {name: (x.shape[1:], parameters[name]) for name, x in outputs.items()}
