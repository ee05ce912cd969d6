"""This project's own workflows, as their frameworks' people would hand them in.

What a run does with a network and a recipe is done here too: dropout scaled, the recipe's precision
chosen, its schedule followed as over the training images of MNIST.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from diptych import machine
from diptych.data import Split
from diptych.data.batches import Batches, to_float
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.workflows import registry

Arrays = tuple[np.ndarray, np.ndarray]
Build = Callable[[int], Any]

TRAINING_IMAGES = 55_000
"""MNIST's, after the validation images: they say how many steps a schedule has."""


def build(
    workflow: str,
    network: str | Network,
    recipe: str | Recipe | None = None,
    weights: Weights | None = None,
) -> Build:
    """The build of a workflow for the adapter of its framework.

    Args:
        workflow: one of `diptych.workflows.registry.NAMES`; the adapter of that name takes it.
        network: a network, its name in the zoo, or a TOML file.
        recipe: as for the network; by default the one that the network names, else ``article``.
        weights: what each build has instead of its seed's initial weights, such as a run's.

    Raises:
        InputError: there is no such workflow, network or recipe, or the weights do not fit.
    """
    workflow = registry.check(workflow)
    if registry.module(workflow) == "keras":
        return keras_build(network, recipe, weights, workflow)
    builds = {"tensorflow": tensorflow_build, "torch": torch_build}
    if workflow in builds:
        return builds[workflow](network, recipe, weights)
    return with_rates(workflow, network, recipe, weights)


def keras_build(
    network: str | Network,
    recipe: str | Recipe | None = None,
    weights: Weights | None = None,
    workflow: str = "keras",
) -> Build:
    """Builds the compiled Keras model, and says how its training prepares and batches."""
    described = Training(network, recipe)
    make = described.maker(workflow, weights)

    def built(seed: int) -> tuple[Any, dict[str, Any]]:
        from diptych.workflows.keras.model import keras
        from diptych.workflows.keras.optimiser import RateTable

        dtype = np.dtype(keras.config.floatx()).type
        workflow = make(seed, dtype)
        if described.recipe.schedule != "constant":
            workflow.learning_rate = RateTable(described.rates.astype(dtype))
            workflow.compile()
        return workflow.model, {
            "steps": len(described.rates),
            "prepare": lambda images, labels: (scaled(images, dtype), labels.astype(np.int64)),
            "batches": Epochs(described.recipe, seed),
        }

    return built


def tensorflow_build(
    network: str | Network, recipe: str | Recipe | None = None, weights: Weights | None = None
) -> Build:
    """Builds the workflow as an object with variables, loss and step."""
    described = Training(network, recipe)
    make = described.maker("tensorflow", weights)
    return lambda seed: LowLevel(make(seed, np.float32), described.rates)


def torch_build(
    network: str | Network, recipe: str | Recipe | None = None, weights: Weights | None = None
) -> Build:
    """Builds the module, its loss and its optimiser, and says how its training prepares and
    batches."""
    described = Training(network, recipe)
    make = described.maker("torch", weights)

    def built(seed: int) -> tuple[Any, Any, Any, dict[str, Any]]:
        from diptych.workflows.torch.model import F, torch

        dtype = np.float64 if torch.get_default_dtype() == torch.float64 else np.float32
        workflow = make(seed, dtype)
        workflow.optimizer.rates = described.rates.astype(dtype)
        epochs = Epochs(described.recipe, seed)
        return (
            workflow.model,
            F.cross_entropy,
            workflow.optimizer,
            {
                "steps": len(described.rates),
                "prepare": lambda images, labels: (
                    torch.from_numpy(scaled(images, dtype)).permute(0, 3, 1, 2),
                    labels.astype(np.int64),
                ),
                "batches": lambda x, y: (
                    (x_part.transpose(0, 3, 1, 2), y_part)
                    for x_part, y_part in epochs(x.numpy().transpose(0, 2, 3, 1), y.numpy())
                ),
            },
        )

    return built


def with_rates(
    workflow: str,
    network: str | Network,
    recipe: str | Recipe | None = None,
    weights: Weights | None = None,
) -> Build:
    """Builds the workflow itself, with the rates of its steps, float64: what the adapters of NumPy
    and JAX take."""
    described = Training(network, recipe)
    make = described.maker(workflow, weights)
    return lambda seed: (make(seed, np.float32), described.rates)


def scaled(images: np.ndarray, dtype: type) -> np.ndarray:
    """uint8 images as numbers in [0, 1]: float32 as the workflows have them, or the float64 that
    they mean."""
    return to_float(images) if dtype == np.float32 else images * (1 / 255)


