"""Keras' masks: which steps of a sequence a layer skips.

Keras hands an embedding's mask to the layers behind it as a further argument, ``x != 0``. In the
graph such a layer takes the numbers themselves, and skips the steps where they are 0.
"""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Sequence
from dataclasses import replace

from diptych.auditing.frameworks.keras.drafts import NodeDraft
from diptych.auditing.frameworks.keras.trace import Call

RECURRENT = ("lstm", "gru", "simple_rnn")
"""Kinds that take a mask."""


def mask_place(call: Call) -> int | None:
    """The input of a call that is its mask; None if it has none."""
    if call.arguments is None:
        return None
    mask = call.arguments.kwargs.get("mask")
    tensors = call.arguments.keras_tensors
    return next((i for i, tensor in enumerate(tensors) if tensor is mask), None)


def masks_of_zeros(calls: Sequence[Call]) -> dict[int, int]:
    """Calls that are ``x != 0`` and nothing but masks: by their number, that of ``x``."""
    masks = {}
    for number, call in enumerate(calls):
        if type(call.operation).__name__ != "NotEqual" or len(call.inputs) != 1:
            continue
        users = [user for user in calls if number in user.inputs]
        as_mask = [place for user in users if (place := mask_place(user)) is not None]
        only = len(users) == len(as_mask) and all(
            user.inputs[place] == number and user.inputs.count(number) == 1
            for user, place in zip(users, as_mask, strict=True)
        )
        zero = any(argument is not None and _is_zero(argument) for argument in call.arguments.args)
        if only and zero:
            masks[number] = call.inputs[0]
    return masks


def _is_zero(argument: object) -> bool:
    return isinstance(argument, int | float) and argument == 0


def with_mask(draft: NodeDraft | None) -> NodeDraft | None:
    """The draft of a layer that is given a mask; None where its kind takes none."""
    if draft is None or draft.kind not in RECURRENT:
        return None
    return replace(draft, attributes=draft.attributes | {"masked": True})
