"""TensorFlow's SavedModel: a folder with a function ``serve``, and the signature servers ask for.

It is made of the model that Keras' workflow builds.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.formats.archives import EMBEDDED
from diptych.formats.keras.format import model
from diptych.formats.protocol import Content, in_batches

EXAMPLE = """\
import tensorflow as tf

model = tf.saved_model.load("{file}")
logits = model.serve(images).numpy()
"""


def write(content: Content, path: Path) -> None:
    save(content, path)
    extra = path / "assets.extra"  # Where TensorFlow leaves room for files that it does not read.
    extra.mkdir()
    (extra / EMBEDDED).write_text(json.dumps(content.about), encoding="utf-8")


def save(content: Content, path: Path) -> None:
    """Saves the network alone.

    Not by Keras' `export`, whose folders hold all weights twice (3.15).
    """
    network = model(content)
    shape = [None, *content.network.input_shape]
    kind = tf.uint8 if content.uint8_input else tf.float32
    images = tf.TensorSpec(shape, kind, name="images")
    saved: Any = tf.Module()
    saved.weights = [variable.value for variable in network.variables]
    saved.serve = tf.function(lambda images: network(images, training=False), [images])
    named = tf.function(lambda images: {"logits": saved.serve(images)}, [images])
    tf.saved_model.save(saved, str(path), {"serving_default": named})


def tool() -> str:
    return f"tf.saved_model of TensorFlow {tf.__version__}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    loaded = tf.saved_model.load(str(path))
    parts = [loaded.serve(tf.constant(some)).numpy() for some in in_batches(images)]
    return np.concatenate(parts)
