"""The audit's view of a Keras model, on whichever backend it runs.

Nothing here computes what Keras computes: the model itself is called and trained, and its layers
are watched while it does so.
"""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.keras import fit, losses, optimisers
from diptych.auditing.frameworks.keras.arrays import Batch, to_array
from diptych.auditing.frameworks.keras.batching import Batching, own_targets
from diptych.auditing.frameworks.keras.holding import restored, without_gradients
from diptych.auditing.frameworks.keras.keras_file import FromFile, WideFile
from diptych.auditing.frameworks.keras.network import Network
from diptych.auditing.frameworks.keras.submission import FIRST_SEED, submitted
from diptych.auditing.frameworks.keras.training import (
    Training,
    as_fit_feeds,
    has_loss,
    has_own_step,
    takes_outputs,
)
from diptych.auditing.frameworks.keras.twin import Twin
from diptych.auditing.frameworks.keras.whole import caller
from diptych.auditing.frameworks.packing import OWN
from diptych.auditing.frameworks.users import is_users
from diptych.auditing.gradients import Gradients, Keep, whole
from diptych.auditing.graph import Arrays, Graph

SEEDS_APART = 1_000
"""Between the first seed generators of a model that begin anew from two numbers."""
BACKENDS = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}


def framework() -> str:
    """Such as ``Keras 3.15.1 on TensorFlow 2.21.0``."""
    backend = keras.config.backend()
    # Not the version of a package: a build of TensorFlow may be installed under another name.
    version = importlib.import_module(backend).__version__.split("+")[0]
    return f"Keras {keras.__version__} on {BACKENDS.get(backend, backend)} {version}"


def user(model: keras.Model) -> keras.Model:
    """The model that the user made, where something was put around it."""
    return vars(model).get("_user", model)


def is_of_a_user(thing: Any) -> bool:
    """True if a user has written the function, or the class of the object."""
    code = thing if inspect.isfunction(thing) else type(thing)
    file = getattr(sys.modules.get(code.__module__), "__file__", None)
    return code.__module__ == "__main__" if file is None else is_users(file)


