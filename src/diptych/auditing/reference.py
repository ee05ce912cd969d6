"""The truth that both sides are held against: a graph's nodes in float64, with derived bounds.

Each kind of layer brings its computation, written with `autograd.numpy`, and its bound on rounding
(`diptych.auditing.kinds`); no framework is needed. Results in float64 differ from the real numbers
by 1e-16, those of float32 by 1e-7.

A node is checked on the input that the side itself gave it, so that errors of earlier layers play
no role. For results of the whole network the errors are carried through by Monte Carlo arithmetic
(`diptych.auditing.noise`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from autograd.core import make_vjp
from autograd.tracer import getval

from diptych.auditing import losses
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.kinds.kind import Array
from diptych.auditing.kinds.registry import kind_of
from diptych.auditing.kinds.rounding import LAMBDA, UNIT
from diptych.auditing.noise import RUNS, Noise, Sizes, deviation

DOES_NOT_FIT = (ValueError, TypeError, IndexError)
"""The exceptions of a node for inputs of unsuitable shapes."""


@dataclass(frozen=True)
class Distance:
    """The difference of a recorded output from the exact one."""

    difference: float
    """The largest difference."""
    bound: float
    """The largest difference that rounding in float32 explains."""
    ratio: float
    """The largest of difference / bound, number by number; infinite if the shapes differ."""


@dataclass(frozen=True)
class Gradients:
    """The loss and its gradients in float64, each with the bound of rounding in float32."""

    loss: float
    loss_bound: float
    gradients: Arrays
    bounds: dict[str, float]


def to_float64(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays in float64."""
    return {name: np.asarray(value, np.float64) for name, value in arrays.items()}


