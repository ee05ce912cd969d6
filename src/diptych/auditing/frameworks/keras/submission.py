"""The result of a user's function: a compiled model, and a dict of extras."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from diptych.auditing.frameworks.keras import fit as fit_arguments
from diptych.auditing.frameworks.keras.keras_file import FromFile
from diptych.auditing.frameworks.keras.packed import packed
from diptych.auditing.frameworks.users import check_takes, user_line
from diptych.errors import InputError

EXTRAS = ("prepare", "data", "batches", "fit", "steps")
EXPECTED = "a compiled keras.Model, or (model, extras)"
FIRST_SEED = 815_000_000
"""The audit's own seeds count from here, where no user's are."""


@dataclass(frozen=True)
class Submission:
    """The checked result of a user's function."""

    model: keras.Model
    extras: dict[str, Any]
    places: dict[int, str]
    """The line of the user's code that created a layer or an operation, by its ``id``."""
    seeded: bool
    """True if the user's code has set TensorFlow's seed."""


def submitted(build: Callable[[int], Any], seed: int) -> Submission:
    """Calls the user's function, with Keras' seed set for those that leave it open.

    Raises:
        InputError: it returned something else than `EXPECTED`.
    """
    places: dict[int, str] = {}
    before = seed_in_force()
    keras.utils.set_random_seed(FIRST_SEED + seed)
    if isinstance(build, FromFile):
        result = build(seed)
    else:
        with noting_places(places):
            result = build(seed)
    if before is not None and seed_in_force() is None:
        keras.utils.set_random_seed(before)
    pair = isinstance(result, tuple | list) and len(result) == 2
    model, extras = result if pair else (result, {})
    if not isinstance(model, keras.Model):
        raise InputError(
            f"the function returned {described(result)}: expected {EXPECTED}; "
            "end it with `return model`"
        )
    check_extras(extras)
    if not model.compiled and not isinstance(build, FromFile):
        raise InputError(
            f"the function returned the model {model.name} uncompiled: expected {EXPECTED}; "
            "call model.compile(optimizer=…, loss=…) before `return model`"
        )
    if not isinstance(build, FromFile):
        model, extras = packed(model, extras)
    return Submission(model, extras, places, seed_in_force() is not None)


def described(result: Any) -> str:
    """A few words for what was returned."""
    if result is None:
        return "None"
    if isinstance(result, tuple | list):
        return f"({', '.join(type(part).__name__ for part in result)})"
    return f"a {type(result).__module__}.{type(result).__qualname__}"


def check_extras(extras: Any) -> None:
    """Checks the user's extras.

    Raises:
        InputError: one of them is unknown, or not what it should be.
    """
    known = ", ".join(EXTRAS)
    if not isinstance(extras, dict):
        raise InputError(f"extras is {described(extras)}: expected a dict with any of {known}")
    if unknown := sorted(map(str, extras.keys() - set(EXTRAS))):
        raise InputError(f"extras has {', '.join(unknown)}: the keys that count are {known}")
    for name in ("prepare", "batches"):
        if name in extras and not callable(extras[name]):
            raise InputError(f"extras[{name!r}] is {described(extras[name])}: expected a function")
    if "batches" in extras:
        check_takes(extras["batches"], ("x", "y"), "extras['batches']")
    data = extras.get("data")
    if "data" in extras and not (isinstance(data, tuple | list) and len(data) == 2):
        raise InputError(f"extras['data'] is {described(data)}: expected (x, y), two arrays")
    arguments = inspect.signature(keras.Model.fit).parameters.keys() - {"self"}
    if not isinstance(fit := extras.get("fit", {}), dict) or fit.keys() - arguments:
        wrong = ", ".join(sorted(fit.keys() - arguments)) if isinstance(fit, dict) else type(fit)
        raise InputError(
            f"extras['fit'] holds {wrong}: expected a dict of arguments of model.fit, "
            "such as {'batch_size': 32, 'shuffle': True}"
        )
    fit_arguments.check(fit)
    steps = extras.get("steps", 1)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(
            f"extras['steps'] is {steps!r}: expected how many steps the training takes, a whole "
            "number from 1"
        )


def seed_in_force() -> int | None:
    """TensorFlow's seed, if the user's code has set one."""
    if keras.config.backend() != "tensorflow":
        return None
    import tensorflow as tf

    try:
        seed, _ = tf.compat.v1.get_seed(None)
    except RuntimeError:  # None is set, and TensorFlow is to be deterministic.
        return None
    return None if seed is None or seed >= FIRST_SEED else seed


@contextmanager
def noting_places(places: dict[int, str]) -> Iterator[None]:
    """Notes where each layer and operation is made: in ``__new__``, before its own code runs."""
    original = keras.Operation.__new__

    def noting(cls: type, *args: Any, **kwargs: Any) -> Any:
        operation = original(cls, *args, **kwargs)
        if line := user_line(sys._getframe(1)):
            places[id(operation)] = line
        return operation

    keras.Operation.__new__ = staticmethod(noting)
    try:
        yield
    finally:
        keras.Operation.__new__ = staticmethod(original)