class Adapter:
    """A side in Keras; see `diptych.auditing.frameworks.protocol`."""

    def __init__(self, build: Callable[[int], Any], like: "Adapter | None" = None) -> None:
        """Builds the side.

        Args:
            build: see the protocol.
            like: an adapter of the same function, whose names nodes and parameters get.
        """
        self.framework = framework()
        self.build = build
        self.submission = submitted(build, 0)
        self.extras, model = self.submission.extras, self.submission.model
        self.network = Network(self.submission, like.network if like else None)
        self.model = model
        self.trains = model.compiled and model.optimizer is not None and has_loss(model)
        if has_own_step(model):
            model.train_step = as_fit_feeds(model.train_step)
        own = not takes_outputs(model) and "data" in self.extras
        shape = self.graph().nodes[-1].shape
        targets = own_targets(self.extras)
        self.targets = OWN if own else losses.loss_targets(model.loss, shape, targets)
        packing = getattr(model, "_packing", None)
        self.whole = packing.whole if packing else []
        self.packed_inputs = packing.shapes if packing else []
        of_targets = getattr(model, "_target_packing", None)
        self.packed_targets = of_targets.shapes if of_targets else []
        self.loss_words = losses.words(model.loss)
        self.batching = Batching(
            self.submission, self.network, self.targets, lambda: submitted(build, 0).extras
        )
        self.data_told = self.batching.told
        self.training = Training(self.network, self.batching, self.extras)
        self.prepares = self.batching.prepares
        self.callers: dict[bool, Callable[[Any], Any]] = {}
        """The model as its user calls it, by mode, once it is needed."""
        self.first = self.parameters()
        self.drawn: int | None = None
        """The last number of `draw_anew`, unless another seed came after it."""

    def graph(self) -> Graph:
        return self.network.graph

    def parameters(self) -> Arrays:
        return self.network.parameters()

    def load(self, parameters: Arrays) -> None:
        self.network.load(parameters)

    # Running.

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        x, before, network = self.network.input_of(x), self.parameters(), self.network
        with network.experiment():
            own = training and self.trains and has_own_step(self.model)
            trace = self.training.trace(x) if own else network.trace(x, training)
            after = self.parameters() if training else {}
        moved = {f"parameter:{name}": after[name] for name in network.moving(before, after)}
        return network.outputs_of_nodes(trace) | moved

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        return self.network.run_node(name, inputs, training)

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        if training and self.trains and has_own_step(self.model):
            last = self.graph().nodes[-1].name
            return np.stack([self.record(x, training)[last] for _ in range(runs)])
        batch = keras.ops.convert_to_tensor(self.network.input_of(x))
        if training not in self.callers:
            self.callers[training] = caller(self.model, training)
        outputs = []
        for _ in range(runs):
            with restored(self.model.non_trainable_weights), without_gradients():
                output = keras.tree.flatten(self.callers[training](batch))[0]
                outputs.append(self.network.to_graph(to_array(output)))
        return np.stack(outputs)

    # Data.

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        return self.batching.prepare(images, labels)

    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        return self.batching.coded(count, epochs)

    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        return self.batching.epochs(*self.batching.from_graph(x, y), epochs)

    # Training.

    def own_code(self) -> dict[str, bool]:
        optimiser = any(map(is_of_a_user, optimisers.optimisers(self.model.optimizer)))
        parts = [self.model, *self.model._flatten_layers(), *keras.tree.flatten(self.model.loss)]
        return {"steps": optimiser or any(map(is_of_a_user, parts)), "updates": optimiser}

    def seed(self, number: int) -> None:
        keras.utils.set_random_seed(FIRST_SEED + number)
        self.drawn = None
        self._begin_draws(number)

    def draw_anew(self, number: int) -> None:
        """As the protocol's; a new seed for all of TensorFlow makes it prepare every operation
        again, which takes longer than most training steps."""
        if keras.config.backend() == "tensorflow" and number - 1 == self.drawn:
            self._begin_draws(number)
        else:
            self.seed(number)
        self.drawn = number

    def _begin_draws(self, number: int) -> None:
        """Has the model's own seed generators begin anew."""
        states = [v for v in self.model.non_trainable_variables if "seed_generator" in v.path]
        with without_gradients():
            for place, state in enumerate(states):
                state.assign([SEEDS_APART * number + place, 0])

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        return self.training.loss(outputs, targets)

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self.training.loss_and_gradients(x, targets)

    def drawn_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self.training.loss_and_gradients(x, targets, drawing=True)

    def updates(self, gradients: Iterable[Gradients], keep: Keep = whole) -> list[Arrays]:
        return self.training.updates(gradients, keep)

    def steps(self, batches: list[Batch], keep: Keep = whole) -> tuple[list[float], list[Arrays]]:
        return self.training.steps(batches, keep)

    def steps_then_predict(
        self, batches: list[Batch], keep: Keep, x: np.ndarray, averages: Collection[str]
    ) -> tuple[list[float], list[Arrays], np.ndarray]:
        before, trained = self.parameters(), self.training.trained_names()
        with self.network.experiment():
            losses, after = self.training.steps(batches, keep, stays=True)
            self.load({name: before[name] for name in [*trained, *averages]})
            return losses, after, self.outputs(x, False, 1)[0]

    def later_outputs(
        self, batches: Iterable[Batch], x: np.ndarray, targets: np.ndarray, seeds: Iterable[int]
    ) -> np.ndarray:
        before, trained = self.parameters(), self.training.trained_names()
        outputs = []
        with self.network.experiment(), fit.as_it_was(self.model):
            self.training.take(batches)
            self.load({name: before[name] for name in trained})
            for number in seeds:
                self.draw_anew(number)
                outputs.append(self.outputs(x, True, 1)[0])
        return np.stack(outputs)

    def optimiser(self) -> dict[str, Any]:
        return optimisers.words(self.model.optimizer) if self.trains else {}

    def horizon(self) -> dict[str, Any]:
        return fit.horizon(self.extras, self.model.optimizer if self.trains else None)

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        with self.network.experiment(), fit.as_it_was(self.model):
            return fit.rates(self.extras, self.model, steps)

    def settings(self) -> dict[str, str]:
        optimiser = self.model.optimizer if self.trains else None
        return fit.settings(self.extras, optimiser, self.batching.by_fit)

    # Other builds.

    def initial(self, draws: int) -> list[Arrays]:
        if isinstance(self.build, FromFile):
            return [dict(self.first) for _ in range(draws)]
        return [self.fresh_parameters(seed) for seed in range(1, draws + 1)]

    def fresh_parameters(self, seed: int) -> Arrays:
        """The parameters of another build, by the names of this one's."""
        model = submitted(self.build, seed).model
        if user(model) is user(self.model):  # The user's function returns what was built once.
            return dict(self.first)
        if len(model.weights) != len(self.model.weights):  # Some are made when it is first called.
            with without_gradients():
                model(keras.ops.convert_to_tensor(self.network.blank()), training=False)
        names = [self.network.names.get(id(weight)) for weight in self.model.weights]
        pairs = zip(names, model.weights, strict=True)
        return {name: self.network.array(name, weight) for name, weight in pairs if name}

    def twin(self) -> Twin:
        if isinstance(self.build, FromFile):
            build: Callable[[int], Any] = WideFile(self.build.path)
        else:
            build = self.rebuilt
        twin = Twin(lambda: Adapter(build, like=self))
        twin.load(self.parameters())
        return twin

    def rebuilt(self, seed: int) -> Any:
        """The result of the user's function when it is called again.

        Raises:
            NotImplementedError: it returns the model that it has returned before.
        """
        result = self.build(seed)
        model = result[0] if isinstance(result, tuple | list) and result else result
        if model is user(self.model):
            raise NotImplementedError(
                f"the function returns the model {model.name} that was made before it was "
                "called, in float32: make the model in the function"
            )
        return result
