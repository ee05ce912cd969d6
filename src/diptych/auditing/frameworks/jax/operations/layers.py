"""Layers that are marked, such as batch normalisation and dropout."""

from typing import Any

from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.operations.registry import reads
from diptych.auditing.frameworks.jax.trace import Operation


@reads("diptych_mark")
def marked(reader, operation: Operation) -> NodeDraft | bool | None:
    _, x, *values = operation.inputs
    kind, roles = operation.params["kind"], operation.params["roles"]
    found = [reader.parameter(value) for value in values]
    if None in found:
        return None
    attributes = {name: _plain(value) for name, value in operation.params["attributes"]}
    names = {role: name for role, (name, _) in zip(roles, found, strict=True)}
    turns = {
        name: turn.reshaped((x.shape[1 if reader.layout.first else -1],))
        for name, turn in found
        if kind == "batch_norm"
    }
    # What the layer is made of was not looked at: its output is one of x.
    reader.add(operation.outputs[0], [x], NodeDraft(kind, attributes, names, turns))
    return True


def _plain(value: Any) -> Any:
    """Lists for tuples, as graphs have them."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
