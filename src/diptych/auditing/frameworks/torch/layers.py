"""Calls of several recurrent layers, split so that each of them is seen."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def _is_packed(args: tuple[Any, ...]) -> bool:
    """True if a call's second argument is the batch sizes of a packed sequence."""
    return len(args) > 3 and isinstance(args[3], (list, tuple))


def are_several(name: str, args: tuple[Any, ...]) -> bool:
    """True if a call is one of several recurrent layers."""
    return name in RECURRENT and len(args) == 9 and args[5 if _is_packed(args) else 4] > 1


def one_by_one(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
    """The result of the call, computed by one call of the same function per layer."""
    output, *rest = args
    sizes = [rest.pop(0)] if _is_packed(args) else []
    initial, weights, has_biases, layers, rate, training, both, *batch_first = rest
    directions, each = 2 if both else 1, len(weights) // layers
    last: list[list[torch.Tensor]] = []
    for layer in range(layers):
        if layer and rate:
            output = nn.functional.dropout(output, rate, training)
        rows = slice(layer * directions, (layer + 1) * directions)
        pair = isinstance(initial, (list, tuple))
        own = tuple(state[rows] for state in initial) if pair else initial[rows]
        of_layer = list(weights[layer * each : (layer + 1) * each])
        settings = (has_biases, 1, 0.0, training, both, *batch_first)
        output, *states = function(output, *sizes, own, of_layer, *settings)
        last.append(states)
    return output, *(torch.cat(states) for states in zip(*last, strict=True))
