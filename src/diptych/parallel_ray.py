"""One training in several processes on the machines of a Ray cluster.

Ray decides which machine each process is on and notices where one is lost. Each process has an
address on its machine, by which the others find it. All machines must see the run's folder.
"""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from diptych import machine
from diptych.errors import InputError
from diptych.parallel import free_addresses, told
from diptych.ray_connection import connected
from diptych.runs import Run
from diptych.training_job import follow_job, train_job
from diptych.worker import Job, Worker, WorkerError
from diptych.workflows import registry

ROOM_SECONDS = 60.0
"""The time that a cluster may take to have room for all processes."""
LOOK_SECONDS = 1.0


class Member:
    """A process of Ray's with one worker process, which trains with those of the others."""

    def __init__(self, environment: dict[str, str]) -> None:
        import ray

        self.address = ray.util.get_node_ip_address()
        variables = machine.thread_variables(1) | {"GLOO_SOCKET_IFNAME": interface(self.address)}
        self.worker = Worker(environment | variables)

    def rendezvous(self) -> str:
        """An address of this machine with a free port, as ``tcp://HOST:PORT``."""
        return free_addresses(self.address, 1)[0]

    def do(self, job: Job, parameters: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Does a job, giving ``report`` and a value for each report, and last how it ended:
        ``answer``, ``wrong input`` or ``failed``, with the answer or the message."""
        said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

        def call() -> None:
            try:
                answer, _ = self.worker.call(
                    job, parameters, report=lambda value: said.put(("report", value))
                )
                said.put(("answer", answer))
            except InputError as problem:
                said.put(("wrong input", str(problem)))
            except Exception as problem:
                said.put(("failed", str(problem)))

        threading.Thread(target=call, daemon=True).start()
        while True:
            kind, value = said.get()
            yield kind, value
            if kind != "report":
                return

    def stop(self) -> None:
        """Asks the job under way to stop."""
        self.worker.interrupt()


def interface(address: str) -> str:
    """The name of this machine's network interface that has an IPv4 address.

    Raises:
        InputError: none has.
    """
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            asked = struct.pack("256s", name.encode()[:15])
            with suppress(OSError):  # It has none. The number is SIOCGIFADDR (netdevice(7)).
                answer = fcntl.ioctl(probe.fileno(), 0x8915, asked)
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    raise InputError(f"--ray: no network interface of this machine has Ray's address {address}")


def train(
    run: Run,
    parameters: dict[str, Any],
    processes: int,
    report: Callable[[dict[str, Any]], None],
    address: str,
) -> dict[str, Any]:
    """As `diptych.parallel.train`, on the machines of a cluster.

    Args:
        run, parameters, processes, report: as `diptych.parallel.train` takes them.
        address: of the cluster, as ``ray.init`` takes it.

    Raises:
        InputError: no cluster answers there, or it has no room for so many processes.
        KeyboardInterrupt: Ctrl-C; the run has been saved.
        WorkerError: a process or its machine is lost; the others have been ended.
    """
    import ray
    from ray.exceptions import GetTimeoutError
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    with connected(address):
        bundles = [{"CPU": 1.0}] * processes
        places = placement_group(bundles, strategy="SPREAD")
        try:
            ray.get(places.ready(), timeout=ROOM_SECONDS)
        except GetTimeoutError:
            raise InputError(
                f"--ray {address}: the cluster has no room for {processes} processes of a core "
                f"each within {ROOM_SECONDS:g} s: give fewer --processes, or add machines"
            ) from None
        options: Any = {"num_cpus": 1, "max_concurrency": 2}
        remote: Any = ray.remote(**options)(Member)
        members = [
            remote.options(
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group=places, placement_group_bundle_index=rank
                )
            ).remote(registry.environment(run.workflow))
            for rank in range(processes)
        ]
        return _followed(run, members, parameters, report)


def _followed(
    run: Run,
    members: list[Any],
    parameters: dict[str, Any],
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Has the members train, until the first one answers or any of them is lost."""
    import ray
    from ray.exceptions import RayError

    size = len(members)
    rendezvous = ",".join(ray.get([member.rendezvous.remote() for member in members]))
    jobs = [train_job] + [follow_job] * (size - 1)
    streams = [
        member.do.options(num_returns="streaming").remote(
            job, parameters | {"group": {"rank": rank, "size": size, "rendezvous": rendezvous}}
        )
        for rank, (member, job) in enumerate(zip(members, jobs, strict=True))
    ]
    ends: list[tuple[int, WorkerError]] = []
    answer: dict[str, Any] | None = None
    interrupted = False
    left = dict(enumerate(streams))
    while left and not (ends and answer is None):
        try:
            ready, _ = ray.wait(list(left.values()), timeout=LOOK_SECONDS, fetch_local=False)
            for rank, stream in [(r, s) for r, s in left.items() if s in ready]:
                try:
                    kind, value = ray.get(next(stream))
                except StopIteration:
                    del left[rank]
                    continue
                except RayError as problem:
                    reason = type(problem).__name__
                    ends.append((rank, WorkerError(f"was lost with its machine ({reason})")))
                    break
                if kind == "report" and rank == 0:
                    report(value)
                elif kind == "wrong input":
                    raise InputError(value)
                elif kind == "failed":
                    ends.append((rank, WorkerError(value)))
                elif kind == "answer" and rank == 0:
                    answer = value
                    if value["status"] == "failed":
                        return value
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            members[0].stop.remote()
    if interrupted:
        raise KeyboardInterrupt
    if answer is None:
        raise told(run, ends, size)
    return answer
