"""Layers that are known only by their outputs."""

from diptych.auditing.kinds.kind import Kind

CUSTOM = Kind(
    name="custom",
    attributes={"class": "the name of the user's class or function"},
    words=lambda node: f"custom layer {node.attributes['class']}",
    compute=None,
    rounding=None,
    in_training="unknown",
)
"""A layer that no reader knows. Its parameters have the roles "0", "1", … in the order of its
framework, which computes it."""

KINDS = (CUSTOM,)
