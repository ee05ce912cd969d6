"""Attention: products of queries and keys as weights of values, with or without projections."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds import over_batch
from diptych.auditing.kinds.curves import softmax
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shapes,
    differ,
    optional_role,
    with_attributes,
    with_those_of,
)
from diptych.auditing.kinds.rounding import FUNCTION_UNITS, LAMBDA

LOW = -1e30
"""The value of a masked product; its exponential is 0."""
PROJECTIONS = ("query", "key", "value")
SCALE = "the factor of the products, usually 1 / sqrt(size of a key)"
CAUSAL = "bool, whether a query sees only keys up to its own place"
MASK = "'' for none; 'kept' or 'ignored': which keys the further input names, by numbers other "
MASK += "than 0; (n, keys) or (n, queries or 1, keys)"
DROPOUT = "the share of weights that is dropped in training"


def _allowed(node: Node, inputs: Sequence[np.ndarray], queries: int, keys: int) -> Array:
    """The keys that each query sees, bool, to broadcast against (n, heads, queries, keys); None for
    all."""
    allowed = None
    if node.attributes["causal"]:
        allowed = np.tril(np.ones((1, 1, queries, keys), bool))
    if node.attributes["mask"]:
        mask = np.asarray(inputs[-1])
        named = mask.reshape(len(mask), 1, -1, keys) != 0
        named = named if node.attributes["mask"] == "kept" else ~named
        allowed = named if allowed is None else allowed & named
    return allowed


def _weights(node: Node, q: Array, k: Array, allowed: Array) -> Array:
    products = node.attributes["scale"] * anp.matmul(q, anp.swapaxes(k, -1, -2))
    return softmax(products if allowed is None else anp.where(allowed, products, LOW))


def _heads(x: Array, heads: int) -> Array:
    """(n, steps, heads * size) to (n, heads, steps, size)."""
    return anp.swapaxes(anp.reshape(x, (*x.shape[:2], heads, -1)), 1, 2)


def _joined(x: Array) -> Array:
    """The inverse of `_heads`."""
    x = anp.swapaxes(x, 1, 2)
    return anp.reshape(x, (*x.shape[:2], -1))


def _projected(name: str, x: Array, parameters: Parameters) -> Array:
    y = x @ parameters[f"{name}_kernel"]
    return y + parameters[f"{name}_bias"] if f"{name}_bias" in parameters else y


def _sources(node: Node, inputs: Sequence[Array]) -> list[Array]:
    """The inputs of queries, keys and values."""
    sources = [inputs[i] for i in node.attributes["order"]]
    if any(x.ndim != 3 for x in sources):
        raise ValueError("attention takes (n, steps, channels)")
    return sources


@over_batch.computed
def _multi_head(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    """softmax(scale * Q Kᵀ) V for each head, between projections."""
    sources, heads = _sources(node, inputs), node.attributes["heads"]
    q, k, v = (
        _heads(_projected(name, x, parameters), heads)
        for name, x in zip(PROJECTIONS, sources, strict=True)
    )
    allowed = _allowed(node, inputs, q.shape[2], k.shape[2])
    mixed = _joined(anp.matmul(_weights(node, q, k, allowed), v))
    return _projected("output", mixed, parameters)


def _projection_error(name: str, x: np.ndarray, parameters: Arrays, carried: Array = 0.0) -> Array:
    """The variance of the errors of a projection, in units of the unit roundoff.

    Args:
        name: of the projection.
        x: its input.
        parameters: by role.
        carried: the variance of the input's errors.
    """
    kernel = np.square(parameters[f"{name}_kernel"])
    y = _projected(name, x, parameters)
    own = LAMBDA**2 * (len(kernel) + 1) * (np.square(x) @ kernel + np.square(y))
    return own + (carried @ kernel if np.ndim(carried) else 0.0)


def _mixing_error(
    node: Node,
    qkv: Sequence[np.ndarray],
    errors: Sequence[np.ndarray],
    allowed: Array,
) -> np.ndarray:
    """The variance of the errors of the weighted values, of those of queries, keys and values."""
    (q, k, v), (of_q, of_k, of_v) = qkv, errors
    turned = [np.swapaxes(x, -1, -2) for x in (k, np.square(k), of_k)]
    products = q @ turned[0]
    of_products = of_q @ turned[1] + np.square(q) @ turned[2]
    of_products += LAMBDA**2 * q.shape[-1] * (np.square(q) @ turned[1] + np.square(products))
    of_products *= node.attributes["scale"] ** 2
    if allowed is not None:
        of_products = np.where(allowed, of_products, 0.0)
    weights = _weights(node, q, k, allowed)
    largest = np.abs(node.attributes["scale"] * products).max(-1, keepdims=True)
    common = np.sum(np.square(weights) * of_products, -1, keepdims=True)
    own = np.square(FUNCTION_UNITS * (1 + largest))
    of_weights = np.square(weights) * (of_products + common + own)
    squares = np.square(weights) @ np.square(v)
    mixed = weights @ v
    rounded = LAMBDA**2 * k.shape[-2] * (squares + np.square(mixed))
    return of_weights @ np.square(v) + np.square(weights) @ of_v + rounded


@over_batch.rounded
def _multi_head_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    sources, heads = _sources(node, inputs), node.attributes["heads"]
    pairs = list(zip(PROJECTIONS, sources, strict=True))
    qkv = [_heads(_projected(name, x, parameters), heads) for name, x in pairs]
    errors = [_heads(_projection_error(name, x, parameters), heads) for name, x in pairs]
    allowed = _allowed(node, inputs, qkv[0].shape[2], qkv[1].shape[2])
    mixed = _joined(_weights(node, qkv[0], qkv[1], allowed) @ qkv[2])
    carried = _joined(_mixing_error(node, qkv, errors, allowed))
    return np.sqrt(_projection_error("output", mixed, parameters, carried))


def _dot_product(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    """softmax(scale * Q Kᵀ) V over the last two axes."""
    q, k, v = inputs[:3]
    allowed = _allowed(node, inputs, q.shape[-2], k.shape[-2])
    return anp.matmul(_weights(node, q, k, allowed), v)


def _dot_product_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    qkv = inputs[:3]
    errors = [np.square(x) for x in qkv]
    allowed = _allowed(node, inputs, qkv[0].shape[-2], qkv[1].shape[-2])
    return np.sqrt(_mixing_error(node, qkv, errors, allowed))


def _common_differences(a: Node, b: Node) -> list[Difference]:
    """Scale, masks and dropout."""
    one, other, result = a.attributes, b.attributes, []
    if differ(one["scale"], other["scale"]):
        says = [f"products scaled by {v['scale']:.6g}" for v in (one, other)]
        result.append(Difference("layer-kind", *says, changed=with_those_of(a, b, "scale")))
    if one["causal"] != other["causal"]:
        says = ["a causal mask" if v["causal"] else "no causal mask" for v in (one, other)]
        result.append(Difference("layer-kind", *says, changed=with_those_of(a, b, "causal")))
    if bool(one["mask"]) != bool(other["mask"]):
        says = ["a mask of keys" if v["mask"] else "no mask of keys" for v in (one, other)]
        result.append(Difference("layer-kind", *says))
    if differ(one["dropout"], other["dropout"]):
        says = [f"dropout of {v['dropout']:.6g} on the attention weights" for v in (one, other)]
        effect = "in training only; measured in the stage randomness"
        result.append(Difference("dropout-rate", *says, effect=effect))
    return result


def _multi_head_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """Heads, sizes, biases, and the differences of `_common_differences`."""
    result = []
    heads = [node.attributes["heads"] for node in (a, b)]
    if heads[0] != heads[1]:
        changed = with_those_of(a, b, "heads", "scale")
        result.append(Difference("units", *(f"{n} heads" for n in heads), changed=changed))
    for name in (*PROJECTIONS, "output"):
        sizes = [of[f"{name}_kernel"][-1] for of in (of_a, of_b)]
        if sizes[0] != sizes[1]:
            says = [f"{name} of size {size} over all heads" for size in sizes]
            result.append(Difference("units", *says))
        what = f"a bias of the {name}"
        result += optional_role(f"{name}_bias", of_a, of_b, "bias-missing", what)
    if over := over_batch.difference(a, b):
        return [*result, over]
    common = _common_differences(a, b)
    return result + (common if heads[0] == heads[1] else common[1:])


def _hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """The opposite causal mask, and other scales."""
    scale = node.attributes["scale"]
    causal = with_attributes(node, causal=not node.attributes["causal"])
    scales = dict.fromkeys((1.0, scale**2, scale / np.sqrt(node.attributes.get("heads", 1))))
    return [
        ("layer-kind", causal),
        *(("layer-kind", with_attributes(node, scale=float(s))) for s in scales if s != scale),
    ]


def _multi_head_words(node: Node) -> str:
    text = f"attention of {node.attributes['heads']} heads to {node.shape[-1]}"
    return text + ", over the examples of a batch" * over_batch.is_over_batch(node)


_COMMON = {"scale": SCALE, "causal": CAUSAL, "mask": MASK, "dropout": DROPOUT}
_SIZES = {
    "query": "(in, heads * size)",
    "key": "(in, heads * size)",
    "value": "(in, heads * size of a value)",
    "output": "(heads * size of a value, out)",
}

MULTI_HEAD_ATTENTION = Kind(
    name="multi_head_attention",
    attributes=_COMMON
    | {
        "heads": "int",
        "order": "which inputs queries, keys and values are made of",
    }
    | over_batch.ATTRIBUTES,
    optional=over_batch.OPTIONAL,
    roles={f"{name}_kernel": Role(shape) for name, shape in _SIZES.items()}
    | {
        f"{name}_bias": Role("(its kernel's last axis,)", False, initialiser="bias-initialiser",
                             stir="add")
        for name in _SIZES
    },
    words=_multi_head_words,
    compute=_multi_head,
    rounding=_multi_head_rounding,
    differences=_multi_head_differences,
    hypotheses=_hypotheses,
)  # fmt: skip
"""Multi-head attention with its projections (Vaswani et al., 2017)."""

DOT_PRODUCT_ATTENTION = Kind(
    name="dot_product_attention",
    attributes=_COMMON,
    words=lambda node: "scaled dot-product attention",
    compute=_dot_product,
    rounding=_dot_product_rounding,
    differences=lambda a, b, of_a, of_b: _common_differences(a, b),
    hypotheses=_hypotheses,
)
"""Attention of queries, keys and values (n, heads, steps, size), without projections."""

KINDS = (MULTI_HEAD_ATTENTION, DOT_PRODUCT_ATTENTION)
