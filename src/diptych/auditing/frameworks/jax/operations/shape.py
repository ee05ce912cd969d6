"""Operations that move numbers and leave them as they are."""

import numpy as np

from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.operations.registry import reads
from diptych.auditing.frameworks.jax.trace import Operation


@reads("reshape", "squeeze", "expand_dims", "broadcast_in_dim")
def reshape(reader, operation: Operation) -> NodeDraft | bool | None:
    before, after = operation.inputs[0], operation.outputs[0]
    if reader.fixed(before):
        return None
    name = reader.node_of(before)
    shape = reader.reading.values[name].shape  # Before axes of one came and went.
    plain = [[size for size in of if size != 1] for of in (shape, after.shape)]
    if plain[0] == plain[1] and (shape == after.shape or len(after.shape) != 2):
        reader.makers[after] = name
        return True
    if operation.name == "broadcast_in_dim" or after.shape[:1] != shape[:1]:
        return None
    if len(after.shape) == 2 and int(np.prod(shape[1:])) == after.shape[1]:
        order = "first" if reader.layout.first and len(shape) > 2 else "last"
        return NodeDraft("flatten", {"order": order})
    return None if reader.layout.first else NodeDraft("reshape", {"shape": list(after.shape[1:])})


@reads("pad")
def pad(reader, operation: Operation) -> NodeDraft | None:
    config = operation.params["padding_config"]
    channels = 1 if reader.layout.first else len(config) - 1
    value = operation.inputs[1].constant
    if value is None or np.any(np.asarray(value)) or any(inner for *_, inner in config):
        return None
    pixels = [[low, high] for low, high, _ in config]
    if any(pixels[0]) or any(pixels[channels]) or min(map(min, pixels)) < 0:
        return None
    return NodeDraft(
        "pad", {"padding": [p for i, p in enumerate(pixels) if i not in (0, channels)]}
    )
