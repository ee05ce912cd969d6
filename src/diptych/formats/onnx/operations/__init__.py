"""The readers of ONNX's operators, by family. To import this package is to register them all."""

from diptych.formats.onnx.operation import reads
from diptych.formats.onnx.operations import (
    activation,
    arithmetic,
    convolution,
    dense,
    dropout,
    embedding,
    normalisation,
    pooling,
    recurrent,
    resampling,
    selection,
    shape,
)

__all__ = [
    "activation",
    "arithmetic",
    "convolution",
    "dense",
    "dropout",
    "embedding",
    "normalisation",
    "pooling",
    "reads",
    "recurrent",
    "resampling",
    "selection",
    "shape",
]
