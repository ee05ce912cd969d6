"""The user's object: its variables, its functions, and the gradients that its step takes."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, Protocol

import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.trace import as_type, patched
from diptych.auditing.frameworks.users import check_takes
from diptych.auditing.graph import Arrays
from diptych.errors import InputError

Tensor = Any


class Submission:
    """The user's object, checked, with a name for every variable.

    Raises:
        InputError: the object is not what an audit takes.
    """

    def __init__(self, returned: Any) -> None:
        for name in ("variables", "loss", "step"):
            if not hasattr(returned, name):
                raise InputError(
                    f"the function returned a {type(returned).__name__} without {name!r}: expected "
                    "an object with variables, loss(x, y) and step(x, y)"
                )
        self.returned = returned
        self.variables = named_variables(returned.variables)
        self.data = self.extra("data")
        self.prepare = getattr(returned, "prepare", None)
        self.batches = getattr(returned, "batches", None)
        if self.batches is not None:
            check_takes(self.batches, ("x", "y"), "batches")
        self.logits = getattr(returned, "logits", None)
        self.watched = {id(variable): name for name, variable in self.variables.items()}
        self.asked: list[str] = []
        """The variables whose gradients its steps have asked for."""

    def take_names(self, names: list[str]) -> None:
        """Gives the variables, in their order, the names that they have in another build: Keras
        numbers layers that the user has not named, and goes on counting."""
        self.variables = dict(zip(names, self.variables.values(), strict=True))
        self.watched = {id(variable): name for name, variable in self.variables.items()}

    @property
    def prepares(self) -> bool:
        """True if the user defines the preparation of raw images and labels, or passes data."""
        return self.prepare is not None or self.data is not None

    def extra(self, name: str) -> Any:
        """The attribute of that name, called if it is a function; None if missing."""
        value = getattr(self.returned, name, None)
        return value() if callable(value) else value

    @cached_property
    def eager(self) -> bool:
        """True if nothing of the object is a ``tf.function``: then it runs operation by
        operation, and Keras' losses see numbers instead of operations."""
        own = [*vars(self.returned).values()] if hasattr(self.returned, "__dict__") else []
        of_class = [value for cls in type(self.returned).__mro__ for value in vars(cls).values()]
        return not any(hasattr(value, "python_function") for value in (*own, *of_class))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        with as_if_eager() if self.eager else nullcontext():
            return self.returned.loss(x, y)

    def step(self, x: Tensor, y: Tensor) -> Any:
        with as_if_eager() if self.eager else nullcontext():
            return self.returned.step(x, y)

    def loss_and_gradients(
        self, names: list[str], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its gradients with respect to some variables, in a graph that is traced.

        A variable that gets none is not among them.
        """
        loss = self.loss(x, y)
        gradients = tf.gradients(loss, [self.variables[name] for name in names])
        pairs = zip(names, gradients, strict=True)
        return loss, {name: tf.convert_to_tensor(g) for name, g in pairs if g is not None}

    def holder(self, name: str) -> tf.Variable:
        """A variable for the gradient that a step is to take for that of another variable."""
        return tf.Variable(tf.zeros_like(self.variables[name]), trainable=False)

    def hold(self, holder: tf.Variable, value: Tensor) -> None:
        """Puts the gradient there."""
        holder.assign(as_type(value, holder.dtype))

    def load(self, values: Arrays) -> None:
        """Assigns values in TensorFlow's own layout."""
        for name, value in values.items():
            variable = self.variables[name]
            variable.assign(as_type(value.reshape(variable.shape), variable.dtype))


@contextmanager
def as_if_eager() -> Iterator[None]:
    """Has Keras' losses do in a graph what they do without one.

    In a graph they look for the operation that made their input, and take the logits before a
    softmax or a sigmoid, whatever their ``from_logits`` says. Without one they cannot.
    """
    losses = sys.modules.get("keras.src.backend.tensorflow.nn")
    if not hasattr(losses, "_get_logits"):
        yield
        return

    def by_the_tensor(output: Tensor, from_logits: bool, *_: Any) -> tuple[Tensor, bool]:
        logits = getattr(output, "_keras_logits", None)
        return (output, from_logits) if logits is None else (logits, True)

    with patched((losses, "_get_logits", by_the_tensor)):
        yield


def named_variables(variables: Any) -> dict[str, tf.Variable]:
    """The variables by name: a dictionary's keys, or their own names, made unique."""
    if isinstance(variables, dict):
        pairs = [(str(name), variable) for name, variable in variables.items()]
    elif isinstance(variables, list | tuple):
        pairs = [(own_name(variable, i), variable) for i, variable in enumerate(variables)]
    else:
        raise InputError(
            f"variables is a {type(variables).__name__}: expected a list, tuple or dict of "
            "tf.Variable"
        )
    if not pairs:
        raise InputError("variables is empty: expected every tf.Variable of the network")
    result: dict[str, tf.Variable] = {}
    for name, variable in pairs:
        variable = underlying(variable)
        if not isinstance(variable, tf.Variable):
            raise InputError(
                f"variables holds a {type(variable).__name__} ({name}), expected tf.Variable"
            )
        unique, number = name, 1
        while unique in result:
            number += 1
            unique = f"{name}_{number}"
        result[unique] = variable
    return result


def underlying(variable: Any) -> Any:
    """TensorFlow's variable of a variable of Keras'; anything else as it is."""
    value = getattr(variable, "value", None)
    return value if isinstance(value, tf.Variable) else variable


def own_name(variable: Any, number: int) -> str:
    """The name that a variable has by itself; Keras' with its layer's."""
    own = getattr(variable, "path", None) or getattr(variable, "name", "Variable")
    name = str(own).split(":")[0]
    return f"variable_{number}" if name == "Variable" else name


class Watched(Protocol):
    """Something whose step asks for the gradients of variables."""

    watched: dict[int, str]
    """The name of each variable by its identity."""
    asked: list[str]
    """The names of those whose gradients have been asked for."""


@contextmanager
def gradients_from(
    submission: Watched, answer: Callable[[str], Tensor | None] | None
) -> Iterator[list[str]]:
    """Watches which variables' gradients are asked for, and gives other gradients where said.

    Args:
        answer: the gradient for a variable's name; where it is None the tape gives its own.

    Yields:
        The names that have been asked for so far; a step that was traced before asks no more.
    """
    names, asked = submission.watched, submission.asked

    def instead_of(original: Callable) -> Callable:
        def gradient(*arguments: Any, **named: Any) -> Any:
            place = 2 if original is own_gradient else 1
            sources = named.get("sources", named.get("xs"))
            sources = sources if sources is not None else arguments[place]
            flat = tf.nest.flatten(sources)
            known = [names.get(id(underlying(source))) for source in flat]
            asked.extend(name for name in known if name)
            if answer is None or not all(known):
                return original(*arguments, **named)
            return tf.nest.pack_sequence_as(sources, [answer(name) for name in known if name])

        return gradient

    own_gradient, of_graphs = tf.GradientTape.gradient, tf.gradients
    with patched(
        (tf.GradientTape, "gradient", instead_of(own_gradient)),
        (tf, "gradients", instead_of(of_graphs)),
    ):
        yield asked
