"""The operations of traces, a file per family of layers."""

from diptych.auditing.frameworks.jax.operations import (
    arithmetic,
    convolution,
    dense,
    layers,
    pooling,
    shape,
)
from diptych.auditing.frameworks.jax.operations.registry import ALIASES, ELEMENTWISE, read

__all__ = ["ALIASES", "ELEMENTWISE", "read"]
FAMILIES = (arithmetic, convolution, dense, layers, pooling, shape)
"""Importing them registers their readers."""
