"""Attention."""

# Keras' annotations lack its layers' attributes.
# pyright: reportAttributeAccessIssue=false

import math
from typing import Any

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads

ARGUMENTS = (
    *("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask"),
    *("return_attention_scores", "training", "use_causal_mask"),
)
"""The arguments of the layer's call, in order."""
TENSORS = ("query", "value", "key")
MASKS = ("query_mask", "value_mask", "key_mask", "return_attention_scores")
"""Arguments with which the call is not of this kind."""


@reads("MultiHeadAttention")
def multi_head(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if call.arguments is None or any(len(shape) != 2 for shape in call.inputs):
        return None
    args, kwargs = call.arguments.args, call.arguments.kwargs
    given = dict(zip(ARGUMENTS, args, strict=False)) | kwargs
    given = {name: value for name, value in given.items() if value is not None}
    if any(given.get(name, False) is not False for name in MASKS):
        return None
    places = {name: i for i, name in enumerate(n for n in TENSORS if n in given)}
    masked = "attention_mask" in given  # (n, queries or 1, keys), True for the keys that are seen.
    if len(places) + masked != len(call.inputs):
        return None
    names = ("query", "key" if "key" in places else "value", "value")
    variables, shapes = {}, {}
    for role in ("query", "key", "value", "output"):
        dense = getattr(layer, f"_{role}_dense")
        variables[f"{role}_kernel"] = dense.kernel
        variables[f"{role}_bias"] = dense.bias
        heads = 2 if role == "output" else 1
        sizes = dense.kernel.shape
        shapes[f"{role}_kernel"] = (math.prod(sizes[:heads]), math.prod(sizes[heads:]))
        if dense.bias is not None:
            shapes[f"{role}_bias"] = (math.prod(dense.bias.shape),)
    return draft(
        "multi_head_attention",
        variables,
        shapes,
        heads=layer.num_heads,
        order=[places[name] for name in names],
        scale=1 / math.sqrt(layer.key_dim),
        causal=bool(given.get("use_causal_mask", False)),
        mask="kept" if masked else "",
        dropout=float(layer.dropout),
    )
