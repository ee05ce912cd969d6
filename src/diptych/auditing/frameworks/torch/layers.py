"""Calls of several recurrent layers at once, taken apart, so that each of them is seen."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
LAYERS = 4
"""Where the number of layers stands among the arguments; a packed sequence has one more before."""


def are_several(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a call is one of several recurrent layers, on a sequence that is not packed."""
    if name not in RECURRENT or len(args) != 9 or not isinstance(args[2], (list, tuple)):
        return False
    return isinstance(args[LAYERS], int) and not isinstance(args[LAYERS], bool) and args[LAYERS] > 1


def one_by_one(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
    """What the call gives, by a call of the same function for each layer."""
    x, initial, weights, has_biases, layers, rate, training, both, batch_first = args
    directions, each = 2 if both else 1, len(weights) // layers
    last: list[list[torch.Tensor]] = []
    output = x
    for layer in range(layers):
        if layer and rate:
            output = nn.functional.dropout(output, rate, training)
        rows = slice(layer * directions, (layer + 1) * directions)
        pair = isinstance(initial, (list, tuple))
        own = tuple(state[rows] for state in initial) if pair else initial[rows]
        of_layer = list(weights[layer * each : (layer + 1) * each])
        settings = (has_biases, 1, 0.0, training, both, batch_first)
        output, *states = function(output, own, of_layer, *settings)
        last.append(states)
    return output, *(torch.cat(states) for states in zip(*last, strict=True))
