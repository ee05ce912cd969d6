"""Low-level TensorFlow as a workflow: inference, checkpoints, weights in the shared layout."""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from diptych.data import Data, Split
from diptych.layers import Shape
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.group import Group
from diptych.workflows.progress import Monitor, Progress, State
from diptych.workflows.tensorflow import training
from diptych.workflows.tensorflow.parallel import Parallel

IMAGES_A_CALL = 500
"""Images a forward pass at inference."""


class Workflow(training.Trainer):
    """The trained variables with what every workflow can do; see `diptych.workflows.protocol`."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        tf.config.experimental.enable_op_determinism()
        super().__init__(network, recipe, seed)
        self.seed = seed
        self.best: Weights = {}
        self.steps_taken = 0
        images = [None, *network.input_shape]
        self.predict, self.predict_in_float32 = (
            tf.function(
                partial(self.forward, dtype=dtype),
                input_signature=[tf.TensorSpec(images, tf.uint8)],
            )
            for dtype in (self.dtype, tf.float32)
        )

    def join(self, group: Group) -> None:
        """Trains together with the other processes of the group from now on."""
        self.parallel = Parallel(group)

    def agreed(self, stop: bool) -> bool:
        """True where to stop, which all processes do at the same step."""
        return self.parallel.agreed(stop) if self.parallel else stop

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        training.fit(self, data, monitor, progress, state)

    def state(self) -> State:
        """All arrays that `restore` needs."""
        return {
            **{f"weights/{name}": value for name, value in self.weights().items()},
            **{f"adam/m/{name}": m.numpy() for name, m in self.adam.m.items()},
            **{f"adam/v/{name}": v.numpy() for name, v in self.adam.v.items()},
            **{f"average/{name}": average.numpy() for name, average in self.averages.items()},
            **{f"best/{name}": value for name, value in self.best.items()},
        }

    def restore(self, state: State) -> Weights:
        """Puts a checkpoint's arrays back; returns the best weights so far, if any."""
        self.load({name: state[f"weights/{name}"] for name in self.variables})
        for name in self.trained:
            self.adam.m[name].assign(state[f"adam/m/{name}"])
            self.adam.v[name].assign(state[f"adam/v/{name}"])
        for name, average in self.averages.items():
            average.assign(state[f"average/{name}"])
        return {name[5:]: value for name, value in state.items() if name.startswith("best/")}

    def exact_weights(self) -> Weights:
        return self.weights()

    def averaged_weights(self) -> Weights:
        return {name: average.numpy() for name, average in self.averages.items()}

    # Inference.

    def run(self, predict: Callable[..., tf.Tensor], images: np.ndarray) -> np.ndarray:
        """The logits of images, one batch after the other; in a group each has its batches."""
        parts = []
        for number, first in enumerate(range(0, len(images), IMAGES_A_CALL)):
            chunk = images[first : first + IMAGES_A_CALL]
            if self.parallel and not self.parallel.computes(number):
                parts.append(np.zeros((len(chunk), self.network.classes), np.float32))
            else:
                parts.append(predict(chunk).numpy())
        if not parts:
            return np.empty((0, self.network.classes), np.float32)
        return self.parallel.together(parts) if self.parallel else np.concatenate(parts)

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.run(self.predict_in_float32, images)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in the precision of the training."""
        logits = self.run(self.predict, split.images)
        loss = correct = 0.0
        for i in range(0, len(logits), IMAGES_A_CALL):
            labels = split.labels[i : i + IMAGES_A_CALL].astype(np.int64)
            part = logits[i : i + IMAGES_A_CALL]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, part)
            loss += float(tf.reduce_sum(losses))
            correct += int(np.sum(np.argmax(part, axis=1) == labels))
        return loss / len(split.labels), correct / len(split.labels)

    # What the other workflows can be held against.

    def summary(self) -> dict[str, tuple[Shape, int]]:
        outputs: dict[str, tf.Tensor] = {}
        self.forward(tf.zeros([1, *self.network.input_shape]), tf.float32, outputs=outputs)
        parameters = dict.fromkeys(outputs, 0)
        for name, variable in self.variables.items():
            parameters[name.split("/")[0]] += int(tf.size(variable))
        return {name: (tuple(x.shape[1:]), parameters[name]) for name, x in outputs.items()}

    def weights(self) -> Weights:
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def load(self, weights: Weights) -> None:
        self.network.check_weights(weights)
        for name, variable in self.variables.items():
            variable.assign(weights[name])

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        loss, _, gradients = self.gradients(
            tf.constant(images), tf.constant(labels, tf.int64), self.steps_taken
        )
        return float(loss), {name: gradient.numpy() for name, gradient in gradients.items()}

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        rate = np.float32([self.recipe.learning_rate])
        labels = labels.astype(np.int64)
        step = np.int32(self.steps_taken)
        losses, _ = self.run_steps(images[None], labels[None], rate, step)
        self.steps_taken += 1
        return float(losses[0])
