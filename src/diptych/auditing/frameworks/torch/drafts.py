"""The nodes of a network while they are being read from a run."""

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.calls import ALIASES, AXES, SHAPES, tensors
from diptych.auditing.frameworks.torch.channels import Uses, guess_layout
from diptych.auditing.frameworks.torch.combining import Combination
from diptych.auditing.frameworks.torch.layout import FIRST, POOLED
from diptych.auditing.frameworks.torch.parameters import PLAIN, named_tensors
from diptych.auditing.frameworks.torch.trace import Event, Trace


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input: which draft gave it (None: it is the input), and how it
    lies."""

    draft: int | None
    layout: str


@dataclass(frozen=True)
class Weight:
    """A value that depends on parameters alone."""

    sources: tuple[str, ...]
    view: str
    """``whole``; ``turned``: a transposed matrix; ``spread``: a vector with axes of one put in or
    taken out; ``mixed``: anything else."""


@dataclass(frozen=True)
class Feed:
    """The place where a node's input enters."""

    input: int
    event: int
    position: int
    """The index of the tensor among the event's arguments."""
    layout: str
    dimensions: int


@dataclass(frozen=True)
class NodeDraft:
    """A node while it is being read. Its inputs are other drafts, or None for that of the
    network."""

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
class Snapshot:
    """All that was read up to some point."""

    drafts: list[NodeDraft]
    values: dict[int, Activation | Weight]
    turns: dict[str, str]
    constants: set[str]
    combined: dict[str, Combination]
    states: dict[int, tuple[tuple[int, int], ...]]
    single_states: dict[int, tuple[tuple[int, int], ...]]


