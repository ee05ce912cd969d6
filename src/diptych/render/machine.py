"""The machine and the versions behind figures, in one line."""

from typing import Any


def machine_line(machine: dict[str, Any] | None, versions: dict[str, str]) -> str:
    """Processor, cores and versions; without a machine, that there are several."""
    where = (
        f"{machine['processor']}, {machine['cores']} cores"
        if machine
        else "several machines, so their times cannot be compared"
    )
    return f"{where}; " + ", ".join(f"{name} {version}" for name, version in versions.items())
