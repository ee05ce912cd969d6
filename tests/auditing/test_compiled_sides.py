"""Sides that are audited against their own compiled selves."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from diptych.auditing import audit, spec
from diptych.errors import InputError


def test_only_a_users_function_can_be_compiled(tmp_path: Path) -> None:
    file = tmp_path / "sides.py"
    file.write_text("def build(): ...\n")
    given = spec.parse(f"{file}:build")
    compiled = spec.compiled(given)
    assert compiled.compiled and not given.compiled
    assert compiled.given == f"{file}:build, compiled"
    with pytest.raises(InputError, match=r"keras:article: cannot be compiled; expected FILE\.py"):
        audit("keras:article", compiled=True)


def test_one_side_or_two() -> None:
    with pytest.raises(InputError, match="expected two sides, or --compiled"):
        audit("keras:article")
    with pytest.raises(InputError, match="expected no second side with --compiled"):
        audit("keras:article", "torch:article", compiled=True)


def test_what_the_frameworks_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    import tensorflow as tf
    import torch

    from diptych.auditing.frameworks.keras import compiling as of_keras
    from diptych.auditing.frameworks.keras.submission import FIRST_SEED
    from diptych.auditing.frameworks.tensorflow import compiling as of_tensorflow
    from diptych.auditing.frameworks.torch import compiling as of_torch

    module = torch.nn.Linear(2, 1)
    of_torch.compile_in_place((module, None, None))
    assert module._compiled_call_impl is not None

    keras.utils.set_random_seed(FIRST_SEED)  # No user's seed: TensorFlow draws with one only.
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="last")])
    model.compile("sgd", "mse", jit_compile=False)  # pyright: ignore[reportArgumentType]
    # Keras does not compile where the tests' own setting makes operations deterministic.
    monkeypatch.setattr(sys.modules["keras.src.trainers.trainer"], "model_supports_jit", bool)
    of_keras.compile_in_place((model, {}))
    assert model.jit_compile is True
    model.get_layer("last").supports_jit = False
    with pytest.raises(InputError, match="its layer last does not support jit_compile=True"):
        of_keras.compile_in_place(model)

    side = SimpleNamespace(loss=lambda x, y: tf.reduce_sum(x * y), step=lambda x, y: None)
    of_tensorflow.compile_in_place(side)
    ones = tf.ones(3)
    text = side.loss.experimental_get_compiler_ir(ones, ones)(stage="hlo")
    assert "HloModule" in text
