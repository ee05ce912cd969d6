"""Methods of an adapter that run in the adapter's own precision."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

Owner = TypeVar("Owner")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def within(
    context: Callable[[Any], AbstractContextManager[Any]],
) -> Callable[
    [Callable[Concatenate[Owner, Parameters], Result]],
    Callable[Concatenate[Owner, Parameters], Result],
]:
    """A decorator of methods that has them run within a context of their object.

    Args:
        context: gives the context, for the object.
    """

    def decorate(
        method: Callable[Concatenate[Owner, Parameters], Result],
    ) -> Callable[Concatenate[Owner, Parameters], Result]:
        @wraps(method)
        def run(self: Owner, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            with context(self):
                return method(self, *args, **kwargs)

        return run

    return decorate
