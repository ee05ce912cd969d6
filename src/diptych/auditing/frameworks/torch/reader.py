"""Reads the nodes of a network from the calls of a run."""

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.auditing.frameworks.torch import dropout, lengths, states
from diptych.auditing.frameworks.torch.calls import ALIASES
from diptych.auditing.frameworks.torch.combining import Combination
from diptych.auditing.frameworks.torch.drafts import Activation, Drafts, NodeDraft
from diptych.auditing.frameworks.torch.layout import to_graph, to_numpy
from diptych.auditing.frameworks.torch.operations import (
    activation,
    arithmetic,
    attention,
    convolution,
    dense,
    embedding,
    normalisation,
    pooling,
    recurrent,
    reduction,
    resampling,
    selection,
    shape,
)
from diptych.auditing.frameworks.torch.operations import dropout as dropouts
from diptych.auditing.frameworks.torch.operations.registry import reads, reads_modules
from diptych.auditing.frameworks.torch.trace import Event, Trace
from diptych.auditing.graph import INPUT, Arrays, Node

FAMILIES = (
    activation,
    arithmetic,
    attention,
    convolution,
    dense,
    dropouts,
    embedding,
    normalisation,
    pooling,
    recurrent,
    reduction,
    resampling,
    selection,
    shape,
)
"""The modules whose functions `reads` has registered."""
FIRST_READERS = (lengths.read, states.turns_time, states.read)
"""Readers that look at every call before those of its function do: what a value is, is known to
them from earlier calls."""
NOT_EXPRESSED: dict[str, str] = {
    "average": "it has no function: one written out is a sum and a line",
    "augmentation": "it is the data's affair",
    "gaussian_dropout": "it has no layer of it",
    "gaussian_noise": "it has no layer of it",
}
"""Kinds that it does not have, or that are not read, each with the reason."""


@dataclass(frozen=True)
class Reading:
    """A run of a module as nodes."""

    nodes: tuple[Node, ...]
    arrays: Arrays
    """The output of each node, by its name."""
    drafts: dict[str, NodeDraft]
    input_layout: str
    output_layout: str
    output_dimensions: int
    turns: dict[str, str]
    """The layout of each parameter relative to the graph's."""
    constants: set[str]
    """Buffers that stand in a node's attributes."""
    combined: dict[str, Combination]
    """Parameters that are built from several of the module's, or from a part of one."""
    dropout_line: str | None
    """The user's line that calls dropout as a function, if any does."""


