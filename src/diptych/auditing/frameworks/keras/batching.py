"""The user's data: the preparation of raw images, and the batches of training."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks import defaults
from diptych.auditing.frameworks.keras.arrays import Batch, to_array, to_numbers
from diptych.auditing.frameworks.keras.network import Network
from diptych.auditing.frameworks.keras.submission import FIRST_SEED, Submission, described
from diptych.auditing.frameworks.packing import OWN
from diptych.auditing.frameworks.users import users_code
from diptych.errors import InputError


class BatchProbe(keras.Model):
    """Records the batches that Keras' ``fit`` makes of its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.built = True
        self.compile(optimizer="sgd", run_eagerly=True)  # JAX asks it for variables.
        self.optimizer.build([])
        self.epochs: list[list[Batch]] = []

    def call(self, inputs: Any) -> Any:
        return inputs

    def reset_metrics(self) -> None:
        """Called by ``fit`` at the start of each epoch."""
        self.epochs.append([])

    def train_step(self, *arguments: Any) -> Any:
        """Called with a batch; on JAX with a state before it, which it gives back."""
        *state, data = arguments
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.epochs[-1].append((to_array(x), to_numbers(y)))
        return ({"loss": 0.0}, state[0]) if state else {"loss": 0.0}


def own_targets(extras: dict[str, Any]) -> np.ndarray | None:
    """The targets of the user's ``data``, if there are any."""
    data = None if "prepare" in extras else extras.get("data")
    if isinstance(data, tuple | list) and len(data) == 2 and data[1] is not None:
        return to_numbers(data[1])
    return None


