"""Float64 twins: a side's model built again, and run, with float64 as Keras' default.

Rounding hides almost everything in float32 and almost nothing in float64. So a twin shows what a
model means, as long as nothing in it computes in fewer digits; that is checked when it is built.
"""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.defaults import IMAGE
from diptych.auditing.frameworks.keras.optimisers import optimisers
from diptych.auditing.frameworks.keras.training import takes_outputs
from diptych.auditing.frameworks.users import error_line, one_line

FLOATS = ("float16", "bfloat16", "float32", "float8_e4m3fn", "float8_e5m2")
"""Types that a twin must not have."""
POLICIES = ("float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16")
"""Policies that a twin's layers have float64 for."""
SMALL, LARGE = 1e-10, 1e-6
"""The relative change of inputs and parameters that shows how the model responds. A float32 has no
values between x and x (1 + 6e-8)."""
UNEVEN = 30.0
"""The allowed ratio between the responses to a small and to a large change."""


@contextmanager
def float64() -> Iterator[None]:
    """Makes float64 what Keras and its backend compute in by default; puts back what was."""
    backend = keras.config.backend()
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    with ExitStack() as stack:
        if backend != "tensorflow":
            stack.enter_context(promotion_to_float64())
        if backend == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        elif backend == "torch":
            stack.enter_context(torch_float64())
        else:
            stack.enter_context(tensorflow_float64())
        stack.enter_context(policies_of_float64())
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)


@contextmanager
def policies_of_float64() -> Iterator[None]:
    """Layers for which the user asks for fewer digits (``dtype="mixed_bfloat16"``) get float64.

    How many digits a layer has does not change what it means, and a twin shows what is meant.
    """
    from keras.src import dtype_policies  # Where layers and losses look a policy up.

    original = dtype_policies.get

    @wraps(original)
    def get(identifier: Any) -> Any:
        policy = original(identifier)
        narrow = type(policy) is keras.DTypePolicy and policy.name in POLICIES
        return keras.DTypePolicy("float64") if narrow else policy

    dtype_policies.get = get
    try:
        yield
    finally:
        dtype_policies.get = original


@contextmanager
def promotion_to_float64() -> Iterator[None]:
    """Keras lets float64 be what an operation on float64 gives.

    On JAX and PyTorch it makes a float32 of it, in `keras.backend.result_type`, and with that in
    most of ``keras.ops``.
    """
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE  # Keras' table of it.

    before = BIT64_TO_BIT32_DTYPE["float64"]
    BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    try:
        yield
    finally:
        BIT64_TO_BIT32_DTYPE["float64"] = before


@contextmanager
def torch_float64() -> Iterator[None]:
    """PyTorch makes tensors of float64 where nothing else is asked for."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def tensorflow_float64() -> Iterator[None]:
    """Python's numbers reach TensorFlow as the float64 that they are.

    TensorFlow has no default type to set: it makes a float32 of 0.9 first, even where Keras then
    casts it to float64 (Adam's ``beta_1``), and so does TensorFlow itself (GELU's root of 2).
    Its max pooling in three dimensions takes no float64.
    """
    import tensorflow as tf

    # Where TensorFlow's own operations find `cast`, and its poolings `max_pool3d`.
    from tensorflow.python.ops import gen_nn_ops, math_ops

    from diptych.auditing.frameworks.keras import pooling

    cast, convert, constant = tf.cast, tf.convert_to_tensor, tf.constant
    max_pool3d = gen_nn_ops.max_pool3d

    @wraps(cast)
    def wide_cast(x: Any, dtype: Any, name: str | None = None) -> Any:
        return cast(widened(x), dtype, name)

    @wraps(convert)
    def wide_convert(value: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        return convert(widened(value) if dtype is None else value, dtype, *args, **kwargs)

    @wraps(constant)
    def wide_constant(value: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        return constant(widened(value) if dtype is None else value, dtype, *args, **kwargs)

    tf.cast, tf.convert_to_tensor, tf.constant = wide_cast, wide_convert, wide_constant
    math_ops.cast, gen_nn_ops.max_pool3d = wide_cast, pooling.with_float64(max_pool3d)
    try:
        yield
    finally:
        tf.cast, tf.convert_to_tensor, tf.constant = cast, convert, constant
        math_ops.cast, gen_nn_ops.max_pool3d = cast, max_pool3d


def widened(value: Any) -> Any:
    """Python's floats, or lists of them, as float64; anything else as it is."""
    if type(value) is float:
        return np.float64(value)
    if isinstance(value, list | tuple) and value and all(type(part) is float for part in value):
        return np.asarray(value, np.float64)
    return value


class Twin:
    """An adapter in float64: each of its methods runs with float64 as Keras' default."""

    def __init__(self, adapter: Callable[[], Any]) -> None:
        """Builds the twin, and checks that it computes in float64.

        Args:
            adapter: builds the adapter that is to be one in float64.

        Raises:
            NotImplementedError: it cannot be had; the message names what forces fewer digits.
        """
        with float64():
            try:
                self._adapter = adapter()
            except NotImplementedError:
                raise
            except Exception as problem:
                raise NotImplementedError(described(problem)) from problem
            refuse_types(self._adapter)
            with widened_losses(self._adapter.model):
                try:
                    refuse_coarse(self._adapter)
                except NotImplementedError:
                    raise
                except Exception as problem:
                    raise NotImplementedError(described(problem)) from problem

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._adapter, name)
        if not callable(value):
            return value

        @wraps(value)
        def in_float64(*args: Any, **kwargs: Any) -> Any:
            with float64(), widened_losses(self._adapter.model):
                return value(*args, **kwargs)

        return in_float64


