"""One side of an audit: its process, and its answers to questions."""

import os
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from diptych import machine
from diptych.auditing import jobs
from diptych.auditing.gradients import Plan
from diptych.auditing.graph import INPUT, Arrays, Graph
from diptych.auditing.messages import PREDICTIONS, joined, parted
from diptych.auditing.spec import Spec
from diptych.errors import InputError
from diptych.worker import Worker, WorkerError

LIMIT = 120.0
"""Seconds that a side may take for one answer. A framework that is imported and a network that is
compiled take 20 s alone, and several times as long on a busy machine."""
FAILED = "the worker process failed: "
"""The prefix of messages of `diptych.worker` about exceptions that are not the user's."""
FAULT = "an error in the audit itself"
COMPILING = 5
"""The factor of the time limit if each shape is compiled first."""
FOLLOWING = 5
"""The factor of the time limit while rates are followed: its steps are bounded by an estimate, and
a busy machine takes longer than that."""
RUNS = 64
"""The number of runs of a network in one answer."""
Batch = tuple[np.ndarray, np.ndarray]
T = TypeVar("T")
Ask = Callable[..., tuple[dict[str, Any], Arrays]]


class Unable(Exception):
    """A side cannot answer a question, with the reason."""


class Fault(Unable):
    """An error in the audit itself while it asked a side."""


class Failed(InputError):
    """A side's code raised an error; its process can still answer other questions."""


@dataclass
class Path:
    """The path of a side in training steps."""

    losses: np.ndarray
    """(steps,)."""
    weights: Arrays
    """The watched values before the first step and after each, by name (steps + 1, watched)."""
    predictions: np.ndarray | None
    """The outputs after the last step, with the weights before the first; None if the side cannot
    give them."""
    silenced: bool
    """True if random numbers of the network were switched off in the steps."""


