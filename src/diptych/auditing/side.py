"""One side of an audit: what was asked for, and the process in which it lives.

`Side` is the parent's view; the jobs at the end run in the child, on its adapter's `Adapter`.
"""

import contextlib
import importlib
import importlib.util
import inspect
import io
import linecache
import math
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych import zoo
from diptych.auditing.graph import Arrays, Graph
from diptych.errors import InputError
from diptych.runs import Run
from diptych.worker import Worker, WorkerError
from diptych.workflows import registry

BACKENDS = ("tensorflow", "torch", "jax")
LIMIT = 60.0
"""Seconds that a side may take for one answer."""
LARGEST = 512 * 2**20
"""Bytes of parameters that a side may have: an audit holds many copies of them, in float64 too."""
FORMS = (
    "WORKFLOW:NETWORK (such as keras:article), a run's folder, a .keras or .onnx file, "
    "or FILE.py:FUNCTION"
)


@dataclass(frozen=True)
class Spec:
    """What the user named, taken apart."""

    given: str
    form: str
    """``workflow``, ``run``, ``keras``, ``onnx`` or ``file``."""
    where: str
    """The workflow's name, the folder, or the file."""
    name: str = ""
    """The network or the function."""
    backend: str = "tensorflow"
    """For Keras."""


def parse(given: str) -> Spec:
    """Takes a side's specification apart, without running or importing anything.

    Raises:
        InputError: it is none of `FORMS`, or names what is not there.
    """
    text, backend = given, "tensorflow"
    for each in BACKENDS:  # keras@torch:article, model.keras@jax
        if f"@{each}" in text:
            text, backend = text.replace(f"@{each}", "", 1), each
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


def _of_run(given: str, folder: Path) -> Spec:
    run = Run.open(folder)
    backend = registry.backend(registry.check(run.workflow))
    return Spec(given, "run", str(folder.absolute()), backend=backend)


class Side:
    """One side: its process, and what it said of itself. Use it in a ``with`` statement.

    Every method raises InputError, with one line that names the side, when the side fails: its code
    raises, ends the process, or gives no answer in time.
    """

    def __init__(self, label: str, spec: Spec, limit: float = LIMIT) -> None:
        self.label, self.spec, self.limit = label, spec, limit
        environment = {"KERAS_BACKEND": spec.backend}
        if spec.form == "file":  # With it, TensorFlow refuses random numbers without a seed.
            environment["TF_DETERMINISTIC_OPS"] = "0"
        self.worker = Worker(environment)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()

    def open(self) -> None:
        """Builds the side in its process, and asks what it is."""
        told, self.own = self.ask("open", vars(self.spec))
        self.framework: str = told["framework"]
        self.trains: bool = told["trains"]
        self.prepares: bool = told["prepares"]
        self.targets: str = told["targets"]
        self.optimiser: dict[str, Any] = told["optimiser"]
        self.graph = Graph.from_dict(told["graph"])

    def ask(
        self, job: str, request: dict[str, Any] | None = None, arrays: Arrays | None = None
    ) -> tuple[dict[str, Any], Arrays]:
        """Has the side do one of the jobs below."""
        try:
            return self.worker.call(
                f"auditing.side:{job}_job", request or {}, arrays, limit=self.limit
            )
        except InputError as problem:
            raise InputError(f"{self.label} ({self.spec.given}): {problem}") from None
        except TimeoutError:
            raise InputError(
                f"{self.label} ({self.spec.given}): no answer in {self.limit:g} s while asked to "
                f"{job.replace('_', ' ')} (does it train or wait? --timeout gives it longer)"
            ) from None
        except WorkerError as problem:
            said = str(problem).splitlines()[0]
            if "process ended" in said:
                said += (
                    f" while asked to {job.replace('_', ' ')} (a side must stay alive: see that it "
                    f"neither ends its process nor runs out of memory)"
                )
            raise InputError(f"{self.label} ({self.spec.given}): {said}") from problem

    def load(self, parameters: Arrays) -> None:
        self.ask("load", {}, parameters)

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        return self.ask("record", {"training": training}, {"x": x})[1]

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        request = {"name": name, "training": training, "count": len(inputs)}
        arrays = {str(i): each for i, each in enumerate(inputs)}
        return self.ask("run_node", request, arrays)[1]["y"]

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answer = self.ask("prepare", {}, {"images": images, "labels": labels})[1]
        return answer["x"], answer["y"]

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        return self.ask("loss", {}, {"outputs": outputs, "targets": targets})[0]["loss"]

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        told, gradients = self.ask("gradients", {}, {"x": x, "targets": targets})
        return told["loss"], gradients

    def updates(self, gradients: list[Arrays]) -> list[Arrays] | None:
        """As the adapter's; None where the side's step cannot be given gradients."""
        told, arrays = self.ask("updates", {"steps": len(gradients)}, _joined(gradients))
        return None if told.get("unable") else _parted(arrays, len(gradients))

    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[list[float], list[Arrays]] | None:
        """As the adapter's; None where its dropout cannot be turned off."""
        parts = [{"x": x, "y": y} for x, y in batches]
        told, arrays = self.ask("steps", {"steps": len(batches)}, _joined(parts))
        return None if told.get("unable") else (told["losses"], _parted(arrays, len(batches)))

    def initial(self, draws: int) -> list[Arrays]:
        return _parted(self.ask("initial", {"draws": draws})[1], draws)

    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        told, arrays = self.ask("batches", {"count": count, "epochs": epochs})
        if told["sizes"] is None:
            return None
        flat = iter(_parted(arrays, sum(told["sizes"])))
        return [[(p["x"], p["y"]) for p in (next(flat) for _ in range(n))] for n in told["sizes"]]


