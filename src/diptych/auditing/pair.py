"""The two sides of an audit: their graphs, and the matching of their layers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from diptych.auditing import reference
from diptych.auditing.beside import beside, matches_beside, parameters_of
from diptych.auditing.graph import Arrays, Graph
from diptych.auditing.grouping import grouped, matched
from diptych.auditing.kinds.registry import role_of
from diptych.auditing.match import Final, Match, Transfer, simplified
from diptych.auditing.several import JOINED, Output, outputs_of, shared
from diptych.auditing.side import Side

Which = str
"""``a`` or ``b``."""
SIDES = ("a", "b")


@dataclass(frozen=True)
class Pair:
    """Two opened sides and their matching. It does not change during an audit."""

    sides: dict[Which, Side]
    graphs: dict[Which, Graph]
    """The graph of each side; black boxes that behave like known layers are replaced by those."""
    a: Graph
    b: Graph
    """Both graphs without nodes that have no effect."""
    final: Mapping[Which, Final]
    """The final activation of each side, if it has one."""
    matches: list[Match]
    transfer: Transfer
    beside: list[Match] = field(default_factory=list)
    """Weights beside both networks, each as a layer of its own."""
    several: dict[Which, tuple[Output, ...]] = field(default_factory=dict)
    """The outputs that each side joins to one; none for a side that has one."""

    @classmethod
    def of(cls, sides: dict[Which, Side], graphs: dict[Which, Graph]) -> "Pair":
        """Matches two sides, layer by layer. Of several outputs where the other side has one, the
        network is taken up to that one."""
        several = {which: outputs_of(graphs[which]) for which in SIDES}
        whole_a, whole_b = graphs["a"], graphs["b"]
        graphs = {"a": shared(whole_a, whole_b), "b": shared(whole_b, whole_a)}
        (a, final_a), (b, final_b) = (simplified(graphs[which]) for which in SIDES)
        own = [sides[which].own for which in SIDES]
        a, b = grouped(a, b, *own)
        matches, transfer = matched(a, b, *own)
        left = [beside(graph, side) for graph, side in zip((a, b), own, strict=True)]
        more = matches_beside(left[0], left[1], own[0], own[1])
        transfer = transfer.with_names({x: y for m in more for _, x, y in m.parameters()})
        final = {"a": final_a, "b": final_b}
        return cls(sides, graphs, a, b, final, matches, transfer, more, several)

    @property
    def whole(self) -> bool:
        """True if every weight of each side's layers has a counterpart on the other."""
        names = self.transfer.names
        return parameters_of(self.a) <= names.keys() and parameters_of(self.b) <= {*names.values()}

    def lacks(self, method: str) -> str:
        """Why a side cannot be asked something that an adapter may lack (``drawn_gradients``,
        ``later_outputs``), so that the other side need not be asked either; empty if both can."""
        lacking = (side.framework for side in self.sides.values() if method in side.lacks)
        return next((f"not available for {framework}" for framework in lacking), "")

    @property
    def narrowed(self) -> Which | None:
        """The side of whose several outputs the other has one; None if there is none."""
        for which in SIDES:
            if self.several.get(which) and self.graphs[which].nodes[-1].name not in JOINED:
                return which
        return None

    @property
    def of_layers(self) -> list[str]:
        """A's names of the parameters that layers of both networks have."""
        others = {name for match in self.beside for _, name, _ in match.parameters()}
        return [name for name in self.transfer.names if name not in others]

    def transferred(self) -> Iterator[tuple[Match, str]]:
        """Each of A's parameters that has a counterpart, with the first layers that it is of."""
        seen: set[str] = set()
        for match in [*self.matches, *self.beside]:
            for name in match.a.parameters.values() if match.a and match.b else ():
                if name in self.transfer.names and name not in seen:
                    seen.add(name)
                    yield match, name

    def computable(self, which: Which) -> bool:
        """True if the reference can compute the whole network of a side."""
        return reference.computable(self.graphs[which])

    def with_attributes(self, which: Which, name: str, **attributes: object) -> "Pair":
        """The pair with changed attributes of one node of a side."""
        nodes = [
            replace(node, attributes=node.attributes | attributes) if node.name == name else node
            for node in self.graphs[which].nodes
        ]
        graph = replace(self.graphs[which], nodes=tuple(nodes))
        return replace(self, graphs=self.graphs | {which: graph})

    def load(self, weights: dict[Which, Arrays]) -> None:
        """Puts weights into both sides."""
        for which, side in self.sides.items():
            side.load(weights[which])


def without_final(graph: Graph) -> Graph:
    """The network without its final activation, as the reference runs it."""
    return simplified(graph, keep_shapes=True)[0]


def trained(side: Side) -> list[str]:
    """The names of the parameters that are weights, not moving averages."""
    averages = averages_of(side.graph)
    return [name for name in side.own if name not in averages]


def averages_of(graph: Graph) -> set[str]:
    """The names of the moving averages of a network's layers."""
    return {
        name
        for node in graph.nodes
        for role, name in node.parameters.items()
        if role_of(node, role).average
    }
