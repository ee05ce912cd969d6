"""Models that Keras is to compile by XLA, or by PyTorch on that backend."""

from typing import Any

import keras


def compile_in_place(returned: Any) -> None:
    """Compiles the model that a user's function returned, as ``jit_compile=True`` does."""
    model = returned[0] if isinstance(returned, tuple) and returned else returned
    if isinstance(model, keras.Model):
        model.jit_compile = True
