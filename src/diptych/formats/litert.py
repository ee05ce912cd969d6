"""LiteRT's flat buffer, for telephones and smaller things; files were TensorFlow Lite's once.

What the file says of itself is in a zip archive at its end, with a ``labels.txt``, where TensorFlow
Lite's tools keep such files: ``unzip model.tflite`` shows them.
"""

import json
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from diptych.data.batches import to_float
from diptych.formats.archives import EMBEDDED
from diptych.formats.protocol import Content, in_batches
from diptych.formats.savedmodel import save

EXAMPLE = """\
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("{file}")
run = interpreter.get_signature_runner()
logits = run(images=images)["logits"]
"""


def write(content: Content, path: Path) -> None:
    # With int8, pixels are the input's integers, and no operation scales them.
    graph = replace(content, uint8_input=content.uint8_input and not content.int8)
    with tempfile.TemporaryDirectory() as folder:
        save(graph, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if content.int8:
            quantise(converter, content)
        path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("labels.txt", "".join(f"{n}\n" for n in content.about["class_names"]))
        file.writestr(EMBEDDED, json.dumps(content.about))


def quantise(converter: tf.lite.TFLiteConverter, content: Content) -> None:
    """Has all operations in 8-bit integers: kernels a scale a filter, values by the examples."""
    examples = content.examples
    assert examples is not None

    def values() -> Iterator[list[np.ndarray]]:
        for number in range(len(examples)):
            image = to_float(examples[number : number + 1])
            if number == 0:  # The whole range of pixels: 1/255 is then the scale of the input.
                image[0, 0, 0, 0], image[0, -1, -1, -1] = 0, 1
            yield [image]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = values
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if content.uint8_input:
        converter.inference_input_type = tf.uint8


def tool() -> str:
    return f"LiteRT {metadata.version('ai-edge-litert')}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    run = Interpreter(str(path)).get_signature_runner()
    return np.concatenate([run(images=some)["logits"] for some in in_batches(images)])
