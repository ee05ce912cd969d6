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
    return NodeDraft("dropout", {"rate": clean(stretch.written(1 - 1 / growth))})