def _joined(parts: list[Arrays]) -> Arrays:
    return {f"{i}|{name}": value for i, part in enumerate(parts) for name, value in part.items()}


def _parted(arrays: Arrays, count: int) -> list[Arrays]:
    parts: list[Arrays] = [{} for _ in range(count)]
    for key, value in arrays.items():
        number, name = key.split("|", 1)
        parts[int(number)][name] = value
    return parts


# In the child.

_model: Any = None
Answer = tuple[dict[str, Any], Arrays]


@contextlib.contextmanager
def _theirs() -> Iterator[None]:
    """Around calls into code that may be the user's: their prints go nowhere, and what they raise
    becomes one line that says where."""
    try:
        with contextlib.redirect_stdout(_Silent()), contextlib.redirect_stderr(_Silent()):
            yield
    except InputError:
        raise
    except (Exception, SystemExit) as problem:
        if isinstance(problem, MemoryError):
            raise InputError("it needs more memory than there is") from None
        # The last line of it: a SyntaxError's has the code above.
        what = " ".join(traceback.format_exception_only(problem)[-1].split())
        raise InputError(f"{_line(problem)}{what[:400]}") from problem


class _Silent(io.TextIOBase):
    """Takes whatever is printed, and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


_user_file = ""


def _line(problem: BaseException) -> str:
    """``file.py line 12: `` for the innermost line of the user's file, if it was in there."""
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{Path(problem.filename).name} line {problem.lineno}: "
    lines = [f for f in traceback.extract_tb(problem.__traceback__) if f.filename == _user_file]
    return f"{Path(_user_file).name} line {lines[-1].lineno}: " if lines else ""


def _load_file(path: str, function: str) -> Callable[[int], Any]:
    """The user's function, as an adapter's ``build``."""
    global _user_file
    _user_file = path
    linecache.checkcache(path)
    sys.path.insert(0, str(Path(path).parent))  # Files import their neighbours.
    spec = importlib.util.spec_from_file_location("audited", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["audited"] = module
    spec.loader.exec_module(module)
    build = getattr(module, function, None)
    if not callable(build):
        there = [
            name
            for name, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == "audited"
        ]
        raise InputError(
            f"no function {function or '(none given)'} in {Path(path).name} "
            f"(there are {', '.join(there) or 'none'})"
        )
    _check_takes_nothing(build, function)

    def built(seed: int) -> Any:
        given = build()
        return tuple(given) if isinstance(given, list) else given

    return built


def _check_takes_nothing(build: Callable[..., Any], function: str) -> None:
    try:
        inspect.signature(build).bind()
    except TypeError as problem:
        raise InputError(
            f"{Path(_user_file).name}: {function} takes arguments ({problem}); expected a function "
            f"that is called without any"
        ) from problem
    except ValueError:
        pass  # It has no signature to look at.


def _adapter_of(built: Any) -> str:
    """Which framework's people return such a thing."""
    first = built[0] if isinstance(built, tuple) and built else built
    modules = {each.__module__.split(".")[0] for each in type(first).__mro__}
    if "keras" in modules:
        return "keras"
    if "torch" in modules:
        return "torch"
    if all(hasattr(first, name) for name in ("variables", "loss", "step")):
        return "tensorflow"
    raise InputError(
        f"the function returned {_described(built)}; expected a compiled Keras model, "
        f"(torch.nn.Module, loss, optimizer), or an object with variables, loss(x, y) and "
        f"step(x, y)"
    )


def _count(built: Any) -> int:
    """How many numbers its parameters hold, as far as it says; nothing is copied or run."""
    first = built[0] if isinstance(built, tuple) and built else built
    named = getattr(first, "parameters", None)
    held: Any = named() if callable(named) else getattr(first, "weights", None)
    held = getattr(first, "variables", ()) if held is None else held
    values = held.values() if isinstance(held, dict) else held
    try:
        return sum(math.prod(int(size) for size in value.shape) for value in values)
    except (AttributeError, RuntimeError, TypeError):
        return 0  # Not what it looks like, or not built yet: the adapter says which.


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise InputError(
            f"its parameters take {size / 2**20:,.0f} MiB; an audit holds many copies of them "
            f"and takes up to {LARGEST // 2**20} MiB (audit it with fewer units)"
        )


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(each).__name__ for each in value) or 'nothing'}"
    return "None" if value is None else f"a {type(value).__name__}"


