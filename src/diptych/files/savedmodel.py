"""TensorFlow's SavedModel: a folder with a function ``serve``, and the signature servers ask for.

It is made of the model that Keras' workflow builds.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from diptych.files import EMBEDDED, Content, in_batches
from diptych.files.keras import model

EXAMPLE = """\
import tensorflow as tf

logits = tf.saved_model.load("{file}").serve(images).numpy()
"""


def write(content: Content, path: Path) -> None:
    model(content).export(path, format="tf_saved_model", verbose=False)
    extra = path / "assets.extra"  # Where TensorFlow leaves room for files that it does not read.
    extra.mkdir()
    (extra / EMBEDDED).write_text(json.dumps(content.about), encoding="utf-8")


def tool() -> str:
    return f"tf.saved_model of TensorFlow {tf.__version__}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    serve = tf.saved_model.load(str(path)).serve
    return np.concatenate([serve(tf.constant(some)).numpy() for some in in_batches(images)])
