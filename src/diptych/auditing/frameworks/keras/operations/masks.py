"""Keras' masks: which steps of a sequence later layers skip. No call shows them."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportAttributeAccessIssue=false

from dataclasses import replace
from typing import Any

import keras
from keras import layers

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall

RECURRENT = ("lstm", "gru", "simple_rnn")
USERS = (layers.MultiHeadAttention, layers.Attention, layers.GlobalAveragePooling1D)
"""Other layers that compute something else where there is a mask."""


def mask_after(layer: Any, sources: tuple[str, ...], mask: str | None) -> str | None:
    """The node whose zeros are the steps that a layer's mask marks for those behind it.

    Args:
        layer: a layer or an operation.
        sources: the nodes that it takes.
        mask: the one of its own input.
    """
    if isinstance(layer, layers.Embedding):
        return sources[0] if layer.mask_zero else None
    if mask is None or not isinstance(layer, keras.Layer) or not layer.supports_masking:
        return None
    if isinstance(layer, layers.RNN | layers.Bidirectional):
        return mask if layer.return_sequences else None
    return mask if type(layer).compute_mask is keras.Layer.compute_mask else None


def with_mask(
    draft: NodeDraft | None, call: ShapedCall, sources: tuple[str, ...], mask: str | None
) -> tuple[NodeDraft | None, tuple[str, ...]]:
    """The draft of a layer that may have a mask, and the nodes that it takes with it.

    A layer whose mask comes from elsewhere than an embedding's zeros is not read.
    """
    taken = call.arguments.keras_tensors[:1] if call.arguments is not None else []
    has_mask = any(getattr(tensor, "_keras_mask", None) is not None for tensor in taken)
    if draft is None or not has_mask:
        return draft, sources
    if draft.kind in RECURRENT:
        if mask is None:
            return None, sources
        return replace(draft, attributes=draft.attributes | {"masked": True}), (*sources, mask)
    return (None if isinstance(call.layer, USERS) else draft), sources
