"""Packages that the process of a side leaves out, though TensorFlow would import them."""

import subprocess
import sys

import pytest

from diptych.auditing.frameworks import optional_imports

WRAPPER = {"__name__": "keras.src.wrappers.fixes"}


def test_only_the_modules_that_use_a_package_aside_go_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uses = {"colorsys": (("keras.src.wrappers.",), "SKLearn")}  # A module that has no effect.
    monkeypatch.setattr(optional_imports, "USES", uses)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with optional_imports.left_out("import keras"):
        with pytest.raises(ModuleNotFoundError, match="does not import colorsys here"):
            exec("import colorsys", dict(WRAPPER))
        exec("import colorsys", {"__name__": "train"})
    monkeypatch.delitem(sys.modules, "colorsys")
    exec("import colorsys", dict(WRAPPER))


def test_a_file_that_uses_what_needs_a_package_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    uses = {"colorsys": (("keras.src.wrappers.",), "SKLearn")}
    monkeypatch.setattr(optional_imports, "USES", uses)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with optional_imports.left_out("keras.wrappers.SKLearnClassifier(model)"):
        exec("import colorsys", dict(WRAPPER))


def test_tensorflow_comes_without_them() -> None:
    code = (
        "import sys\n"
        "from diptych.auditing.frameworks import optional_imports\n"
        "with optional_imports.left_out():\n"
        "    import tensorflow as tf\n"
        "print(float(tf.add(1.0, 2.0)), *(n for n in optional_imports.USES if n in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["3.0"]
