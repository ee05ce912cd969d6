"""JAX as a workflow: holds the arrays of one network's training from call to call."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from diptych.data import Data, Split
from diptych.layers import NOT_TRAINED, Shape
from diptych.network import Network, Weights
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows.group import Group
from diptych.workflows.jax import training
from diptych.workflows.jax.layers import Params
from diptych.workflows.jax.model import forward, gradients_of, predict
from diptych.workflows.jax.parallel import Parallel
from diptych.workflows.jax.training import Training, adam, train_step, train_steps
from diptych.workflows.progress import Monitor, Progress, State

IMAGES_A_CALL = 500
"""Images a forward pass at inference."""


class Workflow:
    """Holds the arrays of one network's training from call to call."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.key = jax.random.key(int(generator(seed, "dropout").integers(2**31)))
        self.best: Weights = {}
        self.parallel: Parallel | None = None
        trained, moving = split(network.initial_weights(seed))
        self.training = Training(
            trained,
            moving,
            adam(recipe, 0.0, 0).init(trained),
            trained if recipe.averaging else {},
            jnp.int32(0),
        )

    def join(self, group: Group) -> None:
        """Trains together with the other processes of the group from now on."""
        self.parallel = Parallel(group)
        self.training = self.parallel.everywhere(self.training)

    def agreed(self, stop: bool) -> bool:
        """True where to stop, which all processes do at the same step."""
        return self.parallel.agreed(stop) if self.parallel else stop

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        training.fit(self, data, monitor, progress, state)

    def take(
        self,
        images: Array | np.ndarray,
        labels: np.ndarray,
        rates: np.ndarray,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steps on stacked batches, with some weights frozen; loss and accuracy of each.

        On a CPU a Python loop that runs ahead of the arithmetic: inside of a ``lax.scan`` XLA
        computes the gradients of convolutions there more than a hundred times slower.
        """
        labels = labels.astype(np.int32)
        if not training.ON_CPU:
            self.training, measured = train_steps(
                self.training, self.network, self.recipe, frozen, images, labels, rates, self.key
            )
            losses, accuracies = jax.device_get(measured)
            return losses, accuracies
        measured = []
        step = partial(self.parallel.train_step if self.parallel else train_step, key=self.key)
        for batch in zip(images, labels, rates, strict=True):
            self.training, here = step(self.training, self.network, self.recipe, frozen, *batch)
            measured.append(here)
        losses, accuracies = zip(*jax.device_get(measured), strict=True)
        return np.array(losses), np.array(accuracies)

    def state(self) -> State:
        """All arrays that `restore` needs."""
        leaves, _ = named_leaves(self.training)
        return {name: np.array(leaf) for name, leaf in leaves.items()} | {
            f"best/{name}": value for name, value in self.best.items()
        }

    def restore(self, state: State) -> None:
        """Puts a checkpoint's arrays back, and the best weights so far, if any."""
        leaves, tree = named_leaves(self.training)
        self.training = jax.tree.unflatten(tree, [jnp.array(state[name]) for name in leaves])
        if self.parallel:
            self.training = self.parallel.everywhere(self.training)
        best = {name for name in state if name.startswith("best/")}
        self.best = {name.removeprefix("best/"): state[name] for name in best}

    def exact_weights(self) -> Weights:
        return self.weights()

    def averaged_weights(self) -> Weights:
        return {name: np.array(value) for name, value in self.training.averages.items()}

    # Inference.

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.predict(images, "float32")

    def predict(self, images: np.ndarray, dtype: str) -> np.ndarray:
        params = self.training.trained | self.training.moving
        logits = self.parallel.predict if self.parallel else predict
        parts = [
            np.asarray(logits(self.network, dtype, params, images[i : i + IMAGES_A_CALL]))
            for i in range(0, len(images), IMAGES_A_CALL)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.network.classes), np.float32)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in the precision of the training."""
        logits = self.predict(split.images, self.recipe.precision)
        labels = split.labels.astype(np.int32)
        losses = optax.softmax_cross_entropy_with_integer_labels(jnp.array(logits), labels)
        return float(losses.mean()), float(np.mean(logits.argmax(axis=1) == labels))

    # What the other workflows can be held against.

    def summary(self) -> dict[str, tuple[Shape, int]]:
        params = self.training.trained | self.training.moving
        image = jnp.zeros((1, *self.network.input_shape), jnp.uint8)
        outputs, _ = jax.eval_shape(partial(forward, self.network, "float32"), params, image)
        parameters = dict.fromkeys(outputs, 0)
        for name, value in params.items():
            parameters[name.split("/")[0]] += value.size
        return {name: (x.shape[1:], parameters[name]) for name, x in outputs.items()}

    def weights(self) -> Weights:
        params = self.training.trained | self.training.moving
        return {name: np.array(params[name]) for name in self.network.weight_shapes()}

    def load(self, weights: Weights) -> None:
        self.network.check_weights(weights)
        trained, moving = split(weights)
        if self.parallel:
            trained, moving = self.parallel.everywhere((trained, moving))
        self.training = self.training._replace(trained=trained, moving=moving)

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        now, key = self.training, jax.random.fold_in(self.key, self.training.step)
        (loss, _), gradients = gradients_of(
            now.trained,
            now.moving,
            self.network,
            self.recipe.precision,
            images,
            labels.astype(np.int32),
            key,
        )
        return float(loss), {name: np.array(gradients[name]) for name in now.trained}

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        rate = np.array([self.recipe.learning_rate], np.float32)
        losses, _ = self.take(images[None], labels[None], rate)
        return float(losses[0])


def split(weights: Weights) -> tuple[Params, Params]:
    """Those that are trained, and the moving averages, as JAX' own arrays."""
    both: tuple[Params, Params] = {}, {}
    for name, value in weights.items():
        both[name.split("/")[1] in NOT_TRAINED][name] = jnp.array(value)
    return both


def named_leaves(training: Training) -> tuple[dict[str, Array], Any]:
    """Each array by where it is, such as ``trained/conv_1/kernel``, and the structure of it all."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(training)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in leaves}, tree
