"""How far float32 arithmetic may take a result from the exact one: the conformance tests' bounds.

A bound by ``gamma_n`` and absolute values, layer by layer, is of no use here: |W||x| is some twenty
times |Wx| in each of the article's six layers, so it would allow errors larger than the logits
themselves. What follows keeps the signs, in four steps.

**Local errors, derived.** A sum of n products makes at most n roundings of products and n of
partial sums, each at most u = 2⁻²⁴ times what is rounded. Roundings that are independent and have
mean zero (the model of Higham & Mary, "A New Approach to Probabilistic Rounding Error Analysis",
SIAM J. Sci. Comput. 41(5), 2019) add up to a sub-Gaussian error whose variance is at most u² times
the sum of the squares of what is rounded. Of the products, that is Q = Σ(ab)². Of the partial sums
of S = Σab, it is (n + 1)(S²/3 + Q/6) on average over all orders of summation, which follows from
the variance of a sum of k drawn from n; blocks and trees only make it less. The standard deviation
is the ``size`` of an operation's error below. Elementary functions are taken to be right to 4 units
in the last place.

**Propagation, sampled.** The reference runs some times with normal errors of those sizes added to
each operation's result, forward and backward: Monte Carlo arithmetic (Parker, 1997), in float64.
So errors travel through the very network and the very weights.

**Equal sums, equal errors.** Background pixels give the same sums at hundreds of positions, and a
framework rounds them alike, so their errors add up instead of averaging out. Hence one random
number for each different value in a channel, instead of one for each position.

**Kinks.** Where a rounding turns a relu's gate or moves a maximum, gradients jump by far more than
a rounding. Errors are added ``WIDTH`` times as large as derived, and images on which any run takes
another branch than the exact one are left out (`clear_images`). What is left has a gate at t sizes
from its kink with a probability of Φ(t/WIDTH)^runs, and float32 turns it with 1 - Φ(t): over all
distances that is 2e-4 gates for each gate that is within one size of its kink, and of those an
image of the article's network has less than one. During training nothing is left out, and the runs'
own turned gates widen the bound.

**Confidence.** To first order a result's error is sub-Gaussian with a standard deviation σ, and the
runs' deviations are normal with WIDTH·σ. The bound is FACTOR times the deviations' root mean
square, so with λ = WIDTH·FACTOR = 24 the error is larger with a probability of at most
E[2·exp(-λ²χ²/(2·runs))] = 2·(1 + λ²/runs)^(-runs/2): 6e-13 for 16 runs, 8e-8 for 8 runs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from diptych.layers import BatchNorm, Layer
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.numpy import operations as reference
from diptych.workflows.numpy.workflow import Workflow

U = 2.0**-24
FUNCTION = 8 * U
"""The relative error of an elementary function: 4 units in the last place, 2u each at most."""
WIDTH, FACTOR = 4.0, 6.0

Array = np.ndarray
Error = tuple[Array, bool]
"""The size of an error, and whether all of a channel's values share it."""


def of_sum(terms: float, total: Array, squares: Array) -> Array:
    """The size of a sum's error, from the number, the sum and the sum of squares of its terms."""
    return U * np.sqrt((terms + 1) * (total**2 / 3 + squares / 6) + squares)


def forward_errors(operation: partial, x: Array, y: Array) -> list[Error]:
    """The errors that the operation makes in its output."""
    if operation.func in (reference.convolve, reference.dense):
        kernel = operation.args[-1]["kernel"]
        squares, _ = squared(operation)(x**2)
        return [(of_sum(kernel[..., 0].size + 1, y, squares), False)]
    if operation.func is reference.average_pool:
        return [(U * (2 + np.prod(operation.args[0].window)) * operation(np.abs(x))[0], False)]
    if operation.func is reference.activate:
        match operation.args[0].activation:
            case "leaky_relu":
                return [(U * np.abs(y), False)]
            case "elu" | "tanh":
                return [(FUNCTION * np.abs(y), False)]
            case "gelu":  # x/2·(1 + erf(…)), which cancels where x is negative.
                return [(2 * FUNCTION * np.abs(x), False)]
    if operation.func is reference.batch_norm:
        mean, scale, normal, from_mean, from_variance = normalisation(operation, x)
        each = 4 * U * (np.abs(scale) * (np.abs(x) + np.abs(mean)) + np.abs(y))
        return [
            (each, False),
            (np.abs(scale) * from_mean, True),
            (operation.args[1]["gamma"] * normal * from_variance / 2, True),
        ]
    return []


