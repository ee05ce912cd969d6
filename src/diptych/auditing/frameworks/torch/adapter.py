"""A PyTorch module, its loss and its optimiser, as a side of an audit.

PyTorch has no description of a network to read: the code of `forward` is the network. So the module
is run under a `TorchFunctionMode`, which sees each call that the code makes, with its real values
(`Trace`); and what the calls mean is read from them (`Reader`). One run gives the nodes, what each
put out, and the line of code that each stands on, whatever Python decides on the way.
"""

import functools
import inspect
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from diptych.auditing.frameworks.torch.calls import operation, replaced, tensors
from diptych.auditing.frameworks.torch.compiling import (
    graphs_compiled,
    is_compiled,
    room_for_graphs,
    switch_dropout_off,
    uncompiled,
)
from diptych.auditing.frameworks.torch.schedule import LOOKED_AT, Followed, Follower
from diptych.auditing.frameworks.torch.schedulers import schedulers_made
from diptych.auditing.frameworks.torch.submission import Submission
from diptych.auditing.frameworks.torch.twin import (
    Rounding,
    convert,
    default_dtype,
    in_own_precision,
    plain,
)
from diptych.auditing.frameworks.users import listed, user_line, users_code
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.errors import InputError

Result = TypeVar("Result")

IMAGE = (28, 28, 1)
"""The raw images that a side without data of its own is audited on."""
EXAMPLES = 7
"""How many examples a module is run on when it is only looked at: a number that is hardly one of
channels, or a batch could be taken for one picture."""

LAST, FIRST, POOLED = "last", "first", "pooled"
"""How a tensor lies to the array of its node: as it is; with the channels in front of the spatial
axes; with spatial axes of one that the node (a global pool) has dropped."""


# What the framework does, call by call.


@dataclass(eq=False)
class Event:
    """A call of a function, or of a module with the events inside it."""

    index: int
    name: str
    """The function's name (``conv2d``, ``add``) or the module's class."""
    owner: int | None
    """The event of the module in whose `forward` this happens."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numbers: list[int | None]
    """For each tensor in the arguments, which value it is; None for a constant."""
    where: str | None
    module: nn.Module | None = None
    path: str = ""
    """The module's name in the whole one."""
    function: Callable[..., Any] | None = None
    outputs: list[int] = field(default_factory=list)
    mutates: bool = False
    """Whether it changes its first argument in place."""
    opaque: bool = False
    """Whether a module gave something that no call inside it was seen to make."""
    end: int = 0
    """The first event after a module's own."""

    def number(self, tensor: Any) -> int | None:
        """Which value a tensor among the arguments is."""
        given = zip(tensors((self.args, self.kwargs)), self.numbers, strict=True)
        return next((number for other, number in given if other is tensor), None)

    def position(self, tensor: Any) -> int:
        """Where a tensor stands among those in the arguments."""
        given = enumerate(tensors((self.args, self.kwargs)))
        return next(position for position, other in given if other is tensor)


