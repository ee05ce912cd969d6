"""Dense layers."""

from typing import Any

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads


@reads("Dense")
def dense(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if call.channels_first and call.spatial:
        return None  # It works on the last axis, which is none of the channels.
    return draft("dense", {"kernel": layer.kernel, "bias": layer.bias})
