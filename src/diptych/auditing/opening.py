"""Opening of a side: from its specification to its adapter."""

import importlib
import importlib.util
import inspect
import linecache
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from diptych import extras
from diptych.auditing.frameworks import optional_imports
from diptych.auditing.spec import Spec
from diptych.errors import InputError

LARGEST = 512 * 2**20
"""The maximum number of bytes of a side's parameters: an audit holds many copies of them, also in
float64."""
FALLBACK = "audited"
"""The name of the user's module if another module has the name of its file."""

file = ""
"""The user's file, once one of its functions is used."""


def adapter_of(spec: Spec) -> Any:
    """The adapter of a side.

    Raises:
        InputError: there is no such function, it takes arguments, or it returns nothing that an
            audit knows; or the parameters take more than `LARGEST`.
    """
    source = Path(spec.where).read_text(errors="replace") if _is_file(spec) else ""
    with optional_imports.left_out(source):
        return _adapter_of(spec)


def _is_file(spec: Spec) -> bool:
    return spec.form == "file" and Path(spec.where).expanduser().is_file()


def _adapter_of(spec: Spec) -> Any:
    if spec.form in ("workflow", "run"):
        from diptych.auditing.frameworks.ours import submission

        return submission.model(spec)
    if spec.form == "keras":
        keras = _framework("keras")
        from diptych.formats.keras.archive import from_file

        return keras.Adapter(from_file(spec.where))
    if spec.form == "onnx":
        return _framework("onnx").Adapter(spec.where)
    sys.path += [path for path in spec.paths if path not in sys.path]
    return adapter_from(_function(spec.where, spec.name, spec.module), spec.compiled)


def adapter_from(build: Callable[[int], Any], compiled: bool = False) -> Any:
    """The adapter of a side that a function builds, compiled if asked to.

    Raises:
        InputError: as `adapter_of`.
    """
    first = build(0)
    check_size(4 * _count(first))
    name = _framework_of(first)
    framework = _framework(name)
    # It was built to see what it is, and need not be built again, unless the adapter watches how.
    unused = [first] if name != "torch" else []
    del first

    def another(seed: int) -> Any:
        returned = unused.pop() if unused else build(seed)
        if compiled:
            compiling = importlib.import_module(f"diptych.auditing.frameworks.{name}.compiling")
            compiling.compile_in_place(returned)
        return returned

    return framework.Adapter(another)


def check_size(size: int) -> None:
    """Raises InputError if the parameters take more bytes than `LARGEST`."""
    if size > LARGEST:
        raise InputError(
            f"its parameters take {size / 2**20:,.0f} MiB; an audit holds many copies of them "
            f"and takes up to {LARGEST // 2**20} MiB (audit it with fewer units)"
        )


def _framework(name: str) -> Any:
    if name == "keras":  # Of a file; a user's function has imported it already.
        extras.require("a .keras file", "keras")
    return importlib.import_module(f"diptych.auditing.frameworks.{name}.adapter")


def _function(path: str, name: str, within: str) -> Callable[[int], Any]:
    """The user's function in the form of an adapter's ``build``."""
    global file
    file = path = str(Path(path).expanduser().absolute())
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}")
    linecache.checkcache(path)
    sys.path.insert(0, str(Path(path).parent))  # Files import their neighbours.
    module = importlib.import_module(within) if within else _module(path)
    function = getattr(module, name, None)
    if not callable(function):
        there = [
            other
            for other, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise InputError(
            f"no function {name or '(none given)'} in {Path(path).name} "
            f"(there are {', '.join(there) or 'none'})"
        )
    _check_arguments(function, name)

    def build(seed: int) -> Any:
        returned = function()
        return tuple(returned) if isinstance(returned, list) else returned

    return build


def _module(path: str) -> ModuleType:
    """Imports the user's file as a module under its own name, since processes that it starts import
    it again."""
    name = Path(path).stem
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if name in sys.modules or not spec or spec.origin != path:
        name = FALLBACK
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_arguments(function: Callable[..., Any], name: str) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as problem:
        raise InputError(
            f"{Path(file).name}: {name} takes arguments ({problem}); expected a function "
            f"that is called without any"
        ) from problem
    except ValueError:
        pass  # It has no signature to look at.


def _framework_of(returned: Any) -> str:
    """The framework of the returned object."""
    first = returned[0] if isinstance(returned, tuple) and returned else returned
    modules = {cls.__module__.split(".")[0] for cls in type(first).__mro__}
    if "keras" in modules:
        return "keras"
    if "torch" in modules:
        return "torch"
    if all(hasattr(first, name) for name in ("variables", "loss", "step")):
        return "tensorflow"
    optimiser = returned[2] if isinstance(returned, tuple) and len(returned) > 2 else None
    optimiser = getattr(optimiser, "tx", optimiser)  # Of an nnx.Optimizer.
    if modules & {"flax", "equinox"} or type(optimiser).__module__.split(".")[0] == "optax":
        return "jax"
    raise InputError(
        f"the function returned {_described(returned)}; expected a compiled Keras model, "
        f"(torch.nn.Module, loss, optimizer), (Flax or Equinox module, loss, optax optimiser), or "
        f"an object with variables, loss(x, y) and step(x, y)"
    )


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in value) or 'nothing'}"
    return "None" if value is None else f"a {type(value).__name__}"


def _count(returned: Any) -> int:
    """The number of values in its parameters, as far as it can be seen without copying or running
    anything."""
    first = returned[0] if isinstance(returned, tuple) and returned else returned
    named = getattr(first, "parameters", None)
    held: Any = named() if callable(named) else getattr(first, "weights", None)
    held = getattr(first, "variables", ()) if held is None else held
    values = held.values() if isinstance(held, dict) else held
    try:
        return sum(math.prod(int(size) for size in value.shape) for value in values)
    except (AttributeError, RuntimeError, TypeError):
        return 0  # Not what it looks like, or not built yet: the adapter says which.
