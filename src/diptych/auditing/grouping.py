"""Groups of layers on one side that correspond to one layer on the other.

A custom layer of one framework (a gate, a residual block) is one box there, while the other
framework shows its parts; so it is with a normalisation that one side writes out. If the parts have
as many parameters of the same shapes as the box, they form a group, which is compared with the box
as a whole.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, permutations, product, takewhile

from diptych.auditing.graph import Arrays, Graph, Node
from diptych.auditing.match import GAP, Match, Transfer, align, cost_of, turns

TOGETHER = "together"
"""The attribute of a group: the names of its nodes."""
MOST = 120
"""The maximum number of nodes of a side; longer graphs are not grouped."""
FURTHER = 6
"""The number of nodes without parameters that may follow the last one with parameters."""
ORDERS = 24
"""The number of orders of parameters of the same shape to try."""
Shape = tuple[int, ...]


def grouped(a: Graph, b: Graph, of_a: Arrays, of_b: Arrays) -> tuple[Graph, Graph]:
    """Both graphs, simplified, with a group in place of layers that correspond to a black box.

    Args:
        a: A's graph.
        b: B's graph.
        of_a: A's parameters.
        of_b: B's parameters.
    """
    if max(len(a.nodes), len(b.nodes)) > MOST:
        return a, b
    for known in (False, True):  # Unknown layers first: what is left then has no other counterpart.
        a, b = _with_groups(a, b, of_a, of_b, known)
        b, a = _with_groups(b, a, of_b, of_a, known)
    return a, b


def _with_groups(
    boxes: Graph, parts: Graph, of_boxes: Arrays, of_parts: Arrays, known: bool
) -> tuple[Graph, Graph]:
    """Both graphs, with groups in the second for the boxes of the first if that aligns the two
    better. A box may be taken together with unknown layers behind it.

    Args:
        boxes, parts: both graphs.
        of_boxes, of_parts: the parameters of each.
        known: whether known layers count as boxes; else unknown ones do.
    """
    alone = [
        match.a
        for match in align(boxes, parts, of_boxes, of_parts)
        if match.a and not (match.b and _shapes(match.a, of_boxes) == _shapes(match.b, of_parts))
    ]
    for box in alone:
        if not box.parameters or TOGETHER in box.attributes or box not in boxes.nodes:
            continue
        if known == (box.kind == "custom"):
            continue
        least, best = cost_of(boxes, parts, of_boxes, of_parts), (boxes, parts)
        for graph, whole in _extended(boxes, box):
            is_last = whole is graph.nodes[-1]
            for candidate, leading in _candidates(whole, parts, of_boxes, of_parts, is_last):
                cost = cost_of(graph, candidate, of_boxes, of_parts) + GAP * leading
                if cost < least - 1e-6:
                    least, best = cost, (graph, candidate)
        boxes, parts = best
    return boxes, parts


def _extended(graph: Graph, box: Node) -> Iterator[tuple[Graph, Node]]:
    """The graph with a box as it is, then taken together with one, two, … of the unknown layers
    without parameters that alone use it; and the box in it."""
    yield graph, box
    stretch = [box]
    while len(stretch) <= FURTHER:
        users = [node for node in graph.nodes if stretch[-1].name in node.inputs]
        if len(users) != 1 or users[0].kind != "custom" or users[0].parameters:
            return
        if users[0].inputs != (stretch[-1].name,) or graph.nodes[-1] is stretch[-1]:
            return
        stretch.append(users[0])
        whole = _as_one(graph, tuple(stretch))
        yield whole, next(node for node in whole.nodes if node.name == stretch[-1].name)


def _candidates(
    box: Node, graph: Graph, of_box: Arrays, of_graph: Arrays, is_last: bool
) -> Iterator[tuple[Graph, int]]:
    """The graph with each possible sequence of nodes as a group for the box, and the number of
    known nodes without parameters in front: they are likelier to belong to what is before them.

    Args:
        box: a layer of the other side, known or not.
        graph: the other side's.
        of_box, of_graph: the parameters of each side.
        is_last: whether the box is the last node of its network. Its shape need not be that of the
            other side's output then: outputs for a whole batch have none without the batch.
    """
    wanted = _shapes(box, of_box)
    nodes = graph.nodes
    for start in range(len(nodes)):
        shapes: Counter[Shape] = Counter()
        names: set[str] = set()  # Each once, also where several layers use it.
        after = 0
        for stop in range(start + 1, len(nodes) + 1):
            own = nodes[stop - 1].parameters.values()
            shapes += _shapes_of([name for name in own if name not in names], of_graph)
            names.update(own)
            if shapes - wanted:
                break
            if shapes != wanted:
                continue
            after = 0 if own else after + 1
            if after > FURTHER:
                break
            stretch = nodes[start:stop]
            if box.kind != "custom" and any(node.kind == box.kind for node in stretch):
                break  # That is its counterpart, whatever differs.
            fits = stretch[-1].shape == box.shape or (is_last and stop == len(nodes))
            if stop - start > 1 and fits and _is_closed(stretch, nodes):
                yield _as_one(graph, stretch), _leading(stretch)


def _leading(stretch: tuple[Node, ...]) -> int:
    first = takewhile(lambda node: not node.parameters, stretch)
    return sum(node.kind != "custom" for node in first)


def _shapes(node: Node, parameters: Arrays) -> Counter[Shape]:
    """The number of parameters of each shape, whatever the order of its axes."""
    return _shapes_of(node.parameters.values(), parameters)


def _shapes_of(names: Iterable[str], parameters: Arrays) -> Counter[Shape]:
    return Counter(tuple(sorted(parameters[name].shape)) for name in names)


def _is_closed(stretch: tuple[Node, ...], nodes: tuple[Node, ...]) -> bool:
    """True if only the last output of the group is used outside it, and no node is a group."""
    inside = {node.name for node in stretch[:-1]}
    outside = [node for node in nodes if node not in stretch]
    used = any(name in inside for node in outside for name in node.inputs)
    ends = stretch[-1].name in {nodes[-1].name, *(n for node in outside for n in node.inputs)}
    return not used and ends and not any(TOGETHER in node.attributes for node in stretch)


def _as_one(graph: Graph, stretch: tuple[Node, ...]) -> Graph:
    own = {node.name for node in stretch}
    inputs = dict.fromkeys(name for node in stretch for name in node.inputs if name not in own)
    names = [name for node in stretch for name in node.parameters.values()]
    last = stretch[-1]
    whole = replace(
        last,
        kind="custom",
        inputs=tuple(inputs),
        attributes={
            "class": " + ".join(node.name for node in stretch),
            TOGETHER: [node.name for node in stretch],
        },
        parameters={str(number): name for number, name in enumerate(dict.fromkeys(names))},
    )
    nodes = [whole if node is last else node for node in graph.nodes if node not in stretch[:-1]]
    return replace(graph, nodes=tuple(nodes))


def is_group(node: Node | None) -> bool:
    """True if a node is a group."""
    return node is not None and TOGETHER in node.attributes


Way = tuple[dict[str, str], dict[str, tuple[int, ...]]]
"""B's names of A's parameters, and for those whose axes are in another order, A's axes in B's."""


def orders(match: Match, of_a: Arrays, of_b: Arrays) -> list[Way]:
    """The possible assignments of the parameters of a black box to those of its counterpart.

    Returns:
        The likeliest first: parameters of one shape in their order, with their axes as they are.
    """
    assert match.a and match.b
    by_shape: dict[Shape, tuple[list[str], list[str]]] = {}
    for place, (node, arrays) in enumerate(((match.a, of_a), (match.b, of_b))):
        for name in node.parameters.values():
            shape = tuple(sorted(arrays[name].shape))
            by_shape.setdefault(shape, ([], []))[place].append(name)
    ways: list[list[list[tuple[str, str, tuple[int, ...]]]]] = []
    for names, others in by_shape.values():
        of_shape = []
        for order in islice(permutations(others), ORDERS):  # There may be millions.
            pairs = list(zip(names, order, strict=False))
            axes = [turns(of_a[name].shape, of_b[other].shape) for name, other in pairs]
            of_shape += [
                [(*pair, axis) for pair, axis in zip(pairs, chosen, strict=True)]
                for chosen in islice(product(*axes), ORDERS)
            ]
        # Without turning anything first.
        ways.append(sorted(of_shape, key=lambda way: sum(not _is_plain(a) for *_, a in way)))
    answers: list[Way] = []
    for parts in islice(product(*ways), ORDERS):
        flat = [pair for part in parts for pair in part]
        turned = {name: axes for name, _, axes in flat if not _is_plain(axes)}
        answers.append(({name: other for name, other, _ in flat}, turned))
    return answers


def _is_plain(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(len(axes)))


def matched(a: Graph, b: Graph, of_a: Arrays, of_b: Arrays) -> tuple[list[Match], Transfer]:
    """The matches and the transfer of two graphs; a group's parameters in the likeliest order."""
    matches = align(a, b, of_a, of_b)
    transfer = Transfer.between(a, b, matches, of_a, of_b)
    for match in matches:
        if match.a and match.b and (is_group(match.a) or is_group(match.b)):
            transfer = transfer.with_names(*orders(match, of_a, of_b)[0])
    return matches, transfer
