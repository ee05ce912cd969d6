"""Embeddings."""

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import LAST
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.parameters import PLAIN
from diptych.auditing.frameworks.torch.trace import Event


@reads("embedding")
def embedding(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> bool:
    value = drafts.activation(event, input)
    if value is None or value.layout != LAST or scale_grad_by_freq:
        return False
    if max_norm is not None and norm_type != 2:
        return False
    parameters = drafts.roles(event, kernel=(weight, PLAIN))
    if parameters is None:
        return False
    padding = None if padding_idx is None else padding_idx % len(weight)
    return drafts.emit(
        event,
        "embedding",
        [input],
        LAST,
        parameters,
        padding_index=padding,
        max_norm=None if max_norm is None else float(max_norm),
        mask=False,
    )