def model(spec: Any) -> Any:
    """The adapter's model of a named workflow and network, or of a run with its trained weights.

    Raises:
        InputError: there is nothing of that name, or the run has not ended.
    """
    name, weights = spec.where, None
    network, recipe = spec.name, None
    if spec.form == "run":
        run = Run.open(spec.where)
        name, network, recipe, weights = run.workflow, run.network, run.recipe, run.weights()
    if spec.arithmetic:
        recipe = Training(network, recipe).recipe.with_changes(precision=spec.arithmetic)
    framework = registry.module(name)
    own = {"numpy": "ours.adapter", "jax": "ours.jax_adapter"}
    module = own.get(framework, f"{framework}.adapter")
    adapter = importlib.import_module(f"diptych.auditing.frameworks.{module}")
    return adapter.Adapter(build(name, network, recipe, weights))


class Training:
    """A network and a recipe as a run has them."""

    def __init__(self, network: str | Network, recipe: str | Recipe | None) -> None:
        described = network if isinstance(network, Network) else Network.load(network)
        if not isinstance(recipe, Recipe):
            recipe = Recipe.load(recipe or described.recipe or "article")
        self.recipe = recipe.with_changes(crop=0.0)  # An audit is of the network at its own size.
        if self.recipe.precision == "auto":
            precision = "bfloat16" if machine.has_bfloat16() else "float32"
            self.recipe = self.recipe.with_changes(precision=precision)
        self.network = described.with_dropout_scaled(self.recipe.dropout_scale)

    @property
    def rates(self) -> np.ndarray:
        """The learning rate of each step, float64."""
        return self.recipe.learning_rates(steps_of(self.recipe), np.float64)

    def maker(self, workflow: str, weights: Weights | None) -> Callable[[int, type], Any]:
        """Makes the workflow for a seed, with the given weights where there are any, and for
        float32, or for float64 where that is its framework's default: then nothing is bfloat16.
        """

        def make(seed: int, dtype: type) -> Any:
            recipe = self.recipe
            if dtype == np.float64:
                recipe = recipe.with_changes(precision="float32")
            made = registry.load(workflow)(self.network, recipe, seed)
            if weights is not None:
                made.load(weights)
            return made

        return make


def steps_of(recipe: Recipe) -> int:
    """The number of steps of the recipe's training."""
    return recipe.epochs * -(-TRAINING_IMAGES // recipe.batch_size)


def settings_of(recipe: Recipe) -> dict[str, str]:
    """The settings of the recipe that neither the network, the optimiser nor the batches show."""
    values = {
        name: getattr(recipe, name) for name in ("averaging", "early_stopping", "frozen_after")
    }
    return {name: str(value) for name, value in values.items() if value}


class Epochs:
    """Called once an epoch with all examples, gives that epoch's batches as a run makes them."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seed, self.epoch = recipe, seed, 0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> Iterator[Arrays]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        batches = Batches(Split(x, y), self.recipe, self.seed)
        return (batches.batch(epoch, step) for step in range(batches.steps_per_epoch))


class LowLevel:
    """The workflow of low-level TensorFlow: images uint8 (n, …) and labels int64 (n,)."""

    counts_in_python = False  # The step's number is a variable: one trace serves all steps.

    def __init__(self, workflow: Any, rates: np.ndarray) -> None:
        from diptych.workflows.tensorflow.model import tf

        self.workflow, self.rates = workflow, rates
        self.steps_taken = tf.Variable(np.int32(0))  # pyright: ignore[reportArgumentType]
        self.variables = workflow.variables
        self.batches = Epochs(workflow.recipe, workflow.seed)
        recipe = workflow.recipe
        self.learning_rate, self.epsilon = float(str(np.float32(rates[0]))), recipe.epsilon
        self.steps, self.settings = steps_of(recipe), settings_of(recipe)
        self.beta_1, self.beta_2 = recipe.beta_1, recipe.beta_2

    def loss(self, x: Any, y: Any) -> Any:
        """The mean cross-entropy of a batch in training."""
        from diptych.workflows.tensorflow.model import tf

        workflow = self.workflow
        logits = workflow.forward(x, workflow.dtype, training=True, step=self.steps_taken)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    def logits(self, x: Any) -> Any:
        """Inference, always in float32."""
        from diptych.workflows.tensorflow.model import tf

        return self.workflow.forward(x, tf.float32)

    def step(self, x: Any, y: Any) -> Any:
        """One step of the workflow's own training; returns the loss before it."""
        from diptych.workflows.tensorflow.model import tf

        number = self.steps_taken.read_value()
        rate = tf.constant(self.rates, tf.float32)[number]
        losses, _ = self.workflow.run_steps(x[None], y[None], rate[None], number)
        self.steps_taken.assign_add(1)
        return losses[0]

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Arrays:
        """Images stay uint8: the network itself scales them."""
        return images, labels.astype(np.int64)