def _open(spec: Spec) -> Any:
    """The adapter's model of what was named."""

    def adapter(name: str) -> Any:
        return importlib.import_module(f"diptych.auditing.frameworks.{name}.adapter")

    if spec.form in ("workflow", "run"):
        from diptych.auditing.frameworks.ours import submission

        return submission.model(spec)
    if spec.form == "keras":
        keras = adapter("keras")
        return keras.Adapter(keras.from_file(spec.where))
    if spec.form == "onnx":
        return adapter("onnx").Adapter(spec.where)
    build = _load_file(spec.where, spec.name)
    first = build(0)
    _check_size(4 * _count(first))
    given = [first]  # What was built to see what it is need not be built again.
    return adapter(_adapter_of(first)).Adapter(lambda seed: given.pop() if given else build(seed))


def open_job(request: dict[str, Any], *_: object) -> Answer:
    global _model
    with _theirs():
        _model = _open(Spec(**request))
        parameters = _model.parameters()
        _check_size(sum(value.nbytes for value in parameters.values()))
        told = {
            "framework": _model.framework,
            "trains": _model.trains,
            "prepares": _model.prepares,
            "targets": _model.targets,
            "graph": _model.graph().to_dict(),
            "optimiser": _model.optimiser() if _model.trains else {},
        }
    return told, parameters


def load_job(_: dict[str, Any], arrays: Arrays, *__: object) -> Answer:
    with _theirs():
        _model.load(arrays)
    return {}, {}


def record_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    with _theirs():
        return {}, _model.record(arrays["x"], request["training"])


def run_node_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    inputs = [arrays[str(i)] for i in range(request["count"])]
    with _theirs():
        return {}, {"y": _model.run_node(request["name"], inputs, request["training"])}


def prepare_job(_: dict[str, Any], arrays: Arrays, *__: object) -> Answer:
    with _theirs():
        x, y = _model.prepare(arrays["images"], arrays["labels"])
    return {}, {"x": x, "y": y}


def loss_job(_: dict[str, Any], arrays: Arrays, *__: object) -> Answer:
    with _theirs():
        return {"loss": float(_model.loss(arrays["outputs"], arrays["targets"]))}, {}


def gradients_job(_: dict[str, Any], arrays: Arrays, *__: object) -> Answer:
    with _theirs():
        loss, gradients = _model.loss_and_gradients(arrays["x"], arrays["targets"])
    return {"loss": float(loss)}, gradients


def updates_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    with _theirs():
        try:
            return {}, _joined(_model.updates(_parted(arrays, request["steps"])))
        except NotImplementedError:
            return {"unable": True}, {}


def steps_job(request: dict[str, Any], arrays: Arrays, *_: object) -> Answer:
    batches = [(part["x"], part["y"]) for part in _parted(arrays, request["steps"])]
    with _theirs():
        try:
            losses, parameters = _model.steps(batches)
        except NotImplementedError:
            return {"unable": True}, {}
    return {"losses": [float(loss) for loss in losses]}, _joined(parameters)


def initial_job(request: dict[str, Any], *_: object) -> Answer:
    with _theirs():
        return {}, _joined(_model.initial(request["draws"]))


def batches_job(request: dict[str, Any], *_: object) -> Answer:
    with _theirs():
        epochs = _model.batches(request["count"], request["epochs"])
    if epochs is None:
        return {"sizes": None}, {}
    parts = [{"x": np.asarray(x), "y": np.asarray(y)} for epoch in epochs for x, y in epoch]
    return {"sizes": [len(epoch) for epoch in epochs]}, _joined(parts)
