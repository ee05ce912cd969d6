"""Bounds of float32's rounding, in units of the unit roundoff.

Each of a dot product's n partial sums is rounded by up to u = 2⁻²⁴ of itself, in a random direction
(Higham & Mary, 2019, "A New Approach to Probabilistic Rounding Error Analysis"). As a partial sum
is about as large as the sum's share of it, or as a random walk over the terms, the errors add up to
at most λ·u·√(n·(Σ(w·x)² + y²)), with λ standard deviations.
"""

from collections.abc import Sequence

import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import Compute, Rounding

UNIT = 2.0**-24
"""The unit roundoff of float32."""
LAMBDA = 8.0
"""The number of standard deviations that a rounding error may have."""
FUNCTION_UNITS = 16.0
"""The error of frameworks' exponentials and error functions, in units in the last place."""


def exact(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    """The bound of a node that moves or selects values, which are rounded when stored."""
    return np.abs(y)


def sum_of_terms(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    """The bound of a node that adds, subtracts, multiplies or scales its inputs."""
    return 4 * (np.abs(y) + sum(np.abs(x) for x in inputs))


def dot_product(compute: Compute) -> Rounding:
    """The bound of a node whose outputs are dot products of its kernel with its input.

    Args:
        compute: the node's own computation; on squared parameters and inputs it gives Σ(w·x)².
    """

    def rounding(
        node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
    ) -> np.ndarray:
        squares = compute(
            node,
            {role: np.square(value) for role, value in parameters.items()},
            [np.square(inputs[0])],
            training,
        )
        terms = float(np.prod(parameters["kernel"].shape[:-1])) + 1
        return LAMBDA * np.sqrt(terms * (squares + np.square(y)))

    return rounding
