"""The graph of an ONNX file.

Its operators are read in `diptych.formats.onnx.operations`, since importing a file reads them as
well.
"""

from diptych.auditing.graph import Graph, Node
from diptych.formats.onnx.reader import Reader

NOT_EXPRESSED: dict[str, str] = {}
"""Kinds that it does not have, or that are not read, each with the reason."""


def graph_of(reader: Reader) -> Graph:
    """What a file does, as the audit knows it."""
    nodes = [
        Node(
            draft.name,
            draft.kind,
            tuple(view.node for view in draft.inputs),
            draft.output.shape,
            draft.attributes,
            draft.parameters,
        )
        for draft in reader.drafts.values()
    ]
    return Graph(reader.input.shape, tuple(nodes))
