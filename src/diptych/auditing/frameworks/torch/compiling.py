"""Compiled modules, run as their user runs them, and read as they were before."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from diptych.auditing.frameworks.torch.submission import Submission

GRAPHS = 64
"""The maximum number of compiled graphs of a function.

An audit asks for more shapes, modes and dtypes than a training does, and beyond PyTorch's limit of
8 the function would silently run uncompiled.
"""


def compile_in_place(returned: Any) -> None:
    """Compiles the module that a user's function returned; their own step calls it too."""
    module = returned[0] if isinstance(returned, tuple) else None
    if isinstance(module, torch.nn.Module) and not _is_compiled(module):
        module.compile()


def is_compiled(submission: Submission) -> bool:
    """True if `torch.compile` was used on any of what the user returned."""
    modules = list(submission.module.modules())
    functions = [submission.loss, submission.extras.get("step")]
    return submission.network is not submission.module or any(
        _is_compiled(thing)
        for thing in (*modules, *(module.forward for module in modules), *functions)
    )


def _is_compiled(thing: Any) -> bool:
    marks = ("_torchdynamo_orig_callable", "_compiled_call_impl", "_orig_mod")
    return any(getattr(thing, mark, None) is not None for mark in marks)


def graphs_compiled() -> int:
    """The number of pieces of code that this process has passed to the compiler so far."""
    return torch._dynamo.utils.counters["frames"]["total"] if _has_compiler() else 0


def _has_compiler() -> bool:
    """True if the compiler is there; it takes a second to import, and may never be needed."""
    return "torch._dynamo" in sys.modules


@contextmanager
def uncompiled() -> Iterator[None]:
    """Runs compiled code as it was before it was compiled."""
    if _has_compiler():
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


@contextmanager
def room_for_graphs() -> Iterator[None]:
    """Lets compiled code have as many graphs as an audit asks for."""
    if _has_compiler():
        with torch._dynamo.config.patch(recompile_limit=GRAPHS, accumulated_recompile_limit=1024):
            yield
    else:
        yield
