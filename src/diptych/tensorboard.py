"""Event files for TensorBoard: scalars, the graph, histograms of weights, misread images.

They lie in ``tensorboard/`` of a run's folder, so ``tensorboard --logdir runs`` shows all runs. The
parent writes them from what a training reports, with TensorBoard's own protocol buffers and record
writer; neither TensorFlow nor any other framework is loaded for it.
"""

# The protocol buffers' classes are made at run time, where pyright does not see them.
# pyright: reportAttributeAccessIssue=false

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from diptych import extras
from diptych.data import load_data
from diptych.data.pictures import to_png
from diptych.events import Done, EpochEnded, Event, WeightsSummarised
from diptych.network import Network
from diptych.runs import TENSORBOARD, Run

BINS = 30
MOST_IMAGES = 40
"""Misread images that are written, the first of the test set."""
SCALARS = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "loss/last_batch": "last_batch_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "accuracy/last_batch": "last_batch_accuracy",
    "seconds/train": "train_seconds",
    "seconds/validation": "validation_seconds",
}
"""TensorBoard's names, and what a run's metrics call the same."""


def check() -> None:
    """Raises InputError where TensorBoard is not installed."""
    extras.require("--tensorboard", "tensorboard")


def histogram(values: np.ndarray) -> dict[str, Any]:
    """A histogram of an array's values for TensorBoard, as plain data."""
    flat = np.asarray(values, np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        flat = np.zeros(1)
    counts, edges = np.histogram(flat, BINS)
    return {
        "min": float(flat.min()),
        "max": float(flat.max()),
        "num": float(flat.size),
        "sum": float(flat.sum()),
        "sum_squares": float(np.square(flat).sum()),
        "bucket_limit": edges[1:].tolist(),
        "bucket": counts.astype(float).tolist(),
    }


class Events:
    """Writes one run's event file; call it with what the training reports.

    A run that is resumed gets a further file, as TensorBoard expects it. What was measured and not
    written, because a process was killed, is written then.
    """

    def __init__(self, run: Run) -> None:
        check()
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.run, folder = run, run.folder / TENSORBOARD
        known = _steps(folder)
        folder.mkdir(exist_ok=True)
        # TensorBoard finds event files by this name and reads them in its order.
        stamp = f"{time.time_ns() / 1e9:017.6f}"
        name = f"events.out.tfevents.{stamp}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self._event(file_version="brain.Event:2")
        if not known:
            self._event(graph_def=graph(run.network).SerializeToString())
        for epoch in run.metrics():
            if epoch["epoch"] not in known:
                self._scalars(epoch)

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self._records.close()

    def __call__(self, event: Event) -> None:
        match event:
            case EpochEnded():
                self._scalars(asdict(event.measured))
            case WeightsSummarised():
                self._histograms(event.epoch, event.histograms)
            case Done():
                self._finished(event.epoch_of_the_weights, event.test_accuracy)

    def write_ending(self) -> None:
        """The events at the end of a finished run: its result and its final weights."""
        result = self.run.result() or {}
        epoch = result["epoch_of_the_weights"]
        weights = {name: histogram(values) for name, values in self.run.weights().items()}
        self._histograms(epoch, weights)
        self._finished(epoch, result["test_accuracy"])

    def _event(self, step: int = 0, **what: Any) -> None:
        from tensorboard.compat.proto import event_pb2

        event = event_pb2.Event(wall_time=time.time(), step=step, **what)
        self._records.write(event.SerializeToString())
        self._records.flush()

    def _summary(self, step: int, values: list[dict[str, Any]]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(**value) for value in values])
        self._event(step, summary=summary)

    def _scalars(self, epoch: dict[str, Any]) -> None:
        values = [{"tag": tag, "simple_value": epoch[key]} for tag, key in SCALARS.items()]
        self._summary(epoch["epoch"], values)

    def _histograms(self, epoch: int, found: dict[str, dict[str, Any]]) -> None:
        from tensorboard.compat.proto.summary_pb2 import HistogramProto

        values = [{"tag": name, "histo": HistogramProto(**one)} for name, one in found.items()]
        self._summary(epoch, values)

    def _finished(self, epoch: int, test_accuracy: float) -> None:
        value = {"tag": "accuracy/test", "simple_value": test_accuracy}
        self._summary(epoch, [value])
        for misread in self._misread():
            self._summary(epoch, [misread])

    def _misread(self) -> Iterator[dict[str, Any]]:
        """The misread test images, as TensorBoard's images."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        logits, labels = self.run.predictions()
        description = self.run.description()["data"]
        images = load_data(description["source"]).test.images
        names, read = description["class_names"], logits.argmax(axis=1)
        for number in np.flatnonzero(read != labels)[:MOST_IMAGES]:
            height, width, channels = images[number].shape
            said, true = names[read[number]], names[labels[number]]
            yield {
                "tag": f"misread/{true} read as {said}, test image {number}",
                "image": Summary.Image(
                    height=height,
                    width=width,
                    colorspace=channels if channels in (3, 4) else 1,
                    encoded_image_string=to_png(images[number]),
                ),
            }


def graph(network: Network) -> Any:
    """The network's layers and weights as a TensorFlow ``GraphDef``, for TensorBoard to draw.

    It is the description's graph, the same whichever workflow trains it, and not the many
    operations that a framework makes of it.
    """
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef

    nodes = [NodeDef(name="input", op="Placeholder", attr=_shape((None, *network.input_shape)))]
    last = "input"
    for layer, before, after in network.steps():
        weights = [
            NodeDef(name=f"{layer.name}/{name}", op="VariableV2", attr=_shape(shape))
            for name, shape in layer.weight_shapes(before).items()
        ]
        values = layer.model_dump(exclude={"name", "kind"}, exclude_none=True)
        node = NodeDef(
            name=f"{layer.name}/{layer.kind}",
            op=layer.kind,
            input=[last, *(weight.name for weight in weights)],
            attr=_shape((None, *after)) | {key: _value(value) for key, value in values.items()},
        )
        nodes += [*weights, node]
        last = node.name
    return GraphDef(node=nodes)


def _shape(shape: tuple[int | None, ...]) -> dict[str, Any]:
    """The attribute by which TensorBoard knows a node's output shape; None is any size."""
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    dims = [TensorShapeProto.Dim(size=-1 if size is None else size) for size in shape]
    shapes = AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)])
    return {"_output_shapes": AttrValue(list=shapes)}


def _value(value: Any) -> Any:
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue

    return AttrValue(s=str(value).encode())


def _steps(folder: Path) -> set[int]:
    """The epochs whose scalars are in the event files of a folder."""
    if not folder.is_dir():
        return set()
    steps = set()
    for file in filter(Path.is_file, folder.glob("events.out.tfevents.*")):
        for event in _events(file):
            if any(value.tag == "loss/train" for value in event.summary.value):
                steps.add(event.step)
    return steps


def _events(file: Path) -> Iterator[Any]:
    """The whole events of a file, up to one that a killed process left unfinished.

    TensorBoard's `EventFileLoader` would load TensorFlow, where that is installed; this is the
    reader that it uses where it is not.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.errors import DataLossError, OutOfRangeError
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader = PyRecordReader_New(str(file))
    with suppress(OutOfRangeError, DataLossError):
        while True:
            reader.GetNext()
            yield Event.FromString(reader.record())
