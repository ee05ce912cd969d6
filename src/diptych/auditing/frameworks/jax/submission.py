"""The result of the user's function as functions of arrays: a Flax or Equinox module or a plain
function, its loss, its optax optimiser, and extras."""

# pyright: reportMissingImports=false

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from diptych.auditing.frameworks.users import check_takes
from diptych.errors import InputError

SHAPE = "(model, loss, optax optimiser) or (model, loss, optax optimiser, extras)"
EXTRAS = ("prepare", "data", "batches", "input_shape", "variables", "params", "state")
"""The extras that a user may pass besides the model, the loss and the optimiser."""
TRAINING = ("train", "training", "is_training")
INFERENCE = ("deterministic", "inference", "eval")
"""The names of flags that say whether a network trains."""
KEYS = ("key", "rng")
Tree = Any
Apply = Callable[[Tree, Tree, Any, bool, Any], tuple[Any, Tree]]
"""(trained parameters, the rest of the state, inputs, training, key) to outputs and the rest."""


@dataclass
class Submission:
    """One build of the user's network, loss and optimiser."""

    params: Tree
    state: Tree
    apply: Apply
    loss: Callable[..., Any]
    optimiser: Any
    extras: dict[str, Any]
    style: str
    """``Flax NNX``, ``Flax Linen``, ``Equinox`` or ``functions``."""

    def loss_of(self, params: Tree, outputs: Any, targets: Any) -> Any:
        """The training loss, which may have a third argument: the parameters."""
        if _count(self.loss) > 2:
            return self.loss(outputs, targets, params)
        return self.loss(outputs, targets)


def of(returned: Any, example: Callable[[dict[str, Any]], Any]) -> Submission:
    """Checks what the user's function returned.

    Args:
        returned: anything.
        example: gives one batch of inputs, by the extras, where a module needs them to make its
            parameters.

    Raises:
        InputError: it is something else than `SHAPE`.
    """
    if not isinstance(returned, tuple | list) or len(returned) not in (3, 4):
        raise InputError(f"the function returned a {type(returned).__name__}: return {SHAPE}")
    model, loss, optimiser, *rest = returned
    extras = rest[0] if rest else {}
    unknown = [name for name in extras if name not in EXTRAS]
    if unknown:
        raise InputError(
            f"extras has {unknown[0]!r}, which an audit of JAX does not know: expected any of "
            f"{', '.join(EXTRAS)}"
        )
    if "batches" in extras:
        check_takes(extras["batches"], ("x", "y"), "`batches` in extras")
    if not callable(loss):
        raise InputError(
            f"the loss is a {type(loss).__name__}: return a callable loss(outputs, targets)"
        )
    modules = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    kinds = {cls.__module__ for cls in type(model).__mro__}
    style, part = "functions", _of_function
    if any(name.startswith("flax.nnx") for name in kinds):
        style, part = "Flax NNX", _of_nnx
    elif any(name.startswith("flax.linen") for name in kinds):
        style, part = "Flax Linen", _of_linen
    elif "equinox" in modules:
        style, part = "Equinox", _of_equinox
    params, state, apply = part(model, optimiser, extras, example)
    optimiser = getattr(optimiser, "tx", optimiser)
    if not (hasattr(optimiser, "init") and hasattr(optimiser, "update")):
        raise InputError(
            f"the optimiser is a {type(optimiser).__name__}: return one of optax', or an "
            f"nnx.Optimizer"
        )
    return Submission(params, state, apply, loss, optimiser, extras, style)


def _of_nnx(model: Any, optimiser: Any, extras: Any, example: Any) -> tuple[Tree, Tree, Apply]:
    from flax import nnx

    trained = getattr(optimiser, "wrt", nnx.Param)
    definition, params, state = nnx.split(model, trained, ...)

    def apply(params: Tree, state: Tree, x: Any, training: bool, key: Any) -> tuple[Any, Tree]:
        network = nnx.merge(definition, params, _with_key(state, key), copy=True)
        network.train() if training else network.eval()
        y = network(x)
        after = nnx.split(network, trained, ...)[2]
        return y, after

    return params, state, apply


