"""Dropout."""

from typing import Any

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads


@reads("Dropout")
def dropout(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return draft("dropout", rate=float(layer.rate)) if layer.noise_shape is None else None
