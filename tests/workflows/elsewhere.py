"""The workflows under test, each in a process that has its framework.

All frameworks but Keras fit into the tests' own process. Keras fixes its backend once a process, so
on JAX and on PyTorch it has one of its own, which lives as long as the tests: a function of a test
goes there and what it returns comes back.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest

from diptych.errors import InputError
from diptych.worker import ENVIRONMENT
from diptych.workflows import registry

P = ParamSpec("P")
T = TypeVar("T")

NAMES = ("tensorflow", "keras@tensorflow", "torch", "jax", "keras@jax", "keras@torch", "numpy")
ELSEWHERE = ("keras@jax", "keras@torch")


def _parameter(name: str) -> Any:
    """The name for `parametrize`, skipped with the reason where its framework is not installed."""
    try:
        registry.check(name)
    except InputError as problem:
        return pytest.param(name, marks=pytest.mark.skip(reason=str(problem)))
    return name


ALL = tuple(_parameter(name) for name in NAMES)
HELD = tuple(_parameter(name) for name in NAMES if name != "numpy")
"""Those that are held to the reference, which is `numpy`."""


def run(
    function: Callable[Concatenate[str, P], T], name: str, *args: P.args, **kwargs: P.kwargs
) -> T:
    """What the function returns for the workflow of that name, in a process that can build it."""
    if name not in ELSEWHERE:
        return function(name, *args, **kwargs)
    return _process(name).submit(function, name, *args, **kwargs).result()


@cache
def _process(name: str) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, _prepare, (ENVIRONMENT | registry.environment(name),))


def _prepare(environment: dict[str, str]) -> None:
    """In the new process: sets the backend, and ends it when the tests' process does."""
    os.environ.update(environment)
    parent = multiprocessing.parent_process()
    assert parent

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
