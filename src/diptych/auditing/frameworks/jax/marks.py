"""Marks in a traced function: which of its numbers are the output of a layer that is more than one
operation, and the settings that the layer has.

A mark is an operation that gives its first operand. It is put around the layers of Flax and Equinox
while a function is traced, and is taken out again before anything is computed.
"""

# pyright: reportMissingImports=false

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching

mark = Primitive("diptych_mark")
"""Operands: the output, the input, and the layer's parameters in the order of ``roles``."""
mark.def_impl(lambda y, *operands, **_: y)
mark.def_abstract_eval(lambda y, *operands, **_: y)


def _batched(operands: Any, axes: Any, **params: Any) -> tuple[Any, Any]:
    y, x, *parameters = operands
    moved = [
        value if axis is None else jnp.moveaxis(value, axis, 0)
        for value, axis in zip((y, x), axes, strict=False)
    ]
    return mark.bind(*moved, *parameters, **params), 0


batching.primitive_batchers[mark] = _batched


@contextlib.contextmanager
def marked() -> Iterator[None]:
    """Marks the layers of the frameworks that are imported, while a function is traced.

    Equinox' batch normalisation is not among them: in training it normalises by its averages, or by
    averages that it corrects for their start.
    """
    with contextlib.ExitStack() as stack:
        if "flax.nnx" in sys.modules:
            from flax import nnx

            stack.enter_context(_replaced(nnx.BatchNorm, _nnx_norm))
            stack.enter_context(_replaced(nnx.Dropout, _dropout))
        if "flax.linen" in sys.modules:
            from flax import linen

            stack.enter_context(_replaced(linen.Dropout, _dropout))
            stack.enter_context(linen.intercept_methods(_linen_norm))
        if "equinox" in sys.modules:
            import equinox

            stack.enter_context(_replaced(equinox.nn.Dropout, _equinox_dropout))
            for name in ("MaxPool1d", "MaxPool2d", "MaxPool3d"):
                pool = functools.partial(_equinox_pool, "max_pool")
                stack.enter_context(_replaced(getattr(equinox.nn, name), pool))
            for name in ("AvgPool1d", "AvgPool2d", "AvgPool3d"):
                pool = functools.partial(_equinox_pool, "average_pool")
                stack.enter_context(_replaced(getattr(equinox.nn, name), pool))
        yield


@contextlib.contextmanager
def without_dropout() -> Iterator[None]:
    """Has the frameworks' dropout drop nothing meanwhile."""
    with contextlib.ExitStack() as stack:
        for module, path in (
            ("flax.nnx", "Dropout"),
            ("flax.linen", "Dropout"),
            ("equinox", "nn.Dropout"),
        ):
            if module in sys.modules:
                cls: Any = functools.reduce(getattr, path.split("."), sys.modules[module])
                stack.enter_context(_replaced(cls, lambda original, self, x, *_, **__: x))
        yield


@contextlib.contextmanager
def _replaced(cls: type, call: Callable[..., Any]) -> Iterator[None]:
    """Has a class's objects called by a function that gets the original as its first argument."""
    original, own = cls.__call__, "__call__" in vars(cls)

    @functools.wraps(original)
    def calling(self: Any, *arguments: Any, **named: Any) -> Any:
        return call(original, self, *arguments, **named)

    cls.__call__ = calling
    try:
        yield
    finally:
        if own:
            cls.__call__ = original
        else:
            del cls.__call__


def _dropout(original: Callable[..., Any], self: Any, x: Any, *more: Any, **named: Any) -> Any:
    y = original(self, x, *more, **named)
    return mark.bind(y, x, kind="dropout", roles=(), attributes=(("rate", float(self.rate)),))


def _equinox_dropout(original: Any, self: Any, x: Any, *more: Any, **named: Any) -> Any:
    y = original(self, x, *more, **named)
    return mark.bind(y, x, kind="dropout", roles=(), attributes=(("rate", float(self.p)),))


def _equinox_pool(kind: str, original: Any, self: Any, x: Any, *more: Any, **named: Any) -> Any:
    y = original(self, x, *more, **named)
    if self.use_ceil or isinstance(self.padding, str):  # Its padding depends on the input.
        return y
    pixels = tuple(tuple(pair) for pair in self.padding)
    settings = {"size": self.kernel_size, "strides": self.stride, "padding": pixels}
    if kind == "average_pool":
        settings["count_padding"] = True
    return mark.bind(y, x, kind=kind, roles=(), attributes=tuple(settings.items()))


def _norm(y: Any, x: Any, parameters: dict[str, Any], **attributes: Any) -> Any:
    given = {role: value for role, value in parameters.items() if value is not None}
    settings = tuple({"unbiased": False, **attributes}.items())
    return mark.bind(y, x, *given.values(), kind="batch_norm", roles=(*given,), attributes=settings)


def _nnx_norm(original: Any, self: Any, x: Any, *more: Any, **named: Any) -> Any:
    held = {"gamma": self.scale, "beta": self.bias, "mean": self.mean, "variance": self.var}
    before = {role: None if value is None else value[...] for role, value in held.items()}
    y = original(self, x, *more, **named)
    return _norm(y, x, before, epsilon=float(self.epsilon), momentum=float(self.momentum))


def _linen_norm(call: Any, arguments: Any, named: Any, context: Any) -> Any:
    from flax import linen

    module = context.module
    if not isinstance(module, linen.BatchNorm) or context.method_name != "__call__":
        return call(*arguments, **named)
    variables = module.variables if module.scope is not None else {}
    averages = dict(variables.get("batch_stats", {}))
    y = call(*arguments, **named)
    trained = dict(module.variables.get("params", {}))
    before = {
        "gamma": trained.get("scale"),
        "beta": trained.get("bias"),
        "mean": averages.get("mean"),
        "variance": averages.get("var"),
    }
    x = arguments[0] if arguments else named["x"]
    settings = {"epsilon": float(module.epsilon), "momentum": float(module.momentum)}
    return _norm(y, x, before, **settings)
