"""An ONNX file as a side of an audit, checked."""

from dataclasses import dataclass
from pathlib import Path

from diptych.formats.onnx.file import File
from diptych.formats.onnx.reader import Reader, reading


@dataclass(frozen=True)
class Submission:
    """A file that can be run, and what its operations mean."""

    file: File
    reader: Reader


def submission_of(path: str | Path) -> Submission:
    """Opens a file and reads its operations.

    Raises:
        InputError: it is no file that `File` and `reading` accept.
    """
    file = File(path)
    return Submission(file, reading(file))
