"""A model of several inputs or outputs as one of one input and one output.

The user's model is a layer of it, and is trained by its own loss, loss weights and optimiser.
"""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportFunctionMemberAccess=false

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from diptych.auditing.frameworks.keras.arrays import to_array, to_numbers
from diptych.auditing.frameworks.packing import (
    OWN,
    Packing,
    Part,
    is_nested,
    leaves_of,
    mapped,
    sorted_by_name,
)
from diptych.errors import InputError

DATA = "extras['data']"


class Take(keras.layers.Layer):
    """Takes one input out of the packed one."""

    def __init__(self, part: Part) -> None:
        super().__init__(name=f"input {part.name}".replace(".", "_").replace(" ", "_"))
        self.part = part

    def call(self, x: Any) -> Any:
        return taken(self.part, x)

    def compute_output_spec(self, x: Any) -> Any:
        dtype = self.part.whole or self.compute_dtype
        return keras.KerasTensor((x.shape[0], *self.part.shape), dtype)


class Join(keras.layers.Layer):
    """Joins the outputs to one."""

    def call(self, outputs: list[Any]) -> Any:
        return joined(outputs)


def taken(part: Part, x: Any) -> Any:
    """One part of a packed tensor."""
    own = ops.reshape(x[:, part.start : part.stop], (-1, *part.shape))
    return ops.cast(ops.round(own), part.whole) if part.whole else own


def joined(outputs: list[Any]) -> Any:
    """Tensors as one, (n, numbers)."""
    flat = [
        ops.reshape(ops.cast(y, keras.config.floatx()), (-1, int(np.prod(y.shape[1:]))))
        for y in outputs
    ]
    return ops.concatenate(flat, axis=1)


def packed(model: keras.Model, extras: dict[str, Any]) -> tuple[keras.Model, dict[str, Any]]:
    """The model with one input and one output, and its extras; both as they are if it has those.

    Raises:
        InputError: the model takes several inputs, and the user gives no data.
    """
    data = extras.get("data")
    ends = [getattr(model, name, None) or [] for name in ("inputs", "outputs")]
    if data is None:
        _check_ends(model, *ends)
        return model, extras
    x, y = _in_order(model, data[0]), data[1]
    if y is None:  # The model computes its loss of its inputs.
        model.__dict__["_alone"] = True
        count = len(next(leaves_of(x)))
        y = np.zeros((count, 1), np.float32)
        extras = dict(extras) | {"data": (data[0], y)}
    if not (is_nested(x) or is_nested(y) or len(ends[1]) > 1):
        return model, extras
    of_x = Packing.of(x, DATA, to_numbers) if is_nested(x) else None
    if "prepare" in extras:
        raise InputError("prepare and several inputs or outputs in data: give data alone")
    if not model.built:
        model(mapped(x, lambda name, leaf: ops.convert_to_tensor(to_numbers(leaf)[:1])))
    dtype = keras.config.floatx()
    if of_x:
        packed_x = of_x.pack(x, to_numbers)
        inlet = keras.Input((of_x.width,), dtype=dtype, name="inputs_packed")
        given = of_x.unpack([Take(part)(inlet) for part in of_x.parts])
    else:
        packed_x = to_array(x)
        inlet = given = keras.Input(packed_x.shape[1:], dtype=dtype, name="input_of_several")
    output = model(given)
    leaves = list(leaves_of(output))  # In the user's order; Keras has them sorted by name.
    several = len(leaves) > 1
    of_y = Packing.of(y, DATA, to_numbers) if several or is_nested(y) else None
    whole = keras.Model(inlet, Join(name="outputs_joined")(leaves) if several else leaves[0])
    whole._name = model.name
    if "_alone" in vars(model):
        whole.__dict__["_alone"] = True
    loss: Any = model.loss
    if of_y is not None:
        loss = _loss(model, output, of_y)
    whole.compile(
        optimizer=model.optimizer,
        loss=loss,
        loss_weights=None if of_y is not None else model._compile_loss._user_loss_weights,
        run_eagerly=model.run_eagerly,
        jit_compile=model.jit_compile,
    )
    extras = dict(extras) | {"data": (packed_x, of_y.pack(y, to_numbers) if of_y else y)}
    if "batches" in extras:
        extras["batches"] = _batches(extras["batches"], of_x, of_y)
    whole.__dict__["_packing"], whole.__dict__["_target_packing"] = of_x, of_y
    whole.__dict__["_user"] = model  # Not to be tracked as a layer.
    return whole, extras


def _check_ends(model: keras.Model, inputs: list[Any], outputs: list[Any]) -> None:
    """Raises InputError where there are no data, and the model has several inputs or outputs."""
    for name, ends in (("inputs", inputs), ("outputs", outputs)):
        if len(ends) > 1:
            named = ", ".join(tensor.name for tensor in ends)
            raise InputError(
                f"the model {model.name} has {len(ends)} {name} ({named}): give examples of them "
                "by 'data' in extras, (x, y) as fit takes them"
            )


def _in_order(model: keras.Model, x: Any) -> Any:
    """Inputs by the names that the model has for them, where it has names and they have none."""
    names = [str(tensor.name) for tensor in getattr(model, "inputs", None) or []]
    if not isinstance(x, list | tuple) or len(names) != len(x):
        return sorted_by_name(x)
    return x


def _loss(model: keras.Model, output: Any, of_y: Packing) -> Callable[[Any, Any], Any]:
    """The model's own loss of joined outputs and packed targets."""
    shapes = [tuple(y.shape[1:]) for y in leaves_of(output)]

    def loss(y_true: Any, y_pred: Any) -> Any:
        parts, start = [], 0
        for shape in shapes:
            stop = start + int(np.prod(shape))
            parts.append(ops.reshape(y_pred[:, start:stop], (-1, *shape)))
            start = stop
        one_by_one = iter(parts)
        structure = mapped(output, lambda name, leaf: next(one_by_one))
        outputs = structure if len(parts) > 1 else y_pred
        targets = of_y.unpack([taken(part, y_true) for part in of_y.parts])
        value = model._compile_loss(targets, outputs) if model._compile_loss else None
        return ops.zeros(()) if value is None else value

    few = [ops.ones((2, *shape)) for shape in shapes]
    blank = ops.zeros((2, of_y.width), keras.config.floatx())
    loss(blank, joined(few) if len(few) > 1 else few[0])  # Keras makes the trackers of losses.
    loss.targets, loss.user = OWN, model.loss
    return loss


def _batches(
    user: Callable[[Any, Any], Any], of_x: Packing | None, of_y: Packing | None
) -> Callable[[np.ndarray, np.ndarray], Iterator[tuple[Any, Any]]]:
    """The user's batches of packed examples, packed."""

    def batches(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[Any, Any]]:
        apart = [
            packing.unpack(packing.arrays(value)) if packing else value
            for packing, value in ((of_x, x), (of_y, y))
        ]
        for one, other, *_ in user(*apart):
            yield (
                of_x.pack(sorted_by_name(one), to_numbers) if of_x else one,
                of_y.pack(other, to_numbers) if of_y else other,
            )

    return batches
