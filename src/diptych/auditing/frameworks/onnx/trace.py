"""Running an ONNX file: all of it with every node recorded, one node, or as its user runs it."""

import numpy as np

from diptych.auditing.frameworks.onnx.submission import Submission
from diptych.auditing.graph import Arrays
from diptych.errors import InputError
from diptych.formats.onnx.opening import one_line, onnx, onnxruntime
from diptych.formats.onnx.views import View, Weight

Session = onnxruntime.InferenceSession


class Trace:
    """A file with its weights, which can be changed, and sessions that run it."""

    def __init__(self, submission: Submission) -> None:
        self.file, self.reader = submission.file, submission.reader
        self._recording: Session | None = None
        self._plain: Session | None = None

    def parameters(self) -> Arrays:
        """A copy of the parameters, by name."""
        return {
            name: as_float(weight.to_graph(self._stored(weight))).copy()
            for name, weight in self.reader.weights.items()
        }

    def load(self, parameters: Arrays) -> None:
        """Replaces parameters; the others stay."""
        for name, value in parameters.items():
            weight = self.reader.weights[name]
            stored = weight.from_graph(value, self._stored(weight))
            tensor = onnx.numpy_helper.from_array(stored, weight.initializer)
            self.file.constants[weight.initializer].CopyFrom(tensor)
        self._recording = self._plain = None

    def record(self, x: np.ndarray) -> Arrays:
        """The output of every node for inputs (n, …, channels)."""
        file, drafts = self.file, self.reader.drafts
        if self._recording is None:
            tensors = {draft.output.tensor for draft in drafts.values()}
            self._recording = file.session(tensors - {file.input})
        feed = self._feed(x)
        outputs = self._run(self._recording, {file.input: feed}, file.batch) | {file.input: feed}
        return {
            name: _array(draft.output, outputs[draft.output.tensor])
            for name, draft in drafts.items()
        }

    def run_node(self, name: str, inputs: list[np.ndarray]) -> np.ndarray:
        """The output of one node for other inputs."""
        draft, samples = self.reader.drafts[name], self.file.samples
        feeds = {
            view.tensor: view.from_graph(array, samples[view.tensor])
            for view, array in zip(draft.inputs, inputs, strict=True)
        }
        output = draft.output
        if output.tensor in feeds:
            return _array(output, feeds[output.tensor])
        session = self.file.part(list(feeds), output.tensor)
        size = len(samples[self.file.input])
        return _array(output, self._run(session, feeds, size)[output.tensor])

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """The file's output as ONNX Runtime gives it by default, with operations fused."""
        file = self.file
        if self._plain is None:
            try:
                serialized = file.model.SerializeToString()
                self._plain = Session(serialized, providers=["CPUExecutionProvider"])
            except Exception as problem:
                raise InputError(
                    f"ONNX Runtime does not take the file: {one_line(problem)}"
                ) from problem
        outputs = self._run(self._plain, {file.input: self._feed(x)}, file.batch)
        return _array(self.reader.views[file.output], outputs[file.output])

    def _feed(self, x: np.ndarray) -> np.ndarray:
        return self.reader.input.from_graph(x, self.file.samples[self.file.input])

    def _stored(self, weight: Weight) -> np.ndarray:
        return onnx.numpy_helper.to_array(self.file.constants[weight.initializer])

    def _run(self, session: Session, feeds: Arrays, size: int | None) -> Arrays:
        """Runs a session on all examples, or on ``size`` at a time with the last one repeated."""
        if size is None:
            return self.file.run(session, feeds)
        axes = {name: self._examples_axis(name) for name in feeds}
        count = next(value.shape[axes[name]] for name, value in feeds.items())
        parts = []
        for start in range(0, count, size):
            which = np.minimum(np.arange(start, start + size), count - 1)
            some = {name: value.take(which, axes[name]) for name, value in feeds.items()}
            parts.append(self.file.run(session, some))
        return {
            name: np.concatenate([part[name] for part in parts], axis).take(range(count), axis)
            for name in parts[0]
            for axis in [self._examples_axis(name)]
        }

    def _examples_axis(self, tensor: str) -> int:
        return self.reader.views[tensor].axes.index(0)


def _array(view: View, tensor: np.ndarray) -> np.ndarray:
    return as_float(np.ascontiguousarray(view.to_graph(tensor)))


def as_float(array: np.ndarray) -> np.ndarray:
    """Numbers as float32, or as float64 where the file has that."""
    return array if array.dtype == np.float64 else array.astype(np.float32)
