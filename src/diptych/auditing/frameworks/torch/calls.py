"""Calls of PyTorch's functions: their names, and the tensors in their arguments."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.overrides import resolve_name

DUNDERS = {
    "iadd": "add",
    "radd": "add",
    "isub": "sub",
    "imul": "mul",
    "rmul": "mul",
    "truediv": "div",
    "itruediv": "div",
    "idiv": "div",
    "rtruediv": "rdiv",
    "true_divide": "div",
    "divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "negative": "neg",
    "mm": "matmul",
    "bmm": "matmul",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
}
"""Other names of the same function."""

# fmt: off
FACTORIES = {
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor",
}
"""Functions that take only the shape or the type of what they are given."""
ALIASES = {
    "detach", "contiguous", "clone", "to", "float", "double", "half", "bfloat16", "type",
    "type_as", "cpu", "cuda", "data", "alias", "requires_grad",
}
"""Functions that keep the numbers and their order (though maybe not all their bits)."""
SHAPES = {
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as",
    "ravel", "getitem",
}
"""Functions that may keep the numbers and their order in another shape."""
AXES = {
    "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "T", "mT", "t",
}
"""Functions that may reorder the axes."""
DROPOUTS = {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
    "feature_alpha_dropout",
}
# fmt: on


def operation(function: Any) -> str:
    """A function's plain name: ``relu`` of ``torch.relu_``, ``add`` of ``Tensor.__iadd__``."""
    name = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        name = (resolve_name(function) or "unknown.__get__").split(".")[-2]
    name = name.strip("_") or name
    return DUNDERS.get(name, name)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def replaced(value: Any, others: Iterator[Tensor]) -> Any:
    """The same nested value with other tensors in it, taken in order."""
    if isinstance(value, Tensor):
        return next(others)
    if isinstance(value, (list, tuple)):
        items = [replaced(item, others) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {key: replaced(item, others) for key, item in value.items()}
    return value
