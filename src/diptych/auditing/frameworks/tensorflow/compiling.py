"""Functions of a user's object that TensorFlow is to compile by XLA."""

# The stubs for TensorFlow know no functions that are graphs.
# pyright: reportAttributeAccessIssue=false

from typing import Any

import tensorflow as tf

FUNCTIONS = ("loss", "step", "logits")


def compile_in_place(returned: Any) -> None:
    """Compiles the functions of the object that a user's function returned."""
    for name in FUNCTIONS:
        function = getattr(returned, name, None)
        if callable(function):
            setattr(returned, name, tf.function(function, jit_compile=True))
