"""Gradients for an optimiser, chosen by the audit: of all sizes, zero, and over many steps."""

from dataclasses import dataclass

import numpy as np

from diptych.auditing.gradients import Plan
from diptych.auditing.graph import Arrays
from diptych.auditing.match import Transfer
from diptych.auditing.pair import Which
from diptych.randomness import generator

ELEMENTS = 48
"""The number of values of each parameter that get a gradient and are watched."""
PACE = [1.0, 0.5, -1.0, 2.0, 1.0, 0.0, 0.3, 1.0, -0.7, 1.0]
"""The gradient of a value over the steps, as a multiple. Each value starts at a different position.

Moments show when gradients change, and a sum of gradients shows when they change in different ways.
"""
FEW, MANY = 40, 1_100
"""The minimum number of steps, and the number for a small network."""
SHORT = 12
"""The number of steps that is enough for moments to follow gradients of different sizes."""
BUDGET = 60_000_000
"""The maximum number of values that an optimiser processes in all steps of one probe."""


@dataclass(frozen=True)
class Regime:
    """The sizes of the gradients in one probe."""

    name: str
    sizes: tuple[float, float]
    """The range of the decimal exponent of a gradient; zero gradients if both are equal."""
    steps: int
    large: bool = False
    """True if all weights are large, so that limits on them show."""

    @property
    def has_gradients(self) -> bool:
        """True if the gradients are not all zero."""
        return self.sizes[0] != self.sizes[1]


def regimes(parameters: Arrays, own_code: bool) -> list[Regime]:
    """The probes for parameters of such sizes.

    Args:
        parameters: those that get gradients.
        own_code: whether code of the user's runs in a step, which may count the steps.
    """
    size = sum(value.size for value in parameters.values())
    longest = int(np.clip(BUDGET // max(1, size), FEW, MANY)) if own_code else FEW
    return [
        Regime("from 1e-9 to 1e-2", (-9, -2), longest),
        Regime("from 1e-12 to 1e-6", (-12, -6), SHORT),
        Regime("from 1e-1 to 1e6", (-1, 6), SHORT),
        Regime("of zero", (0, 0), FEW),
        Regime("of zero on large weights", (0, 0), 2, large=True),
    ]


def plan(regime: Regime, own: Arrays, names: list[str], trained: list[str]) -> Plan:
    """The plan of a regime for side A.

    Args:
        regime: the sizes of the gradients.
        own: A's parameters, in the precision that the gradients are to have.
        names: the parameters that get gradients.
        trained: all that are trained; the others get zeros.
    """
    chance = generator(0, "audit/gradients")
    places, weights, sizes, phases = {}, {}, {}, {}
    for name in trained:
        value = own[name]
        count = min(ELEMENTS, value.size) if name in names else 0
        chosen = chance.choice(value.size, size=count, replace=False)
        size, start = np.zeros(count), np.zeros(count)
        if count and regime.has_gradients:
            size = 10 ** chance.uniform(*regime.sizes, count) * chance.choice([-1, 1], count)
        # Half of them start from zero, where a small step is not lost in a large weight.
        start[::2] = chance.uniform(-0.5, 0.5, len(start[::2]))
        if regime.large:
            start = chance.normal(0, 10, count)
        places[name], phases[name] = chosen, chance.integers(len(PACE), size=count)
        weights[name], sizes[name] = start.astype(value.dtype), size.astype(value.dtype)
    return Plan(places, weights, sizes, phases, PACE, [1.0] * regime.steps)


def for_b(plan: Plan, transfer: Transfer, own: dict[Which, Arrays], trained: list[str]) -> Plan:
    """The same plan by B's names and in B's order; parameters that only B has get zeros.

    Args:
        plan: of A.
        transfer: from A to B.
        own: both sides' parameters.
        trained: B's parameters that are trained.
    """
    places = transfer.places_to_b(plan.places, own["a"])
    partners = {transfer.names[name]: name for name in plan.places if name in transfer.names}
    weights, sizes, phases = (
        {partner: group[name] for partner, name in partners.items()}
        for group in (plan.weights, plan.sizes, plan.phases)
    )
    for name in trained:
        if name not in places:
            places[name], phases[name] = np.zeros(0, np.int64), np.zeros(0, np.int64)
            weights[name] = sizes[name] = np.zeros(0, own["b"][name].dtype)
    return Plan(places, weights, sizes, phases, plan.pace, plan.levels)


def for_a(found: Arrays, transfer: Transfer) -> Arrays:
    """B's watched values by A's names; their order is already A's."""
    return {name: found[partner] for name, partner in transfer.names.items() if partner in found}
