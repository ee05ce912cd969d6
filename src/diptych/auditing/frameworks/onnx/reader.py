"""The graph of an ONNX file.

Its operators are read in `diptych.formats.onnx.operations`, since importing a file reads them as
well.
"""

from diptych.auditing.graph import Graph, Node
from diptych.formats.onnx.reader import Reader

NOT_EXPRESSED: dict[str, str] = {
    "dot_product_attention": "exporters write its products and its softmax",
    "multi_head_attention": "exporters write its projections, products and softmax",
    "learned_offset": "a sum with a constant is a bias or part of a line",
    "learned_scale": "a product with a constant is part of a line",
    "matmul": "a product of two tensors that depend on the input is a black box",
    "glu": "it has no operator: exporters write a split, a sigmoid and a product",
    "adaptive_average_pool": "it has no operator of it",
    "adaptive_max_pool": "it has no operator of it",
    "alpha_dropout": "exporters leave it out",
    "augmentation": "exporters leave it out",
    "drop_path": "exporters leave it out",
    "gaussian_dropout": "exporters leave it out",
    "gaussian_noise": "exporters leave it out",
    "roll": "exporters write slices and a concatenation",
    "spatial_dropout": "exporters leave it out",
    "stack": "exporters write reshapes and a concatenation",
    "unit_norm": "exporters write the norm, a limit and a division",
}
"""Kinds that it does not have, or that are not read, each with the reason."""


def graph_of(reader: Reader) -> Graph:
    """The graph of a file."""
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
