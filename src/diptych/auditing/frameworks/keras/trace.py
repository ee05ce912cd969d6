"""The calls of which a model consists, and what each gives when the model runs."""

# Keras' annotations say less than Keras takes and gives, and lack its layers' attributes.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional  # Keras has no public name for it.

from diptych.auditing.frameworks.keras.arrays import to_array
from diptych.auditing.frameworks.keras.holding import shadowed
from diptych.auditing.frameworks.keras.layer_classes import SPATIAL, own_activation
from diptych.auditing.frameworks.keras.operations.convolution import depthwise, is_separable


@dataclass(frozen=True)
class Call:
    """One call of a layer (or of an operation such as ``x + y``) when the model runs."""

    operation: Any
    arguments: Any
    """Keras' record of the call's arguments; None where the model as a whole is the layer."""
    inputs: tuple[int, ...]
    """The numbers of the calls that it takes its input from; -1 is the model's input."""
    output: int = 0
    """Which of the tensors that it gives. A call that gives several is there once for each one that
    is used, one behind the other."""
    again: bool = False
    """True if the call before it is the same one, with another output."""


def walkable(model: Any) -> bool:
    """True if Keras knows the layers that a model calls, which are called by nothing else."""
    standard = isinstance(model, Functional | keras.Sequential) and type(model).call in (
        Functional.call,
        keras.Sequential.call,
    )
    return standard and (not isinstance(model, keras.Sequential) or model._functional is not None)


def walk(model: keras.Model) -> list[Call]:
    """The model's calls in the order in which they run; models within it are opened up."""
    if not walkable(model):
        return [Call(model, None, (-1,))]
    calls: list[Call] = []
    follow(model, [-1], calls)
    return calls


def follow(
    model: Any, inputs: list[int], calls: list[Call], wanted: list[int] | None = None
) -> list[int]:
    """Adds a model's calls; returns the numbers of those that give its outputs.

    Args:
        model: whose calls they are.
        inputs: the numbers of the calls that give its inputs.
        calls: what they are added to.
        wanted: which of its outputs are used, None for all; the number of another is of no use.
    """
    function: Any = model._functional if isinstance(model, keras.Sequential) else model
    source = dict(zip(map(id, function.inputs), inputs, strict=True))
    nodes = [node for of_depth in function._nodes_by_depth.values() for node in of_depth]
    used = {id(tensor) for node in nodes for tensor in node.input_tensors}
    used |= {id(y) for i, y in enumerate(function.outputs) if wanted is None or i in wanted}
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if node.is_input:
                continue
            taken = [source[id(tensor)] for tensor in node.input_tensors]
            if walkable(node.operation):
                outputs = [i for i, tensor in enumerate(node.outputs) if id(tensor) in used]
                numbers = follow(node.operation, taken, calls, outputs)
            else:
                numbers = _called(node, taken, used, calls)
            source |= dict(zip(map(id, node.outputs), numbers, strict=True))
    return [source[id(tensor)] for tensor in function.outputs]


def _called(node: Any, inputs: list[int], used: set[int], calls: list[Call]) -> list[int]:
    """Adds a call for each of its outputs that is used; returns the number of each output's, which
    is of no use for the others."""
    first, numbers = len(calls), []
    for place, tensor in enumerate(node.outputs):
        if id(tensor) in used or len(node.outputs) == 1:
            rest = tuple(inputs), place, len(calls) > first
            calls.append(Call(node.operation, node.arguments, *rest))
        numbers.append(len(calls) - 1)
    return numbers


def retraced(model: keras.Model, input_shape: tuple[int, ...]) -> list[Call]:
    """The calls of a model whose ``call`` the user has written, and whose layers are built.

    They are found by calling it on a symbol. That fails where it does more than call its layers;
    the model is then one black box. Layers that predictions do not go through, such as a
    discriminator beside its generator, are no calls.
    """
    black_box = walk(model)
    try:
        symbol = keras.Input(input_shape)
        with shadowed(model, "add_loss", lambda loss: None):  # It takes no symbols.
            whole = keras.Model(symbol, model.call(symbol))
    except Exception:
        return black_box
    calls, own = walk(whole), {id(layer) for layer in model._flatten_layers()}
    known = {id(weight) for weight in whole.weights} <= {id(weight) for weight in model.weights}
    return calls if known and all(id(call.operation) in own for call in calls) else black_box


def channels_first(calls: list[Call]) -> bool:
    """True if the channels are first throughout."""
    formats = {call.operation.data_format for call in calls if isinstance(call.operation, SPATIAL)}
    return formats == {"channels_first"}


Trace = dict[int, list[np.ndarray]]
"""One recorded run: by call, its output, after what there is within it (between a separable
convolution's two, before the layer's own activation)."""


def traced(calls: list[Call], run: Callable[[], Any]) -> Trace:
    """Records what every call gives while the model runs for the first time in ``run``."""
    trace: Trace = {}
    numbers: dict[int, list[dict[int, int]]] = {}
    for number, call in enumerate(calls):
        of_layer = numbers.setdefault(id(call.operation), [])
        if not call.again:
            of_layer.append({})
        of_layer[-1][number] = call.output
    with ExitStack() as stack:
        for of_layer in numbers.values():
            layer = calls[next(iter(of_layer[0]))].operation
            stack.enter_context(watched(layer, of_layer, trace))
        run()
    return trace


@contextmanager
def watched(layer: Any, numbers: list[dict[int, int]], trace: Trace) -> Iterator[None]:
    """Keeps what a layer gives.

    Args:
        layer: that is called.
        numbers: for each time that it is, which output is kept under which number.
        trace: where it is kept.
    """
    call, own, waiting = layer.call, own_activation(layer), iter(numbers)
    before: list[np.ndarray] = []

    def ending(values: Any) -> Any:
        before.append(to_array(values))
        return own(values)

    @wraps(call)
    def keeping(*args: Any, **kwargs: Any) -> Any:
        before.clear()
        if is_separable(layer):
            before.append(to_array(depthwise(layer, args[0])))
        output = call(*args, **kwargs)
        for number, place in next(waiting, {}).items():
            trace[number] = [*before, to_array(keras.tree.flatten(output)[place])]
        return output

    with ExitStack() as stack:
        stack.enter_context(shadowed(layer, "call", keeping))
        if own is not None:
            stack.enter_context(shadowed(layer, "activation", ending))
        yield