class Drafts:
    """The state of reading a run: the nodes, and the meaning of each value."""

    def __init__(self, trace: Trace, input_layout: str | None) -> None:
        """Begins with the input and the parameters.

        Args:
            trace: a run that has come to its end.
            input_layout: how the input lies, where that is known already.
        """
        self.trace = trace
        self.buffers = {name for name, _ in trace.module.named_buffers()}
        self.uses: Uses = defaultdict(list)
        for event in trace.events:
            if event.module is None:
                for number in {n for n in event.numbers if n is not None}:
                    self.uses[number].append(event)
        self.input_layout = input_layout or self.guess(0)
        self.drafts: list[NodeDraft] = []
        self.turns: dict[str, str] = {}
        """The layout of each parameter relative to the graph's."""
        self.constants: set[str] = set()
        """Buffers that stand in a node's attributes."""
        self.combined: dict[str, Combination] = {}
        """Parameters that are built from others, by name."""
        self.states: dict[int, tuple[tuple[int, int], ...]] = {}
        """Values (layers * directions, n, units): for each row, whose last state it is, as the
        draft and which of its directions."""
        self.packed: dict[int, Any] = {}
        """Packed sequences, as `diptych.auditing.frameworks.torch.lengths.Packed`."""
        self.unsorted: dict[int, Activation] = {}
        """Values with their examples in another order, by what they are in their own."""
        self.single_states: dict[int, tuple[tuple[int, int], ...]] = {}
        """Values (n, units) of these, or several of them joined."""
        self.values: dict[int, Activation | Weight] = {
            number: Weight((name,), "whole") for number, name in trace.weights.items()
        }
        self.values[0] = Activation(None, self.input_layout)

    def snapshot(self) -> Snapshot:
        """A copy of everything, for `restore`."""
        kept = dict(self.turns), set(self.constants), dict(self.combined)
        kept += dict(self.states), dict(self.single_states)
        return Snapshot(list(self.drafts), dict(self.values), *kept)

    def restore(self, before: Snapshot) -> None:
        """Forgets what was read since the snapshot."""
        self.drafts, self.values = before.drafts, before.values
        self.turns, self.constants = before.turns, before.constants
        self.combined, self.states = before.combined, before.states
        self.single_states = before.single_states

    def needed(self, last: int) -> list[int]:
        """The drafts that a draft depends on, itself included, in order."""
        needed: set[int] = set()
        waiting = [last]
        while waiting:
            draft = waiting.pop()
            if draft not in needed:
                needed.add(draft)
                waiting += [i for i in self.drafts[draft].inputs if i is not None]
        return sorted(needed)

    def guess(self, number: int) -> str:
        """The position of a value's channels, from its use."""
        return guess_layout(self.trace, self.uses, number)

    # What a call is given.

    def given(self, event: Event) -> list[Activation | Weight | None]:
        """The meaning of each tensor in a call's arguments; None for constants."""
        return [None if number is None else self.values.get(number) for number in event.numbers]

    def of(self, event: Event, tensor: Any) -> Activation | Weight | None:
        """The meaning of one of a call's arguments; None for constants and other types."""
        number = event.number(tensor) if isinstance(tensor, Tensor) else None
        return None if number is None else self.values.get(number)

    def activation(self, event: Event, tensor: Any) -> Activation | None:
        """A value that depends on the input, with its spatial axes in its node; None for others."""
        value = self.of(event, tensor)
        if isinstance(value, Activation) and value.layout == POOLED:
            number = event.number(tensor)
            assert number is not None
            source = self.drafts[value.draft or 0]
            changes: dict[str, Any] = {"layout": FIRST, "attributes": {}, "feeds": ()}
            changes |= {"kind": "reshape", "inputs": (value.draft,), "number": number}
            self.drafts.append(replace(source, **changes))
            value = Activation(len(self.drafts) - 1, FIRST)
            self.values[number] = value
        return value if isinstance(value, Activation) else None

    def roles(self, event: Event, **given: tuple[Any, str]) -> dict[str, str] | None:
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

    def combined_parameter(self, event: Event, parts: list[Any], **how: Any) -> str | None:
        """The name of a parameter that is made of others; None where these are not parameters.

        Args:
            event: the call that takes them.
            parts: the tensors that it is made of.
            how: as `Combination` has it.
        """
        names = [self._parameter(event, tensor, PLAIN) for tensor in parts]
        if None in names:
            return None
        combination = Combination(tuple(filter(None, names)), **how)
        if self.combined.setdefault(combination.name, combination) != combination:
            return None  # It is made of them in another way elsewhere.
        self.turns |= dict.fromkeys(combination.parts, PLAIN)
        return combination.name

    def _parameter(self, event: Event, tensor: Any, turn: str) -> str | None:
        """A parameter's name where a tensor is one and may be turned that way."""
        value = self.of(event, tensor)
        if not isinstance(value, Weight) or value.view != "whole":
            return None
        name = value.sources[0]
        return name if self.turns.get(name, turn) == turn else None

    # What a call is read as. Each gives True, for a reader to return.

    def emit(
        self,
        event: Event,
        kind: str,
        inputs: list[Tensor],
        layout: str,
        parameters: dict[str, str] | None = None,
        output: int = 0,
        **attributes: Any,
    ) -> bool:
        """Turns a call into a separate node.

        Args:
            event: the call.
            kind: of the node.
            inputs: those of its arguments that the node takes.
            layout: how the tensor that it gives lies to the node's array.
            parameters: by role, their names.
            output: which of the tensors that it gives is the node's.
            attributes: the node's.
        """
        values = [self.of(event, tensor) for tensor in inputs]
        feeds = tuple(
            Feed(i, event.index, event.position(tensor), value.layout, tensor.ndim)
            for i, (tensor, value) in enumerate(zip(inputs, values, strict=True))
            if isinstance(value, Activation)
        )
        sources = tuple(value.draft for value in values if isinstance(value, Activation))
        number = event.outputs[output]
        made_by = (event.index, output)
        rest = event, attributes, parameters or {}, feeds, made_by
        self.drafts.append(NodeDraft(kind, sources, number, layout, *rest))
        self.values[number] = Activation(len(self.drafts) - 1, layout)
        return True

    def elementwise(self, event: Event, kind: str, x: Any, **attributes: Any) -> bool:
        """Makes a call a node that leaves its input's layout as it is."""
        value = self.of(event, x)
        if not isinstance(value, Activation):
            return False
        return self.emit(event, kind, [x], value.layout, **attributes)

    def joinable(self, event: Event, tensor: Tensor, *kinds: str) -> int | None:
        """The draft that gave a tensor, where this call can become a part of it."""
        value, number = self.of(event, tensor), event.number(tensor)
        if not isinstance(value, Activation) or value.draft is None or number is None:
            return None
        draft = self.drafts[value.draft]
        shown = len(self.uses[number]) > 1 or number in self.trace.events[0].outputs
        return value.draft if draft.kind in kinds and draft.number == number and not shown else None

    def merge(self, event: Event, index: int, **changes: Any) -> bool:
        """Makes a call a part of an earlier draft."""
        draft, number = self.drafts[index], event.outputs[0]
        self.drafts[index] = replace(draft, number=number, made_by=(event.index, 0), **changes)
        self.values[number] = Activation(index, draft.layout)
        return True

    def alias(self, event: Event, layout: str | None = None) -> bool:
        """Turns the result of a call into an alias of its input."""
        value = next(value for value in self.given(event) if value is not None)
        if isinstance(value, Activation) and layout is not None:
            value = replace(value, layout=layout)
        self.values |= dict.fromkeys(event.outputs, value)
        return True

    def derive(self, event: Event) -> None:
        """Reads a call that takes parameters alone."""
        weights = [value for value in self.given(event) if isinstance(value, Weight)]
        sources = tuple(dict.fromkeys(name for weight in weights for name in weight.sources))
        if not sources:
            return
        view = "mixed"
        if len(weights) == 1 and weights[0].view == "whole":
            copy = self.trace.copies[event.outputs[0]]
            if event.name in ALIASES:
                view = "whole"
            elif event.name in AXES and copy.ndim == 2 and event.axes_order() == [1, 0]:
                view = "turned"
            elif event.name in SHAPES and copy.numel() == max(copy.shape, default=1):
                view = "spread"
        self.values |= dict.fromkeys(event.outputs, Weight(sources, view))

    def black_box(self, event: Event) -> None:
        """Makes a node of kind ``custom`` for each tensor that a call gives."""
        inputs: list[Tensor] = []
        arguments = tensors((event.args, event.kwargs))
        for tensor, number in zip(arguments, event.numbers, strict=True):
            seen = any(tensor is other for other in inputs)
            if number is not None and not seen and self.activation(event, tensor):
                inputs.append(tensor)
        weights = [value for value in self.given(event) if isinstance(value, Weight)]
        names = dict.fromkeys(name for weight in weights for name in weight.sources)
        if event.module is not None:
            # By the name of the whole module: a tied weight has one name there.
            known = {id(tensor): name for name, tensor in named_tensors(self.trace.module).items()}
            own = named_tensors(event.module).values()
            names |= dict.fromkeys(known[id(tensor)] for tensor in own if id(tensor) in known)
        for name in names:
            self.turns.setdefault(name, PLAIN)
        parameters = {str(i): name for i, name in enumerate(names)}
        for position, number in enumerate(event.outputs):
            layout = self._black_box_layout(event, number)
            named = {"class": event.name}
            self.emit(event, "custom", inputs, layout, parameters, position, **named)

    def _black_box_layout(self, event: Event, number: int) -> str:
        dimensions = self.trace.copies[number].ndim
        arguments = zip(tensors((event.args, event.kwargs)), self.given(event), strict=True)
        for tensor, value in arguments:
            if isinstance(value, Activation) and tensor.ndim == dimensions:
                return value.layout
        return self.guess(number)
