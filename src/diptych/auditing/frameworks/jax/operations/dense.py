"""Products with a kernel."""

from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.operations.registry import reads
from diptych.auditing.frameworks.jax.trace import Operation


@reads("dot_general")
def product(reader, operation: Operation) -> NodeDraft | None:
    (contracted, batches) = operation.params["dimension_numbers"]
    x, kernel = operation.inputs
    axes = [tuple(axis) for axis in contracted]
    if reader.fixed(x):  # A matrix times each example, as Equinox has it.
        x, kernel, axes = kernel, x, axes[::-1]
    found = reader.parameter(kernel)
    if found is None or len(kernel.shape) != 2 or any(map(len, batches)):
        return None
    name, turn = found
    if axes[0] != (len(x.shape) - 1,) or len(axes[1]) != 1:
        return None
    turned = turn if axes[1] == (0,) else turn.transposed((1, 0))
    if turned is None:
        return None
    if x is not operation.inputs[0]:
        if len(x.shape) != 2:
            return None
        draft = NodeDraft("dense", {}, {"kernel": name}, {name: turned})
        reader.turned[operation.outputs[0]] = x, draft
        return True  # pyright: ignore[reportReturnType]
    return NodeDraft("dense", {}, {"kernel": name}, {name: turned})


@reads("transpose")
def transpose(reader, operation: Operation) -> NodeDraft | bool | None:
    """The product of a matrix with each example, whose axes are put into order after it."""
    waiting = reader.turned.get(operation.inputs[0])
    if waiting is None or tuple(operation.params["permutation"]) != (1, 0):
        return None
    x, draft = waiting
    reader.add(operation.outputs[0], [x], draft)
    return True
