"""The Python state that a step's code can reach, to tell whether the code counts its steps.

A traced step serves for all later steps only where the Python that was traced would do the same
again. That is so where a step leaves all that it can reach in Python as it was: then the next step
begins from the same state, and so on. Variables of TensorFlow are not part of it, they are in the
graph. The time of day, and what a library of somebody else's keeps for itself, are not seen.
"""

import functools
import hashlib
import random
import sys
import types
import weakref
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.users import is_users

MOST = 200_000
"""Objects that are looked at; code that reaches more is taken to count."""
PLAIN = (bool, int, float, complex, str, bytes, bytearray, array, np.generic, type(None))
LIBRARIES = ("tensorflow", "keras", "numpy", "jax", "torch")


def fingerprint(code: Any) -> str | None:
    """A key of the state, equal for equal states; None if it cannot be determined.

    Args:
        code: the object whose methods are called, or a function.
    """
    digest = hashlib.sha256(repr((random.getstate(), np.random.get_state())).encode())  # noqa: NPY002
    seen: dict[int, tuple[int, Any]] = {}
    waiting = [code]
    while waiting:
        item = waiting.pop()
        if isinstance(item, PLAIN):
            digest.update(f"{type(item).__name__} {item!r}".encode())
            continue
        if id(item) in seen:
            digest.update(f"again {seen[id(item)][0]}".encode())
            continue
        seen[id(item)] = (len(seen), item)  # Kept, so that no other object gets its identity.
        if len(seen) > MOST or isinstance(item, Iterator):
            return None
        digest.update(type(item).__qualname__.encode())
        waiting += _reached(item, digest)
    return digest.hexdigest()


def _reached(item: Any, digest: Any) -> list[Any]:
    """The objects that an object leads to; an array goes into the digest as it is."""
    if isinstance(item, np.ndarray):
        digest.update(repr((item.dtype, item.shape)).encode() + item.tobytes())
        return []
    if isinstance(item, tf.Tensor):
        return [item.numpy()] if hasattr(item, "numpy") and item.dtype != tf.variant else []
    if isinstance(item, tf.Variable | weakref.ref) or _is_keras(item, "Variable"):
        return []
    if isinstance(item, types.ModuleType):
        theirs = _known(getattr(item, "__file__", None) or "<")
        return [v for n, v in vars(item).items() if not n.startswith("__")] if theirs else []
    if isinstance(item, random.Random):
        return [repr(item.getstate())]
    if isinstance(item, np.random.Generator):
        return [repr(item.bit_generator.state)]
    if isinstance(item, np.random.RandomState):
        return [repr(item.get_state())]
    if isinstance(item, Mapping):
        return [*item.keys(), *item.values(), *_attributes(item)]
    if isinstance(item, list | tuple | set | frozenset | deque):
        return [*item, *_attributes(item)]
    if isinstance(item, functools.partial):
        return [item.func, *item.args, *item.keywords.values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    if isinstance(item, types.FunctionType):
        return _of_function(item)
    if hasattr(item, "python_function"):
        return [item.python_function]
    if isinstance(item, type):
        return list(_own(item).values()) if _is_users(item) else []
    library = type(item).__module__.partition(".")[0] in LIBRARIES
    if library and not _is_keras(item, "Layer", "Optimizer", "Loss", "Metric"):
        return []
    own = _attributes(item)
    if not own and type(item).__repr__ is not object.__repr__:
        own = [repr(item)]  # A range, a Decimal, a date.
    return [*own, type(item)]


def _is_keras(item: Any, *names: str) -> bool:
    """True for objects of these classes of Keras', which need not be imported."""
    keras: Any = sys.modules.get("keras")
    if not hasattr(keras, "optimizers"):
        return False
    classes = {"Optimizer": keras.optimizers.Optimizer}
    return any(isinstance(item, classes.get(name) or getattr(keras, name)) for name in names)


def _attributes(item: Any) -> list[Any]:
    """An object's attributes, in ``__dict__`` and in slots."""
    slots = [
        getattr(item, name, None)
        for cls in type(item).__mro__
        for name in ([cls.__dict__["__slots__"]] if isinstance(cls.__dict__.get("__slots__"), str)
                     else cls.__dict__.get("__slots__", ()))
        if not name.startswith("__")
    ]  # fmt: skip
    return [*getattr(item, "__dict__", {}).values(), *slots]


def _own(cls: type) -> dict[str, Any]:
    """The attributes of a class, and those of the user's classes that it is made of."""
    return {name: value for base in cls.__mro__[::-1] if _is_users(base)
            for name, value in vars(base).items() if not name.startswith("__")}  # fmt: skip


def _is_users(cls: type) -> bool:
    """True for classes in the user's code."""
    return any(
        isinstance(value, types.FunctionType) and _in_users_file(value)
        for value in vars(cls).values()
    )


def _of_function(function: types.FunctionType) -> list[Any]:
    """The objects that a function's code can reach: those that it closes over, its defaults and
    attributes, and those of its module whose names the user's code uses."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # Not filled yet.
            continue
    reached = [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    reached += vars(function).values()
    if _in_users_file(function):
        names = sorted(_names(function.__code__) & function.__globals__.keys())
        reached += [function.__globals__[name] for name in names]
    return reached


def _in_users_file(function: types.FunctionType) -> bool:
    return _known(function.__code__.co_filename)


_known = functools.cache(is_users)


def _names(code: types.CodeType) -> set[str]:
    """The names that code uses, and those that functions within it use."""
    inner = [_names(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*inner)
