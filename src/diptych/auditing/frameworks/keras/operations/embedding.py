"""Embeddings."""

from typing import Any

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads


@reads("Embedding")
def embedding(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.lora_enabled or layer.quantization_mode is not None:
        return None
    variables = {"kernel": layer._embeddings}
    mask = bool(layer.mask_zero)
    return draft("embedding", variables, padding_index=None, max_norm=None, mask=mask)