class Answers:
    """The questions that a side answers, be it as it is or by its float64 twin.

    Every method raises InputError, with one line that names the side, when the side fails: its code
    raises, ends the process, or gives no answer in time. It raises `Unable` where the side's
    framework or code does not let itself be asked this.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def load(self, parameters: Arrays) -> None:
        """Puts these parameters in; the others stay."""
        self.ask("load", {}, parameters)

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        """The output of every node; see `diptych.auditing.frameworks.protocol.Adapter.record`."""
        return self.ask("record", {"training": training}, {"x": x})[1]

    def outputs(self, x: np.ndarray, training: bool, runs: int = 1) -> np.ndarray:
        """The outputs of the network as its user calls it, (runs, n, …)."""
        parts = []
        for start in range(0, runs, RUNS):
            request = {"training": training, "runs": min(RUNS, runs - start)}
            parts.append(self.ask("outputs", request, {"x": x})[1]["y"])
        return np.concatenate(parts)

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        """The output of one node for other inputs."""
        request = {"name": name, "training": training, "count": len(inputs)}
        arrays = {str(i): array for i, array in enumerate(inputs)}
        return self.ask("run_node", request, arrays)[1]["y"]

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        """The side's inputs and targets for raw images and labels."""
        answer = self.ask("prepare", {}, {"images": images, "labels": labels})[1]
        return answer["x"], answer["y"]

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """The training loss for these outputs of the network."""
        return self.ask("loss", {}, {"outputs": outputs, "targets": targets})[0]["loss"]

    def losses(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The training loss of each of several batches, (batches,); both (batches, n, …)."""
        answer = self.ask("losses", {}, {"outputs": outputs, "targets": targets})[0]
        return np.array(answer["losses"], np.float64)

    def loss_and_gradients(
        self, x: np.ndarray, targets: np.ndarray, draw: int = 0
    ) -> tuple[float, Arrays]:
        """The loss and its gradients in training, with dropout off.

        Random numbers that the side's code draws differ for different values of ``draw``.
        """
        answer, gradients = self.ask("gradients", {"draw": draw}, {"x": x, "targets": targets})
        return answer["loss"], gradients

    def drawn_gradients(
        self, x: np.ndarray, targets: np.ndarray, draw: int
    ) -> tuple[float, Arrays]:
        """The loss and its gradients in training, with dropout on; ``draw`` as in
        `loss_and_gradients`."""
        request, arrays = {"draw": draw}, {"x": x, "targets": targets}
        answer, gradients = self.ask("drawn_gradients", request, arrays)
        return answer["loss"], gradients

    def updates(self, plan: Plan, draw: int = 0) -> Arrays:
        """The watched values before and after each step of a fresh optimiser, by name
        (steps + 1, watched); ``draw`` as in `loss_and_gradients`."""
        request, arrays = plan.to_message()
        return self.ask("updates", request | {"draw": draw}, arrays)[1]

    def updates_on(self, gradients: list[Arrays]) -> list[Arrays]:
        """The parameters after each step of a fresh optimiser with these gradients."""
        arrays = self.ask("updates_on", {"steps": len(gradients)}, joined(gradients))[1]
        return parted(arrays, len(gradients))

    def steps(self, batches: list[Batch], steps: int, places: Arrays) -> tuple[np.ndarray, Arrays]:
        """Training steps with a fresh optimiser and with dropout off.

        Args:
            batches: what is trained on, over and over.
            steps: how many steps.
            places: by parameter, the flat indices of the watched numbers.

        Returns:
            The loss before each step (steps,), and the watched numbers before the first step and
            after each, by name (steps + 1, watched).
        """
        answer, watched = self.ask("steps", *_steps(batches, steps, places))
        return np.array(answer["losses"], np.float64), watched

    def path(
        self,
        batches: list[Batch],
        steps: int,
        places: Arrays,
        x: np.ndarray,
        averages: Collection[str],
    ) -> Path:
        """As `steps`, and what the side predicts for ``x`` afterwards with the loaded weights and
        the moving averages of these names."""
        request, arrays = _steps(batches, steps, places)
        request["averages"] = sorted(averages)
        answer, watched = self.ask("path", request, arrays | {"x": x})
        predictions = watched.pop(PREDICTIONS, None)
        losses = np.array(answer["losses"], np.float64)
        return Path(losses, watched, predictions, answer.get("silenced", False))

    def later_outputs(
        self, batches: list[Batch], steps: int, x: np.ndarray, targets: np.ndarray, seeds: range
    ) -> np.ndarray:
        """The network's outputs in the training steps that follow so many on the batches, with the
        loaded parameters and with dropout on, (seeds, n, …)."""
        arrays = joined([{"x": x, "y": y} for x, y in batches]) | {"x": x, "targets": targets}
        request = {"batches": len(batches), "steps": steps}
        request |= {"first": seeds.start, "runs": len(seeds)}
        return self.ask("later_outputs", request, arrays)[1]["y"]

    def own_code(self, x: np.ndarray, targets: np.ndarray) -> dict[str, bool]:
        """Shows whether the user's code runs in ``steps`` and in ``updates``."""
        return self.ask("own_code", {}, {"x": x, "y": targets})[0]

    def initial(self, draws: int) -> list[Arrays]:
        """The parameters of several fresh builds."""
        return parted(self.ask("initial", {"draws": draws})[1], draws)

    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        """The batches of some epochs over examples that are their own number; None if the side does
        not define its batches."""
        return _epochs(*self.ask("batches", {"count": count, "epochs": epochs}))

    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        """Like `batches`, for these examples."""
        return _epochs(*self.ask("batches", {"epochs": epochs}, {"x": x, "y": y}))

    def plan(self) -> dict[str, Any]:
        """``horizon`` and ``settings`` from the adapter, or ``{"unable": reason}`` for each."""
        return self.ask("plan")[0]

    def rates(self, steps: int) -> tuple[np.ndarray, int, str]:
        """The learning rates at every change, float64 (changes, 1 + groups): the step, then one
        rate per group; the number of steps that were followed, and the reason if they are fewer."""
        answer, arrays = self.ask("rates", {"steps": steps})
        return arrays["rates"], answer.get("steps", steps), answer.get("reason", "")


def _steps(batches: list[Batch], steps: int, places: Arrays) -> tuple[dict[str, Any], Arrays]:
    """The request for training steps, and its arrays."""
    arrays = joined([{"x": x, "y": y} for x, y in batches])
    arrays |= {f"n|{name}": indices for name, indices in places.items()}
    return {"batches": len(batches), "steps": steps}, arrays


def _epochs(answer: dict[str, Any], arrays: Arrays) -> list[list[Batch]] | None:
    if answer["sizes"] is None:
        return None
    flat = iter(parted(arrays, sum(answer["sizes"])))
    return [
        [(part["x"], part["y"]) for part in (next(flat) for _ in range(size))]
        for size in answer["sizes"]
    ]


class Side(Answers):
    """One side: its process, and the facts that it gave of itself. Use it in a ``with`` statement.

    Raises:
        InputError: as `Answers` says.
    """

    def __init__(
        self,
        label: str,
        spec: Spec,
        limit: float = LIMIT,
        worker: Callable[[], Any] | None = None,
    ) -> None:
        """Starts the side's process, unless another worker is passed."""
        super().__init__(self._ask)
        self.label, self.spec = label, spec
        self.limit = COMPILING * limit if spec.compiled else limit
        environment = {"KERAS_BACKEND": spec.backend}
        if not spec.command:  # A command may start the process on a machine with other cores.
            environment |= _share_of_cores()
        if spec.form == "file":  # With it, TensorFlow refuses random numbers without a seed.
            environment["TF_DETERMINISTIC_OPS"] = "0"
        self.worker = worker() if worker else Worker(environment, spec.python, spec.command)
        self._lock = threading.Lock()
        self.twin: Answers | None = None
        """The side's float64 twin, after `open_twin`, if there is one."""
        self.no_twin = "not asked for"
        """Why there is no twin."""

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the side's process and all processes that it started."""
        self.worker.close()

    def open(self) -> None:
        """Builds the side in its process and gets its description."""
        facts, self.own = self.ask("open", vars(self.spec))
        self.framework: str = facts["framework"]
        self.trains: bool = facts["trains"]
        self.prepares: bool = facts["prepares"]
        self.targets: str = facts["targets"]
        self.optimiser: dict[str, Any] = facts["optimiser"]
        self.data: dict[str, Any] = facts["data"]
        """Statistics of the user's whole data; see `diptych.auditing.frameworks.defaults`."""
        self.whole = [(int(start), int(stop)) for start, stop in facts["whole"]]
        """The columns of packed inputs that hold integers."""
        self.packed_inputs: list[tuple[int, ...]] = [
            tuple(shape) for shape in facts.get("packed_inputs", [])
        ]
        """The shapes of packed inputs, without the batch; none if there is one input."""
        self.packed_targets: list[tuple[int, ...]] = [
            tuple(s) for s in facts.get("packed_targets", [])
        ]
        """The same for packed targets."""
        self.loss_words: str = facts["loss"]
        self.lacks: list[str] = facts.get("lacks", [])
        """The optional methods that the side's adapter lacks; see `diptych.auditing.jobs`."""
        self.graph = Graph.from_dict(facts["graph"])

    def open_twin(self) -> Answers | None:
        """Builds the side's float64 twin if possible; otherwise `no_twin` has the reason."""

        def ask(job: str, request: dict[str, Any] | None = None, arrays: Arrays | None = None):
            return self._ask(job, (request or {}) | {"twin": True}, arrays)

        try:
            dtypes = ask("twin")[0]["dtypes"]
        except Unable as reason:
            self.no_twin = str(reason)
            return None
        coarse = [name for name, dtype in dtypes.items() if dtype in ("float32", "float16")]
        if coarse:
            self.no_twin = f"{', '.join(coarse[:3])} stayed in {dtypes[coarse[0]]}"
            return None
        self.twin, self.no_twin = Answers(ask), ""
        return self.twin

    def _ask(
        self, job: str, request: dict[str, Any] | None = None, arrays: Arrays | None = None
    ) -> tuple[dict[str, Any], Arrays]:
        """Runs one of `diptych.auditing.jobs` in the side's process."""
        doing = job.replace("_", " ")
        limit = self.limit * (FOLLOWING if job == "rates" else 1)
        try:
            with self._lock:  # Its process does one thing at a time.
                answer, result = self.worker.call(
                    getattr(jobs, f"{job}_job"),
                    request or {},
                    arrays,
                    limit=limit,
                    stops=False,
                )
        except InputError as problem:
            if request and request.get("twin"):  # The side itself may be as good as any.
                raise Unable(f"its float64 twin fails: {problem}") from None
            raise Failed(f"{self.label} ({self.spec.given}): {problem}") from None
        except TimeoutError:
            raise InputError(
                f"{self.label} ({self.spec.given}): no answer in {limit:g} s while asked to "
                f"{doing} (does it train or wait? --timeout raises the limit)"
            ) from None
        except WorkerError as problem:
            told = str(problem).splitlines()[0]
            if told.startswith(FAILED) and job != "open":
                fault = f"{FAULT}: {told.removeprefix(FAILED)} ({self.label}, asked to {doing})"
                raise Fault(fault) from problem
            if told.startswith(FAILED):
                told = f"{FAULT}: {told.removeprefix(FAILED)}"
            if "process ended" in told:
                told += (
                    f" while asked to {doing} (it must not end its process or run out of memory)"
                )
            raise InputError(f"{self.label} ({self.spec.given}): {told}") from problem
        if "unable" in answer:
            raise Unable(answer["unable"])
        return answer, result


def _share_of_cores() -> dict[str, str]:
    """Environment variables for one of two processes that compute at the same time.

    With one thread per core in both, they would wait for each other. Variables that the user has
    set are not changed.
    """
    share = machine.thread_variables(max(1, machine.cores() // 2))
    return {name: value for name, value in share.items() if name not in os.environ}


def recorded(sides: dict[str, Side], x: dict[str, np.ndarray], training: bool) -> dict[str, Arrays]:
    """The outputs of all nodes of both sides, with their inputs as `INPUT`."""
    records = at_once(sides, lambda which: sides[which].record(x[which], training))
    return {which: record | {INPUT: x[which]} for which, record in records.items()}


def at_once(sides: dict[str, Side], question: Callable[[str], T]) -> dict[str, T]:
    """Asks all sides at the same time, and returns their answers by name.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; the sides' processes have ended.
    """
    with ThreadPoolExecutor(len(sides)) as pool:
        try:
            asked = {name: pool.submit(question, name) for name in sides}
            return {name: future.result() for name, future in asked.items()}
        except KeyboardInterrupt:  # Or it would be waited for the answers.
            for side in sides.values():
                side.close()
            raise
