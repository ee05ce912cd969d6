"""The workflows by name: what there is, what is installed, and how one is loaded."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from diptych import extras
from diptych.errors import InputError
from diptych.layers import BatchNorm
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.workflows.group import Group
from diptych.workflows.protocol import Workflow

NAMES = {
    "tensorflow": "low-level TensorFlow: tf.Variable, tf.nn, GradientTape, its own Adam and loop",
    "keras": "Keras on TensorFlow: Sequential, compile, fit",
    "keras@jax": "the same Keras code on JAX",
    "keras@torch": "the same Keras code on PyTorch",
    "torch": "PyTorch: modules, torch.optim, and the loop that one writes around them",
    "jax": "JAX: pure functions of a dictionary of weights, jit, grad, optax",
    "numpy": "the reference: NumPy in float64, to be read and to check the others by; slow",
}
"""Each workflow's name and what it is. What is before an @ is its module, and what is after it the
backend that Keras runs on there; ``keras@tensorflow`` is another name for ``keras``."""
ALL = "all"
"""Stands for all workflows that are installed, but for the reference."""
NEEDS = {
    "tensorflow": ("tensorflow",),
    "keras": ("keras",),
    "torch": ("torch",),
    "jax": ("jax", "optax"),
    "numpy": (),
}
"""The packages that a module, or a backend of Keras, of that name needs."""


PARALLEL = ("tensorflow", "torch", "jax")
"""The workflows that can train in several processes."""
ON_CLUSTERS = ("torch", "jax")
"""Those whose processes may be on several machines."""
NOT_PARALLEL = {
    "keras": "Keras' fit on TensorFlow fails under MultiWorkerMirroredStrategy with an unsupported "
    "type, PerReplica (keras-team/keras, issue 20585)",
    "keras@jax": "a training under keras.distribution.DataParallel does not yet resume from its "
    "checkpoint",
    "keras@torch": "Keras' fit calls the model itself, but PyTorch's DistributedDataParallel adds "
    "up gradients only in calls of its own",
    "numpy": "the reference is to be read, and computes in one",
}
"""The reasons of the others."""


def load(name: str, group: Group | None = None) -> type[Workflow]:
    """The workflow of that name; this is what imports its framework.

    Keras gets the backend that `environment` says when it is imported, which is once a process.

    Args:
        name: one of `NAMES`.
        group: the processes that this one trains together with, which it meets first: JAX wants
            that before anything is computed.

    Raises:
        InputError: no workflow has that name, or its framework is not installed, or Keras runs on
            another backend here.
    """
    check(name)
    file = module(name)
    if group is not None:
        importlib.import_module(f"diptych.workflows.{file}.parallel").meet(group)
    loaded = importlib.import_module(f"diptych.workflows.{file}.workflow")
    if file == "keras" and (found := sys.modules["keras"].config.backend()) != backend(name):
        raise InputError(
            f"workflow {name}: Keras runs on {found} in this process; expected the environment "
            f"variable KERAS_BACKEND={backend(name)} before it is imported"
        )
    return loaded.Workflow


def module(name: str) -> str:
    """The package beside this module in which the workflow is."""
    return name.partition("@")[0]


def backend(name: str) -> str:
    """The backend of Keras in that workflow; without meaning for others."""
    return name.partition("@")[2] or "tensorflow"


def environment(name: str) -> dict[str, str]:
    """The environment variables that a worker for that workflow starts with."""
    return {"KERAS_BACKEND": backend(name)}


def precision(name: str, recipe: Recipe) -> str:
    """The arithmetic that a workflow trains in: the recipe's, but the reference's is float64."""
    return "float64" if name == "numpy" else recipe.precision


def check_name(name: str) -> str:
    """Raises InputError unless a workflow has that name; imports no framework.

    Returns:
        The name that `NAMES` has for it.
    """
    if name == "keras@tensorflow":
        return "keras"
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(NAMES)}"
        raise InputError(f"workflow {name!r}: no such workflow ({hint})")
    return name


def check(name: str) -> str:
    """As `check_name`, and raises InputError too where the workflow's framework is not installed;
    imports no framework."""
    known = check_name(name)
    packages = NEEDS[module(known)]
    if module(known) == "keras":
        packages += NEEDS[backend(known)]
    extras.require(f"workflow {name}", *packages)
    return known


def check_processes(name: str, network: Network, processes: int) -> None:
    """Raises InputError unless the workflow can train the network in so many processes."""
    if processes < 1:
        raise InputError(f"processes = {processes}: expected 1 or more")
    if processes == 1:
        return
    if name not in PARALLEL:
        raise InputError(
            f"workflow {name} trains in one process: {NOT_PARALLEL[name]}; {', '.join(PARALLEL)} "
            "can train in several"
        )
    if any(isinstance(layer, BatchNorm) for layer in network.layers):
        raise InputError(
            f"network {network.name} has batch normalisation, whose averages over the whole batch "
            "no process of several knows: train it in one process"
        )


def installed() -> list[str]:
    """The names of the workflows whose frameworks are installed; imports none of them."""
    names = []
    for name in NAMES:
        try:
            names.append(check(name))
        except InputError:
            continue
    return names


def chosen(names: Sequence[str]) -> list[str]:
    """The workflows that the given names stand for: themselves, or what `ALL` is.

    Raises:
        InputError: no workflow has such a name, or its framework is not installed.
    """
    if list(names) == [ALL]:
        return [name for name in installed() if name != "numpy"]
    return [check(name) for name in names]
