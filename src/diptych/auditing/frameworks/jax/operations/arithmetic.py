"""Sums: a bias, or two branches that meet; and inputs that are joined."""

from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.operations.registry import reads
from diptych.auditing.frameworks.jax.trace import Operation, Value


@reads("add", "add_any")
def add(reader, operation: Operation) -> NodeDraft | bool | None:
    a, b = operation.inputs
    if not reader.fixed(a) and not reader.fixed(b):
        branches = a.shape == b.shape and reader.source(a) is not reader.source(b)
        return NodeDraft("add") if branches else None
    active, other = (b, a) if reader.fixed(a) else (a, b)
    return _bias(reader, operation, active, other)


def _bias(reader, operation: Operation, active: Value, other: Value) -> bool | None:
    """A bias, where the sum is of a layer that has none yet and a vector of its units."""
    found = reader.parameter(other)
    before = reader.makers.get(active)
    draft = reader.drafts.get(before)
    if found is None or draft is None or draft.kind not in ("conv", "dense"):
        return None
    if "bias" in draft.parameters or reader.users[active] != 1:
        return None
    node = next(node for node in reader.reading.nodes if node.name == before)
    units = node.shape[-1]
    name, turn = found
    sizes = [size for size in other.shape if size != 1]
    if sizes not in ([units], []) or (not sizes and units != 1):
        return None
    axis = 1 if reader.layout.first and len(active.shape) > 2 else len(active.shape) - 1
    place = len(other.shape) - (len(active.shape) - axis)
    if sizes and (place < 0 or other.shape[place] != units):
        return None
    reader.with_bias(operation.outputs[0], active, name, turn.reshaped((units,)))
    draft.parameters["bias"] = name
    return True


@reads("concatenate")
def concatenate(reader, operation: Operation) -> NodeDraft | None:
    rank = len(operation.outputs[0].shape)
    channels = 1 if reader.layout.first and rank > 2 else rank - 1
    everything = not any(reader.fixed(value) for value in operation.inputs)
    return (
        NodeDraft("concatenate")
        if everything and operation.params["dimension"] == channels
        else None
    )
