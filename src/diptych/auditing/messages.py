"""Several sets of arrays as one message between processes."""

import numpy as np

Arrays = dict[str, np.ndarray]
PREDICTIONS = "|predictions"
"""The name of the predictions among the arrays of a path; no parameter has it."""


def joined(parts: list[Arrays]) -> Arrays:
    """Joins the sets, with the number of the set before each name."""
    return {f"{i}|{name}": value for i, part in enumerate(parts) for name, value in part.items()}


def parted(arrays: Arrays, count: int) -> list[Arrays]:
    """Splits a message of `joined` into its sets."""
    parts: list[Arrays] = [{} for _ in range(count)]
    for key, value in arrays.items():
        number, name = key.split("|", 1)
        parts[int(number)][name] = value
    return parts
