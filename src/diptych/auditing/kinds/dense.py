"""Dense layers, and the order of their rows after a flatten."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shapes,
    optional_role,
    times,
)
from diptych.auditing.kinds.rounding import dot_product


def compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    """The product of the input's last axis with the kernel, plus the bias."""
    y = anp.tensordot(inputs[0], parameters["kernel"], 1)
    return y + parameters["bias"] if "bias" in parameters else y


def unit_differences(of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """The difference of two nodes with different numbers of outputs, the kernel's last axis."""
    units = [of["kernel"][-1] for of in (of_a, of_b)]
    if units[0] == units[1]:
        return []
    return [Difference("units", *(f"{count} units" for count in units))]


def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """Units and the bias."""
    return unit_differences(of_a, of_b) + optional_role(
        "bias", of_a, of_b, "bias-missing", "a bias"
    )


def reordered(kernel: np.ndarray, shape: tuple[int, ...], order: str, wanted: str) -> np.ndarray:
    """A dense kernel (in, out) with its rows reordered from one order of flattening to the other.

    Args:
        kernel: (in, out).
        shape: what was flattened, channels last.
        order: ``last`` or ``first``, the rows' present order.
        wanted: the order that they are wanted in.
    """
    if order == wanted or len(shape) < 2:
        return kernel
    *spatial, channels = shape
    if order == "last":
        rows = kernel.reshape(*spatial, channels, -1)
        return np.moveaxis(rows, len(spatial), 0).reshape(kernel.shape)
    rows = kernel.reshape(channels, *spatial, -1)
    return np.moveaxis(rows, 0, len(spatial)).reshape(kernel.shape)


DENSE = Kind(
    name="dense",
    attributes={},
    roles={
        "kernel": Role("(in, out)", rows_follow_input=True),
        "bias": Role("(out,)", required=False, initialiser="bias-initialiser", stir="add"),
    },
    words=lambda node: f"dense to {times(node.shape)}",
    compute=compute,
    rounding=dot_product(compute),
    differences=differences,
)
"""A dense layer, applied to the input's last axis."""

KINDS = (DENSE,)