def parameters_of(node: Node, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """A node's own parameters, by role."""
    return {role: parameters[name] for role, name in node.parameters.items()}


def compute(
    node: Node, parameters: Mapping[str, Array], inputs: Sequence[Array], training: bool
) -> Array:
    """The output of a node in float64, without random numbers.

    Args:
        node: a node of a kind that can be computed.
        parameters: its parameters, by role.
        inputs: (n, …), channels last.
        training: whether normalisation is by the batch's own statistics.

    Raises:
        ValueError: the kind is one that only its framework computes, or a shape does not fit.
        TypeError: a shape does not fit.
        IndexError: a shape does not fit.
    """
    kind = kind_of(node)
    if kind.compute is None:
        raise ValueError(f"{node.name} is a {kind.name} layer, which only its framework computes")
    return kind.compute(node, parameters, inputs, training)


def rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    """The possible rounding error of each value of y, in units of the unit roundoff."""
    bound = kind_of(node).rounding
    assert bound is not None, node.kind
    return bound(node, parameters, inputs, y, training)


def computable(graph: Graph) -> bool:
    """True if the reference can compute every node of the graph."""
    return all(kind_of(node).compute is not None for node in graph.nodes)


# One node at a time.


def check(
    graph: Graph,
    parameters: Arrays,
    record: Arrays,
    training: bool,
    known: dict[bytes, Distance] | None = None,
) -> dict[str, Distance]:
    """Compares each node's recorded output with float64 on its recorded input.

    Args:
        graph: the network.
        parameters: by name.
        record: outputs by node name, with `INPUT` too.
        training: whether it was recorded in training.
        known: the distances of another side's nodes, by their contents; more are added. A node with
            the same contents bit for bit is not computed again.

    Returns:
        By node name, for each node that has a record and that can be computed.
    """
    distances: dict[str, Distance] = {}
    known = {} if known is None else known
    for node in graph.nodes:
        kind = kind_of(node)
        recorded = all(name in record for name in (node.name, *node.inputs))
        if kind.compute is None or not recorded or (training and kind.in_training == "draws"):
            continue
        key = _contents(node, parameters, record, training)
        if key not in known:
            known[key] = distance(node, parameters, record, training)
        distances[node.name] = known[key]
    return distances


def _contents(node: Node, parameters: Arrays, record: Arrays, training: bool) -> bytes:
    """A digest of everything that a node's distance depends on."""
    own = sorted(parameters_of(node, parameters).items())
    arrays = [value for _, value in own] + [record[name] for name in (*node.inputs, node.name)]
    facts = (node.kind, node.attributes, node.shape, [role for role, _ in own], training)
    digest = hashlib.blake2b(repr(facts).encode())
    for array in map(np.ascontiguousarray, arrays):
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.digest()


def distance(node: Node, parameters: Arrays, record: Arrays, training: bool) -> Distance:
    """Compares one node's recorded output with float64 on its recorded input."""
    own = to_float64(parameters_of(node, parameters))
    inputs = [record[name].astype(np.float64) for name in node.inputs]
    y = compute(node, own, inputs, training)
    recorded = record[node.name].astype(np.float64)
    if y.shape != recorded.shape:
        return Distance(float("inf"), 0.0, float("inf"))
    bound = UNIT * rounding(node, own, inputs, y, training) + 1e-30
    with np.errstate(invalid="ignore"):
        difference = np.abs(recorded - y)
    difference = np.where(np.isfinite(difference), difference, np.inf)
    return Distance(
        float(difference.max(initial=0.0)),
        float(np.max(np.broadcast_to(bound, difference.shape), initial=0.0)),
        float(np.max(difference / bound, initial=0.0)),
    )


def ratios(
    candidates: Sequence[Node], parameters: Arrays, record: Arrays, training: bool
) -> list[float]:
    """The difference of the record from other nodes in place of the recorded one, in units of
    rounding.

    Args:
        candidates: nodes with the name and the inputs of the recorded one.
        parameters: by name.
        record: the recorded inputs and output, by name.
        training: whether it was recorded in training.

    Returns:
        The ratio of each candidate; infinity if it cannot take such an input.
    """
    answers = []
    for candidate in candidates:
        try:
            with np.errstate(all="ignore"):  # A candidate may be anything: numbers may overflow.
                answers.append(distance(candidate, parameters, record, training).ratio)
        except DOES_NOT_FIT:
            answers.append(float("inf"))
    return answers


# Whole networks.


def run(
    graph: Graph,
    parameters: Mapping[str, Array],
    x: np.ndarray,
    training: bool,
    noise: Noise | None = None,
) -> dict[str, Array]:
    """Runs a network in float64; dropout drops nothing.

    Args:
        graph: the network.
        parameters: by name, float64.
        x: (n, …), in the graph's layout.
        training: as in training, or as in inference.
        noise: rounding errors to add, if any.

    Returns:
        The output of every node, by name.
    """
    values: dict[str, Array] = {INPUT: np.asarray(x, np.float64)}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        own = parameters_of(node, parameters)
        y = compute(node, own, inputs, _as_training(node, training))
        values[node.name] = noise(node.name, y) if noise else y
    return values


def _as_training(node: Node, training: bool) -> bool:
    return training and node.attributes.get("statistics") != "moving"


def error_sizes(
    graph: Graph, parameters: Arrays, values: Mapping[str, np.ndarray], training: bool
) -> dict[str, Sizes]:
    """The possible rounding errors of each node, by name.

    Args:
        graph: the network.
        parameters: by name, float64.
        values: the exact output of every node, as `run` gives them.
        training: whether they are those of training.
    """
    sizes: dict[str, Sizes] = {}
    for node in graph.nodes:
        inputs, y = [values[name] for name in node.inputs], values[node.name]
        own, as_training = parameters_of(node, parameters), _as_training(node, training)
        shared = kind_of(node).shared_rounding if as_training else None
        sizes[node.name] = Sizes(
            rounding(node, own, inputs, y, as_training),
            shared(node, own, inputs[0], y) if shared else (),
        )
    return sizes


def outputs(graph: Graph, parameters: Arrays, x: np.ndarray) -> np.ndarray:
    """The output of a network in inference, float64."""
    return run(graph, to_float64(parameters), x, False)[graph.nodes[-1].name]


def output_bounds(graph: Graph, parameters: Arrays, x: np.ndarray) -> Iterator[float]:
    """The largest differences from `outputs` that rounding in float32 explains, by the first of
    `RUNS` noisy runs and by the others."""
    last, parameters = graph.nodes[-1].name, to_float64(parameters)
    exact = run(graph, parameters, x, False)
    sizes = error_sizes(graph, parameters, exact, False)
    for number in range(RUNS):
        noisy = run(graph, parameters, x, False, Noise(number, sizes))[last]
        yield deviation(exact[last], [noisy])


def gradients(
    graph: Graph,
    formula: dict[str, Any],
    trained: Sequence[str],
    parameters: Arrays,
    x: np.ndarray,
    targets: np.ndarray,
) -> Gradients:
    """Loss and gradients in training mode, without dropout.

    Args:
        graph: the network.
        formula: the loss; see `diptych.auditing.losses`.
        trained: the names of the parameters whose gradients are wanted.
        parameters: by name.
        x: (n, …), in the graph's layout.
        targets: as the loss takes them.
    """
    given = to_float64(parameters)
    last = graph.nodes[-1].name
    exact: dict[str, np.ndarray] = {}

    def once(noise: Noise | None) -> tuple[float, Arrays]:
        def loss_of(watched: Mapping[str, Array]) -> Array:
            everything = given | {name: watched[name] for name in trained}
            values = run(graph, everything, x, True, noise)
            if noise is None:
                exact.update({name: getval(value) for name, value in values.items()})
            return losses.value(formula, values[last], targets, everything)

        watched = {name: given[name] for name in trained}
        back, loss = make_vjp(loss_of, watched)  # pyright: ignore[reportGeneralTypeIssues]
        return float(loss), dict(back(1.0))

    loss, of_loss = once(None)
    sizes = error_sizes(graph, given, exact, True)
    noisy = [once(Noise(i, sizes)) for i in range(RUNS)]
    bounds = {}
    for name, gradient in of_loss.items():
        # The sum over the batch and all positions is itself rounded.
        own = UNIT * LAMBDA * np.sqrt(len(x)) * np.abs(gradient).max(initial=0.0)
        bounds[name] = deviation(gradient, [other[name] for _, other in noisy]) + float(own)
    spread = deviation(np.asarray(loss), [np.asarray(other) for other, _ in noisy])
    return Gradients(loss, spread + 16 * UNIT * abs(loss), of_loss, bounds)
