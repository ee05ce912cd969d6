"""ONNX: what nearly every tool reads."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from diptych.data.batches import to_float
from diptych.formats.onnx.model import INPUT, OUTPUT, onnx_model
from diptych.formats.onnx.network import KEY, read
from diptych.formats.protocol import Content, in_batches

__all__ = ["EXAMPLE", "logits", "read", "tool", "write"]

EXAMPLE = """\
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(logits,) = session.run(["logits"], {{"images": images}})
"""


def write(content: Content, path: Path) -> None:
    model = onnx_model(content.network, content.weights, uint8_input=content.uint8_input)
    if content.int8:
        model = quantised(model, content)
    metadata = {
        KEY: json.dumps(content.about),
        "class_names": json.dumps(content.about["class_names"], ensure_ascii=False),
        "licence": content.about["licence"],
    }
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())


def quantised(model: onnx.ModelProto, content: Content) -> onnx.ModelProto:
    """The model in 8-bit integers: kernels with a scale per filter, values fitted to examples."""
    assert content.examples is not None
    images = content.examples if content.uint8_input else to_float(content.examples)
    with tempfile.TemporaryDirectory() as folder:
        prepared, result = Path(folder, "prepared.onnx"), Path(folder, "quantised.onnx")
        quant_pre_process(model, str(prepared), skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            Examples(in_batches(images)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(result)


class Examples(CalibrationDataReader):
    """Batches of images, as ONNX Runtime asks for them; None after the last."""

    def __init__(self, batches: list[np.ndarray]) -> None:
        self.batches: Iterator[np.ndarray] = iter(batches)

    def get_next(self) -> Any:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def tool() -> str:
    return f"ONNX Runtime {onnxruntime.__version__}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run([OUTPUT], {INPUT: some})[0] for some in in_batches(images)]
    return np.concatenate([np.asarray(part) for part in parts])
