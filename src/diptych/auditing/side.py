"""One side of an audit, as the audit sees it: a process that is asked, and its answers."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from diptych import machine
from diptych.auditing.gradients import Plan
from diptych.auditing.graph import Arrays, Graph
from diptych.auditing.messages import joined, parted
from diptych.auditing.spec import Spec
from diptych.errors import InputError
from diptych.worker import Worker, WorkerError

LIMIT = 60.0
"""Seconds that a side may take for one answer."""
FAILED = "the worker process failed: "
"""How `diptych.worker` begins to tell of an exception that is not the user's."""
FAULT = "a fault of this program"
COMPILING = 5
"""How many times as long one answer may take where each shape is compiled first."""
RUNS = 64
"""Runs of a network in one answer."""
Batch = tuple[np.ndarray, np.ndarray]
T = TypeVar("T")
Ask = Callable[..., tuple[dict[str, Any], Arrays]]


class Unable(Exception):
    """A side cannot be asked such a thing; says why."""


class Fault(Unable):
    """This program failed while it asked a side; says how. It is no fault of the user's."""


class Failed(InputError):
    """A side's code raised something; its process lives on and can be asked other things."""


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
        """Every node's output; see `diptych.auditing.frameworks.protocol.Adapter.record`."""
        return self.ask("record", {"training": training}, {"x": x})[1]

    def outputs(self, x: np.ndarray, training: bool, runs: int = 1) -> np.ndarray:
        """What the network gives as its user calls it, (runs, n, …)."""
        parts = []
        for start in range(0, runs, RUNS):
            request = {"training": training, "runs": min(RUNS, runs - start)}
            parts.append(self.ask("outputs", request, {"x": x})[1]["y"])
        return np.concatenate(parts)

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        """One node's output for other inputs."""
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
        """The loss and its gradients in training, with dropout off. Random numbers that the side's
        own code draws are others for another ``draw``."""
        answer, gradients = self.ask("gradients", {"draw": draw}, {"x": x, "targets": targets})
        return answer["loss"], gradients

    def updates(self, plan: Plan, draw: int = 0) -> Arrays:
        """The watched numbers before and after each step of a fresh optimiser, by name
        (steps + 1, watched); ``draw`` as in `loss_and_gradients`."""
        request, arrays = plan.to_message()
        return self.ask("updates", request | {"draw": draw}, arrays)[1]

    def updates_on(self, gradients: list[Arrays]) -> list[Arrays]:
        """The parameters after each step of a fresh optimiser on these gradients."""
        arrays = self.ask("updates_on", {"steps": len(gradients)}, joined(gradients))[1]
        return parted(arrays, len(gradients))

    def steps(self, batches: list[Batch], steps: int, places: Arrays) -> tuple[np.ndarray, Arrays]:
        """Real training steps with a fresh optimiser and dropout off.

        Args:
            batches: what is trained on, over and over.
            steps: how many steps.
            places: by parameter, the flat indices of the watched numbers.

        Returns:
            The loss before each step (steps,), and the watched numbers before the first step and
            after each, by name (steps + 1, watched).
        """
        arrays = joined([{"x": x, "y": y} for x, y in batches])
        arrays |= {f"n|{name}": indices for name, indices in places.items()}
        request = {"batches": len(batches), "steps": steps}
        answer, watched = self.ask("steps", request, arrays)
        return np.array(answer["losses"], np.float64), watched

    def own_code(self, x: np.ndarray, targets: np.ndarray) -> dict[str, bool]:
        """Whether code of the user's runs in ``steps`` and in ``updates``."""
        return self.ask("own_code", {}, {"x": x, "y": targets})[0]

    def initial(self, draws: int) -> list[Arrays]:
        """The parameters of several fresh builds."""
        return parted(self.ask("initial", {"draws": draws})[1], draws)

    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        """The batches of some epochs over examples that are their own number; None where the side
        does not say how it makes batches."""
        return _epochs(*self.ask("batches", {"count": count, "epochs": epochs}))

    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        """As `batches`, over these examples."""
        return _epochs(*self.ask("batches", {"epochs": epochs}, {"x": x, "y": y}))

    def plan(self) -> dict[str, Any]:
        """``horizon`` and ``settings``, each as its adapter gives it, or ``{"unable": reason}``."""
        return self.ask("plan")[0]

    def rates(self, steps: int) -> np.ndarray:
        """The learning rates where any of them changes, float64 (changes, 1 + groups): the step,
        then a rate for each group."""
        return self.ask("rates", {"steps": steps})[1]["rates"]


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
        """Starts the side's process, unless another worker is made that does its jobs."""
        super().__init__(self._ask)
        self.label, self.spec = label, spec
        self.limit = COMPILING * limit if spec.compiled else limit
        environment = {"KERAS_BACKEND": spec.backend} | _share_of_cores()
        if spec.form == "file":  # With it, TensorFlow refuses random numbers without a seed.
            environment["TF_DETERMINISTIC_OPS"] = "0"
        self.worker = worker() if worker else Worker(environment, spec.python, spec.command)
        self._lock = threading.Lock()
        self.twin: Answers | None = None
        """The same side in float64, once `open_twin` was called and where there is one."""
        self.no_twin = "not asked for"
        """Why there is no twin."""

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the side's process and all that it has started."""
        self.worker.close()

    def open(self) -> None:
        """Builds the side in its process, and asks what it is."""
        facts, self.own = self.ask("open", vars(self.spec))
        self.framework: str = facts["framework"]
        self.trains: bool = facts["trains"]
        self.prepares: bool = facts["prepares"]
        self.targets: str = facts["targets"]
        self.optimiser: dict[str, Any] = facts["optimiser"]
        self.data: dict[str, Any] = facts["data"]
        """What can be told of the user's whole data; see `diptych.auditing.frameworks.defaults`."""
        self.whole = [(int(start), int(stop)) for start, stop in facts["whole"]]
        """The columns of packed inputs that hold whole numbers."""
        self.loss_words: str = facts["loss"]
        self.graph = Graph.from_dict(facts["graph"])

    def open_twin(self) -> Answers | None:
        """Builds the side's float64 twin, where that can be had; `no_twin` says why not."""

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
        """Has the side do one of `diptych.auditing.jobs`."""
        doing = job.replace("_", " ")
        try:
            with self._lock:  # Its process does one thing at a time.
                answer, result = self.worker.call(
                    f"auditing.jobs:{job}_job",
                    request or {},
                    arrays,
                    limit=self.limit,
                    stops=False,
                )
        except InputError as problem:
            if request and request.get("twin"):  # The side itself may be as good as any.
                raise Unable(f"its float64 twin fails: {problem}") from None
            raise Failed(f"{self.label} ({self.spec.given}): {problem}") from None
        except TimeoutError:
            raise InputError(
                f"{self.label} ({self.spec.given}): no answer in {self.limit:g} s while asked to "
                f"{doing} (does it train or wait? --timeout gives it longer)"
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
                    f" while asked to {doing} (a side must stay alive: see that it "
                    f"neither ends its process nor runs out of memory)"
                )
            raise InputError(f"{self.label} ({self.spec.given}): {told}") from problem
        if "unable" in answer:
            raise Unable(answer["unable"])
        return answer, result


def _share_of_cores() -> dict[str, str]:
    """Environment variables for one of two processes that compute at the same time: with a thread
    for each core in both, they wait for each other. What the user has set stays."""
    share = machine.thread_variables(max(1, machine.cores() // 2))
    return {name: value for name, value in share.items() if name not in os.environ}


def at_once(sides: dict[str, Side], question: Callable[[str], T]) -> dict[str, T]:
    """Asks all sides at the same time, by their names; gives the answers by their names.

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
