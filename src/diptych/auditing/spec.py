"""What a person may name as a side of an audit, and how it is taken apart.

Nothing is imported or run for it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from diptych.errors import InputError

BACKENDS = ("tensorflow", "torch", "jax")
FORMS = (
    "WORKFLOW:NETWORK (such as keras:article), a run's folder, a .keras or .onnx file, "
    "or FILE.py:FUNCTION"
)


@dataclass(frozen=True)
class Spec:
    """A side as the user named it, taken apart."""

    given: str
    form: str
    """``workflow``, ``run``, ``keras``, ``onnx`` or ``file``."""
    where: str
    """The workflow's name, the folder, or the file."""
    name: str = ""
    """The network or the function; for a run, the arithmetic to audit it in, if not its own."""
    backend: str = "tensorflow"
    """For Keras."""
    compiled: bool = False
    """Whether what the function returns is to be compiled by its framework."""


def parse(given: str) -> Spec:
    """Takes a side's specification apart, without running or importing anything.

    Raises:
        InputError: it is none of `FORMS`, or names what is not there.
    """
    # Not at the top: the process of a side imports this module, and has no pydantic.
    from diptych import zoo
    from diptych.workflows import registry

    text, backend = given, "tensorflow"
    for name in BACKENDS:  # keras@torch:article, model.keras@jax
        if f"@{name}" in text:
            text, backend = text.replace(f"@{name}", "", 1), name
    path = Path(text)
    if path.suffix in (".keras", ".onnx"):
        if not path.is_file():
            raise InputError(f"{given}: no such file")
        return Spec(given, path.suffix[1:], str(path.absolute()), backend=backend)
    if path.suffix in (".h5", ".hdf5", ".pt", ".pth", ".pb", ".tflite"):
        raise InputError(
            f"{given}: a {path.suffix} file cannot be audited; expected {FORMS} (for weights in "
            f"other files, write a function that builds the model and loads them)"
        )
    file, _, function = text.rpartition(":")
    if file.endswith(".py"):
        if not Path(file).is_file():
            raise InputError(f"{given}: no file {file}")
        return Spec(given, "file", str(Path(file).absolute()), function, backend)
    if path.suffix == ".py":
        raise InputError(f"{given}: which function? Expected {given}:FUNCTION")
    if (path / "run.json").is_file():
        return _of_run(given, path)
    if (Path("runs") / path / "run.json").is_file():
        return _of_run(given, Path("runs") / path)
    name, _, network = given.rpartition(":")
    if name:
        name = registry.check(name)
        zoo.read("networks", network)
        return Spec(given, "workflow", name, network, registry.backend(name))
    raise InputError(f"{given}: nothing of that name; expected {FORMS}")


def compiled(spec: Spec) -> Spec:
    """The same side, compiled.

    Raises:
        InputError: it is not a user's function.
    """
    if spec.form != "file":
        raise InputError(f"{spec.given}: cannot be compiled; expected FILE.py:FUNCTION")
    return replace(spec, given=f"{spec.given}, compiled", compiled=True)


def _of_run(given: str, folder: Path) -> Spec:
    from diptych.runs import Run
    from diptych.workflows import registry

    run = Run.open(folder)
    backend = registry.backend(registry.check(run.workflow))
    return Spec(given, "run", str(folder.absolute()), backend=backend)
