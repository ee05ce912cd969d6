"""Drafts of nodes, while a trace is being read."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class NodeDraft:
    """A recognised operation, before it has a name and inputs."""

    kind: str
    """A kind of node, or ``nothing`` where numbers are left as they are."""
    attributes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    turns: dict[str, Any] = field(default_factory=dict)
    """The `diptych.auditing.frameworks.jax.layout.Turn` of each parameter to the graph's layout."""
