"""Dropout of values, channels and whole branches, and related noise."""

from collections.abc import Sequence

from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Shape,
    Shapes,
    differ,
)
from diptych.auditing.kinds.rounding import exact

NAMES = {
    "dropout": "dropout",
    "spatial_dropout": "dropout of whole channels",
    "drop_path": "dropout of whole examples (drop path)",
    "alpha_dropout": "alpha dropout",
    "gaussian_dropout": "Gaussian dropout",
}
"""The names of the kinds that have a rate."""
IN_TRAINING = "in training only; measured in the stages mode and randomness"


def compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    """The input: nothing is dropped, no noise is added."""
    return inputs[0]


def words(node: Node) -> str:
    """The kind of dropout, with its rate."""
    return f"{NAMES[node.kind]} of {node.attributes['rate']:.6g}"


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    if a.kind != b.kind:
        return [Difference("layer-kind", words(a), words(b), effect=IN_TRAINING)]
    if not differ(a.attributes["rate"], b.attributes["rate"]):
        return []
    return [Difference("dropout-rate", words(a), words(b), effect=IN_TRAINING)]


def _does_nothing(node: Node, shape: Shape) -> bool:
    return not node.attributes["rate"]


def _with_rate(name: str, meaning: str) -> Kind:
    return Kind(
        name=name,
        attributes={"rate": meaning},
        words=words,
        compute=compute,
        rounding=exact,
        differences=_differences,
        comparable=tuple(NAMES),
        does_nothing=_does_nothing,
        keeps_order=True,
        in_training="draws",
        keeps_sign=name not in ("alpha_dropout", "gaussian_dropout"),
    )


DROPOUT = _with_rate("dropout", "the share of numbers that is dropped in training")
"""Dropout; the kept values are divided by 1 - rate (Srivastava et al., 2014)."""

SPATIAL_DROPOUT = _with_rate("spatial_dropout", "the share of channels that is dropped in training")
"""Dropout of whole channels (Tompson et al., 2015)."""

DROP_PATH = _with_rate("drop_path", "the share of examples that is dropped in training")
"""Dropout of whole examples: stochastic depth (Huang et al., 2016), if it is in a residual branch.
Kept examples are divided by 1 - rate."""

ALPHA_DROPOUT = _with_rate("alpha_dropout", "the share of numbers that is replaced in training")
"""Dropout to selu's lower limit, which keeps mean and variance (Klambauer et al., 2017)."""

GAUSSIAN_DROPOUT = _with_rate(
    "gaussian_dropout", "what dropout's rate would be: the factors' variance is rate / (1 - rate)"
)
"""Factors drawn from a normal distribution around one (Srivastava et al., 2014)."""


def _noise_words(node: Node) -> str:
    return f"Gaussian noise of {node.attributes['deviation']:.6g}"


def _noise_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    if not differ(a.attributes["deviation"], b.attributes["deviation"]):
        return []
    return [Difference("noise", _noise_words(a), _noise_words(b), effect=IN_TRAINING)]


GAUSSIAN_NOISE = Kind(
    name="gaussian_noise",
    attributes={"deviation": "the standard deviation of what is added in training"},
    words=_noise_words,
    compute=compute,
    rounding=exact,
    differences=_noise_differences,
    does_nothing=lambda node, shape: not node.attributes["deviation"],
    keeps_order=True,
    in_training="draws",
)
"""Added noise from a normal distribution around zero."""


def _augmentation_words(node: Node) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in node.attributes["settings"].items())
    return f"{node.attributes['class']}({settings})"


def _augmentation_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    if a.attributes == b.attributes:
        return []
    texts = [_augmentation_words(node) for node in (a, b)]
    return [Difference("augmentation", *texts, effect=IN_TRAINING)]


AUGMENTATION = Kind(
    name="augmentation",
    attributes={
        "class": "the layer's class, such as RandomRotation",
        "settings": "its settings by name, but for the seed",
    },
    words=_augmentation_words,
    compute=compute,
    rounding=exact,
    differences=_augmentation_differences,
    in_training="draws",
)
"""A layer that changes images randomly in training and passes them on in inference."""

KINDS = (
    DROPOUT,
    SPATIAL_DROPOUT,
    DROP_PATH,
    ALPHA_DROPOUT,
    GAUSSIAN_DROPOUT,
    GAUSSIAN_NOISE,
    AUGMENTATION,
)