def reverse_errors(
    operation: partial, x: Array, gradient: Array, to_x: Array, to_weights: Weights
) -> dict[str, list[Error]]:
    """The errors that the operation's reverse makes in what it gives; the input's is ``x``."""
    axes, terms = tuple(range(gradient.ndim - 1)), gradient[..., 0].size
    if operation.func in (reference.convolve, reference.dense):
        filters = operation.args[-1]["kernel"][..., 0, :].size
        x_squares, squares = squared(operation)(x**2)[1](gradient**2)
        sums = {k: [(of_sum(terms, v, squares[k]), False)] for k, v in to_weights.items()}
        return sums | {"x": [(of_sum(filters, to_x, x_squares), False)]}
    if operation.func in (reference.average_pool, reference.max_pool):
        magnitude, _ = operation(x)[1](np.abs(gradient))
        return {"x": [(U * (2 + np.prod(operation.args[0].window)) * magnitude, False)]}
    if operation.func is reference.activate:
        match operation.args[0].activation:
            case "leaky_relu":
                return {"x": [(U * np.abs(to_x), False)]}
            case "elu" | "tanh" | "gelu":  # A slope is made of two or three terms of at most 1.
                return {"x": [(3 * FUNCTION * np.abs(gradient), False)]}
    if operation.func is reference.batch_norm:
        mean, scale, normal, _, from_variance = normalisation(operation, x)
        inverse = np.abs(scale / operation.args[1]["gamma"])
        of_total = of_sum(terms, gradient.sum(axes), (gradient**2).sum(axes))
        products = gradient * x  # Frameworks sum gradient·x and gradient·mean apart, or together.
        of_along = of_sum(terms, products.sum(axes), (products**2).sum(axes))
        of_along = inverse * (of_along + np.abs(mean) * of_total)
        total, along = gradient.mean(axes), to_weights["gamma"] / terms
        each = np.abs(gradient) + np.abs(total)
        each += (np.abs(normal) + inverse * np.abs(mean)) * np.abs(along)
        return {
            "x": [
                (4 * U * np.abs(scale) * each, False),
                (np.abs(scale) * of_total / terms, True),
                (scale * normal * of_along / terms, True),
                (to_x * from_variance / 2, True),
                (scale * normal * along * from_variance, True),
            ],
            "gamma": [(of_along + np.abs(to_weights["gamma"]) * from_variance / 2, False)],
            "beta": [(of_total, False)],
        }
    return {}


def squared(operation: partial) -> reference.Operation:
    """The same linear operation with the squares of its weights."""
    *layer, weights = operation.args
    return partial(operation.func, *layer, {k: v**2 for k, v in weights.items()})


def normalisation(operation: partial, x: Array) -> tuple[Array, ...]:
    """Mean, gamma/deviation, normal values, the mean's error and the variance's relative error."""
    layer, weights, training = operation.args
    axes, terms = tuple(range(x.ndim - 1)), x[..., 0].size
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    from_mean, from_variance = np.zeros_like(mean), np.full_like(mean, FUNCTION)
    if training:
        mean, variance = x.mean(axes), x.var(axes)
        squares = (x**2).sum(axes)
        from_mean = of_sum(terms, x.sum(axes), squares) / terms
        # For those who take E[x²] - E[x]².
        of_squares = of_sum(terms, squares, (x**4).sum(axes)) / terms + 2 * np.abs(mean) * from_mean
        from_variance = from_variance + of_squares / (variance + layer.epsilon)
    deviation = np.sqrt(variance + layer.epsilon)
    return mean, weights["gamma"] / deviation, (x - mean) / deviation, from_mean, from_variance


def has_kinks(operation: partial) -> bool:
    """Whether the gradient jumps somewhere."""
    return operation.func is reference.max_pool or (
        operation.func is reference.activate
        and operation.args[0].activation in ("relu", "leaky_relu")
    )


