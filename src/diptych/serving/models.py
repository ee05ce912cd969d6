"""A run as the server holds it: two ONNX sessions, one for answers, one for every layer."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from diptych.errors import InputError
from diptych.formats.onnx.model import layer_output, onnx_model
from diptych.network import Network, Weights
from diptych.runs import Run

EMBEDDED = Path(__file__).with_name("embedded")
"""Two runs of the recipe ``fast``, for a server that was given none."""


@dataclass(frozen=True)
class Model:
    """A trained network, ready to read images."""

    name: str
    workflow: str
    network: Network
    weights: Weights
    data_name: str
    data_source: str
    class_names: tuple[str, ...]
    test_accuracy: float | None
    _answers: Any
    _layers: Any

    def logits(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels) to float32 (n, classes)."""
        return self._answers.run(["logits"], {"images": images})[0]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, height, width, channels) to float32 (n, classes), rows adding up to 1."""
        return special.softmax(self.logits(images), axis=1)

    def layer_outputs(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Every layer's output for one uint8 (height, width, channels), after its activation."""
        names = [layer.name for layer in self.network.layers]
        outputs = self._layers.run([layer_output(n) for n in names], {"images": image[None]})
        return {name: output[0] for name, output in zip(names, outputs, strict=True)}

    def describe(self) -> dict[str, Any]:
        """What `GET /models` says of it."""
        kinds = {
            layer.name: layer.model_dump(mode="json", exclude_none=True)
            for layer in self.network.layers
        }
        return {
            "name": self.name,
            "workflow": self.workflow,
            "network": self.network.name,
            "input_shape": list(self.network.input_shape),
            "classes": list(self.class_names),
            "parameters": self.network.parameters,
            "test_accuracy": self.test_accuracy,
            "layers": [
                {"name": row.name, "output_shape": list(row.output_shape)} | kinds[row.name]
                for row in self.network.summary()
            ],
        }


def open_models(runs: list[Run]) -> list[Model]:
    """The runs' models, each with a name of its own.

    Raises:
        InputError: a run has not ended, or two runs take other images or tell other classes apart.
    """
    models = [_open(run) for run in runs]
    first = models[0]
    for other in models[1:]:
        if other.network.input_shape != first.network.input_shape:
            raise InputError(
                f"runs {first.name} and {other.name}: they take images of "
                f"{first.network.input_shape} and {other.network.input_shape}, expected the same"
            )
        if other.class_names != first.class_names or other.data_name != first.data_name:
            raise InputError(
                f"runs {first.name} and {other.name}: trained on {first.data_name} and "
                f"{other.data_name}, expected the same data"
            )
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise InputError(f"runs {', '.join(names)}: expected different ones")
    return models


def embedded_runs() -> list[Run]:
    """The runs inside the package."""
    return [Run(path.parent) for path in sorted(EMBEDDED.glob("*/run.json"), reverse=True)]


def as_base64(array: np.ndarray) -> dict[str, Any]:
    """Shape and little-endian float32 values, as the API sends arrays that are large."""
    values = np.ascontiguousarray(array, "<f4")
    return {"shape": list(array.shape), "float32": base64.b64encode(values.tobytes()).decode()}


def _open(run: Run) -> Model:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    weights, description, result = run.weights(), run.description(), run.result()

    def session(every_layer: bool) -> Any:
        made = onnx_model(run.network, weights, every_layer=every_layer, uint8_input=True)
        return ort.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    return Model(
        re.sub(r"[^\w.@+-]", "-", run.folder.absolute().name),
        run.workflow,
        run.network,
        weights,
        description["data"]["name"],
        description["data"]["source"],
        tuple(description["data"]["class_names"]),
        result["test_accuracy"] if result else None,
        session(every_layer=False),
        session(every_layer=True),
    )