@contextmanager
def widened_losses(model: keras.Model) -> Iterator[None]:
    """Losses compute in float64 too: a loss made outside the user's function kept float32."""
    losses = [
        loss for loss in keras.tree.flatten(model.loss) if isinstance(loss, keras.losses.Loss)
    ]
    before = [vars(loss)["_dtype"] for loss in losses]
    for loss in losses:
        vars(loss)["_dtype"] = "float64"
    try:
        yield
    finally:
        for loss, dtype in zip(losses, before, strict=True):
            vars(loss)["_dtype"] = dtype


def described(problem: Exception) -> str:
    """One line for what the user's code raised in float64, with their line where there is one."""
    line = error_line(problem)
    return f"it fails in float64: {f'{line}: ' if line else ''}{one_line(problem)[:300]}"


def refuse_types(adapter: Any) -> None:
    """Stops at layers and variables that are not in float64.

    Raises:
        NotImplementedError: with the first one's name and the line that made it.
    """
    model, places = adapter.model, adapter.submission.places
    layers = model._flatten_layers()
    for layer in sorted(layers, key=lambda layer: isinstance(layer, keras.Model)):  # Models last.
        at = f" ({places[id(layer)]})" if id(layer) in places else ""
        if layer.compute_dtype in FLOATS or layer.variable_dtype in FLOATS:
            raise NotImplementedError(
                f"the layer {layer.name}{at} has the dtype policy {layer.dtype_policy.name}"
            )
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            if keras.backend.standardize_dtype(variable.dtype) in FLOATS:
                raise NotImplementedError(
                    f"{variable.name} of the layer {layer.name}{at} is a {variable.dtype}"
                )
    if not adapter.trains:
        return
    for variable in model.optimizer.variables:
        if keras.backend.standardize_dtype(variable.dtype) in FLOATS:
            raise NotImplementedError(f"the optimiser's {variable.path} is a {variable.dtype}")
    for optimiser in optimisers(model.optimizer):
        rate = optimiser.learning_rate
        if keras.backend.standardize_dtype(getattr(rate, "dtype", "float64")) in FLOATS:
            name = type(optimiser._learning_rate).__name__
            raise NotImplementedError(f"the learning rate by {name} is a {rate.dtype}")


def refuse_coarse(adapter: Any) -> None:
    """Stops where something computes in fewer digits than float64 has, and casts back.

    Inputs and parameters are moved a little, and ten thousand times as far: whatever is smooth and
    has the digits answers in proportion. The training step runs once too.

    Raises:
        NotImplementedError: with the node's name and the line that made it.
    """
    before, chance = adapter.parameters(), np.random.default_rng(0)
    x = chance.standard_normal((2, *adapter.graph().input_shape))
    for start, stop in adapter.whole:  # Token ids come from the user's data.
        own, _ = adapter.prepare(np.zeros((2, *IMAGE), np.uint8), np.zeros(2, np.int64))
        x[:, start:stop] = own[:, start:stop]
    way = {name: chance.standard_normal(value.shape) for name, value in before.items()}
    way[""] = chance.standard_normal(x.shape)
    if adapter.network.takes_whole_numbers:
        x = chance.integers(adapter.network.vocabulary or 2, size=x.shape)
        way[""] = np.zeros(x.shape)
    for start, stop in adapter.whole:
        way[""][:, start:stop] = 0

    def moved(step: float) -> dict[str, np.ndarray]:
        adapter.load({name: value * (1 + step * way[name]) for name, value in before.items()})
        adapter.seed(0)  # A network that draws random numbers draws the same ones.
        try:
            return adapter.record((x * (1 + step * way[""])).astype(x.dtype), False)
        finally:
            adapter.load(before)

    start, near, far = moved(0.0), moved(SMALL), moved(LARGE)
    for node in adapter.graph().nodes:
        if coarse(start[node.name], near[node.name], far[node.name]):
            at = f" ({node.where})" if node.where else ""
            raise NotImplementedError(
                f"the layer {node.name}{at} computes in fewer digits than float64 has"
            )
    if not adapter.trains:
        return
    targets = adapter.batching.made_up_targets(len(x))
    last = adapter.graph().nodes[-1].name
    if takes_outputs(adapter.model):
        rounds = False
        with suppress(NotImplementedError):  # No loss of these outputs: no digits are seen.
            losses = [np.array(adapter.loss(end[last], targets)) for end in (start, near, far)]
            rounds = coarse(*losses)
        if rounds:
            raise NotImplementedError("the loss computes in fewer digits than float64 has")
    adapter.loss_and_gradients(x, targets)


def coarse(start: np.ndarray, near: np.ndarray, far: np.ndarray) -> bool:
    """True if the answers to a small and a large move are out of proportion."""
    if not all(np.all(np.isfinite(values)) for values in (start, near, far)):
        return False  # It says nothing of digits, and shows wherever the sides are compared.
    small, large = (float(np.abs(end - start).max(initial=0.0)) for end in (near, far))
    size = float(np.abs(start).max(initial=0.0))
    if large < 1e-9 * size or large == 0:
        return False  # It does not depend on what was moved, or hardly.
    ratio = small / (large * SMALL / LARGE)
    return not 1 / UNEVEN < ratio < UNEVEN