class Batching:
    """A side's inputs and targets, and its batches of them."""

    def __init__(
        self,
        submission: Submission,
        network: Network,
        targets: str,
        fresh_extras: Callable[[], dict[str, Any]],
    ) -> None:
        """Takes the user's extras.

        Args:
            submission: with the extras.
            network: that the inputs are for.
            targets: what the loss takes, as `Adapter.targets` says.
            fresh_extras: gives the extras of another build.
        """
        self.fresh_extras = fresh_extras
        self.extras, self.seeded = submission.extras, submission.seeded
        self.network, self.targets = network, targets

    @property
    def prepares(self) -> bool:
        return "prepare" in self.extras or "data" in self.extras

    @property
    def told(self) -> dict[str, Any]:
        """Statistics of the user's whole data; empty if there are none."""
        if "prepare" in self.extras or "data" not in self.extras:
            return {}
        return defaults.told_of(*map(to_numbers, self.extras["data"]))

    @property
    def by_fit(self) -> bool:
        """True if it is ``fit`` that makes the batches, of arrays."""
        fit = self.extras.get("fit")
        return fit is not None and "batches" not in self.extras and "x" not in fit

    # One batch.

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        if "prepare" in self.extras:
            batch = self.extras["prepare"](images, labels)
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise InputError(f"prepare returned {described(batch)}: expected (x, y)")
            return self.to_graph(*batch)
        if "data" in self.extras:
            x, y = self.extras["data"]
            rows = defaults.rows_of(len(x), len(images))
            return self.to_graph(to_numbers(x)[rows], to_numbers(y)[rows])
        return self.default_input(images), self.default_targets(labels)

    def to_graph(self, x: Any, y: Any) -> Batch:
        """The user's input and targets in the graph's layout."""
        network, y = self.network, to_numbers(y)
        x = np.asarray(to_array(x))
        x = x.astype(np.int64) if network.takes_whole_numbers else x
        if [n for n in x.shape[1:] if n != 1] != [n for n in network.input_shape if n != 1]:
            raise InputError(
                f"prepare or data gives inputs of shape {x.shape[1:]}: the model "
                f"{network.model.name} takes {network.input_shape}"
            )
        x = x.reshape(len(x), *network.input_shape)
        return network.to_graph(x), network.to_graph(y) if self.targets == "values" else y

    def from_graph(self, x: np.ndarray, targets: np.ndarray) -> Batch:
        """A batch in the graph's layout as it is fed to the model and to its loss."""
        return self.network.input_of(x), self.targets_from_graph(targets)

    def targets_from_graph(self, targets: np.ndarray) -> np.ndarray:
        if self.targets == "values":
            return self.network.from_graph(targets)
        targets = np.asarray(targets)
        floats = self.targets == OWN and targets.dtype.kind == "f"  # Which ``fit`` casts.
        return targets.astype(keras.config.floatx()) if floats else targets

    def default_input(self, images: np.ndarray) -> np.ndarray:
        """Images from 0 to 1, in the shape that the model takes."""
        shape, network = self.network.graph.input_shape, self.network
        if np.prod(shape) != np.prod(images.shape[1:]):
            raise InputError(
                f"the model {network.model.name} takes inputs of shape {network.input_shape}, and "
                f"images are {images.shape[1:]}: return (model, extras) with 'prepare' or 'data' "
                "in extras"
            )
        return defaults.default_input(images, shape, np.dtype(keras.config.floatx()))

    def default_targets(self, labels: np.ndarray) -> np.ndarray:
        units, dtype = self.network.graph.nodes[-1].shape[-1], np.dtype(keras.config.floatx())
        targets = defaults.default_targets(labels, self.targets, units, dtype)
        if targets is None:
            raise InputError(
                f"the loss of the model {self.network.model.name} takes {self.targets}, and labels "
                "are classes: return (model, extras) with 'prepare' or 'data' in extras"
            )
        return targets

    def made_up_targets(self, count: int) -> np.ndarray:
        """Some targets of the shape and type that the loss takes, in the graph's layout."""
        shape = self.network.graph.nodes[-1].shape
        if self.targets == OWN:
            y = to_numbers(self.extras["data"][1])
            return y[np.arange(count) % len(y)]
        if self.targets == "classes":
            return np.zeros((count, *shape[:-1]), np.int64)
        y = np.zeros((count, *self.network.graph.nodes[-1].shape), np.float32)
        if self.targets == "one_hot":
            y[..., 0] = 1
        return y

    # Epochs.

    def coded(self, count: int, epochs: int) -> list[list[Batch]] | None:
        """The batches of distinguishable examples; see the protocol's ``batches``."""
        x = defaults.coded(count, self.network.input_shape, np.float32)
        if self.targets == OWN:
            shape = to_numbers(self.extras["data"][1]).shape[1:]
            y = defaults.coded(count, shape, np.float32)
        elif self.targets == "classes":
            y = defaults.coded(count, self.network.output_shape(count)[1:-1], np.int64)
        else:
            y = defaults.coded(count, self.network.output_shape(count)[1:], np.float32)
        return self.epochs(x, y, epochs)

    def epochs(self, x: np.ndarray, y: np.ndarray, count: int) -> list[list[Batch]] | None:
        """The batches of examples in Keras' layout; None where the user does not say."""
        if "batches" in self.extras:
            make = self.fresh_extras()["batches"]  # The code may count its epochs.
            epochs = [self.of_the_user(make, x, y) for _ in range(count)]
        elif self.by_fit:
            epochs = self.of_fit(x, y, count)
        else:
            return None
        return [[self.to_graph(*batch) for batch in epoch] for epoch in epochs]

    def of_the_user(self, make: Callable[..., Any], x: np.ndarray, y: np.ndarray) -> list[Batch]:
        """An epoch's batches by the user's own function."""
        with users_code("extras['batches']"):
            result = make(x, y)
        if isinstance(result, keras.utils.PyDataset):
            result = (result[i] for i in range(result.num_batches))
        if not isinstance(result, Iterable):
            raise InputError(f"batches returned {described(result)}: expected batches (x, y)")
        batches: list[Batch] = []
        for batch in result:
            if not isinstance(batch, tuple | list) or len(batch) < 2:
                raise InputError(f"batches gave {described(batch)}: expected (x, y)")
            batches.append((batch[0], batch[1]))
            if len(batches) > 10 * len(x):
                raise InputError("batches does not end: expected the batches of one epoch")
        return batches

    def of_fit(self, x: np.ndarray, y: np.ndarray, count: int) -> list[list[Batch]]:
        """The batches that ``model.fit`` makes with the user's arguments."""
        if self.seeded or keras.config.backend() != "tensorflow":
            return self.probed(x, y, count)
        # With our seed set, Keras on TensorFlow would shuffle every epoch the same way.
        epochs = []
        for number in range(count):
            keras.utils.set_random_seed(FIRST_SEED + number)
            epochs += self.probed(x, y, 1)
        return epochs

    def probed(self, x: np.ndarray, y: np.ndarray, count: int) -> list[list[Batch]]:
        arguments, probe = self.extras["fit"], BatchProbe()
        shaping = ("batch_size", "shuffle", "validation_split", "steps_per_epoch")
        probe.fit(
            x,
            y,
            epochs=count,
            verbose=0,
            validation_freq=count + 1,
            **{name: arguments[name] for name in shaping if name in arguments},
        )
        return probe.epochs[-count:]
