"""A run as the server holds it: two ONNX sessions, one for answers, one for every layer."""

import base64
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from diptych.errors import InputError
from diptych.formats.onnx.model import layer_output, onnx_model
from diptych.network import Network, Weights
from diptych.runs import Run, find
from diptych.snapshots import read_snapshot, snapshot_steps

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
    origin: str
    """The source: its run's folder, or that it is built in."""
    trained: bool
    """True where its training had ended when it was opened; else its newest snapshot is shown."""
    _run: Run
    _answers: Any
    _layers: Any
    _others: dict[int | None, "Model"] = field(default_factory=dict, repr=False)
    """As it was after some steps and, under None, as it is if its training ended meanwhile."""

    def after(self, step: int | None) -> "Model":
        """The model as it was in its training: as the last snapshot up to that step has it.

        Where no step is given, or no snapshot is so early, the trained model; while it trains, as
        the newest snapshot has it.
        """
        steps = [taken for taken in self.snapshots if step is None or taken <= step]
        if self.trained and (step is None or not steps):
            return self
        ended = not self.trained and step is None and self._run.status == "done"
        key = None if ended else steps[-1]
        if key not in self._others:
            weights = self._run.weights() if key is None else read_snapshot(self._run, key)
            answers, layers = _sessions(self.network, weights)
            self._others[key] = replace(
                self, weights=weights, _answers=answers, _layers=layers, _others={}
            )
        return self._others[key]

    @property
    def snapshots(self) -> list[int]:
        """The steps of its training after which there are weights to look at, so far."""
        return snapshot_steps(self._run)

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
        """Its description in `GET /models`."""
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
            "origin": self.origin,
            "snapshots": self.snapshots,
            "training": not self.trained and self._run.status != "done",
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


def newest_runs(root: Path, most: int) -> list[Run]:
    """The newest finished runs below a folder that go together with the newest of all.

    Args:
        root: the folder that holds the runs; it may be missing.
        most: how many at most.
    """
    finished = [run for run in reversed(find(root)) if run.status == "done"]
    return [run for run in finished if _task(run) == _task(finished[0])][:most]


def _task(run: Run) -> tuple[Any, ...]:
    data = run.description()["data"]
    return run.network.input_shape, data["name"], tuple(data["class_names"])


def embedded_runs() -> list[Run]:
    """The runs inside the package."""
    return [Run(path.parent) for path in sorted(EMBEDDED.glob("*/run.json"), reverse=True)]


def as_base64(array: np.ndarray) -> dict[str, Any]:
    """Shape and little-endian float32 values, as the API sends arrays that are large."""
    values = np.ascontiguousarray(array, "<f4")
    return {"shape": list(array.shape), "float32": base64.b64encode(values.tobytes()).decode()}


def _open(run: Run) -> Model:
    description, result, steps = run.description(), run.result(), snapshot_steps(run)
    trained = run.status == "done" or not steps
    weights = run.weights() if trained else read_snapshot(run, steps[-1])
    answers, layers = _sessions(run.network, weights)
    return Model(
        re.sub(r"[^\w.@+-]", "-", run.folder.absolute().name),
        run.workflow,
        run.network,
        weights,
        description["data"]["name"],
        description["data"]["source"],
        tuple(description["data"]["class_names"]),
        result["test_accuracy"] if result else None,
        "built in" if run.folder.parent == EMBEDDED else str(run.folder),
        trained,
        run,
        answers,
        layers,
    )


def _sessions(network: Network, weights: Weights) -> tuple[Any, Any]:
    """The network in ONNX Runtime: for its logits alone, and for every layer's output."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3

    def session(every_layer: bool) -> Any:
        made = onnx_model(network, weights, every_layer=every_layer, uint8_input=True)
        return ort.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    return session(every_layer=False), session(every_layer=True)
