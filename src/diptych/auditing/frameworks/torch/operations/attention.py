"""Attention, with its projections and without."""

import math
from typing import Any

import torch
from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import LAST, TIME
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event

LOW = -1e4
"""What is added to a product below this is a mask."""


@reads("multi_head_attention_forward")
def multi_head(
    drafts: Drafts,
    event: Event,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> bool:
    """Reads ``nn.MultiheadAttention``, which has the steps in front of the examples here."""
    sources = [query, key, value]
    values = [drafts.activation(event, x) for x in sources]
    unusual = (bias_k, bias_v, static_k, static_v) != (None,) * 4 or add_zero_attn
    layouts = {value.layout if value else None for value in values}
    over_batch = layouts == {LAST}  # Where the user forgot `batch_first`.
    if unusual or not (layouts == {TIME} or (over_batch and key_padding_mask is None)):
        return False
    causal = is_causal_mask(drafts, event, attn_mask, len(query), len(key))
    if causal is None:
        return False
    inputs = list({id(x): x for x in sources}.values())
    order = [next(i for i, x in enumerate(inputs) if x is source) for source in sources]
    mask = ""
    if key_padding_mask is not None:
        number = event.number(key_padding_mask)
        if number is None or not isinstance(drafts.of(event, key_padding_mask), Activation):
            return False
        numbers = drafts.trace.copies[number]
        with torch._C.DisableTorchFunction():
            # PyTorch makes numbers of a mask of bools: minus infinity for those that are ignored.
            if not bool(((numbers == 0) | (numbers == 1) | (numbers < LOW)).all()):
                return False
        inputs.append(key_padding_mask)
        mask = "ignored"
    apart = [q_proj_weight, k_proj_weight, v_proj_weight]
    packed = None if use_separate_proj_weight else in_proj_weight
    parameters = _parameters(drafts, event, packed, apart, in_proj_bias)
    output = drafts.combined_parameter(event, [out_proj_weight], transposed=True)
    if parameters is None or output is None:
        return False
    parameters["output_kernel"] = output
    bias = drafts.roles(event, output_bias=(out_proj_bias, "plain"))
    if bias is None:
        return False
    rate = _rate(drafts, event, dropout_p)
    size = embed_dim_to_check // num_heads
    attributes = {"heads": num_heads, "order": order, "scale": 1 / math.sqrt(size)}
    attributes |= {"causal": causal, "mask": mask, "dropout": rate}
    if over_batch:
        attributes["over"] = "batch"
    layout = LAST if over_batch else TIME
    return drafts.emit(
        event, "multi_head_attention", inputs, layout, parameters | bias, **attributes
    )


def _parameters(
    drafts: Drafts, event: Event, packed: Tensor | None, apart: list[Any], bias: Tensor | None
) -> dict[str, str] | None:
    """The names of the three projections' parameters by role."""
    names: dict[str, str | None] = {}
    for i, role in enumerate(("query", "key", "value")):
        if packed is None:
            names[f"{role}_kernel"] = drafts.combined_parameter(event, [apart[i]], transposed=True)
        else:
            size = len(packed) // 3
            rows = {"rows": (i * size, (i + 1) * size), "label": role}
            names[f"{role}_kernel"] = drafts.combined_parameter(
                event, [packed], transposed=True, **rows
            )
        if bias is not None:
            size = len(bias) // 3
            rows = {"rows": (i * size, (i + 1) * size), "label": role}
            names[f"{role}_bias"] = drafts.combined_parameter(event, [bias], **rows)
    return None if None in names.values() else names  # pyright: ignore[reportReturnType]


def is_causal_mask(
    drafts: Drafts, event: Event, mask: Tensor | None, queries: int, keys: int
) -> bool | None:
    """True if a mask is the causal one; False for none; None for any other.

    Args:
        drafts: what was read so far.
        event: the call that takes it.
        mask: (…, queries, keys): bool, True for those that are ignored, or numbers to add.
        queries: how many.
        keys: how many.
    """
    if mask is None:
        return False
    if event.number(mask) is not None or mask.shape[-2:] != (queries, keys):
        return None
    with torch._C.DisableTorchFunction():
        ignored = mask.detach() if mask.dtype == torch.bool else mask.detach() < LOW
        plain = mask.dtype == torch.bool or bool((mask.detach()[~ignored] == 0).all())
        if not plain:
            return None
        if not bool(ignored.any()):
            return False
        later = torch.ones(queries, keys, dtype=torch.bool, device=mask.device).triu(1)
        return True if bool((ignored == later).all()) else None


def _rate(drafts: Drafts, event: Event, rate: float) -> float:
    """The module's own rate, also where it is not in training."""
    owner = None if event.owner is None else drafts.trace.events[event.owner].module
    return float(getattr(owner, "dropout", rate) if isinstance(owner, torch.nn.Module) else rate)


@reads("scaled_dot_product_attention")
def dot_product(
    drafts: Drafts,
    event: Event,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> bool:
    sources = [query, key, value]
    values = [drafts.activation(event, x) for x in sources]
    if enable_gqa or any(v is None or v.layout != LAST for v in values):
        return False
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        with torch._C.DisableTorchFunction():
            inverse = ~attn_mask  # Here True is what takes part.
        known = event.number(attn_mask) is None
        causal = known and is_causal_mask(drafts, event, inverse, query.shape[-2], key.shape[-2])
        causal = causal if known else None
    else:
        causal = is_causal_mask(drafts, event, attn_mask, query.shape[-2], key.shape[-2])
    if causal is None or len({id(x) for x in sources}) < 3:
        return False
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    attributes = {"scale": factor, "causal": causal or is_causal, "mask": ""}
    return drafts.emit(
        event, "dot_product_attention", sources, LAST, dropout=float(dropout_p), **attributes
    )
