"""Hosts for tests: network namespaces of this machine, joined by a bridge.

Each has its own network and its own ``/tmp/ray``, where Ray notes which host it is on. The rest of
the file system they share, as the machines of a cluster with shared storage do. Needs root, and
``ip`` (iproute2).
"""

import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

SECONDS = 120.0
RAY = Path("/tmp/ray")


def permitted() -> bool:
    """True where network namespaces, bridges and veth pairs may be made."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"probe{uuid.uuid4().hex[:6]}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    if made:
        bridge = ["ip", "-n", name, "link", "add", "br0", "type", "bridge"]
        made = subprocess.run(bridge, capture_output=True).returncode == 0
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made


def ip(*arguments: str) -> None:
    """Runs ``ip``."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Hosts:
    """Some hosts on one network; use it in a ``with`` statement.

    Args:
        count: how many.
        folder: for what their processes print.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self.folder, mark = folder, uuid.uuid4().hex[:5]
        self.switch = f"sw{mark}"
        self.names = [f"h{mark}{number}" for number in range(count)]
        self.addresses = [f"10.231.7.{number + 1}" for number in range(count)]
        self._started: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> "Hosts":
        try:
            # The bridge is in a namespace of its own: this machine's network stays as it is.
            ip("netns", "add", self.switch)
            ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
            ip("-n", self.switch, "link", "set", "br0", "up")
            for name, address in zip(self.names, self.addresses, strict=True):
                ip("netns", "add", name)
                there = ("peer", "name", "eth0", "netns", name)
                ip("-n", self.switch, "link", "add", name, "type", "veth", *there)
                ip("-n", self.switch, "link", "set", name, "master", "br0")
                ip("-n", self.switch, "link", "set", name, "up")
                ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
                for link in ("eth0", "lo"):
                    ip("-n", name, "link", "set", link, "up")
                ip("-n", name, "route", "add", "default", "dev", "eth0")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for name in self.names:
            self.end_all(name)
        for process in self._started:
            process.wait(SECONDS)
        for name in [*self.names, self.switch]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def start(self, host: int, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a command on a host; what it prints goes into ``HOST-NUMBER.log``."""
        log = self.folder / f"{host}-{len(self._started)}.log"
        own = self.folder / f"ray-{host}"
        own.mkdir(exist_ok=True)
        RAY.mkdir(exist_ok=True)
        # `ip netns exec` gives the command mounts of its own.
        mounted = ["sh", "-c", f'mount --bind "$0" {RAY} && exec "$@"', str(own)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.names[host], *mounted, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
            )
        self._started.append(process)
        return process

    def cut_off(self, host: int) -> None:
        """Takes the host's cable out."""
        ip("-n", self.switch, "link", "set", self.names[host], "down")

    def end_all(self, name: str) -> None:
        """Kills all processes of a host: they are those of its network namespace."""
        listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        for number in listed.stdout.split():
            try:
                os.kill(int(number), signal.SIGKILL)
            except ProcessLookupError:
                continue