class Reached(BaseException):
    """The value that a run was for; no `except Exception` of a user's stops it."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


class Trace(TorchFunctionMode):
    """One run of a module, seen call by call.

    Tensors are told apart by identity and numbered: 0 is the input; parameters and buffers, and
    whatever comes of them or of the input, have numbers; constants have none.
    """

    def __init__(
        self,
        module: nn.Module,
        swaps: dict[int, dict[int, Tensor]] | None = None,
        stop: tuple[int, int] | None = None,
    ) -> None:
        """Prepares a run.

        Args:
            module: what is run.
            swaps: by event, tensors to put in the place of those in its arguments.
            stop: the event, and which of its outputs, at which the run ends with `Reached`.
        """
        super().__init__()
        self.module = module
        self.swaps = swaps or {}
        self.stop = stop
        self.events: list[Event] = []
        self.copies: dict[int, Tensor] = {}
        """The values as they were made, since later calls may change them in place."""
        self.weights = dict(enumerate(named_tensors(module), start=1))
        self._numbers = {id(t): i for i, t in enumerate(named_tensors(module).values(), start=1)}
        self._kept: list[Tensor] = []  # An identity is good for as long as its tensor lives.
        self._count = len(self.weights)
        self._owners: list[Event] = []

    def run(self, x: Tensor) -> Any:
        """The module's output; `events` and `copies` are full then."""
        self._numbers[id(x)] = 0
        self._keep(x, 0)
        hooks = []
        for path, module in self.module.named_modules():
            if module is self.module or isinstance(module, torch.jit.ScriptModule):
                continue
            enter = functools.partial(self._enter, path)
            hooks.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            args, kwargs = self._enter("", self.module, (x,), {})
            with self:
                output = self.module(*args, **kwargs)
            self._leave(self.module, args, output)
            return output
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        event = self._event(operation(func), args, kwargs or {}, function=func)
        args, kwargs = self._swapped(event)
        given = list(tensors((args, kwargs)))
        versions = [tensor._version for tensor in given]
        result = func(*args, **kwargs)
        changed = [t for t, version in zip(given, versions, strict=True) if t._version != version]
        event.mutates = bool(given and changed and changed[0] is given[0])
        if all(number is None for number in event.numbers) or event.name in FACTORIES:
            return result
        if any(result is tensor for tensor in given) and not event.mutates:
            result = result.view_as(result)  # Or the input's other uses would seem to be of this.
        made = list(tensors(result))
        if event.mutates and not any(tensor is given[0] for tensor in made):
            made.append(given[0])
        if made:
            event.outputs = [self._numbered(tensor) for tensor in made]
            self.events.append(event)
            self._check(event, made)
        return result

    def _enter(self, path: str, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        event = self._event(type(module).__name__, args, kwargs, module=module, path=path)
        self.events.append(event)
        self._owners.append(event)
        return self._swapped(event)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        event = self._owners.pop()
        made = list(tensors(output))
        event.end = len(self.events)
        event.opaque = any(id(tensor) not in self._numbers for tensor in made)
        for tensor in made:
            known = self._numbers.get(id(tensor))
            event.outputs.append(self._numbered(tensor) if known is None else known)
        self._check(event, made)

    def _event(self, name: str, args: Any, kwargs: dict[str, Any], **more: Any) -> Event:
        numbers = [self._numbers.get(id(tensor)) for tensor in tensors((args, kwargs))]
        owner = self._owners[-1].index if self._owners else None
        where = user_line(sys._getframe(2))
        return Event(len(self.events), name, owner, args, kwargs, numbers, where, **more)

    def _numbered(self, tensor: Tensor) -> int:
        self._count += 1
        self._numbers[id(tensor)] = self._count
        self._keep(tensor, self._count)
        return self._count

    def _keep(self, tensor: Tensor, number: int) -> None:
        self._kept.append(tensor)
        if self.stop is None:
            with torch._C.DisableTorchFunction():
                self.copies[number] = tensor.detach().clone()

    def _swapped(self, event: Event) -> tuple[Any, dict[str, Any]]:
        swaps = self.swaps.get(event.index)
        if not swaps:
            return event.args, event.kwargs
        given = list(tensors((event.args, event.kwargs)))
        with torch._C.DisableTorchFunction():
            for position, tensor in swaps.items():
                cast = tensor.to(given[position].dtype)
                if position == 0 and given[0].shape == cast.shape and event.module is None:
                    # The code may go on with the tensor that it has, changed in place.
                    given[0].data = cast
                else:
                    given[position] = cast
        return replaced((event.args, event.kwargs), iter(given))

    def _check(self, event: Event, made: list[Tensor]) -> None:
        if self.stop is not None and self.stop[0] == event.index:
            raise Reached(made[self.stop[1]])


class Quiet(TorchFunctionMode):
    """Switches dropout off, however it is called, and leaves the modules' modes as they are."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for part in module.modules():
            if isinstance(part, (nn.RNNBase, nn.MultiheadAttention)):
                part.dropout = 0.0  # They drop out inside one call.

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operation(func)
        if name in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if name == "scaled_dot_product_attention":
            args, kwargs = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args, dict(kwargs)
            kwargs.pop("dropout_p", None)
        return func(*args, **kwargs)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and the moving averages and other numbers that it saves."""
    unsaved = {
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        for name in part._non_persistent_buffers_set
    }
    buffers = {
        name: buffer
        for name, buffer in module.named_buffers()
        if name not in unsaved and buffer.is_floating_point()
    }
    return dict(module.named_parameters()) | buffers


@contextmanager
def creation_lines() -> Iterator[dict[int, str | None]]:
    """Keeps for each module made meanwhile, by its identity, the user's line that makes it."""
    lines: dict[int, str | None] = {}
    original = nn.Module.__init__

    @functools.wraps(original)
    def recording(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        lines[id(self)] = user_line(sys._getframe(1), made=self)
        original(self, *args, **kwargs)

    nn.Module.__init__ = recording
    try:
        yield lines
    finally:
        nn.Module.__init__ = original


# What the calls mean.

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
PLAIN_ACTIVATIONS = {
    "relu": "relu",
    "selu": "selu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "relu6": "relu6",
    "exp": "exponential",
}
"""Functions that take nothing but their input."""
CHANNELS_FIRST = ("conv", "max_pool", "avg_pool", "adaptive", "batch_norm", "instance_norm")
CHANNELS_FIRST += ("group_norm", "pixel_", "interpolate", "upsample", "lp_pool")
CHANNELS_LAST = ("linear", "layer_norm", "lstm", "gru", "rnn_", "multi_head", "embedding")
CHANNELS_LAST += ("rms_norm", "scaled_dot")
"""How the names start of functions that say where the channels of their input are."""


@dataclass(frozen=True)
class Activation:
    """A value that comes of the input: which draft's (None: the input itself), and how it lies."""

    draft: int | None
    layout: str


@dataclass(frozen=True)
class Weight:
    """A value that comes of parameters alone."""

    sources: tuple[str, ...]
    view: str
    """``whole``; ``turned``: a transposed matrix; ``spread``: a vector with axes of one put in or
    taken out; ``mixed``: anything else."""


@dataclass(frozen=True)
class Feed:
    """Where a node's input goes in."""

    input: int
    event: int
    position: int
    """Which tensor of the event's arguments."""
    layout: str
    dimensions: int


@dataclass(frozen=True)
class Draft:
    """A node in the making; its inputs are other drafts, or None for the network's input."""

    kind: str
    inputs: tuple[int | None, ...]
    number: int
    """The value that it gives."""
    layout: str
    event: Event
    attributes: dict[str, Any]
    parameters: dict[str, str]
    feeds: tuple[Feed, ...]
    made_by: tuple[int, int]
    """The event that gives the value, and which of its outputs it is."""


@dataclass(frozen=True)
class Reading:
    """What one run of a module was."""

    nodes: tuple[Node, ...]
    arrays: Arrays
    """What each node gave, by its name."""
    drafts: dict[str, Draft]
    input_layout: str
    output_layout: str
    output_dimensions: int
    turns: dict[str, str]
    """By parameter, how it lies to the graph's layout: ``kernel``, ``matrix``, ``vector`` or
    ``plain``."""
    constants: set[str]
    """Buffers that stand in a node's attributes."""
    dropout_line: str | None
    """The user's line that calls dropout as a function, if any does."""


class Reader:
    """Reads the nodes from the events of a run."""

    def __init__(self, trace: Trace, lines: dict[int, str | None], input_layout: str | None):
        """Takes a run.

        Args:
            trace: a run that has come to its end.
            lines: for modules by their identity, the user's line that made them.
            input_layout: how the input lies, where that is known already.
        """
        self.trace = trace
        self.lines = lines
        self.buffers = {name for name, _ in trace.module.named_buffers()}
        self.uses: dict[int, list[Event]] = defaultdict(list)
        for event in trace.events:
            if event.module is None:
                for number in {n for n in event.numbers if n is not None}:
                    self.uses[number].append(event)
        self.input_layout = input_layout or self._guess(0)
        self.drafts: list[Draft] = []
        self.turns: dict[str, str] = {}
        self.constants: set[str] = set()
        self.values: dict[int, Activation | Weight] = {
            number: Weight((name,), "whole") for number, name in trace.weights.items()
        }
        self.values[0] = Activation(None, self.input_layout)

    def read(self) -> Reading:
        """All nodes that the output depends on."""
        root = self.trace.events[0]
        self._module(root)
        output = self.values.get(root.outputs[0])
        if not isinstance(output, Activation) or output.draft is None:
            self._custom(root)
            output = self.values[root.outputs[0]]
            assert isinstance(output, Activation)
        assert output.draft is not None
        needed = self._needed(output.draft)
        names = self._names(needed)
        copies = {i: self._array(self.drafts[i]) for i in needed}
        nodes = tuple(
            Node(
                names[i],
                draft.kind,
                tuple(INPUT if j is None else names[j] for j in draft.inputs),
                copies[i].shape[1:],
                self._attributes(draft, copies[i]),
                draft.parameters,
                self._where(draft),
            )
            for i, draft in ((i, self.drafts[i]) for i in needed)
        )
        return Reading(
            nodes,
            {names[i]: copies[i] for i in needed},
            {names[i]: self.drafts[i] for i in needed},
            self.input_layout,
            output.layout,
            self.trace.copies[root.outputs[0]].ndim,
            self.turns,
            self.constants,
            self._dropout_line(),
        )

    def _dropout_line(self) -> str | None:
        for event in self.trace.events:
            owner = None if event.owner is None else self.trace.events[event.owner].module
            if event.name in DROPOUTS and not isinstance(owner, nn.modules.dropout._DropoutNd):
                arguments = dict(zip(("input", "p", "training"), event.args, strict=False))
                arguments |= event.kwargs
                if arguments.get("p", 0.5) and arguments.get("training", True):
                    return event.where or "in a library"
            if event.name == "scaled_dot_product_attention":
                rate = event.args[4] if len(event.args) > 4 else event.kwargs.get("dropout_p", 0.0)
                if rate:
                    return event.where or "in a library"
        return None

    def _needed(self, last: int) -> list[int]:
        needed, waiting = set(), [last]
        while waiting:
            draft = waiting.pop()
            if draft not in needed:
                needed.add(draft)
                waiting += [i for i in self.drafts[draft].inputs if i is not None]
        return sorted(needed)

    def _names(self, needed: list[int]) -> dict[int, str]:
        """The path of PyTorch's own layers and of black boxes; ``PATH.relu_1`` for the rest."""
        counts: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        names = {}
        for i in needed:
            draft = self.drafts[i]
            owner = self._layer(draft.event)
            if owner is not None:
                name = owner.path or owner.name
            else:
                path = self.trace.events[draft.event.owner or 0].path
                stem = f"{path}.{draft.event.name}" if path else draft.event.name
                counts[stem] += 1
                name = f"{stem}_{counts[stem]}"
            taken[name] += 1
            names[i] = name if taken[name] == 1 else f"{name}_{taken[name]}"
        return names

    def _layer(self, event: Event) -> Event | None:
        """The call of the layer that is a node, and not only a piece of code that makes some."""
        if event.module is not None:
            return event
        owner = self.trace.events[event.owner or 0]
        own = type(owner.module).__module__.startswith("torch.")
        return owner if own and self._is_leaf(owner) else None

    def _where(self, draft: Draft) -> str | None:
        layer = self._layer(draft.event)
        made = self.lines.get(id(layer.module)) if layer is not None else None
        return made or draft.event.where

    def _array(self, draft: Draft) -> np.ndarray:
        copy = self.trace.copies[draft.number]
        return np.ascontiguousarray(to_graph(to_numpy(copy), draft.layout))

    def _attributes(self, draft: Draft, array: np.ndarray) -> dict[str, Any]:
        if draft.kind == "reshape":
            return {"shape": list(array.shape[1:])}
        return draft.attributes

    # Modules and events.

    def _is_leaf(self, event: Event) -> bool:
        inside = self.trace.events[event.index + 1 : event.end]
        return all(e.module is None or ".parametrizations." in f".{e.path}" for e in inside)

    def _module(self, event: Event) -> None:
        """Reads what a module does; one that does what has no name is a black box."""
        if event.opaque:
            self._custom(event)
            return
        before = list(self.drafts), dict(self.values), dict(self.turns), set(self.constants)
        index = event.index + 1
        while index < event.end:
            inner = self.trace.events[index]
            if inner.module is None:
                self._function(inner)
                index += 1
            else:
                self._module(inner)
                index = inner.end
        given = [self.values.get(number) for number in event.outputs]
        last = [value.draft for value in given if isinstance(value, Activation)]
        # What a module makes of its input for itself, such as new moving averages, is no node.
        needed = {i for draft in last if draft is not None for i in self._needed(draft)}
        unnamed = any(self.drafts[i].kind == "custom" for i in needed if i >= len(before[0]))
        if unnamed and event.owner is not None and self._is_leaf(event):
            self.drafts, self.values, self.turns, self.constants = before
            self._custom(event)

    def _function(self, event: Event) -> None:
        if not any(isinstance(value, Activation) for value in self._given(event)):
            self._derive(event)
        elif event.name in ALIASES and self._is_alias(event):
            self._alias(event)
        else:
            reader = getattr(self, f"_read_{self._family(event.name)}", None)
            if reader is None or not self._reads(reader, event):
                self._custom(event)

    def _family(self, name: str) -> str:
        families = ((SHAPES, "shape"), (AXES, "axes"), (PLAIN_ACTIVATIONS, "activation"))
        return next((family for names, family in families if name in names), name)

    def _reads(self, reader: Callable[..., bool], event: Event) -> bool:
        """Whether a reader, which has the parameters of what it reads, makes a node of a call."""
        try:
            bound = inspect.signature(reader).bind(event, *event.args, **event.kwargs)
        except TypeError:
            return False
        return reader(*bound.args, **bound.kwargs)

    def _given(self, event: Event) -> list[Activation | Weight | None]:
        return [None if number is None else self.values.get(number) for number in event.numbers]

    def _of(self, event: Event, tensor: Any) -> Activation | Weight | None:
        number = event.number(tensor) if isinstance(tensor, Tensor) else None
        return None if number is None else self.values.get(number)

    def _activation(self, event: Event, tensor: Any) -> Activation | None:
        """The value of a tensor that comes of the input, with its spatial axes in its node."""
        value = self._of(event, tensor)
        if isinstance(value, Activation) and value.layout == POOLED:
            number = event.number(tensor)
            assert number is not None
            source = self.drafts[value.draft or 0]
            self.drafts.append(
                replace(
                    source,
                    kind="reshape",
                    inputs=(value.draft,),
                    number=number,
                    layout=FIRST,
                    attributes={},
                    feeds=(),
                )
            )
            value = Activation(len(self.drafts) - 1, FIRST)
            self.values[number] = value
        return value if isinstance(value, Activation) else None

    def _parameter(self, event: Event, tensor: Any, turn: str) -> str | None:
        """A parameter's name where a tensor is one and may be turned that way."""
        value = self._of(event, tensor)
        if not isinstance(value, Weight) or value.view != "whole":
            return None
        name = value.sources[0]
        return name if self.turns.get(name, turn) == turn else None

    def _roles(self, event: Event, **given: tuple[Any, str]) -> dict[str, str] | None:
        """The names of parameters by role; None where a tensor is not just a parameter.

        Args:
            event: the call that takes them.
            given: by role, the tensor (None: there is none) and how it lies.
        """
        roles = {}
        for role, (tensor, turn) in given.items():
            if tensor is not None:
                name = self._parameter(event, tensor, turn)
                if name is None:
                    return None
                roles[role] = name
        self.turns |= {roles[role]: turn for role, (_, turn) in given.items() if role in roles}
        return roles

    def _emit(
        self,
        event: Event,
        kind: str,
        inputs: list[Tensor],
        layout: str,
        parameters: dict[str, str] | None = None,
        output: int = 0,
        **attributes: Any,
    ) -> bool:
        values = [self._of(event, tensor) for tensor in inputs]
        feeds = tuple(
            Feed(i, event.index, event.position(tensor), value.layout, tensor.ndim)
            for i, (tensor, value) in enumerate(zip(inputs, values, strict=True))
            if isinstance(value, Activation)
        )
        sources = tuple(value.draft for value in values if isinstance(value, Activation))
        number = event.outputs[output]
        made_by = (event.index, output)
        rest = event, attributes, parameters or {}, feeds, made_by
        self.drafts.append(Draft(kind, sources, number, layout, *rest))
        self.values[number] = Activation(len(self.drafts) - 1, layout)
        return True

    def _part_of(self, event: Event, tensor: Tensor, *kinds: str) -> int | None:
        """The draft that gave a tensor, where this call can become a part of it."""
        value, number = self._of(event, tensor), event.number(tensor)
        if not isinstance(value, Activation) or value.draft is None or number is None:
            return None
        draft = self.drafts[value.draft]
        shown = len(self.uses[number]) > 1 or number in self.trace.events[0].outputs
        return value.draft if draft.kind in kinds and draft.number == number and not shown else None

    def _merge(self, event: Event, index: int, **changes: Any) -> bool:
        """Makes a call a part of an earlier draft."""
        draft, number = self.drafts[index], event.outputs[0]
        self.drafts[index] = replace(draft, number=number, made_by=(event.index, 0), **changes)
        self.values[number] = Activation(index, draft.layout)
        return True

    def _alias(self, event: Event, layout: str | None = None) -> bool:
        value = next(value for value in self._given(event) if value is not None)
        if isinstance(value, Activation) and layout is not None:
            value = replace(value, layout=layout)
        self.values |= dict.fromkeys(event.outputs, value)
        return True

    def _is_alias(self, event: Event) -> bool:
        return isinstance(self._given(event)[0], Activation)

    def _derive(self, event: Event) -> None:
        """What comes of parameters alone."""
        weights = [value for value in self._given(event) if isinstance(value, Weight)]
        sources = tuple(dict.fromkeys(name for weight in weights for name in weight.sources))
        if not sources:
            return
        view = "mixed"
        if len(weights) == 1 and weights[0].view == "whole":
            copy = self.trace.copies[event.outputs[0]]
            if event.name in ALIASES:
                view = "whole"
            elif event.name in AXES and copy.ndim == 2 and axes_order(event) == [1, 0]:
                view = "turned"
            elif event.name in SHAPES and copy.numel() == max(copy.shape, default=1):
                view = "spread"
        self.values |= dict.fromkeys(event.outputs, Weight(sources, view))

    def _custom(self, event: Event) -> None:
        """A black box: a node for each tensor that it gives."""
        given = list(tensors((event.args, event.kwargs)))
        inputs = []
        for tensor, number in zip(given, event.numbers, strict=True):
            seen = any(tensor is other for other in inputs)
            if number is not None and not seen and self._activation(event, tensor):
                inputs.append(tensor)
        names = dict.fromkeys(
            name
            for value in self._given(event)
            if isinstance(value, Weight)
            for name in value.sources
        )
        if event.module is not None:
            own = named_tensors(event.module)
            names |= dict.fromkeys(f"{event.path}.{name}" if event.path else name for name in own)
        for name in names:
            self.turns.setdefault(name, "plain")
        parameters = {str(i): name for i, name in enumerate(names)}
        for position, number in enumerate(event.outputs):
            layout = self._custom_layout(event, number)
            named = {"class": event.name}
            self._emit(event, "custom", inputs, layout, parameters, position, **named)

    def _custom_layout(self, event: Event, number: int) -> str:
        dimensions = self.trace.copies[number].ndim
        given = zip(tensors((event.args, event.kwargs)), self._given(event), strict=True)
        for tensor, value in given:
            if isinstance(value, Activation) and tensor.ndim == dimensions:
                return value.layout
        return self._guess(number)

    def _guess(self, number: int) -> str:
        """Where a tensor's channels are, by what is done with it."""
        dimensions = self.trace.copies[number].ndim
        if dimensions < 3:
            return LAST
        waiting, seen = [number], set()
        while waiting:
            number = waiting.pop(0)
            seen.add(number)
            for event in self.uses[number]:
                if event.name.startswith(CHANNELS_FIRST):
                    return FIRST
                if event.name.startswith(CHANNELS_LAST):
                    return LAST
                if event.name in AXES:
                    order = axes_order(event)
                    if dimensions == 3 and order == to_first(3):
                        return LAST if self._guess(event.outputs[0]) == FIRST else FIRST
                    if order in (to_first(dimensions), to_last(dimensions)):
                        return LAST if order == to_first(dimensions) else FIRST
                elif event.name not in SHAPES:
                    same = [n for n in event.outputs if self.trace.copies[n].ndim == dimensions]
                    waiting += [n for n in same if n not in seen]
        return FIRST if dimensions > 3 else LAST

    # Layers. Each reader has the parameters of the PyTorch function that it reads, so that Python
    # itself binds a call's arguments; it says whether it made a node.

    def _read_conv(
        self,
        event: Event,
        input: Tensor,
        weight: Any,
        bias: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
    ) -> bool:
        value = self._activation(event, input)
        axes = input.ndim - 2
        if value is None or value.layout != FIRST:
            return False
        window, strides, steps = (each(axes, v) for v in (weight.shape[2:], stride, dilation))
        parameters = self._roles(event, kernel=(weight, "kernel"), bias=(bias, "plain"))
        if parameters is None:
            return False
        if padding == "same":
            totals = [step * (size - 1) for step, size in zip(steps, window, strict=True)]
            pads = [[total // 2, total - total // 2] for total in totals]
        else:
            pads = [[pad, pad] for pad in each(axes, 0 if padding == "valid" else padding)]
        return self._emit(
            event,
            "conv",
            [input],
            FIRST,
            parameters,
            strides=strides,
            padding=pads,
            dilation=steps,
            groups=groups,
        )

    def _read_conv1d(
        self, event, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
    ) -> bool:
        return self._read_conv(event, input, weight, bias, stride, padding, dilation, groups)

    def _read_conv2d(
        self, event, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
    ) -> bool:
        return self._read_conv(event, input, weight, bias, stride, padding, dilation, groups)

    def _read_linear(self, event, input, weight, bias=None) -> bool:
        return self._dense(event, input, weight, bias, from_units=True)

    def _read_matmul(self, event, input, other) -> bool:
        return self._dense(event, input, other, None, from_units=False)

    def _read_addmm(self, event, input, mat1, mat2, *, beta=1, alpha=1) -> bool:
        return (beta, alpha) == (1, 1) and self._dense(event, mat1, mat2, input, from_units=False)

    def _dense(self, event: Event, x: Any, weight: Any, bias: Any, from_units: bool) -> bool:
        """Reads a product with a matrix that is (units, inputs), or else (inputs, units)."""
        value, matrix = self._activation(event, x), self._of(event, weight)
        if value is None or value.layout != LAST or not isinstance(matrix, Weight):
            return False
        if weight.ndim != 2 or matrix.view not in ("whole", "turned"):
            return False
        turn = "matrix" if from_units != (matrix.view == "turned") else "plain"
        name = matrix.sources[0]
        parameters = self._roles(event, bias=(bias, "plain"))
        if parameters is None or self.turns.get(name, turn) != turn:
            return False
        self.turns[name] = turn
        return self._emit(event, "dense", [x], LAST, {"kernel": name} | parameters)

    def _bias(self, event: Event, x: Tensor, other: Tensor) -> bool:
        """Makes the addition of a parameter the bias of the layer that gave ``x``."""
        weight = self._of(event, other)
        index = self._part_of(event, x, "dense", "conv")
        if index is None or not isinstance(weight, Weight):
            return False
        draft = self.drafts[index]
        if (
            "bias" in draft.parameters
            or len(weight.sources) != 1
            or weight.view not in ("whole", "spread")
        ):
            return False
        name = weight.sources[0]
        turn = "plain" if dict(named_tensors(self.trace.module))[name].ndim == 1 else "vector"
        units = x.shape[channel_axis(draft.layout, x.ndim)]
        if other.numel() != units or not by_channel(other, draft.layout, x.ndim):
            return False
        if self.turns.get(name, turn) != turn:
            return False
        self.turns[name] = turn
        return self._merge(event, index, parameters=draft.parameters | {"bias": name})

    def _read_batch_norm(
        self,
        event,
        input,
        running_mean,
        running_var,
        weight=None,
        bias=None,
        training=False,
        momentum=0.1,
        eps=1e-5,
    ) -> bool:
        value = self._activation(event, input)
        if value is None or (input.ndim > 2 and value.layout != FIRST) or running_mean is None:
            return False
        parameters = self._roles(
            event,
            gamma=(weight, "plain"),
            beta=(bias, "plain"),
            mean=(running_mean, "plain"),
            variance=(running_var, "plain"),
        )
        if parameters is None:
            return False
        owner = None if event.owner is None else self.trace.events[event.owner].module
        unbiased = getattr(owner, "unbiased", True)
        if momentum == 0 and isinstance(owner, nn.modules.batchnorm._BatchNorm):
            momentum = owner.momentum or 0.0  # It moves its averages itself.
        return self._emit(
            event,
            "batch_norm",
            [input],
            value.layout,
            parameters,
            epsilon=float(eps),
            momentum=1.0 - momentum,
            unbiased=unbiased,
        )

    # Pools.

    def _pool(
        self, event: Event, kind: str, x: Tensor, size: Any, stride: Any, padding: Any, **more: Any
    ) -> bool:
        value = self._activation(event, x)
        axes = x.ndim - 2
        if value is None or value.layout != FIRST:
            return False
        windows, pads = each(axes, size), each(axes, padding)
        strides = windows if stride is None or stride == [] else each(axes, stride)
        made = self.trace.copies[event.outputs[0]].shape[2:]
        padding = []
        for total, out, window, step, pad in zip(
            x.shape[2:], made, windows, strides, pads, strict=True
        ):
            # Rounding the size up is padding behind what the user asks for.
            beyond = (out - 1) * step + window - (total + 2 * pad)
            padding.append([pad, pad + max(0, beyond)])
        if more.get("count_padding"):
            if any(before != after for before, after in padding) and any(pads):
                return False  # It counts the padding, but not what rounding up adds.
            more["count_padding"] = any(pads)
        return self._emit(
            event, kind, [x], FIRST, size=windows, strides=strides, padding=padding, **more
        )

    def _max_pool(
        self,
        event,
        input,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    ) -> bool:
        if any(step != 1 for step in each(input.ndim - 2, dilation)):
            return False
        return self._pool(event, "max_pool", input, kernel_size, stride, padding)

    _read_max_pool1d = _read_max_pool2d = _max_pool
    _read_max_pool1d_with_indices = _read_max_pool2d_with_indices = _max_pool

    def _avg_pool(
        self,
        event,
        input,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ) -> bool:
        if divisor_override is not None:
            return False
        return self._pool(
            event,
            "average_pool",
            input,
            kernel_size,
            stride,
            padding,
            count_padding=count_include_pad,
        )

    _read_avg_pool1d = _read_avg_pool2d = _avg_pool

    def _adaptive(self, event: Event, x: Tensor, output_size: Any, kind: str) -> bool:
        spatial, wanted = x.shape[2:], self.trace.copies[event.outputs[0]].shape[2:]
        value = self._activation(event, x)
        if value is None or value.layout != FIRST:
            return False
        if all(size == 1 for size in wanted):
            return self._emit(event, f"global_{kind}", [x], POOLED)
        if any(size % to for size, to in zip(spatial, wanted, strict=True)):
            return False
        windows = [size // to for size, to in zip(spatial, wanted, strict=True)]
        counted = {"count_padding": False} if kind == "average_pool" else {}
        return self._pool(event, kind, x, windows, windows, 0, **counted)

    def _adaptive_average(self, event, input, output_size) -> bool:
        return self._adaptive(event, input, output_size, "average_pool")

    def _adaptive_max(self, event, input, output_size, return_indices=False) -> bool:
        return self._adaptive(event, input, output_size, "max_pool")

    _read_adaptive_avg_pool1d = _read_adaptive_avg_pool2d = _adaptive_average
    _read_adaptive_max_pool1d = _read_adaptive_max_pool2d = _adaptive_max

    def _global(self, event: Event, kind: str, x: Tensor, dim: Any, keepdim: bool) -> bool:
        value = self._activation(event, x)
        if value is None or x.ndim < 3 or dim is None:
            return False
        axes = {axis % x.ndim for axis in ([dim] if isinstance(dim, int) else dim)}
        channels = {0, channel_axis(value.layout, x.ndim)}
        if axes != set(range(x.ndim)) - channels or (keepdim and value.layout == LAST):
            return False
        return self._emit(event, kind, [x], POOLED if keepdim else LAST)

    def _read_mean(self, event, input, dim=None, keepdim=False, *, dtype=None) -> bool:
        return self._global(event, "global_average_pool", input, dim, keepdim)

    def _read_amax(self, event, input, dim=None, keepdim=False) -> bool:
        return self._global(event, "global_max_pool", input, dim, keepdim)

    # Functions of each number.

    def _elementwise(self, event: Event, kind: str, x: Any, **attributes: Any) -> bool:
        value = self._of(event, x)
        if not isinstance(value, Activation):
            return False
        return self._emit(event, kind, [x], value.layout, **attributes)

    def _function_of(self, event: Event, x: Any, function: str, slope: Any = None) -> bool:
        slope = None if slope is None else float(slope)
        return self._elementwise(event, "activation", x, function=function, slope=slope)

    def _read_activation(self, event, input, inplace=False) -> bool:
        return self._function_of(event, input, PLAIN_ACTIVATIONS[event.name])

    def _read_leaky_relu(self, event, input, negative_slope=0.01, inplace=False) -> bool:
        return self._function_of(event, input, "leaky_relu", negative_slope)

    def _read_elu(self, event, input, alpha=1.0, inplace=False) -> bool:
        return self._function_of(event, input, "elu", alpha)

    def _read_gelu(self, event, input, approximate="none") -> bool:
        return self._function_of(event, input, "gelu_tanh" if approximate == "tanh" else "gelu")

    def _read_softplus(self, event, input, beta=1, threshold=20) -> bool:
        return (beta, threshold) == (1, 20) and self._function_of(event, input, "softplus")

    def _read_hardtanh(self, event, input, min_val=-1.0, max_val=1.0, inplace=False) -> bool:
        return self._read_clamp(event, input, min_val, max_val)

    def _read_clamp(self, event, input, min=None, max=None) -> bool:
        if isinstance(min, Tensor) or isinstance(max, Tensor) or min != 0 or max not in (None, 6):
            return False
        return self._function_of(event, input, "relu" if max is None else "relu6")

    def _read_clamp_min(self, event, input, min) -> bool:
        return self._read_clamp(event, input, min)

    def _softmax(self, event, input, dim=None, dtype=None, **unimportant) -> bool:
        value = self._of(event, input)
        if not isinstance(value, Activation):
            return False
        if dim is None:
            dim = 0 if input.ndim in (0, 1, 3) else 1
        axis = channel_axis(value.layout, input.ndim)
        return dim % input.ndim == axis and self._function_of(event, input, event.name)

    _read_softmax = _read_log_softmax = _softmax

    def _read_dropout(self, event, input, p=0.5, training=True, inplace=False) -> bool:
        return self._elementwise(event, "dropout", input, rate=float(p))

    # Arithmetic.

    def _read_add(self, event, input, other, *, alpha=1) -> bool:
        first, second = self._of(event, input), self._of(event, other)
        if isinstance(first, Activation) and isinstance(second, Activation):
            return alpha == 1 and self._add(event, input, other)
        x, other = (input, other) if isinstance(first, Activation) else (other, input)
        if alpha == 1 and isinstance(other, Tensor) and self._bias(event, x, other):
            return True
        return self._rescale(event, x, other, lambda c: (1.0, alpha * c))

    def _add(self, event: Event, x: Tensor, y: Tensor) -> bool:
        if x.shape != y.shape:
            return False
        first, second = self._activation(event, x), self._activation(event, y)
        if first is None or second is None or first.layout != second.layout:
            return False
        return self._emit(event, "add", [x, y], first.layout)

    def _read_sub(self, event, input, other, *, alpha=1) -> bool:
        if isinstance(self._of(event, input), Activation):
            return self._rescale(event, input, other, lambda c: (1.0, -alpha * c))
        return self._rescale(event, other, input, lambda c: (-alpha, c))

    def _read_rsub(self, event, input, other, *, alpha=1) -> bool:
        return alpha == 1 and self._rescale(event, input, other, lambda c: (-1.0, c))

    def _read_mul(self, event, input, other) -> bool:
        x, other = (
            (input, other) if isinstance(self._of(event, input), Activation) else (other, input)
        )
        return self._rescale(event, x, other, lambda c: (c, 0.0))

    def _read_div(self, event, input, other, *, rounding_mode=None) -> bool:
        if rounding_mode is not None or not isinstance(self._of(event, input), Activation):
            return False
        return self._rescale(event, input, other, lambda c: (1.0 / c, 0.0))

    def _read_neg(self, event, input) -> bool:
        return self._rescale(event, input, 1.0, lambda c: (-1.0, 0.0))

    def _rescale(
        self, event: Event, x: Any, constant: Any, line: Callable[[np.ndarray], tuple[Any, Any]]
    ) -> bool:
        """Reads ``scale * x + offset`` where ``line`` makes the two of a constant."""
        value = self._activation(event, x)
        if value is None:
            return False
        number = self._constant(event, constant, value.layout, x.ndim)
        if number is None:
            return False
        scale, offset = (np.asarray(part, np.float64) for part in line(number))
        index = self._part_of(event, x, "rescale")
        if index is not None:
            before = self.drafts[index].attributes
            scale, offset = scale * before["scale"], scale * before["offset"] + offset
        attributes = {"scale": scale.tolist(), "offset": offset.tolist()}
        if index is not None:
            return self._merge(event, index, attributes=attributes)
        return self._emit(event, "rescale", [x], value.layout, **attributes)

    def _constant(
        self, event: Event, constant: Any, layout: str, dimensions: int
    ) -> np.ndarray | None:
        """A number, or one for each channel, that neither the input nor training changes."""
        if isinstance(constant, (int, float)):
            return np.asarray(constant, np.float64)
        if not isinstance(constant, Tensor):
            return None
        value = self._of(event, constant)
        names = set(value.sources) if isinstance(value, Weight) else set()
        if isinstance(value, Activation) or names - self.buffers:
            return None
        if constant.numel() > 1 and not by_channel(constant, layout, dimensions):
            return None
        self.constants |= names
        numbers = constant.detach().cpu().double().numpy()
        return numbers.reshape(() if numbers.size == 1 else -1)

    def _read_cat(self, event, tensors, dim=0) -> bool:
        values = [self._activation(event, tensor) for tensor in tensors]
        layouts = {value.layout for value in values if value is not None}
        if None in values or len(layouts) > 1:
            return False
        layout = layouts.pop()
        dimensions = tensors[0].ndim
        if dimensions < 2 or dim % dimensions != channel_axis(layout, dimensions):
            return False
        return self._emit(event, "concatenate", list(tensors), layout)

    def _read_pad(self, event, input, pad, mode="constant", value=None) -> bool:
        given = self._activation(event, input)
        if given is None or mode != "constant" or value:
            return False
        pairs = [list(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
        pairs = [[0, 0]] * (input.ndim - len(pairs)) + pairs
        channel = pairs.pop(channel_axis(given.layout, input.ndim))
        batch, *spatial = pairs
        if any(channel + batch) or any(amount < 0 for pair in spatial for amount in pair):
            return False
        return self._emit(event, "pad", [input], given.layout, padding=spatial)

    # Shapes.

    def _read_axes(self, event, input, *arguments, **named) -> bool:
        value = self._activation(event, input)
        order = axes_order(event)
        if value is None or input.ndim < 3:
            return False
        if value.layout == FIRST and order == to_last(input.ndim):
            return self._alias(event, LAST)
        if value.layout == LAST and order == to_first(input.ndim):
            return self._alias(event, FIRST)
        return False

    def _read_shape(self, event, input, *arguments, **named) -> bool:
        value = self._of(event, input)
        number = event.outputs[0]
        made = self.trace.copies[number]
        if not isinstance(value, Activation) or made.numel() != input.numel():
            return False
        if event.name == "getitem" and not keeps_axes(arguments[0]):
            return False
        if made.shape == input.shape:
            return self._alias(event)
        if value.layout == POOLED and made.shape[:2] == input.shape[:2]:
            return self._alias(event, LAST if made.ndim == 2 else POOLED)
        value = self._activation(event, input)
        assert value is not None
        layout = LAST
        if made.ndim > 2:
            channels = value.layout == FIRST and made.shape[1] == input.shape[1]
            layout = FIRST if channels else self._guess(number)
        kept = keeps_order(tuple(input.shape), value.layout, tuple(made.shape), layout)
        if made.ndim == 2 and input.ndim > 2:
            return self._emit(event, "flatten", [input], LAST, order=LAST if kept else FIRST)
        return kept and self._emit(event, "reshape", [input], layout)


def each(axes: int, value: Any) -> list[int]:
    """A number for each spatial axis."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(v) for v in (values * axes if len(values) == 1 else values)]


def channel_axis(layout: str, dimensions: int) -> int:
    return dimensions - 1 if layout == LAST else 1


def by_channel(tensor: Tensor, layout: str, dimensions: int) -> bool:
    """Whether a tensor holds a number for each channel of what it is put against."""
    shape = [1] * (dimensions - tensor.ndim) + list(tensor.shape)
    axis = channel_axis(layout, dimensions)
    return len(shape) == dimensions and all(size == 1 for i, size in enumerate(shape) if i != axis)


def to_last(dimensions: int) -> list[int]:
    return [0, *range(2, dimensions), 1]


def to_first(dimensions: int) -> list[int]:
    return [0, dimensions - 1, *range(1, dimensions - 1)]


def axes_order(event: Event) -> list[int]:
    """The order in which a call puts the axes, found by the call on axes that can be told apart."""
    (given,) = tensors((event.args, event.kwargs))
    probe = torch.empty([2 + i for i in range(given.ndim)])
    args, kwargs = replaced((event.args, event.kwargs), iter([probe]))
    assert event.function is not None
    return [size - 2 for size in event.function(*args, **kwargs).shape]


def keeps_order(before: tuple[int, ...], layout: str, after: tuple[int, ...], made: str) -> bool:
    """Whether a reshaping of the tensor is one of the array in the graph's layout too."""
    numbers = np.arange(np.prod(before)).reshape(before)
    array = to_graph(numbers, layout)
    return bool((array.ravel() == to_graph(numbers.reshape(after), made).ravel()).all())


def keeps_axes(index: Any) -> bool:
    """Whether an index that keeps all numbers keeps their order too."""
    items = index if isinstance(index, tuple) else (index,)
    return all(
        item is None or item is ... or isinstance(item, int) or item == slice(None)
        for item in items
    )


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers as float32, or as float64 where it has that."""
    tensor = tensor.detach().cpu()
    return tensor.to(torch.float64 if tensor.dtype == torch.float64 else torch.float32).numpy()


def to_graph(array: np.ndarray, layout: str) -> np.ndarray:
    """A tensor's numbers in its node's layout."""
    if layout == POOLED:
        return array.reshape(array.shape[:2])
    return np.moveaxis(array, 1, -1) if layout == FIRST else array


def from_graph(array: np.ndarray, layout: str, dimensions: int) -> np.ndarray:
    """The reverse of `to_graph`."""
    if layout == POOLED:
        return array.reshape(array.shape + (1,) * (dimensions - 2))
    return np.moveaxis(array, -1, 1) if layout == FIRST else array


# What the user hands in.


def pair(value: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, tensors or arrays, as arrays."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError(f"{what} gave a {type(value).__name__}: give a pair (x, y)")
    x, y = (as_array(part) for part in value)
    return x, y


def as_array(value: Any) -> np.ndarray:
    if not isinstance(value, Tensor):
        return np.asarray(value)
    value = value.detach().cpu()
    return (
        value.float().numpy() if value.dtype in (torch.bfloat16, torch.float16) else value.numpy()
    )


@contextmanager
def backward_by(action: Callable[[Tensor], None]) -> Iterator[None]:
    """Puts something in the place of PyTorch's `backward`, whoever calls it."""
    original = torch.autograd.backward

    def other(tensors: Any, *args: Any, **kwargs: Any) -> None:
        action(tensors[0] if isinstance(tensors, (tuple, list)) else tensors)

    torch.autograd.backward = other
    try:
        yield
    finally:
        torch.autograd.backward = original


def turned(array: np.ndarray, turn: str) -> np.ndarray:
    """A parameter in the graph's layout."""
    if turn == "kernel":
        array = np.moveaxis(array, (0, 1), (-1, -2))
    elif turn == "matrix":
        array = array.T
    elif turn == "vector":
        array = array.reshape(-1)
    return np.array(array, order="C")


def turned_back(array: np.ndarray, turn: str, shape: torch.Size) -> np.ndarray:
    """A parameter in PyTorch's layout."""
    if turn == "kernel":
        array = np.moveaxis(array, (-1, -2), (0, 1))
    elif turn == "matrix":
        array = array.T
    return np.ascontiguousarray(array).reshape(shape)


class Adapter:
    """A PyTorch side; see `diptych.auditing.frameworks.protocol.Adapter`.

    The module's mode as the user's function returns it is the one that its training runs in.
    """

    trains = True

    def __init__(self, build: Callable[[int], Any], precision: torch.dtype | None = None) -> None:
        """Builds the side.

        Args:
            build: gives what the user's function returns.
            precision: the floating-point type that the user's code is to run in, where it is not
                the one that the code has by itself.
        """
        self.framework = f"PyTorch {torch.__version__.split('+')[0]}"
        self.precision = precision
        self._build = build
        with creation_lines() as self._lines, own_randomness():
            self._side = self._submitted(0)
        self._module = self._side.module
        self._runs = 0
        self._seen: Followed | None = None
        graphs = graphs_compiled()
        self.prepares = "prepare" in self._side.extras or "data" in self._side.extras
        self._readings: dict[bool, Reading] = {}
        self._input_layout: str | None = None
        self._example, self._example_targets = self._find_example()
        self._compiled = is_compiled(self._side) or graphs_compiled() > graphs
        reading = self._reading(True)
        self._input_layout = reading.input_layout
        self.targets = self._find_targets()

    # The network.

    @in_own_precision
    def graph(self) -> Graph:
        """What `forward` does in the mode that the module trains in."""
        x = to_graph(self._example.numpy(), self._reading(True).input_layout)
        return Graph(x.shape[1:], self._reading(True).nodes)

    @in_own_precision
    def parameters(self) -> Arrays:
        return self._parameters_of(self._module)

    @in_own_precision
    def load(self, parameters: Arrays) -> None:
        own = named_tensors(self._module)
        unknown = [name for name in parameters if name not in own]
        if unknown:
            raise InputError(f"the module has no parameter {listed(unknown)}: it has {listed(own)}")
        with torch.no_grad():
            for name, array in parameters.items():
                own[name].copy_(self._as_parameter(name, array))

    @in_own_precision
    def record(self, x: np.ndarray, training: bool) -> Arrays:
        with self._mode(training), uncompiled():
            trace = Trace(self._module)
            given = self._input(x)
            with forward_of(given):
                trace.run(given)
            changed = self._parameters_of(self._module)
            arrays = Reader(trace, self._lines, self._input_layout).read().arrays
        for node in self._reading(True).nodes:
            # `if self.training:` around a dropout.
            if node.name not in arrays and node.kind == "dropout":
                (source,) = node.inputs
                arrays[node.name] = x if source == INPUT else arrays[source]
        if training:
            trained = dict(self._module.named_parameters())
            averages = changed.keys() - trained.keys()
            arrays |= {f"parameter:{name}": changed[name] for name in sorted(averages)}
        return arrays

    @in_own_precision
    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        reading = self._reading(training)
        if name not in reading.drafts:
            return inputs[0]  # As in `record`.
        draft = reading.drafts[name]
        if not draft.feeds:
            (shape,) = (node.shape for node in reading.nodes if node.name == name)
            return inputs[0].reshape(-1, *shape)
        swaps: dict[int, dict[int, Tensor]] = defaultdict(dict)
        for feed in draft.feeds:
            array = from_graph(inputs[feed.input], feed.layout, feed.dimensions)
            swaps[feed.event][feed.position] = self._tensor(array)
        with self._mode(training), uncompiled():
            try:
                Trace(self._module, swaps, draft.made_by).run(self._examples(len(inputs[0])))
            except Reached as reached:
                return np.ascontiguousarray(to_graph(to_numpy(reached.value), draft.layout))
        raise InputError(
            f"{name} is not reached when the network is run on other numbers: the module's "
            "`forward` decides by its input what it does"
        )

    # The data.

    @in_own_precision
    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.prepares:
            x, y = self._prepared(images, labels)
            return np.ascontiguousarray(to_graph(as_array(x), self._layout)), as_array(y)
        shape = self.graph().input_shape
        if images[0].size != np.prod(shape):
            raise InputError(
                f"the network takes {shape}, which does not hold the {images[0].size} numbers of "
                "an image: give `prepare` or `data` in extras"
            )
        x = (images * np.float32(1 / 255)).astype(np.float32).reshape(-1, *shape)
        x = x.astype(to_numpy(torch.empty(0, dtype=self._example.dtype)).dtype)
        if self.targets == "classes":
            return x, labels.astype(np.int64)
        if self.targets == "one_hot":
            return x, np.eye(self._output.shape[-1], dtype=np.float32)[labels]
        raise InputError(
            f"the loss takes {self.targets}, which digits are not: give `prepare` or `data` in "
            "extras"
        )

    @in_own_precision
    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        x, y = self._example, self._target(self._example_targets)
        if x.dtype in (torch.bfloat16, torch.float16):
            x = x.float()  # They have no room for whole numbers above a few hundred.
        coded = [
            torch.arange(count, dtype=part.dtype)
            .reshape(-1, *[1] * (part.ndim - 1))
            .repeat(1, *part.shape[1:])
            for part in (x, y.cpu())
        ]
        return self._batches(coded[0], coded[1], epochs)

    @in_own_precision
    def batches_of(
        self, x: np.ndarray, y: np.ndarray, epochs: int
    ) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        return self._batches(self._input(x).cpu(), self._target(y).cpu(), epochs)

    def _batches(
        self, x: Tensor, y: Tensor, epochs: int
    ) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        if "batches" not in self._side.extras:
            return None
        with users_code("`batches` in extras"):
            return [
                [
                    (to_graph(inputs, self._layout), targets)
                    for inputs, targets in (
                        pair(batch, "`batches` in extras")
                        for batch in self._side.extras["batches"](x, y)
                    )
                ]
                for _ in range(epochs)
            ]

    # Whole functions, and the same side in float64.

    def twin(self) -> "Adapter":
        """The same side in float64; see the protocol.

        Code that casts to fewer bits by hand, runs under autocast or makes a module of bfloat16
        has no twin.
        """
        try:
            with default_dtype(torch.float64):
                twin = Adapter(self._build, torch.float64)
                twin.load(self.parameters())
                twin._check_precision()
        except InputError as error:
            raise NotImplementedError(f"it does not run in float64: {error}") from error
        return twin

    @in_own_precision
    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        reading, given, outputs = self._reading(True), self._input(x), []
        for _ in range(runs):
            self._runs += 1
            with (
                own_randomness(),
                self._mode(training),
                room_for_graphs(),
                torch.set_grad_enabled(training),
                forward_of(given),
            ):
                torch.manual_seed(self._runs)
                output = self._side.network(given)
                self._check_output(output)
            outputs.append(to_graph(to_numpy(output), reading.output_layout))
        return np.stack(outputs)

    @in_own_precision
    def horizon(self) -> dict[str, Any]:
        if "steps" in self._side.extras:
            return {"steps": self._side.extras["steps"], "source": "`steps` in extras"}
        followed = self._looked()
        for position, scheduler in enumerate(self._side.schedulers):
            length, period = scheduler.length(), followed.period(position)
            if length is not None and period is not None:
                name, steps = length
                where = f" ({scheduler.where})" if scheduler.where else ""
                return {"steps": steps * period, "source": f"{name} of {steps}{where}"}
        return {"steps": None, "source": ""}

    @in_own_precision
    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        return self._follower().follow(steps).rates

    @in_own_precision
    def settings(self) -> dict[str, str]:
        followed = self._looked()
        words = {}
        for position, scheduler in enumerate(self._side.schedulers):
            name = f"schedule {position + 1}" if position else "schedule"
            stepped = followed.moves(position)
            if scheduler.follows_a_metric and stepped:
                words[name] = f"{scheduler}: follows a metric"
            elif not stepped and not scheduler.is_part_of(self._side.schedulers):
                if "step" in self._side.extras:
                    words[name] = (
                        f"{scheduler}: `step` in extras steps it in none of its first "
                        f"{len(followed.calls)} steps"
                    )
                else:
                    words[name] = f"{scheduler}: nothing that is given steps it"
        return words

    def _looked(self) -> Followed:
        """What the first steps do with learning rates."""
        self._seen = self._seen or self._follower().look(LOOKED_AT)
        return self._seen

    def _follower(self) -> Follower:
        x, y = self._examples(EXAMPLES), self._target(self._example_targets)
        return Follower(self._fresh(), x, y[torch.arange(EXAMPLES) % len(y)])

    def _check_precision(self) -> None:
        """Runs everything once and looks for what rounds to fewer bits than float64.

        Raises:
            NotImplementedError: something does.
        """
        for name in self._rounded & self._reading(True).constants:
            raise NotImplementedError(f"`{name}` of the module holds numbers rounded to float32")
        x, targets = self._examples(EXAMPLES), self._example_targets
        if self.targets == "values" and not self.prepares:
            targets = np.random.Generator(np.random.Philox(1)).normal(size=targets.shape)
        y = self._target(targets)
        y = y[torch.arange(EXAMPLES) % len(y)]
        _, loss = self._training_loss(x, y)
        side = self._fresh()
        with uncompiled(), Rounding() as rounding:
            output = self._run(x)
            self._step(side, x, y)
        if rounding.found:
            raise NotImplementedError(rounding.found)
        for name, result in (("module", output), ("loss", loss)):
            if result.is_floating_point() and result.dtype != torch.float64:
                raise NotImplementedError(f"the {name} gives {plain(result.dtype)}")

    # Training.

    @in_own_precision
    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        reading = self._reading(True)
        given = from_graph(outputs, reading.output_layout, reading.output_dimensions)
        output, y = self._tensor(given), self._target(targets)
        if "step" not in self._side.extras:
            with room_for_graphs():
                return self._loss(self._side, output, y).item()
        side = self._fresh()
        replacements = []

        def replace_output(module: nn.Module, args: Any, own: Tensor) -> Tensor:
            replacements.append(own)
            return output.to(own.dtype) if own.dtype == torch.float64 else output

        side.module.register_forward_hook(replace_output)
        with uncompiled(), Quiet(side.module):
            loss = self._loss_of_step(side, self._examples(len(outputs)), y)
        if loss is None or not replacements:
            return self._loss(self._side, output, y).item()
        return loss.item()

    @in_own_precision
    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        with room_for_graphs():
            side, loss = self._training_loss(self._input(x), self._target(targets))
            for parameter in side.module.parameters():
                parameter.grad = None
            if loss.requires_grad:
                loss.backward()
        gradients = {
            name: turned(to_numpy(parameter.grad), self._turn(name))
            for name, parameter in side.module.named_parameters()
            if parameter.grad is not None
        }
        return loss.item(), gradients

    @in_own_precision
    def updates(self, gradients: list[Arrays]) -> list[Arrays]:
        side = self._fresh()
        after = []
        for arrays in gradients:
            given = {name: self._as_parameter(name, array) for name, array in arrays.items()}
            if "step" in side.extras:
                self._step_with(side, given)
            else:
                for name, parameter in side.module.named_parameters():
                    parameter.grad = given.get(name)
                with users_code("the optimizer"):
                    side.optimizer.step()
            after.append(self._parameters_of(side.module))
        return after

    def _step_with(self, side: Submission, gradients: dict[str, Tensor]) -> None:
        """The user's own step, in which `backward` finds the given gradients."""

        def give(loss: Tensor) -> None:
            for name, parameter in side.module.named_parameters():
                if name in gradients:
                    held = 0 if parameter.grad is None else parameter.grad
                    parameter.grad = gradients[name] + held

        x, y = self._examples(EXAMPLES), self._target(self._example_targets)
        with buffers_kept(side.module), backward_by(give), users_code("`step` in extras"):
            side.extras["step"](x, y[torch.arange(EXAMPLES) % len(y)])

    @in_own_precision
    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[list[float], list[Arrays]]:
        def run(side: Submission) -> tuple[list[float], list[Arrays]]:
            losses, after = [], []
            for x, targets in batches:
                losses.append(self._step(side, self._input(x), self._target(targets)))
                after.append(self._parameters_of(side.module))
            return losses, after

        return self._without_dropout(run)

    def _step(self, side: Submission, x: Tensor, y: Tensor) -> float:
        """One training step, the user's own if they have one; gives the loss before it."""
        if "step" not in side.extras:
            side.optimizer.zero_grad()
            loss = self._loss(side, self._forward(side, x), y)
            loss.backward()
            with users_code("the optimizer"):
                side.optimizer.step()
            return loss.item()
        seen: list[Tensor] = []
        original = torch.autograd.backward

        def watch(loss: Tensor) -> None:
            seen.append(loss.detach())
            original(loss)

        with backward_by(watch), users_code("`step` in extras"):
            returned = side.extras["step"](x, y)
        if seen:
            return seen[0].item()
        if returned is None:
            raise InputError(
                "`step` in extras neither calls `backward` nor returns the loss: return the loss"
            )
        return float(returned)

    def _training_loss(self, x: Tensor, y: Tensor) -> tuple[Submission, Tensor]:
        """The loss in training mode, but with dropout off, of a fresh build."""
        if "step" in self._side.extras:
            side, loss = self._without_dropout(lambda side: (side, self._loss_of_step(side, x, y)))
            if loss is not None:
                return side, loss
        return self._without_dropout(
            lambda side: (side, self._loss(side, self._forward(side, x), y))
        )

    def _without_dropout(self, run: Callable[[Submission], Result]) -> Result:
        """Computes with a fresh build that has its dropout off and runs as its user runs it.

        Raises:
            NotImplementedError: it is compiled, and drops out by a call of a function, which cannot
                be replaced without breaking the compiled graph.
        """
        side, graphs = self._fresh(), graphs_compiled()
        if not self._compiled:
            with Quiet(side.module):
                result = run(side)
            if graphs_compiled() == graphs:
                return result
            # Something in it is compiled after all, and its graph was broken.
            self._compiled, side = True, self._fresh()
        if line := self._reading(True).dropout_line:
            raise NotImplementedError(
                f"dropout in compiled code is called as a function ({line}), which cannot be "
                "switched off: use torch.nn.Dropout"
            )
        switch_dropout_off(side.module)
        with room_for_graphs():
            return run(side)

    def _loss_of_step(self, side: Submission, x: Tensor, y: Tensor) -> Tensor | None:
        """What the user's own step calls `backward` on: their loss with all penalties."""

        def stop(loss: Tensor) -> None:
            raise Reached(loss)

        try:
            with backward_by(stop), users_code("`step` in extras"):
                side.extras["step"](x, y)
        except Reached as reached:
            return reached.value
        return None

    def _loss(self, side: Submission, output: Tensor, y: Tensor) -> Tensor:
        with users_code(f"the loss on outputs {tuple(output.shape)}, targets {tuple(y.shape)}"):
            loss = side.loss(output, y)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            given = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(
                f"the loss gives {given} where training takes one number: reduce it, such as "
                "with reduction='mean'"
            )
        return loss

    @in_own_precision
    def initial(self, draws: int) -> list[Arrays]:
        parameters = []
        with own_randomness():
            for seed in range(draws):
                torch.manual_seed(seed)
                parameters.append(self._parameters_of(self._built(seed).module))
        return parameters

    def optimiser(self) -> dict[str, Any]:
        optimizer = self._side.optimizer
        kind = type(optimizer).__name__.lower()
        group = optimizer.param_groups[0]
        names = {
            "lr": "learning_rate",
            "eps": "epsilon",
            "alpha": "rho",
            **{name: name for name in ("momentum", "dampening", "weight_decay")},
        }
        known: dict[str, Any] = {"kind": kind}
        known |= {ours: float(group[name]) for name, ours in names.items() if name in group}
        known |= {name: bool(group[name]) for name in ("nesterov", "amsgrad") if name in group}
        if "betas" in group:
            known["beta_1"], known["beta_2"] = map(float, group["betas"])
        if kind in ("adam", "adamw", "nadam"):
            known["bias_corrected_epsilon"] = getattr(optimizer, "bias_corrected_epsilon", True)
        return known

    # Builds, modes and layouts.

    def _submitted(self, seed: int) -> Submission:
        """What the user's function returns, in this side's precision."""
        with users_code("the function"), schedulers_made() as schedulers:
            returned = self._build(seed)
        side = Submission.of(returned, schedulers)
        self._rounded = convert(side) if self.precision is not None else set()
        return side

    def _built(self, seed: int) -> Submission:
        side = self._submitted(seed)
        if side.module is self._module:
            raise InputError(
                "the function gives the same module whenever it is called: make the module, the "
                "loss and the optimizer inside it"
            )
        if any(is_lazy(tensor) for tensor in side.module.state_dict().values()):
            self._forward(side, self._examples(EXAMPLES))
        return side

    def _fresh(self) -> Submission:
        """A build with a fresh optimiser and the present parameters."""
        with own_randomness():
            side = self._built(0)
        present = dict(self._module.named_parameters()) | dict(self._module.named_buffers())
        others = dict(side.module.named_parameters()) | dict(side.module.named_buffers())
        if {n: t.shape for n, t in present.items()} != {n: t.shape for n, t in others.items()}:
            raise InputError(
                "the function gives another network each time: make the same one at every call"
            )
        with torch.no_grad():
            for name, tensor in others.items():
                tensor.copy_(present[name])
        return side

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        """The mode that the module trains in, or inference; all is as it was afterwards."""
        modes = {module: module.training for module in self._module.modules()}
        try:
            with buffers_kept(self._module), torch.no_grad():
                if not training:
                    self._module.eval()
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode

    def _reading(self, training: bool) -> Reading:
        """What the module does on the example."""
        if training not in self._readings:
            trace = Trace(self._module)
            x = self._example.to(self._device)
            with self._mode(training), own_randomness(), uncompiled(), forward_of(x):
                self._check_output(trace.run(x))
            reader = Reader(trace, self._lines, self._input_layout)
            self._readings[training] = reader.read()
        return self._readings[training]

    @property
    def _layout(self) -> str:
        return self._reading(True).input_layout

    @property
    def _device(self) -> torch.device:
        return next(iter(named_tensors(self._module).values()), torch.empty(0)).device

    def _turn(self, name: str) -> str:
        return self._reading(True).turns.get(name, "plain")

    def _parameters_of(self, module: nn.Module) -> Arrays:
        return {
            name: turned(to_numpy(tensor), self._turn(name))
            for name, tensor in named_tensors(module).items()
            if name not in self._reading(True).constants
        }

    def _as_parameter(self, name: str, array: np.ndarray) -> Tensor:
        own = named_tensors(self._module)[name]
        try:
            back = turned_back(array, self._turn(name), own.shape)
        except ValueError:
            shape = turned(to_numpy(own), self._turn(name)).shape
            raise InputError(f"{name} was given the shape {array.shape}: it has {shape}") from None
        # As autograd does: a gradient lies in memory as its parameter does, and optimisers that
        # take a tensor for a row of numbers rely on it.
        return torch.empty_like(own.detach()).copy_(torch.tensor(back))

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.tensor(np.ascontiguousarray(array), device=self._device)
        # An axis of one may keep a stride that users' `view` stumbles over.
        return tensor.clone(memory_format=torch.contiguous_format)

    def _input(self, x: np.ndarray) -> Tensor:
        given = from_graph(x, self._layout, self._example.ndim)
        return self._tensor(given).to(self._example.dtype)

    def _examples(self, count: int) -> Tensor:
        return self._example[torch.arange(count) % len(self._example)].to(self._device)

    def _target(self, targets: np.ndarray) -> Tensor:
        if self.targets == "classes":
            return self._tensor(targets).long()
        double = torch.float64 in (self._output.dtype, self.precision)
        return self._tensor(targets).to(torch.float64 if double else torch.float32)

    # What is found out at the start.

    def _prepared(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        extras = self._side.extras
        if "prepare" not in extras:
            pair(extras["data"], "`data` in extras")
            x, y = extras["data"]
            return x[: len(images)], y[: len(images)]
        with users_code("`prepare` in extras"):
            made = extras["prepare"](images, labels)
        pair(made, "`prepare` in extras")
        return made

    def _find_example(self) -> tuple[Tensor, np.ndarray]:
        """A few inputs that the module runs on, and targets for them."""
        if self.prepares:
            images = np.zeros((EXAMPLES, *IMAGE), np.uint8)
            x, y = self._prepared(images, np.arange(EXAMPLES))
            x = x.detach().cpu() if isinstance(x, Tensor) else self._own_precision(np.asarray(x))
            if self.precision is not None and x.is_floating_point():
                x = x.to(self.precision)
            self._output = self._run(x)
            return x, as_array(y)
        numbers = np.random.Generator(np.random.Philox(0))
        shapes = list(dict.fromkeys([*likely_shapes(self._module), *IMAGE_SHAPES]))
        failures = []
        for shape in shapes:
            x = self._own_precision(numbers.random((EXAMPLES, *shape), np.float32))
            try:
                self._output = self._run(x)
            except InputError as error:
                failures.append(str(error))
            else:
                return x, np.empty(0)
        raise InputError(
            f"{failures[0]}: say what it takes by `data` or `prepare` in extras, such as "
            "{'data': (x, y)}"
        )

    def _own_precision(self, x: np.ndarray) -> Tensor:
        """An array as a tensor, with the module's kind of floating-point numbers."""
        tensor = torch.tensor(x)
        if self.precision is not None and tensor.is_floating_point():
            return tensor.to(self.precision)
        own = next(iter(self._module.parameters()), tensor).dtype
        return tensor.to(own) if tensor.is_floating_point() and own.is_floating_point else tensor

    def _run(self, x: Tensor) -> Tensor:
        with self._mode(training=False), own_randomness():
            output = self._forward(self._side, x.to(self._device))
        self._check_output(output)
        if output.shape[:1] != x.shape[:1]:
            raise InputError(
                f"the module, on an input of shape {tuple(x.shape)}, gives {tuple(output.shape)}, "
                "where the first axis is not the batch's"
            )
        return output

    def _forward(self, side: Submission, x: Tensor) -> Tensor:
        with forward_of(x):
            return side.network(x)

    def _check_output(self, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise OutputError(
                f"the module gives a {type(output).__name__}, not a tensor: return a module "
                "whose `forward` gives the one tensor that the loss takes"
            )

    def _find_targets(self) -> str:
        """What the loss takes: told by its kind or by the user's own targets, or else tried."""
        loss, output, y = self._side.loss, self._output, self._example_targets
        units = output.shape[-1] if output.ndim > 1 else 1
        if isinstance(loss, CLASS_LOSSES) or loss in CLASS_FUNCTIONS:
            kind = "classes" if not self.prepares or y.ndim == output.ndim - 1 else "one_hot"
        elif isinstance(loss, BINARY_LOSSES) or loss in BINARY_FUNCTIONS:
            kind = "binary" if units == 1 else "one_hot"
        elif isinstance(loss, VALUE_LOSSES) or loss in VALUE_FUNCTIONS:
            kind = "values"
        elif self.prepares:
            integers = y.ndim == 1 and np.issubdtype(y.dtype, np.integer)
            kind = "classes" if integers and units > 1 else "values"
        else:
            kind = "classes" if units > 1 and self._takes_classes(units) else "values"
        if not self.prepares:
            whole = kind == "classes"
            self._example_targets = (
                np.zeros(EXAMPLES, np.int64) if whole else np.zeros(output.shape, np.float32)
            )
        return kind

    def _takes_classes(self, units: int) -> bool:
        output = self._output[:2] if units == EXAMPLES else self._output
        target = torch.zeros(len(output), dtype=torch.long, device=output.device)
        try:
            return self._side.loss(output, target).numel() == 1
        except Exception:
            return False


class OutputError(InputError):
    """The module runs, but what it gives is no tensor."""


IMAGE_SHAPES = [(1, 28, 28), (28, 28), (784,), (28, 28, 1)]
"""How a raw image may be given to a module."""

CLASS_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
BINARY_LOSSES = (nn.BCELoss, nn.BCEWithLogitsLoss)
VALUE_LOSSES = (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss)
CLASS_FUNCTIONS = (nn.functional.cross_entropy, nn.functional.nll_loss)
BINARY_FUNCTIONS = (
    nn.functional.binary_cross_entropy,
    nn.functional.binary_cross_entropy_with_logits,
)
VALUE_FUNCTIONS = (
    nn.functional.mse_loss,
    nn.functional.l1_loss,
    nn.functional.huber_loss,
    nn.functional.smooth_l1_loss,
)


def likely_shapes(module: nn.Module) -> list[tuple[int, ...]]:
    """Input shapes that the first layer with parameters may be made for."""
    for part in module.modules():
        match part:
            case nn.Conv1d(in_channels=channels):
                return [(channels, 784 // channels)] if 784 % max(channels, 1) == 0 else []
            case nn.Linear(in_features=784):
                return []
            case nn.Linear(in_features=features) if features:
                return [(features,)]
            case nn.RNNBase(input_size=size) if 784 % size == 0:
                return [(784 // size, size)]
        if next(part.parameters(recurse=False), None) is not None:
            break
    return []


def own_randomness() -> AbstractContextManager[None]:
    """Leaves PyTorch's random numbers where they were."""
    return torch.random.fork_rng(devices=[])


def forward_of(x: Tensor) -> AbstractContextManager[None]:
    """Says what goes wrong when the module runs on an input."""
    shape = ", ".join(map(str, ("n", *x.shape[1:])))
    return users_code(f"the module, on an input of shape ({shape}),")


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Puts moving averages and counters back, whether they were changed or replaced."""
    kept = [
        (part._buffers, name, buffer, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None and not is_lazy(buffer)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffers, name, buffer, numbers in kept:
                buffer.copy_(numbers)
                buffers[name] = buffer