def _with_key(state: Tree, key: Any) -> Tree:
    """The state with keys of random numbers that come from this one."""
    if key is None:
        return state

    def other(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or leaf.shape:
            return leaf
        return jax.random.fold_in(leaf, jax.random.bits(key))

    return jax.tree.map(other, state)


def _of_linen(model: Any, optimiser: Any, extras: Any, example: Any) -> tuple[Tree, Tree, Apply]:
    flags = _flags(model.__call__)
    variables = extras.get("variables", extras.get("params"))
    if variables is None:
        x = example(extras)
        variables = model.init(jax.random.key(0), x, **flags(False))
    variables = dict(variables) if "params" in variables else {"params": variables}
    params = variables.pop("params")

    def apply(params: Tree, state: Tree, x: Any, training: bool, key: Any) -> tuple[Any, Tree]:
        given = {"params": params, **state}
        rngs = {"dropout": jax.random.key(0) if key is None else key}
        if not training:
            return model.apply(given, x, **flags(False), rngs=rngs), state
        y, changed = model.apply(given, x, **flags(True), rngs=rngs, mutable=list(state))
        return y, {**state, **changed}

    return params, variables, apply


def _of_equinox(model: Any, optimiser: Any, extras: Any, example: Any) -> tuple[Tree, Tree, Apply]:
    import equinox

    params, static = equinox.partition(model, equinox.is_inexact_array)
    state = extras.get("state", {})
    takes_key = any(name in KEYS for name in inspect.signature(model.__call__).parameters)

    def apply(params: Tree, state: Tree, x: Any, training: bool, key: Any) -> tuple[Any, Tree]:
        network = equinox.nn.inference_mode(equinox.combine(params, static), value=not training)
        keys = jax.random.split(jax.random.key(0) if key is None else key, len(x))

        def one(x: Any, state: Any, key: Any) -> Any:
            named = {"key": key} if takes_key else {}
            return network(x, state, **named) if "state" in extras else (network(x, **named), state)

        return jax.vmap(one, in_axes=(0, None, 0), out_axes=(0, None), axis_name="batch")(
            x, state, keys
        )

    return params, state, apply


def _of_function(model: Any, optimiser: Any, extras: Any, example: Any) -> tuple[Tree, Tree, Apply]:
    if not callable(model):
        raise InputError(f"the model is a {type(model).__name__}: return {SHAPE}")
    if "params" not in extras:
        raise InputError(
            "the model is a function, and extras has no 'params': give "
            "{'params': …}, which it takes as its first argument"
        )
    flags, names = _flags(model), inspect.signature(model).parameters
    key_name = next((name for name in names if name in KEYS), None)
    # Without a flag of training, a key that may be None is the flag.
    is_flag = bool(key_name) and names[key_name].default is None and not flags(True)

    def key_of(training: bool, key: Any) -> Any:
        if is_flag and not training:
            return None
        # None leaves dropout out; but a state, such as averages, may change in training alone.
        if key is None and not (is_flag and "state" not in extras):
            return jax.random.key(0)
        return key

    def apply(params: Tree, state: Tree, x: Any, training: bool, key: Any) -> tuple[Any, Tree]:
        named: dict[str, Any] = flags(training)
        if key_name:
            named[key_name] = key_of(training, key)
        if "state" in extras:
            both: Any = model(params, state, x, **named)
            return both
        outputs: Any = model(params, x, **named)
        return outputs, state

    return extras["params"], extras.get("state", {}), apply


def _flags(function: Callable[..., Any]) -> Callable[[bool], dict[str, bool]]:
    """The flags that say whether a network trains, by the names that the function has for them."""
    names = inspect.signature(function).parameters

    def flags(training: bool) -> dict[str, bool]:
        said = {name: training for name in names if name in TRAINING}
        return said | {name: not training for name in names if name in INFERENCE}

    return flags


def _count(function: Callable[..., Any]) -> int:
    """The arguments that a function needs."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return 2
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)
