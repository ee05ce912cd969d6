"""A Keras model as an audit runs it: its graph, its parameters, what its layers give."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras import activations

from diptych.auditing.frameworks.keras import building
from diptych.auditing.frameworks.keras.arrays import Layout, to_array
from diptych.auditing.frameworks.keras.building import forward
from diptych.auditing.frameworks.keras.holding import (
    forget_gradients,
    restored,
    shadowed,
    without_gradients,
)
from diptych.auditing.frameworks.keras.layer_classes import own_activation
from diptych.auditing.frameworks.keras.operations.convolution import (
    depthwise,
    is_separable,
    pointwise,
)
from diptych.auditing.frameworks.keras.reader import Reader, parameter_names
from diptych.auditing.frameworks.keras.submission import Submission
from diptych.auditing.frameworks.keras.trace import (
    Call,
    Trace,
    channels_first,
    retraced,
    traced,
    walk,
    walkable,
)
from diptych.auditing.graph import Arrays
from diptych.errors import InputError


class Network:
    """A model that is built, traced and read into a graph."""

    def __init__(self, submission: Submission, like: "Network | None" = None) -> None:
        """Builds what is missing of the model, and runs it once on zeros.

        Args:
            submission: with the model.
            like: another build of it, whose names layers and parameters get.

        Raises:
            InputError: it is no model that an audit can be of.
            NotImplementedError: ``like`` is another network.
        """
        model = self.model = submission.model
        if not model.built:
            building.build_on_data(model, submission.extras)
        building.check_ends(model)
        self.input_shape = building.input_shape(model, submission.extras)
        if walkable(model):
            self.calls = walk(model)
        else:
            forward(model, self.blank(), training=False)  # For Keras to make the layers' weights.
            self.calls = retraced(model, self.input_shape)
        self.layout = Layout(channels_first(self.calls))
        with restored(model.weights):  # Some weights are made when their layer is first called.
            forward(model, self.blank(), training=False)
        if like:
            building.take_names(model, self.calls, like.model, like.calls)
        self.names = parameter_names(model, self.calls)
        if model.compiled and model.optimizer is not None:
            self.freshen_optimiser()
        self.read(submission)

    def freshen_optimiser(self) -> None:
        """Sees to it that the optimiser has variables, and that they are as at its first step."""
        optimiser = self.model.optimizer
        if optimiser.built and int(optimiser.iterations) > 0:
            self.model.optimizer = type(optimiser).from_config(optimiser.get_config())
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)

    def read(self, submission: Submission) -> None:
        """Reads the graph, with the shapes that are seen when the model runs."""
        with self.experiment():
            trace = traced(self.calls, lambda: forward(self.model, self.blank(), training=False))
        for number, call in enumerate(self.calls):
            if number not in trace:
                raise InputError(
                    f"the model {self.model.name} does not call its layer {call.operation.name} "
                    "when it predicts: an audit needs to see every layer at work"
                )
        shapes = [self.to_graph(trace[i][-1]).shape[1:] for i in range(len(self.calls))]
        reader = Reader(submission, self.calls, self.names, self.layout.channels_first)
        self.graph = reader.read(self.to_graph(self.blank()).shape[1:], shapes)
        self.outlets, self.kernels = reader.outlets, reader.kernels

    # Arrays.

    def to_graph(self, array: np.ndarray) -> np.ndarray:
        return self.layout.to_graph(array)

    def from_graph(self, array: np.ndarray) -> np.ndarray:
        return self.layout.from_graph(array)

    def blank(self) -> np.ndarray:
        """One example of zeros, in Keras' layout."""
        return self.typed(np.zeros((1, *self.input_shape), np.float32))

    def typed(self, x: np.ndarray) -> np.ndarray:
        """Whole numbers for a model that takes them."""
        dtype = self.model.inputs[0].dtype if walkable(self.model) else "float32"
        if "int" in dtype:
            return x.astype(dtype)
        return x.astype(keras.config.floatx()) if x.dtype.kind in "iu" else x

    @property
    def vocabulary(self) -> int | None:
        """The number of token ids of an embedding that takes the input; None if there is none."""
        sizes = [
            call.operation.input_dim
            for call in self.calls
            if isinstance(call.operation, keras.layers.Embedding) and call.inputs == (-1,)
        ]
        return min(sizes, default=None)

    @property
    def takes_whole_numbers(self) -> bool:
        """True if the input is token ids, or declared to be whole numbers."""
        declared = walkable(self.model) and "int" in self.model.inputs[0].dtype
        return declared or self.vocabulary is not None

    def input_of(self, x: np.ndarray) -> np.ndarray:
        """An input in the graph's layout as the model takes it."""
        return self.typed(self.from_graph(x))

    def output_shape(self, count: int) -> tuple[int, ...]:
        """The output's shape as Keras has it."""
        blank = np.zeros((count, *self.graph.nodes[-1].shape), np.float32)
        return self.from_graph(blank).shape

    # Parameters.

    def variables(self) -> dict[str, Any]:
        """The model's variables by their names."""
        return {
            self.names[id(weight)]: weight
            for weight in self.model.weights
            if id(weight) in self.names
        }

    def array(self, name: str, tensor: Any) -> np.ndarray:
        """A parameter, or its gradient, in the graph's layout."""
        array = to_array(tensor)
        return array.reshape(self.kernels.get(name, array.shape))

    def parameters(self) -> Arrays:
        return {name: self.array(name, variable) for name, variable in self.variables().items()}

    def load(self, parameters: Arrays) -> None:
        variables = self.variables()
        with without_gradients():
            for name, value in parameters.items():
                variables[name].assign(value.reshape(variables[name].shape))

    @contextmanager
    def experiment(self) -> Iterator[None]:
        """Leaves the parameters and the optimiser as they were, whatever is done."""
        optimiser = self.model.optimizer if self.model.compiled else None
        forget_gradients(self.model)
        with restored([*self.model.weights, *(optimiser.variables if optimiser else [])]):
            yield
        forget_gradients(self.model)

    # Running.

    def trace(self, x: np.ndarray, training: bool) -> Trace:
        """Records a run on inputs in Keras' layout."""
        return traced(self.calls, lambda: forward(self.model, x, training))

    def outputs_of_nodes(self, trace: Trace) -> Arrays:
        """A trace's outputs by the nodes of the graph."""
        return {
            name: self.to_graph(trace[outlet.call][outlet.part])
            for name, outlet in self.outlets.items()
            if outlet.call in trace
        }

    def moving(self, before: Arrays, after: Arrays) -> list[str]:
        """Moving averages, and whatever else training changes without a gradient."""
        averages = {
            node.parameters[role]
            for node in self.graph.nodes
            if node.kind == "batch_norm"
            for role in ("mean", "variance")
        }
        return [
            name
            for name, value in after.items()
            if name in averages or not np.array_equal(value, before[name], equal_nan=True)
        ]

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        outlet = self.outlets[name]
        call, layer = self.calls[outlet.call], self.calls[outlet.call].operation
        with self.experiment(), without_gradients():
            if call.arguments is None:
                x = self.input_of(inputs[0])
                return self.to_graph(to_array(forward(self.model, x, training)))
            tensors = [self.tensor(x) for x in inputs]
            if is_separable(layer) and outlet.part < 2:
                output = (depthwise, pointwise)[outlet.part](layer, tensors[0])
            elif outlet.part:
                output = own_activation(layer)(tensors[0])
            else:
                output = run_call(call, tensors, training)
            return self.to_graph(to_array(output))

    def tensor(self, x: np.ndarray) -> Any:
        """An array in the graph's layout as a tensor; in float64 if Keras computes in that."""
        wide = x.dtype.kind == "f" and keras.config.floatx() == "float64"
        return keras.ops.convert_to_tensor(self.from_graph(x), "float64" if wide else None)


def run_call(call: Call, tensors: list[Any], training: bool) -> Any:
    """The output of one call for other inputs, before the layer's own activation."""
    symbols = call.arguments.keras_tensors
    args, kwargs = call.arguments.fill_in(
        {id(symbol): tensor for symbol, tensor in zip(symbols, tensors, strict=True)}
    )
    layer = call.operation
    if not isinstance(layer, keras.Layer):
        return keras.tree.flatten(layer(*args, **kwargs))[call.output]
    linear = own_activation(layer) is not None
    with shadowed(layer, "activation", activations.linear) if linear else nullcontext():
        return keras.tree.flatten(layer(*args, **kwargs | {"training": training}))[call.output]
