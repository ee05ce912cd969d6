"""Drafts of nodes, while a graph is being read."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from dataclasses import dataclass, field
from typing import Any


@dataclass
class NodeDraft:
    """A recognised block, before it has a name and inputs."""

    kind: str
    """A kind of node, or ``nothing`` where the block leaves numbers as they are."""
    attributes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)
    """``transposed`` or ``depthwise`` for each parameter with a different layout in TensorFlow."""


def clean(value: float) -> float:
    """A float32 number in its shortest form."""
    return float(f"{value:.7g}")
