"""The machine and the versions with which figures were measured, in one line."""

from typing import Any


def machine_line(machine: dict[str, Any] | None, versions: dict[str, str]) -> str:
    """Processor, cores and versions. ``machine`` is None for runs on several machines."""
    where = (
        f"{machine['processor']}, {machine['cores']} cores"
        if machine
        else "several machines, so their times cannot be compared"
    )
    return f"{where}; " + ", ".join(f"{name} {version}" for name, version in versions.items())
