"""The readers of Keras' layers and operations, by family. Importing this registers them all."""

from diptych.auditing.frameworks.keras.operations import (
    activation,
    arithmetic,
    attention,
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
    "attention",
    "convolution",
    "dense",
    "dropout",
    "embedding",
    "normalisation",
    "pooling",
    "recurrent",
    "resampling",
    "selection",
    "shape",
]
