"""The machine that a run runs on: what a reader of its figures needs to know."""

import os
import platform
import resource
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("diptych", "tensorflow", "keras", "torch", "jax", "numpy")
OTHER_BUILDS = {"tensorflow": "tensorflow-cpu"}
"""The name of another build of a package, with the same modules."""


@cache
def processor() -> tuple[str, frozenset[str]]:
    """The processor's name and its feature flags, as far as the system tells them."""
    name, flags = platform.processor() or platform.machine(), frozenset[str]()
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return name, flags
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() == "flags":
            flags = frozenset(value.split())
    return name, flags


def has_bfloat16() -> bool:
    """True if the processor multiplies bfloat16 itself (AVX-512 BF16 or AMX)."""
    return bool({"avx512_bf16", "amx_bf16"} & processor()[1])


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")
"""The environment variables by which the frameworks are told how many threads to compute in."""


def thread_variables(count: int) -> dict[str, str]:
    """Environment variables that have a process compute in so many threads, in any framework."""
    return dict.fromkeys(THREADS, str(count))


def free_memory() -> int | None:
    """Bytes that new processes may take before the system or the container's limit has no more;
    None where the system does not tell."""
    try:
        text = Path("/proc/meminfo").read_text()
        free = int(text.split("MemAvailable:")[1].split()[0]) * 2**10
    except (OSError, IndexError):
        return None
    try:  # Of a container, control groups version 2.
        limit, used = (Path(f"/sys/fs/cgroup/memory.{of}").read_text() for of in ("max", "current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # There is none, or it is "max".
        return free


def describe() -> dict[str, Any]:
    """Processor, cores, memory and system, as plain data."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor()[0],
        "cores": cores(),
        "memory_gib": round(pages * size / 2**30, 1),
        "bfloat16": has_bfloat16(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """The installed versions of the packages that a run's numbers depend on."""
    installed = {}
    for package in PACKAGES:
        for name in (package, OTHER_BUILDS.get(package, package)):
            with suppress(metadata.PackageNotFoundError):
                installed.setdefault(package, metadata.version(name))
    return installed


def forget_peak_memory() -> None:
    """Has `peak_memory_mib` count from now on, where the system can do that (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mib() -> float:
    """The most memory that this process has had at once."""
    try:
        # On Linux `getrusage` also counts the parent's memory at the time of the fork.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts in bytes.
