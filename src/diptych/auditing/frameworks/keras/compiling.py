"""Models that Keras is to compile by XLA, or by PyTorch on that backend."""

from typing import Any

import keras

from diptych.errors import InputError


def compile_in_place(returned: Any) -> None:
    """Compiles the model that a user's function returned, as ``jit_compile=True`` does.

    Raises:
        InputError: a layer cannot be compiled; Keras would go on uncompiled, with a warning.
    """
    model = returned[0] if isinstance(returned, tuple) and returned else returned
    if not isinstance(model, keras.Model):
        return
    for layer in model._flatten_layers():
        if not layer.supports_jit:
            raise InputError(
                f"Keras does not compile the model {model.name}: its layer {layer.name} does not "
                "support jit_compile=True"
            )
    model.jit_compile = True
