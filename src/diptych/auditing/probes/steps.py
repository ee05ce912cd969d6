"""Gradients of the audit's choice for an optimiser: of all sizes, none, and over many steps."""

from dataclasses import dataclass

import numpy as np

from diptych.auditing.gradients import Plan
from diptych.auditing.graph import Arrays
from diptych.auditing.match import Transfer
from diptych.randomness import generator

ELEMENTS = 48
"""Numbers of each parameter that get a gradient and are watched."""
PACE = [1.0, 0.5, -1.0, 2.0, 1.0, 0.0, 0.3, 1.0, -0.7, 1.0]
"""A number's gradient from step to step, as a multiple; each number begins somewhere else in it.
Moments show when gradients change, and a sum of gradients when they change in different ways."""
FEW, MANY = 40, 1_100
"""Steps that are always taken, and those that a small network takes."""
SHORT = 12
"""Steps that are enough for moments to follow gradients of other sizes."""
BUDGET = 60_000_000
"""Numbers that an optimiser may go through in all steps of one probe."""


@dataclass(frozen=True)
class Regime:
    """The sizes of the gradients in one probe."""

    name: str
    sizes: tuple[float, float]
    """Decimal exponents between which a number's gradient lies; zero gradients if equal."""
    steps: int
    large: bool = False
    """Whether all weights are large, for what holds them within bounds."""

    @property
    def has_gradients(self) -> bool:
        """Whether they are not all zero."""
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
    weights, sizes, phases, numbers = {}, {}, {}, {}
    for name in trained:
        value = own[name]
        size = np.zeros(value.size)
        phase, number = np.zeros(value.size, np.int32), np.full(value.size, -1, np.int32)
        start = np.zeros(value.size)
        if name in names:
            count = min(ELEMENTS, value.size)
            chosen = chance.choice(value.size, size=count, replace=False)
            low, high = regime.sizes
            sign = chance.choice([-1, 1], count)
            if regime.has_gradients:
                size[chosen] = 10 ** chance.uniform(low, high, count) * sign
            phase[chosen] = chance.integers(len(PACE), size=count)
            number[chosen] = np.arange(count)
            # Half of them start from zero, where a small step is not lost in a large weight.
            start[chosen[::2]] = chance.uniform(-0.5, 0.5, len(chosen[::2]))
            if regime.large:
                start = chance.normal(0, 10, value.size)
        shape = value.shape
        weights[name] = start.reshape(shape).astype(value.dtype)
        sizes[name] = size.reshape(shape).astype(value.dtype)
        phases[name], numbers[name] = phase.reshape(shape), number.reshape(shape)
    return Plan(weights, sizes, phases, numbers, PACE, [1.0] * regime.steps)


def for_b(plan: Plan, transfer: Transfer, own: Arrays, trained: list[str]) -> Plan:
    """The same plan by B's names and in B's order; parameters that only B has get zeros."""
    groups = [transfer.to_b(part) for part in (plan.weights, plan.sizes, plan.phases, plan.numbers)]
    weights, sizes, phases, numbers = groups
    for name in trained:
        if name not in sizes:
            sizes[name] = np.zeros_like(own[name])
            phases[name] = np.zeros(own[name].shape, np.int32)
    return Plan(weights, sizes, phases, numbers, plan.pace, plan.levels)


def for_a(found: Arrays, transfer: Transfer) -> Arrays:
    """B's watched numbers by A's names; their order is A's already."""
    return {name: found[partner] for name, partner in transfer.names.items() if partner in found}