class Reader:
    """Reads one run."""

    def __init__(self, trace: Trace, lines: dict[int, str | None], input_layout: str | None):
        """Takes a run.

        Args:
            trace: a run that has come to its end.
            lines: for modules by their identity, the user's line that made them.
            input_layout: how the input lies, where that is known already.
        """
        self._trace, self._lines = trace, lines
        self._drafts = Drafts(trace, input_layout)

    def read(self) -> Reading:
        """All nodes that the output depends on."""
        root, drafts = self._trace.events[0], self._drafts
        self._module(root)
        output = drafts.values.get(root.outputs[0])
        if not isinstance(output, Activation) or output.draft is None:
            drafts.black_box(root)
            output = drafts.values[root.outputs[0]]
            assert isinstance(output, Activation)
        assert output.draft is not None
        needed = {i: drafts.drafts[i] for i in drafts.needed(output.draft)}
        names = self._names(needed)
        arrays = {names[i]: self._array(draft) for i, draft in needed.items()}
        return Reading(
            tuple(self._node(i, draft, names, arrays[names[i]]) for i, draft in needed.items()),
            arrays,
            {names[i]: draft for i, draft in needed.items()},
            drafts.input_layout,
            output.layout,
            self._trace.copies[root.outputs[0]].ndim,
            drafts.turns,
            drafts.constants,
            self._combined(
                {name for draft in needed.values() for name in draft.parameters.values()}
            ),
            dropout.called_as_function(self._trace),
        )

    def _combined(self, used: set[str]) -> dict[str, Combination]:
        """The combined parameters that are used."""
        return {n: c for n, c in self._drafts.combined.items() if n in used}

    # Nodes.

    def _node(self, i: int, draft: NodeDraft, names: dict[int, str], array: np.ndarray) -> Node:
        shape = array.shape[1:]
        attributes = {"shape": list(shape)} if draft.kind == "reshape" else draft.attributes
        inputs = tuple(INPUT if j is None else names[j] for j in draft.inputs)
        layer = self._layer(draft.event)
        made = self._lines.get(id(layer.module)) if layer is not None else None
        where = made or draft.event.where
        parameters = {
            role: next((n for n, c in self._drafts.combined.items() if name in c.parts), name)
            if draft.kind == "custom" else name
            for role, name in draft.parameters.items()
        }  # fmt: skip
        return Node(names[i], draft.kind, inputs, shape, attributes, parameters, where)

    def _names(self, needed: dict[int, NodeDraft]) -> dict[int, str]:
        """The path of PyTorch's own layers and of black boxes; ``PATH.relu_1`` for the rest."""
        counts: Counter[str] = Counter()
        taken: Counter[str] = Counter()
        names = {}
        for i, draft in needed.items():
            owner = self._layer(draft.event)
            if owner is not None:
                name = owner.path or owner.name
            else:
                path = self._trace.events[draft.event.owner or 0].path
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
        owner = self._trace.events[event.owner or 0]
        own = type(owner.module).__module__.startswith("torch.")
        return owner if own and self._is_leaf(owner) else None

    def _array(self, draft: NodeDraft) -> np.ndarray:
        copy = self._trace.copies[draft.number]
        return np.ascontiguousarray(to_graph(to_numpy(copy), draft.layout))

    # Calls of modules and functions.

    def _is_leaf(self, event: Event) -> bool:
        """True if a module calls no other modules, apart from parametrizations of its weights."""
        inside = self._trace.events[event.index + 1 : event.end]
        return all(e.module is None or ".parametrizations." in f".{e.path}" for e in inside)

    def _module(self, event: Event) -> None:
        """Reads what a module does; one that does something without a name is a black box."""
        if event.opaque:
            self._drafts.black_box(event)
            return
        before = self._drafts.snapshot()
        known = reads_modules.get(event.name)
        if known is not None and self._reads(known, event):
            return
        index = event.index + 1
        while index < event.end:
            inner = self._trace.events[index]
            if inner.module is None:
                self._function(inner)
                index += 1
            else:
                self._module(inner)
                index = inner.end
        outputs = [self._drafts.values.get(number) for number in event.outputs]
        last = [value.draft for value in outputs if isinstance(value, Activation)]
        # What a module makes of its input for itself, such as new moving averages, is no node.
        needed = {i for draft in last if draft is not None for i in self._drafts.needed(draft)}
        drafts, new = self._drafts.drafts, len(before.drafts)
        if lengths.packs(self._trace, event) and not self._unpacked(needed):
            self._drafts.restore(before)
            self._drafts.black_box(event)
            return
        unnamed = any(states.is_unnamed(drafts[i]) for i in needed if i >= new)
        if unnamed and event.owner is not None and self._is_leaf(event):
            self._drafts.restore(before)
            self._drafts.black_box(event)

    def _unpacked(self, needed: set[int]) -> bool:
        """True if no node is left of what packs and unpacks sequences, or gives packed ones."""
        drafts = [self._drafts.drafts[i] for i in needed]
        loose = {"pack_padded_sequence", "pad_packed_sequence", "index_select"}
        return not any(
            draft.number in self._drafts.packed
            or (draft.kind == "custom" and draft.event.name in loose)
            for draft in drafts
        )

    def _function(self, event: Event) -> None:
        given = self._drafts.given(event)
        if not any(isinstance(value, Activation) for value in given):
            self._drafts.derive(event)
        elif event.name in ALIASES and isinstance(given[0], Activation):
            self._drafts.alias(event)
        elif any(read(self._drafts, event) for read in FIRST_READERS):
            return
        elif states.lies_wrong(self._drafts, event):
            self._drafts.black_box(event)
        else:
            reader = reads.get(event.name)
            if reader is None or not self._reads(reader, event):
                self._drafts.black_box(event)

    def _reads(self, reader: Callable[..., bool], event: Event) -> bool:
        """True if a reader, whose parameters are those of the function, makes a node of a call."""
        arguments: tuple[Any, ...] = (self._drafts, event, *event.args)
        try:
            bound = inspect.signature(reader).bind(*arguments, **event.kwargs)
        except TypeError:
            return False
        try:
            return reader(*bound.args, **bound.kwargs)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError):
            return False  # A form that the reader was not written for: from outside, then.