class Rounded(Workflow):
    """The reference with errors. Without ``chance`` it makes none, and measures their sizes."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        sizes: dict[str, list[Error]],
        chance: np.random.Generator | None = None,
    ) -> None:
        super().__init__(network, recipe, seed=0)
        self.sizes, self.chance = sizes, chance
        self.table = chance.standard_normal(2**16) if chance else None
        self.loss = self.rounded_loss
        self.branches: dict[str, Array] = {}

    def noise(self, values: Array) -> Array:
        """Normal numbers: one for each different float32 value in each channel."""
        if self.chance is None or self.table is None:
            return np.zeros_like(values)
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        channel = np.arange(values.shape[-1], dtype=np.uint32) * np.uint32(0x85EBCA6B)
        here = self.chance.integers(2**32, dtype=np.uint32)  # Each operation has its own numbers.
        mixed = (bits ^ here) + channel
        return WIDTH * self.table[(mixed * np.uint32(0x9E3779B9)) >> np.uint32(16)]

    def disturbed(self, values: Array, where: str, errors: Callable[[], list[Error]]) -> Array:
        """The values with their errors, which are measured first where that is this run's job."""
        if self.chance is None:
            self.sizes[where] = errors()
            return values
        exact = values
        for size, shared in self.sizes[where]:
            noise = self.noise(np.zeros(values.shape[-1]) if shared else exact)
            values = values + size * noise
        return values

    def operations(self, layer: Layer, training: bool) -> list[reference.Operation]:
        operations: list[Any] = super().operations(layer, training)
        return [
            partial(self.rounded, f"{layer.name}/{i}", operation)
            for i, operation in enumerate(operations)
        ]

    def rounded(self, where: str, operation: partial, x: Array) -> tuple[Array, reference.Reverse]:
        exact, reverse = operation(x)
        operation = operation if isinstance(operation, partial) else partial(operation)
        y = self.disturbed(exact, where, lambda: forward_errors(operation, x, exact))
        if has_kinks(operation):
            self.branches[where] = reverse(np.ones_like(y))[0]

        def rounded_reverse(gradient: Array) -> tuple[Array, Weights]:
            to_x, to_weights = reverse(gradient)
            errors: dict[str, list[Error]] = {}
            if self.chance is None:
                errors = reverse_errors(operation, x, gradient, to_x, to_weights)
            exact = {"x": to_x, **to_weights}
            results = {
                name: self.disturbed(v, f"{where}/{name}", lambda n=name: errors.get(n, []))
                for name, v in exact.items()
            }
            return results.pop("x"), results

        return y, rounded_reverse

    def rounded_loss(self, logits: Array, labels: np.ndarray) -> tuple[float, Array]:
        """Sizes: each exponential's argument is rounded before it, and the shares are a sum."""
        loss, gradient = reference.cross_entropy(logits, labels)
        images, classes = logits.shape
        distance = logits.max(axis=1, keepdims=True) - logits
        shares = np.exp(-distance) / np.exp(-distance).sum(axis=1, keepdims=True)
        steps = 2 * FUNCTION + U * (distance + np.sqrt(classes))
        to_logits = steps * shares / images + 2 * U * np.abs(gradient)
        largest = np.abs(logits).max() + distance.max() + np.log(classes)
        to_loss = U * np.sqrt(classes + images) * np.array([largest]) + FUNCTION
        losses = self.disturbed(np.array([loss]), "loss", lambda: [(to_loss, False)])
        return float(losses[0]), self.disturbed(gradient, "logits", lambda: [(to_logits, False)])

    def train_step(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        rate: float,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[float, float]:
        """A step with Adam's errors: of its rate, which all share, its moments and the weights."""
        t, beta_1, beta_2 = self.steps_taken + 1, self.recipe.beta_1, self.recipe.beta_2
        # In float32 a beta and its power are off by u(t + 4) at most, and 1 - beta**t cancels.
        share = [beta**t / (1 - beta**t) for beta in (beta_1, beta_2)]
        of_rate = U * ((t + 4) * (share[0] + share[1] / 2) + 4)
        before = {name: self.values[name].copy() for name in self.adam.m}
        moving = {k: v.copy() for k, v in self.values.items() if k not in before}
        rate *= 1 + of_rate * float(self.noise(np.zeros(1))[0])
        result = super().train_step(images, labels, rate, frozen)
        for name, old in before.items():
            value, m, v = self.values[name], self.adam.m[name], self.adam.v[name]
            value += U * (np.abs(value) + 8 * np.abs(value - old)) * self.noise(value)
            m *= 1 + 3 * U * self.noise(m)
            v *= 1 + 3 * U * self.noise(v)
        for layer in self.network.layers:
            if isinstance(layer, BatchNorm):
                self.round_averages(layer, moving)
        return result

    def round_averages(self, layer: BatchNorm, before: Weights) -> None:
        for name in (f"{layer.name}/moving_mean", f"{layer.name}/moving_variance"):
            now, old = self.values[name], before[name]
            now += 4 * U * (np.abs(now) + np.abs(now - old)) * self.noise(now)


Bounded = dict[str, tuple[Array, Array]]
"""By a result's name: its exact value, and how far from it float32 may be, number by number."""


def bounded(exact: Weights, rounded: list[Weights]) -> Bounded:
    """The exact results, with the bounds that the rounded runs' deviations give."""
    return {
        name: (value, FACTOR * np.sqrt(np.mean([(run[name] - value) ** 2 for run in rounded], 0)))
        for name, value in exact.items()
    }


def chances(runs: int) -> list[np.random.Generator]:
    return [np.random.default_rng(run) for run in range(runs)]


def clear_images(
    network: Network, weights: Weights, images: np.ndarray, training: bool, runs: int = 16
) -> np.ndarray:
    """Which images no rounding takes past a kink: booleans (n,)."""
    sizes: dict[str, list[Error]] = {}

    def branches(chance: np.random.Generator | None) -> dict[str, Array]:
        workflow = Rounded(network, Recipe(), sizes, chance)
        workflow.load(weights)
        workflow.run(images, training)
        return workflow.branches

    exact, clear = branches(None), np.ones(len(images), bool)
    for chance in chances(runs):
        for where, taken in branches(chance).items():
            clear &= (taken == exact[where]).reshape(len(images), -1).all(axis=1)
    return clear


def logits_bounds(
    network: Network, weights: Weights, images: np.ndarray, runs: int = 16
) -> Bounded:
    """The logits at inference, as ``logits``."""
    sizes: dict[str, list[Error]] = {}

    def once(chance: np.random.Generator | None) -> Weights:
        workflow = Rounded(network, Recipe(), sizes, chance)
        workflow.load(weights)
        return {"logits": workflow.logits_in_float64(images)}

    return bounded(once(None), [once(chance) for chance in chances(runs)])


def gradients_bounds(
    network: Network, weights: Weights, images: np.ndarray, labels: np.ndarray, runs: int = 16
) -> Bounded:
    """The loss in training as ``loss``, and each gradient by its weight's name."""
    sizes: dict[str, list[Error]] = {}

    def once(chance: np.random.Generator | None) -> Weights:
        workflow = Rounded(network, Recipe(), sizes, chance)
        workflow.load(weights)
        loss, gradients, _ = workflow.backward(images, labels)
        return gradients | {"loss": np.array(loss)}

    return bounded(once(None), [once(chance) for chance in chances(runs)])


def training_bounds(
    network: Network,
    recipe: Recipe,
    weights: Weights,
    batches: list[tuple[np.ndarray, np.ndarray]],
    runs: int = 8,
) -> list[Bounded]:
    """For each step on those batches, the ``loss`` before it and each weight after it."""
    sizes: dict[str, list[Error]] = {}
    exact, *rounded = (Rounded(network, recipe, sizes, chance) for chance in (None, *chances(runs)))
    for workflow in (exact, *rounded):
        workflow.load(weights)

    def once(workflow: Rounded, images: np.ndarray, labels: np.ndarray) -> Weights:
        loss = workflow.step(images, labels)
        return {k: v.copy() for k, v in workflow.values.items()} | {"loss": np.array(loss)}

    return [
        bounded(once(exact, *batch), [once(workflow, *batch) for workflow in rounded])
        for batch in batches
    ]
