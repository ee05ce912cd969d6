"""A side of an audit that is an ONNX file. It predicts and cannot train."""

from pathlib import Path

import numpy as np

from diptych.auditing.frameworks.onnx.reader import graph_of
from diptych.auditing.frameworks.onnx.submission import submission_of
from diptych.auditing.frameworks.onnx.trace import Trace
from diptych.auditing.graph import Arrays, Graph
from diptych.errors import InputError
from diptych.formats.onnx.opening import onnxruntime


class Adapter:
    """A side that is an ONNX file; see `diptych.auditing.frameworks.protocol`."""

    trains = False
    prepares = False
    targets = "classes"

    def __init__(self, path: str | Path) -> None:
        """Opens the file; raises InputError where it cannot be audited."""
        self.framework = f"ONNX (onnxruntime {onnxruntime.__version__})"
        self.submission = submission_of(path)
        self.trace = Trace(self.submission)

    def graph(self) -> Graph:
        return graph_of(self.submission.reader)

    def parameters(self) -> Arrays:
        return self.trace.parameters()

    def load(self, parameters: Arrays) -> None:
        self.trace.load(parameters)

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        """As the protocol says; a file has one mode, for training as well."""
        return self.trace.record(x)

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        return self.trace.run_node(name, inputs)

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        """As the protocol says; a file has one mode, for training as well."""
        return np.stack([self.trace.outputs(x) for _ in range(runs)])

    def twin(self) -> "Adapter":
        raise NotImplementedError("an ONNX file fixes the type of its tensors")

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        file, shape = self.submission.file, self.submission.reader.input.shape
        if images[0].size != np.prod(shape):
            raise InputError(
                f"{file.name} takes {shape}, which does not hold the {images[0].size} numbers "
                f"of an image: audit it against a side that says what data it takes"
            )
        x = images.reshape(-1, *shape)
        if file.dtype.kind == "f":
            x = (x * np.float32(1 / 255)).astype(np.float32)
        return x, labels.astype(np.int64)
