"""Dropout, by what arithmetic with random numbers does."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import numpy as np

from diptych.auditing.frameworks.tensorflow.behaviour import Stretch
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft, clean


def dropout(stretch: Stretch) -> NodeDraft | None:
    """Some numbers become zero and the others grow so that the mean stays."""
    x = stretch.numbers(0.5, 1.5)
    x = np.where(np.arange(x.size).reshape(x.shape) % 2, x, -x)
    ratios = np.stack([stretch(x) / x for _ in range(4)])
    growth = float(ratios.max())
    whole = np.minimum(np.abs(ratios), np.abs(ratios - growth)) <= stretch.tolerance * 2
    one_sided = growth - float(ratios[:, x < 0].max()) > stretch.tolerance * 2  # A relu is in it.
    if growth <= 1 + stretch.tolerance or one_sided or not np.all(whole):
        return None
    rate = clean(stretch.written(1 - 1 / growth))
    return NodeDraft(shared(np.abs(ratios) > growth / 2), {"rate": rate})


def shared(kept: np.ndarray) -> str:
    """The kind of dropout that keeps these numbers, (runs, n, …): what is dropped together."""
    if kept.ndim < 3 or np.all(kept):
        return "dropout"
    flat = kept.reshape(*kept.shape[:2], -1)
    if np.all(flat == flat[:, :, :1]) and flat.shape[2] > 1:
        return "drop_path"
    by_channel = kept.reshape(*kept.shape[:2], -1, kept.shape[-1])
    if np.all(by_channel == by_channel[:, :, :1]) and by_channel.shape[2] > 1:
        return "spatial_dropout"
    return "dropout"
