"""What a node may be doing instead of what it says; its behaviour decides."""

from dataclasses import replace
from typing import Any

import numpy as np

from diptych.auditing.graph import ACTIVATIONS, Arrays, Node

PLAIN = [name for name in ACTIVATIONS if name not in ("leaky_relu", "elu")]
"""Activations without a parameter."""


def for_custom(node: Node, record: Arrays) -> list[Node]:
    """Known nodes that a custom node without parameters may be, likelier ones first.

    Args:
        node: the custom node.
        record: its recorded inputs and output by name, (n, …).
    """

    def known(kind: str, **attributes: Any) -> Node:
        return replace(node, kind=kind, attributes=attributes)

    y = record[node.name].astype(np.float64)
    inputs = [record[name].astype(np.float64) for name in node.inputs]
    if len(inputs) > 1:
        return [known("add"), known("concatenate")]
    x = inputs[0]
    found: list[Node] = []
    if x.shape == y.shape:
        found.append(known("activation", function="linear", slope=None))
        found += activations(node, x, y)
        found += [known("rescale", scale=scale, offset=offset) for scale, offset in [line(x, y)]]
    if x.size == y.size and y.ndim == 2:
        found += [known("flatten", order=order) for order in ("last", "first")]
    if x.ndim > 2 and y.shape == (len(x), x.shape[-1]):
        found += [known("global_average_pool"), known("global_max_pool")]
    if x.ndim == y.ndim > 2 and x.shape[-1] == y.shape[-1]:
        found += pools(node, x.shape, y.shape)
    return found


def activations(node: Node, x: np.ndarray, y: np.ndarray) -> list[Node]:
    """Activation functions that may turn x into y; slopes are taken from the numbers."""
    kind = replace(node, kind="activation")
    found = [replace(kind, attributes={"function": function, "slope": None}) for function in PLAIN]
    negative = x < -1e-3
    if np.any(negative):
        slope = float(np.median(y[negative] / x[negative]))
        alpha = float(np.median(y[negative] / np.expm1(x[negative])))
        for function, value in (("leaky_relu", slope), ("elu", alpha)):
            near = float(np.round(value, 4))  # What somebody would have written.
            found += [
                replace(kind, attributes={"function": function, "slope": each})
                for each in dict.fromkeys((near, float(np.float32(near)), value))
            ]
    return found


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Scale and offset of the line through the points (x, y)."""
    spread = float(np.var(x))
    scale = float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread else 1.0
    return scale, float(y.mean() - scale * x.mean())


def pools(node: Node, of_x: tuple[int, ...], of_y: tuple[int, ...]) -> list[Node]:
    """Pools of common windows that give y's shape."""
    found = []
    axes = len(of_x) - 2
    for size in (2, 3, 4, 5):
        for stride in dict.fromkeys((size, 2, 1)):
            for kind in ("max_pool", "average_pool"):
                for padding in paddings(of_x[1:-1], of_y[1:-1], [size] * axes, [stride] * axes):
                    attributes = {
                        "size": [size] * axes, "strides": [stride] * axes, "padding": padding
                    }  # fmt: skip
                    if kind == "average_pool":
                        attributes["count_padding"] = False
                    found.append(replace(node, kind=kind, attributes=attributes))
    return found


def paddings(
    given: tuple[int, ...], wanted: tuple[int, ...], size: list[int], strides: list[int]
) -> list[list[list[int]]]:
    """Paddings that give the wanted lengths: more behind, more in front; at most two."""
    behind, before = [], []
    for length, result, window, stride in zip(given, wanted, size, strides, strict=True):
        total = max(0, (result - 1) * stride + window - length)
        if (length + total - window) // stride + 1 != result or total >= 2 * window:
            return []
        behind.append([total // 2, total - total // 2])
        before.append([total - total // 2, total // 2])
    return [behind] if behind == before else [behind, before]


def for_known(node: Node, record: Arrays) -> list[tuple[str, Node]]:
    """What else a known node may be doing, each with the code of that cause."""
    x, y = record[node.inputs[0]], record[node.name]
    found: list[tuple[str, Node]] = []
    if node.kind == "activation":
        code = "activation-slope" if node.attributes["slope"] is not None else "activation"
        for each in activations(node, x, y):
            same = each.attributes["function"] == node.attributes["function"]
            found.append((code if same else "activation", each))
    if node.kind in ("max_pool", "average_pool"):
        kind = "average_pool" if node.kind == "max_pool" else "max_pool"
        found.append(("pooling", replace(node, kind=kind)))
        found += [("pooling", each) for each in pools(node, x.shape, y.shape)]
    if "padding" in node.attributes and node.kind in ("conv", "max_pool", "average_pool"):
        turned = [[after, before] for before, after in node.attributes["padding"]]
        found.append(("padding", replace(node, attributes=node.attributes | {"padding": turned})))
    if node.kind == "flatten":
        order = "first" if node.attributes["order"] == "last" else "last"
        found.append(("flatten-order", replace(node, attributes={"order": order})))
    if node.kind == "batch_norm":
        for epsilon in (1e-3, 1e-5, 1e-6, 1e-4, 1e-2, 1e-12):
            attributes = node.attributes | {"epsilon": epsilon}
            found.append(("batchnorm-epsilon", replace(node, attributes=attributes)))
    return found
