"""Each kind against PyTorch in float64, its gradient against finite differences, and its data."""

# PyTorch's and the examples' settings come from dictionaries, whose values have many types.
# pyright: reportArgumentType=false, reportCallIssue=false

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from autograd.test_util import check_grads
from cases import NOTHING_TO_PLANT, PLANTED, PLANTED_IN_KIND

import diptych
from diptych.auditing import reference
from diptych.auditing.causes import CAUSES
from diptych.auditing.graph import INPUT, Arrays, Node
from diptych.auditing.kinds.curves import AXIS, FUNCTIONS
from diptych.auditing.kinds.dropout import NAMES
from diptych.auditing.kinds.places import ratios
from diptych.auditing.kinds.registry import KINDS, guesses, hypotheses, words

RANDOM = np.random.default_rng(0)
functional = torch.nn.functional
Truth = Callable[..., torch.Tensor]


@dataclass
class Example:
    """A node with parameters and inputs, and what PyTorch makes of them."""

    node: Node
    inputs: list[np.ndarray]
    truth: Truth
    """The inputs, channels last, and the parameters by role, to the output, channels last."""
    parameters: Arrays = field(default_factory=dict)
    training: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        return f"{self.node.kind}{f' {self.label}' if self.label else ''}"


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def example(
    kind: str,
    x: np.ndarray | list[np.ndarray],
    truth: Truth,
    parameters: Arrays | None = None,
    training: bool = False,
    label: str = "",
    **attributes: Any,
) -> Example:
    inputs = x if isinstance(x, list) else [x]
    own = parameters or {}
    names = (INPUT,) if len(inputs) == 1 else tuple(f"x{i}" for i in range(len(inputs)))
    node = Node("layer", kind, names, (), attributes, {role: role for role in own})
    y = reference.compute(node, own, inputs, training)
    return Example(replace(node, shape=y.shape[1:]), inputs, truth, own, training, label)


def first(x: torch.Tensor) -> torch.Tensor:
    """Channels first."""
    return x.movedim(-1, 1)


def last(x: torch.Tensor) -> torch.Tensor:
    """Channels last."""
    return x.movedim(1, -1)


def flat(padding: list[list[int]]) -> list[int]:
    """Padding as `torch.nn.functional.pad` takes it, the last axis first."""
    return [pixel for pair in padding[::-1] for pixel in pair]


def convolutions() -> Iterator[Example]:
    functions = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
    for axes, strides, padding, dilation, groups in (
        (1, [1], [[1, 1]], [1], 1),
        (1, [2], [[0, 3]], [2], 2),
        (2, [1, 1], [[1, 1], [1, 1]], [1, 1], 1),
        (2, [2, 1], [[0, 1], [2, 0]], [1, 2], 1),
        (2, [1, 2], [[1, 2], [0, 0]], [1, 1], 2),
        (2, [1, 1], [[1, 1], [1, 1]], [1, 1], 4),
        (3, [1, 2, 1], [[1, 0], [0, 1], [1, 1]], [1, 1, 2], 2),
    ):
        window = (3, 2, 3)[:axes]
        kernel, bias = numbers(*window, 4 // groups, 8), numbers(8)

        def truth(x, kernel, bias, axes=axes, s=strides, p=padding, d=dilation, g=groups):
            kernel = kernel.movedim((-1, -2), (0, 1))
            return last(
                functions[axes](functional.pad(first(x), flat(p)), kernel, bias, s, 0, d, g)
            )

        yield example(
            "conv", numbers(2, *(7, 6, 5)[:axes], 4), truth, {"kernel": kernel, "bias": bias},
            strides=strides, padding=padding, dilation=dilation, groups=groups,
            label=f"{axes}-D, {groups} groups, strides {strides}",
        )  # fmt: skip


def transposed_convolutions() -> Iterator[Example]:
    functions = {
        1: functional.conv_transpose1d,
        2: functional.conv_transpose2d,
        3: functional.conv_transpose3d,
    }
    for axes, strides, cut, more, dilation, groups in (
        (2, [1, 1], [1, 1], [0, 0], [1, 1], 1),
        (1, [2], [1], [1], [2], 2),
        (2, [2, 3], [0, 1], [1, 2], [1, 1], 1),
        (3, [2, 1, 2], [0, 1, 0], [0, 0, 0], [1, 1, 1], 2),
    ):
        window = (3, 2, 3)[:axes]
        kernel, bias = numbers(*window, 6 // groups, 4), numbers(6)

        def truth(x, kernel, bias, axes=axes, s=strides, p=cut, m=more, d=dilation, g=groups):
            kernel = kernel.movedim((-1, -2), (0, 1))
            return last(functions[axes](first(x), kernel, bias, s, p, m, g, d))

        yield example(
            "conv_transpose", numbers(2, *(4, 3, 3)[:axes], 4), truth,
            {"kernel": kernel, "bias": bias}, strides=strides, dilation=dilation, groups=groups,
            cropping=[[before, before - extra] for before, extra in zip(cut, more, strict=True)],
            label=f"{axes}-D, {groups} groups, strides {strides}",
        )  # fmt: skip


def paddings() -> Iterator[Example]:
    x = numbers(2, 4, 5, 3)
    padding = [[1, 0], [2, 3]]
    for mode, value in (
        ("constant", 0.0),
        ("constant", 0.7),
        ("reflect", 0.0),
        ("replicate", 0.0),
        ("circular", 0.0),
    ):

        def truth(x, mode=mode, value=value):
            rest = {"value": value} if mode == "constant" else {}
            return last(functional.pad(first(x), flat(padding), mode, **rest))

        label = f"{mode} {value}"
        yield example("pad", x, truth, label=label, padding=padding, mode=mode, value=value)
    yield example(
        "pad", x, lambda x: x[:, [0, 0, 1, 2, 3]][:, :, [1, 0, 0, 1, 2, 3, 4, 4, 3, 2]],
        label="symmetric", padding=padding, mode="symmetric", value=0.0,
    )  # fmt: skip


def resamplings() -> Iterator[Example]:
    x = numbers(2, 4, 5, 3)
    for method, centres, mode, align in (
        ("linear", "half", "bilinear", False),
        ("linear", "corners", "bilinear", True),
        ("nearest", "corner", "nearest", None),
        ("nearest", "half", "nearest-exact", None),
        ("cubic", "half", "bicubic", False),
        ("cubic", "corners", "bicubic", True),
    ):
        for size in ([8, 10], [7, 3]):

            def truth(x, size=size, mode=mode, align=align):
                y = functional.interpolate(first(x), size, mode=mode, align_corners=align)
                return last(y)

            yield example(
                "resize", x, truth, label=f"{mode} to {size}, corners {align}", size=size,
                ratios=ratios(x.shape[1:-1], size, centres), method=method, centres=centres,
            )  # fmt: skip
    yield example(
        "resize", numbers(2, 3, 2, 2, 3),
        lambda x: last(functional.interpolate(first(x), scale_factor=2, mode="trilinear")),
        size=[6, 4, 4], ratios=[0.5] * 3, method="linear", centres="half", label="3-D",
    )  # fmt: skip
    deep = numbers(2, 3, 2, 12)
    for order in ("channels", "blocks"):

        def larger(x, order=order):
            if order == "channels":
                return last(functional.pixel_shuffle(first(x), 2))
            n, h, w, c = x.shape
            x = x.reshape(n, h, w, 2, 2, c // 4).permute(0, 1, 3, 2, 4, 5)
            return x.reshape(n, 2 * h, 2 * w, c // 4)

        yield example("depth_to_space", deep, larger, block=2, order=order, label=order)

        def deeper(x, order=order):
            if order == "channels":
                return last(functional.pixel_unshuffle(first(x), 2))
            n, h, w, c = x.shape
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5)
            return x.reshape(n, h // 2, w // 2, 4 * c)

        wide = numbers(2, 4, 6, 3)
        yield example("space_to_depth", wide, deeper, block=2, order=order, label=order)


def movements() -> Iterator[Example]:
    x, axes = numbers(2, 4, 3, 6), [["transpose", [2, 0, 1]]]
    yield example("rearrange", x, lambda x: x.permute(0, 3, 1, 2), shape=[4, 3, 6], steps=axes)
    shuffle = [["reshape", [4, 3, 2, 3]], ["transpose", [0, 1, 3, 2]], ["reshape", [4, 3, 6]]]
    yield example(
        "rearrange", x, lambda x: last(torch.channel_shuffle(first(x), 2)),
        shape=[4, 3, 6], steps=shuffle, label="channel shuffle",
    )  # fmt: skip
    slices = [[1, 3, 1], [2, None, -1], [0, 6, 2]]
    yield example(
        "slice", x, lambda x: x[:, 1:3].flip(2)[..., ::2], slices=slices, dropped=[], label="parts"
    )
    slices = [[3, 4, 1], [0, 3, 1], [0, 6, 1]]
    yield example("slice", x, lambda x: x[:, -1], slices=slices, dropped=[0], label="one")
    yield example("roll", x, lambda x: x.roll((1, -2), (1, 3)), shifts=[1, 0, -2])
    row = numbers(2, 6)
    yield example(
        "repeat", row, lambda x: x[:, None].expand(-1, 3, -1),
        shape=[1, 6], counts=[3, 1], each=False,
    )  # fmt: skip
    yield example(
        "repeat", x, lambda x: x.repeat_interleave(2, 1), shape=[4, 3, 6], counts=[2, 1, 1],
        each=True, label="each",
    )  # fmt: skip
    yield example("stack", [x, 2 * x], lambda *x: torch.stack(x, 2), axis=1)
    for function, truth in (
        ("mean", torch.mean),
        ("sum", torch.sum),
        ("max", torch.amax),
        ("min", torch.amin),
    ):
        for keepdims in (True, False):

            def reduced(x, truth=truth, keepdims=keepdims):
                return truth(x, (1, 3), keepdims)

            label = f"{function} {'kept' if keepdims else ''}"
            attributes = {"function": function, "over": [0, 2], "keepdims": keepdims}
            yield example("reduce", x, reduced, label=label, **attributes)


def pools() -> Iterator[Example]:
    for size, strides, padding in (
        ([2, 2], [2, 2], [[0, 0], [0, 0]]),
        ([3, 2], [1, 2], [[1, 1], [1, 1]]),
    ):
        x = numbers(2, 7, 6, 3)
        symmetric = [before for before, _ in padding]

        def largest(x, size=size, s=strides, p=symmetric):
            return last(functional.max_pool2d(first(x), size, s, p))

        yield example("max_pool", x, largest, size=size, strides=strides, padding=padding)
        for counted in (True, False):

            def average(x, size=size, s=strides, p=symmetric, counted=counted):
                return last(functional.avg_pool2d(first(x), size, s, p, False, counted))

            yield example(
                "average_pool", x, average, size=size, strides=strides, padding=padding,
                count_padding=counted, label=f"padding {'counts' if counted else 'left out'}",
            )  # fmt: skip
    deep = numbers(2, 4, 5, 4, 2)
    cube = {"size": [2, 3, 2], "strides": [2, 1, 1], "padding": [[0, 0], [1, 1], [0, 0]]}
    settings = ([2, 3, 2], [2, 1, 1], [0, 1, 0])
    yield example(
        "max_pool", deep, lambda x: last(functional.max_pool3d(first(x), *settings)),
        label="3-D", **cube,
    )  # fmt: skip
    yield example(
        "average_pool", deep, lambda x: last(functional.avg_pool3d(first(x), *settings)),
        label="3-D counts", count_padding=True, **cube,
    )  # fmt: skip
    yield example(
        "adaptive_average_pool", x,
        lambda x: last(functional.adaptive_avg_pool2d(first(x), (4, 5))), size=[4, 5],
    )  # fmt: skip
    yield example(
        "adaptive_max_pool", x,
        lambda x: last(functional.adaptive_max_pool2d(first(x), (4, 5))), size=[4, 5],
    )  # fmt: skip
    yield example("global_average_pool", x, lambda x: x.mean((1, 2)))
    yield example("global_max_pool", x, lambda x: x.amax((1, 2)))


def normalisations() -> Iterator[Example]:
    x = 2 * numbers(4, 3, 2, 5) + 1
    own = {
        "gamma": numbers(5),
        "beta": numbers(5),
        "mean": numbers(5),
        "variance": RANDOM.uniform(0.5, 2, 5),
    }
    for training in (False, True):

        def truth(x, mean, variance, gamma=None, beta=None, training=training):
            y = functional.batch_norm(
                first(x),
                mean.detach().clone(),
                variance.detach().clone(),
                gamma,
                beta,
                training,
                0.1,
                1e-3,
            )
            return last(y)

        label = "in training" if training else "in inference"
        attributes = {"epsilon": 1e-3, "momentum": 0.9, "unbiased": True}
        yield example("batch_norm", x, truth, own, training, label, **attributes)
        bare = {role: own[role] for role in ("mean", "variance")}
        yield example("batch_norm", x, truth, bare, training, f"{label}, bare", **attributes)


def layer_norms() -> Iterator[Example]:
    x = 2 * numbers(4, 3, 2, 5) + 1
    for axes in ([-1], [-3, -2, -1]):
        sizes = x.shape[axes[0] :]

        def truth(x, gamma=None, beta=None, sizes=sizes):
            return functional.layer_norm(x, sizes, gamma, beta, 1e-3)

        own = {"gamma": numbers(*sizes), "beta": numbers(*sizes)}
        label = f"over {len(axes)} axes"
        settings = {"epsilon": 1e-3, "axes": axes}
        yield example("layer_norm", x, truth, own, label=label, **settings)
        yield example("layer_norm", x, truth, label=f"{label}, bare", **settings)
    middle = example(
        "layer_norm", x,
        lambda x, gamma: functional.layer_norm(x.mT, (2,), gamma, eps=1e-3).mT,
        {"gamma": numbers(2)}, label="over an axis between", epsilon=1e-3, axes=[-2],
    )  # fmt: skip
    yield middle


def other_norms() -> Iterator[Example]:
    x = 2 * numbers(4, 3, 2, 6) + 1
    own = {"gamma": numbers(6), "beta": numbers(6)}
    for groups in (1, 2, 6):

        def truth(x, gamma=None, beta=None, groups=groups):
            return last(functional.group_norm(first(x), groups, gamma, beta, 1e-3))

        settings = {"epsilon": 1e-3, "groups": groups}
        yield example("group_norm", x, truth, own, label=f"{groups} groups", **settings)
    yield example("group_norm", x, truth, label="bare", **settings)
    yield example(
        "group_norm", x, lambda x, **own: last(functional.instance_norm(first(x), eps=1e-3)),
        label="as instance norm", **settings,
    )  # fmt: skip
    for axes in ([-1], [-2, -1]):
        sizes = x.shape[axes[0] :]

        def rms(x, gamma=None, sizes=sizes):
            return functional.rms_norm(x, sizes, gamma, 1e-3)

        settings: dict[str, Any] = {
            "epsilon": 1e-3,
            "axes": axes,
            "label": f"over {len(axes)} axes",
        }
        yield example("rms_norm", x, rms, {"gamma": numbers(*sizes)}, **settings)
    yield example("rms_norm", x, rms, **settings | {"label": "bare"})
    for axis in (-1, -2, -4):  # The last of these is the batch's.
        yield example(
            "unit_norm", x, lambda x, axis=axis: functional.normalize(x, dim=axis),
            label=f"over axis {axis}", axes=[axis],
        )  # fmt: skip


def embeddings() -> Iterator[Example]:
    rows = RANDOM.integers(0, 7, (4, 3)).astype(float)
    several: tuple[dict[str, Any], ...] = (
        {"padding_index": None, "max_norm": None},
        {"padding_index": int(rows[0, 0]), "max_norm": None},
        {"padding_index": None, "max_norm": 1.5},
    )
    for settings in several:

        def truth(rows, kernel, settings=settings):
            longest = settings["max_norm"]
            table = kernel
            if longest:  # PyTorch does it in place, which a watched parameter does not bear.
                shorter = torch.renorm(kernel.detach(), 2, 0, longest)
                table = kernel + (shorter - kernel.detach())
            return functional.embedding(rows.long(), table, settings["padding_index"])

        label = ", ".join(f"{name} {value}" for name, value in settings.items())
        kernel = {"kernel": numbers(7, 5)}
        yield example("embedding", rows, truth, kernel, label=label, mask=False, **settings)


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.3),
    "elu": lambda x: functional.elu(x, 0.3),
    "selu": functional.selu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "softplus": lambda x: functional.softplus(x, 2.0, 1000.0),
    "silu": functional.silu,
    "relu6": functional.relu6,
    # PyTorch computes 1 / alpha, and hardsigmoid's slope of 1/6, in float32 for a gradient.
    "celu": lambda x: functional.celu(x, 0.5),
    "hard_swish": functional.hardswish,
    "hard_sigmoid": lambda x: functional.relu6(x + 3) / 6,
    "hard_shrink": functional.hardshrink,
    "soft_shrink": functional.softshrink,
    "mish": functional.mish,
    "softsign": functional.softsign,
    "log_sigmoid": functional.logsigmoid,
    "tanh_shrink": functional.tanhshrink,
    "squareplus": lambda x: (x + (x**2 + 4).sqrt()) / 2,
    "sparse_plus": lambda x: torch.where(x >= 1, x, (x.clamp(min=-1) + 1) ** 2 / 4),
    "sparse_sigmoid": lambda x: ((x + 1) / 2).clamp(0, 1),
    "clip": lambda x: functional.hardtanh(x, -0.5, 2.0),
    "threshold": lambda x: functional.threshold(x, 0.5, -1.0),
    "capped_relu": lambda x: torch.where(x > 0.5, x.clamp(max=2.0), 0.3 * (x - 0.5)),
    "exponential": torch.exp,
    "square": torch.square,
    "absolute": torch.abs,
    "square_root": torch.sqrt,
    "reciprocal_root": torch.rsqrt,
    "logarithm": torch.log,
    "linear": lambda x: x,
}
SLOPES = {
    "leaky_relu": 0.3,
    "elu": 0.3,
    "celu": 0.5,
    "softplus": 2.0,
    "squareplus": 4.0,
    "hard_sigmoid": 1 / 6,
    "hard_shrink": 0.5,
    "soft_shrink": 0.5,
    "capped_relu": 0.3,
}
LIMITS = {"clip": [-0.5, 2.0], "threshold": [0.5, -1.0], "capped_relu": [0.5, 2.0]}


def activations() -> Iterator[Example]:
    for function in FUNCTIONS:
        x = 3 * numbers(4, 3, 6)
        if function in ("square_root", "reciprocal_root", "logarithm"):
            x = np.abs(x) + 0.5
        settings: dict[str, Any] = {"slope": SLOPES.get(function)}
        if function in LIMITS:
            settings["limits"] = LIMITS[function]
        truth = ACTIVATIONS[function]
        yield example("activation", x, truth, function=function, label=function, **settings)
    for function in AXIS:

        def over_axis(x, function=function):
            return getattr(torch, function)(x, 1)

        settings = {"function": function, "slope": None, "axis": -2}
        label = f"{function} over another axis"
        yield example("activation", numbers(4, 3, 6), over_axis, label=label, **settings)
    x = numbers(3, 4, 2, 6)
    for shape in ((6,), (1,), (4, 2, 6), (2, 1)):

        def prelu(x, slope):
            return torch.where(x > 0, x, slope * x)

        yield example("prelu", x, prelu, {"slope": numbers(*shape)}, label=f"{shape}")
    yield example("glu", x, functional.glu, axis=-1)
    yield example("glu", x, lambda x: functional.glu(x, 1), axis=-3, label="over another axis")


def others() -> Iterator[Example]:
    x = numbers(3, 2, 4, 5)
    several = [numbers(3, 4, 5) for _ in range(3)]
    yield example(
        "dense", x, lambda x, kernel, bias: x @ kernel + bias,
        {"kernel": numbers(5, 3), "bias": numbers(3)},
    )  # fmt: skip
    for dropout in NAMES:
        yield example(dropout, x, lambda x: x, rate=0.5)
    yield example("gaussian_noise", x, lambda x: x, deviation=0.1)
    yield example("augmentation", x, lambda x: x, **{"class": "RandomFlip", "settings": {}})
    yield example("flatten", x, lambda x: x.flatten(1), order="last")
    yield example("flatten", x, lambda x: first(x).flatten(1), order="first", label="first")
    yield example("reshape", x, lambda x: x.reshape(3, 8, 5), shape=[8, 5])
    yield example("rescale", x, lambda x: 0.3 * x - 1, scale=0.3, offset=-1.0)
    scale, offset = numbers(5).tolist(), numbers(5).tolist()
    yield example(
        "rescale", x, lambda x: x.new_tensor(scale) * x + x.new_tensor(offset),
        scale=scale, offset=offset, label="by channel",
    )  # fmt: skip
    yield example("add", several, lambda *x: torch.stack(x).sum(0))
    yield example("subtract", several, lambda x, y, z: x - y - z)
    yield example("multiply", several, lambda x, y, z: x * y * z)
    gated = [numbers(3, 4, 5), numbers(3, 1, 5)]
    yield example("multiply", gated, lambda x, gate: x * gate, label="by a gate")
    positive = [several[0], *(np.abs(x) + 0.5 for x in several[1:])]
    yield example("divide", positive, lambda x, y, z: x / y / z)
    yield example("maximum", several, lambda *x: torch.stack(x).amax(0))
    yield example("minimum", several, lambda *x: torch.stack(x).amin(0))
    yield example("average", several, lambda *x: torch.stack(x).mean(0))
    yield example("matmul", [numbers(3, 2, 4), numbers(3, 4, 5)], torch.matmul)
    for shape in ((5,), (4, 5), (1,)):
        yield example(
            "learned_scale",
            x,
            lambda x, scale: x * scale,
            {"scale": numbers(*shape)},
            label=f"{shape}",
        )
        yield example(
            "learned_offset", x, lambda x, offset: x + offset, {"offset": numbers(*shape)},
            label=f"{shape}",
        )  # fmt: skip
    yield example("concatenate", several, lambda *x: torch.cat(x, -1), axis=-1)
    yield example("concatenate", several, lambda *x: torch.cat(x, 1), axis=0, label="first axis")


GATES = {"lstm": [0, 1, 2, 3], "gru": [1, 0, 2], "simple_rnn": [0]}
"""Where the graph's gates are in PyTorch's order."""
STATES = ("state", "cell")
DIRECTIONS = {"forward": ("",), "backward": ("",), "both": ("", "backward_")}
RECURRENT = {
    "reversed": False,
    "initial": [],
    "merge": "",
    "activation": "tanh",
    "masked": False,
    "skipped": "repeat",
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
}


def in_pytorchs_order(kind: str, value: torch.Tensor) -> torch.Tensor:
    """A kernel or a bias of the graph as PyTorch has it."""
    blocks = value.chunk(len(GATES[kind]), -1)
    return torch.cat([blocks[GATES[kind].index(i)] for i in range(len(blocks))], -1)


def pytorchs_layer(
    kind: str,
    x: torch.Tensor,
    own: dict[str, torch.Tensor],
    direction: str,
    function: str,
    **states: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """All outputs (n, steps, …) and the last states (n, …) of PyTorch's recurrent layer.

    The initial states are those given, (n, …), by their names, and else zeros.
    """
    weights = []
    for prefix in DIRECTIONS[direction]:
        kernels = [own[f"{prefix}{role}kernel"] for role in ("", "recurrent_")]
        weights += [in_pytorchs_order(kind, kernel).T for kernel in kernels]
        if f"{prefix}bias" in own:
            bias = in_pytorchs_order(kind, own[f"{prefix}bias"])
            weights += list(bias) if bias.ndim == 2 else [bias, torch.zeros_like(bias)]
    names = {"lstm": torch.lstm, "gru": torch.gru, "simple_rnn": getattr(torch, f"rnn_{function}")}
    both = direction == "both"
    start = x.new_zeros(1 + both, len(x), own["recurrent_kernel"].shape[0])
    given = {k: v.unflatten(1, (1 + both, -1)).movedim(1, 0) for k, v in states.items()}
    initial = [given.get(name, start) for name in STATES]
    initial = initial if kind == "lstm" else initial[0]
    turned = x.flip(1) if direction == "backward" else x
    settings = ("bias" in own, 1, 0.0, False, both, True)
    y, *last = names[kind](turned, initial, weights, *settings)
    return y, *(state.movedim(0, 1).flatten(1) for state in last)


def recurrent_parameters(kind: str, direction: str, bias: bool = True) -> Arrays:
    width, own = 3 * len(GATES[kind]), {}
    for prefix in DIRECTIONS[direction]:
        own[f"{prefix}kernel"] = 0.5 * numbers(4, width)
        own[f"{prefix}recurrent_kernel"] = 0.5 * numbers(3, width)
        if bias:
            own[f"{prefix}bias"] = 0.5 * numbers(*((2, width) if kind == "gru" else (width,)))
    return own


def recurrent_layers() -> Iterator[Example]:
    for kind in GATES:
        gates = {} if kind == "simple_rnn" else {"recurrent_activation": "sigmoid"}
        gates |= {"reset_after": True} if kind == "gru" else {}
        for direction in DIRECTIONS:
            for returns in ("sequence", "state"):

                def truth(x, kind=kind, direction=direction, returns=returns, **own):
                    y, state, *_ = pytorchs_layer(kind, x, own, direction, "tanh")
                    y = y.flip(1) if direction == "backward" else y
                    return y if returns == "sequence" else state

                merge = "concat" if direction == "both" else ""
                own = recurrent_parameters(kind, direction)
                yield example(
                    kind, numbers(3, 5, 4), truth, own, label=f"{direction}, {returns}",
                    **RECURRENT | gates | {"direction": direction, "returns": returns}
                    | {"merge": merge},
                )  # fmt: skip

        def added(x, kind=kind, **own):
            y = pytorchs_layer(kind, x, own, "both", "relu")[0]
            return y[..., :3] + y[..., 3:]

        def last_step(x, kind=kind, **own):
            return pytorchs_layer(kind, x, own, "both", "tanh")[0][:, -1]

        both = RECURRENT | gates | {"direction": "both"}
        own = recurrent_parameters(kind, "both", bias=False)
        yield example(
            kind, numbers(3, 5, 4), last_step, own, label="last step, no bias",
            **both | {"returns": "step", "merge": "concat"},
        )  # fmt: skip
        if kind == "simple_rnn":
            yield example(
                kind, numbers(3, 5, 4), added, own, label="relu, added up",
                **both | {"returns": "sequence", "merge": "sum", "activation": "relu"},
            )  # fmt: skip
    yield from begun_layers()
    yield from written_out()


def begun_layers() -> Iterator[Example]:
    """Recurrent layers that begin with given states, or that return the last cell state."""
    for kind, initial, direction, returns in (
        ("lstm", ["state", "cell"], "forward", "sequence"),
        ("lstm", ["state", "cell"], "backward", "state"),
        ("lstm", ["state", "cell"], "both", "cell"),
        ("lstm", ["cell", "state"], "forward", "cell"),
        ("lstm", ["state"], "forward", "state"),
        ("lstm", ["cell"], "both", "sequence"),
        ("lstm", [], "forward", "cell"),
        ("gru", ["state"], "forward", "sequence"),
        ("gru", ["state"], "both", "state"),
        ("simple_rnn", ["state"], "forward", "state"),
        ("simple_rnn", ["state"], "both", "sequence"),
    ):
        settings: dict[str, Any] = (
            {} if kind == "simple_rnn" else {"recurrent_activation": "sigmoid"}
        )
        settings |= {"reset_after": True} if kind == "gru" else {}
        settings |= {"merge": "concat"} if direction == "both" else {}
        place = ("sequence", *STATES).index(returns)

        def truth(x, *states, kind=kind, initial=initial, d=direction, place=place, **own):
            begun = dict(zip(initial, states, strict=True))
            y = pytorchs_layer(kind, x, own, d, "tanh", **begun)[place]
            return y.flip(1) if d == "backward" and place == 0 else y

        width = 6 if direction == "both" else 3
        yield example(
            kind, [numbers(3, 5, 4), *(numbers(3, width) for _ in initial)], truth,
            recurrent_parameters(kind, direction),
            label=f"{direction}, {returns}, given {' and '.join(initial) or 'no state'}",
            **RECURRENT | settings | {"direction": direction, "returns": returns}
            | {"initial": initial},
        )  # fmt: skip


def written_out() -> Iterator[Example]:
    """What PyTorch's own layers do not have: other gates, and the reset gate before the matrix."""

    def by_the_paper(x, kernel, recurrent_kernel, bias):
        h = x.new_zeros(len(x), 3)
        for t in range(x.shape[1]):
            of_x, of_h = (x[:, t] @ kernel + bias).chunk(3, -1), recurrent_kernel.chunk(3, -1)
            update, reset = (torch.sigmoid(of_x[i] + h @ of_h[i]) for i in (0, 1))
            proposed = torch.tanh(of_x[2] + (reset * h) @ of_h[2])
            h = update * h + (1 - update) * proposed
        return h

    one = RECURRENT | {"direction": "forward", "returns": "state"}
    own = recurrent_parameters("gru", "forward") | {"bias": numbers(9)}
    yield example(
        "gru", numbers(3, 5, 4), by_the_paper, own, label="reset before the matrix",
        **one | {"recurrent_activation": "sigmoid", "reset_after": False},
    )  # fmt: skip

    def hard(x, kernel, recurrent_kernel, bias):
        h = c = x.new_zeros(len(x), 3)
        for t in range(x.shape[1]):
            i, f, g, o = (x[:, t] @ kernel + h @ recurrent_kernel + bias).chunk(4, -1)
            i, f, o = ((z / 6 + 0.5).clamp(0, 1) for z in (i, f, o))
            c = f * c + i * functional.softplus(g)
            h = o * functional.softplus(c)
        return h

    yield example(
        "lstm", numbers(3, 5, 4), hard, recurrent_parameters("lstm", "forward"),
        label="hard gates",
        **one | {"recurrent_activation": "hard_sigmoid", "activation": "softplus"},
    )  # fmt: skip


def attentions() -> Iterator[Example]:
    sizes = {"query": (8, 8), "key": (5, 8), "value": (4, 8), "output": (8, 8)}
    own = {f"{name}_kernel": numbers(*size) for name, size in sizes.items()}
    own |= {f"{name}_bias": numbers(size[1]) for name, size in sizes.items()}
    settings = {"heads": 2, "scale": 0.5, "mask": "", "dropout": 0.0}
    inputs = [numbers(3, 7, 8), numbers(3, 7, 5), numbers(3, 7, 4)]
    for causal in (False, True):

        def truth(q, k, v, causal=causal, **own):
            names = ("query", "key", "value")
            weights = [own[f"{name}_kernel"].T for name in names]
            bias = torch.cat([own[f"{name}_bias"] for name in names])
            later = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
            y, _ = functional.multi_head_attention_forward(
                *(x.movedim(1, 0) for x in (q, k, v)), 8, 2, None, bias, None, None, False, 0.0,
                own["output_kernel"].T, own["output_bias"], training=False, attn_mask=later,
                use_separate_proj_weight=True, q_proj_weight=weights[0],
                k_proj_weight=weights[1], v_proj_weight=weights[2],
            )  # fmt: skip
            return y.movedim(1, 0)

        label = "causal" if causal else "apart"
        yield example(
            "multi_head_attention", inputs, truth, own, label=label,
            **settings | {"causal": causal, "order": [0, 1, 2]},
        )  # fmt: skip
        heads = [numbers(3, 2, 7, 4) for _ in range(3)]

        def plain(q, k, v, causal=causal):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

        yield example(
            "dot_product_attention", heads, plain, label=label,
            scale=0.5, causal=causal, mask="", dropout=0.0,
        )  # fmt: skip


torch.set_default_dtype(torch.float64)
EXAMPLES = [
    *(*convolutions(), *transposed_convolutions(), *paddings(), *pools(), *resamplings()),
    *(*movements(), *normalisations(), *layer_norms(), *other_norms(), *embeddings()),
    *(*activations(), *others()),
    *(*recurrent_layers(), *attentions()),
]
torch.set_default_dtype(torch.float32)
BY_NAME = [pytest.param(each, id=each.name) for each in EXAMPLES]


def in_pytorch(each: Example, dtype: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The output, and the inputs and parameters that it can be differentiated by."""
    inputs = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in each.inputs]
    own = {
        role: torch.tensor(value, dtype=dtype, requires_grad=True)
        for role, value in each.parameters.items()
    }
    return each.truth(*inputs, **own), [*inputs, *own.values()]


@pytest.mark.parametrize("each", BY_NAME)
def test_values_and_gradients_agree_with_pytorch_in_float64(each: Example) -> None:
    y = reference.compute(each.node, each.parameters, each.inputs, each.training)
    theirs, sources = in_pytorch(each, torch.float64)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    weights = numbers(*y.shape)
    (theirs * torch.tensor(weights)).sum().backward()
    gradients = gradient(each, weights)
    for ours, source in zip(gradients, sources, strict=True):
        if source.grad is not None:  # PyTorch has none for moving averages.
            np.testing.assert_allclose(ours, source.grad.numpy(), rtol=1e-11, atol=1e-11)


def gradient(each: Example, weights: np.ndarray) -> list[np.ndarray]:
    """The gradients of the weighted sum of an output, by its inputs and by its parameters."""
    from autograd import grad

    def total(values: list[np.ndarray]) -> Any:
        return (_compute(each)(*values) * weights).sum()

    return grad(total)([*each.inputs, *each.parameters.values()])  # pyright: ignore[reportCallIssue]


def _compute(each: Example) -> Callable[..., Any]:
    count = len(each.inputs)

    def compute(*values: Any) -> Any:
        own = dict(zip(each.parameters, values[count:], strict=True))
        return reference.compute(each.node, own, list(values[:count]), each.training)

    return compute


@pytest.mark.parametrize("each", BY_NAME)
def test_gradients_agree_with_finite_differences(each: Example) -> None:
    check = check_grads(_compute(each), modes=["rev"], order=1)  # pyright: ignore[reportCallIssue]
    check(*each.inputs, *each.parameters.values())


@pytest.mark.parametrize("each", BY_NAME)
def test_float32_is_within_what_rounding_explains(each: Example) -> None:
    """PyTorch's float32 is, and numbers that are 3e-4 larger are not."""
    parameters = {k: v.astype(np.float32) for k, v in each.parameters.items()}
    single = replace(each, inputs=[x.astype(np.float32) for x in each.inputs])
    single.parameters = parameters
    y = in_pytorch(single, torch.float32)[0].detach().numpy()
    record = dict(zip(each.node.inputs, single.inputs, strict=True)) | {each.node.name: y}
    distance = reference.distance(each.node, parameters, record, each.training)
    assert distance.ratio <= 1, distance
    record[each.node.name] = y * np.float32(1 + 3e-4)
    assert reference.distance(each.node, parameters, record, each.training).ratio > 1


def test_numbers_near_the_mean_are_off_by_the_rounding_of_the_mean() -> None:
    """Sixteen numbers of both signs, whose mean is next to 0: PyTorch's is off by an ulp of 1."""
    half = numbers(4000, 8)
    half[:, 0] = 1e-5
    x = np.concatenate([half, -half + 1e-6], axis=-1).astype(np.float32)
    node = Node("layer", "layer_norm", (INPUT,), (16,), {"epsilon": 1e-12, "axes": [-1]})
    y = functional.layer_norm(torch.tensor(x), (16,), eps=1e-12).numpy()
    assert reference.distance(node, {}, {INPUT: x, "layer": y}, False).ratio <= 1


def test_max_pooling_sends_a_gradient_to_the_first_of_equal_numbers() -> None:
    x = np.zeros((1, 4, 4, 1))
    node = {"size": [2, 2], "strides": [2, 2], "padding": [[0, 0], [0, 0]]}
    each = example("max_pool", x, lambda x: last(functional.max_pool2d(first(x), 2)), **node)
    (ours,) = gradient(each, np.ones((1, 2, 2, 1)))
    theirs, (source,) = in_pytorch(each, torch.float64)
    theirs.sum().backward()
    assert source.grad is not None
    np.testing.assert_array_equal(ours, source.grad.numpy())


@pytest.mark.parametrize("function", ["relu", "leaky_relu", "elu", "relu6"])
def test_activations_have_pytorchs_gradient_at_zero(function: str) -> None:
    slope = 0.3 if function in ("leaky_relu", "elu") else None
    x = np.zeros((2, 3))
    each = example("activation", x, ACTIVATIONS[function], function=function, slope=slope)
    (ours,) = gradient(each, np.ones(x.shape))
    theirs, (source,) = in_pytorch(each, torch.float64)
    theirs.sum().backward()
    assert source.grad is not None
    np.testing.assert_array_equal(ours, source.grad.numpy())


def test_a_large_convolution_is_laid_out_in_parts() -> None:
    from diptych.auditing.kinds import correlation

    x, kernel = numbers(5, 9, 9, 3), numbers(3, 3, 3, 4)
    setting = correlation.Setting((1, 1), [[1, 1], [1, 1]], (1, 1))
    whole = correlation.convolve(x, kernel, setting)
    gradient_of_whole = correlation._kernel_gradient(x, whole, kernel.shape, setting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlation, "CHUNK", 2 * 81 * 27)  # Two examples at a time, then one.
        parts = correlation.convolve(x, kernel, setting)
        np.testing.assert_allclose(parts, whole, rtol=1e-13, atol=1e-13)
        gradient_of_parts = correlation._kernel_gradient(x, whole, kernel.shape, setting)
        np.testing.assert_allclose(gradient_of_parts, gradient_of_whole, rtol=1e-12)


# A black box is known by its numbers, and a known layer that does something else is caught.

GUESSED = {
    "activation", "glu", "rescale", "add", "concatenate", "flatten",
    "subtract", "multiply", "divide", "maximum", "minimum", "average", "matmul",
    "global_average_pool", "global_max_pool", "max_pool", "average_pool",
    "resize", "rearrange", "unit_norm",
}  # fmt: skip


def recorded(each: Example) -> Arrays:
    y = reference.compute(each.node, each.parameters, each.inputs, each.training)
    inputs = dict(zip(each.node.inputs, each.inputs, strict=True))
    return {k: v.astype(np.float32) for k, v in (inputs | {each.node.name: y}).items()}


@pytest.mark.parametrize("kind", sorted(GUESSED))
def test_a_black_box_is_known_by_its_numbers(kind: str) -> None:
    each = next(e for e in EXAMPLES if e.node.kind == kind and "counts" not in e.label)
    record = recorded(each)
    box = replace(each.node, kind="custom", attributes={"class": "Lambda"})
    candidates = guesses(box, record)
    ratios = reference.ratios(candidates, {}, record, False)
    fitting = [c for c, ratio in zip(candidates, ratios, strict=True) if ratio <= 1]
    assert fitting, "no guess fits"
    if kind != "rescale":  # Scale and offset are fitted to the numbers.
        assert (fitting[0].kind, fitting[0].attributes) == (kind, each.node.attributes)
    assert fitting[0].kind == kind


SIGMOID = {"recurrent_activation": "sigmoid"}
SUSPECTED = {
    "conv": ("padding", {"padding": [[0, 1], [1, 0]]}, {"padding": [[1, 0], [0, 1]]}),
    "max_pool": ("padding", {"padding": [[0, 1], [1, 0]]}, {"padding": [[1, 0], [0, 1]]}),
    "average_pool": ("padding", {"padding": [[0, 1], [1, 0]]}, {"padding": [[1, 0], [0, 1]]}),
    "conv_transpose": ("padding", {"cropping": [[1, 1], [1, 1]]}, {"cropping": [[0, 2], [0, 2]]}),
    "pad": ("padding", {"mode": "reflect"}, {"mode": "replicate"}),
    "resize": ("resampling", {"centres": "half"}, {"centres": "corners"}),
    "depth_to_space": ("resampling", {"order": "blocks"}, {"order": "channels"}),
    "space_to_depth": ("resampling", {"order": "blocks"}, {"order": "channels"}),
    "activation": ("activation-slope", {"slope": 0.2}, {"slope": 0.3}),
    "flatten": ("flatten-order", {"order": "first"}, {"order": "last"}),
    "batch_norm": ("batchnorm-epsilon", {"epsilon": 1e-5}, {"epsilon": 1e-3}),
    "lstm": ("activation", {"recurrent_activation": "hard_sigmoid"}, SIGMOID),
    "gru": ("layer-kind", {"reset_after": False}, {"reset_after": True}),
    "simple_rnn": ("layer-kind", {"direction": "backward"}, {"direction": "forward"}),
    "multi_head_attention": ("layer-kind", {"causal": True}, {"causal": False}),
    "dot_product_attention": ("layer-kind", {"scale": 1.0}, {"scale": 0.5}),
    "layer_norm": ("normalisation-epsilon", {"epsilon": 1e-5}, {"epsilon": 1e-3}),
    "group_norm": ("normalisation-axes", {"groups": 2}, {"groups": 3}),
    "rms_norm": ("normalisation-epsilon", {"epsilon": 1e-5}, {"epsilon": 1e-3}),
    "unit_norm": ("normalisation-axes", {"axes": [-2]}, {"axes": [-1]}),
}
"""By kind: the cause, what a node does, and what it says that it does."""

NOTHING_TO_SUSPECT = {
    "adaptive_average_pool": "its output's shape says all",
    "adaptive_max_pool": "its output's shape says all",
    "add": "it has no setting",
    "alpha_dropout": "what it draws is compared as distributions",
    "augmentation": "what it draws is compared as distributions",
    "average": "it has no setting",
    "concatenate": "it has no setting",
    "dense": "its kernel's shape says all",
    "divide": "it has no setting",
    "drop_path": "what it draws is compared as distributions",
    "dropout": "it does nothing without random numbers; the share that it drops is counted",
    "embedding": "which row gets no gradient shows in gradients alone",
    "gaussian_dropout": "what it draws is compared as distributions",
    "gaussian_noise": "what it draws is compared as distributions",
    "global_average_pool": "it has no setting",
    "global_max_pool": "it has no setting",
    "glu": "it has no setting that its shape does not say",
    "learned_offset": "it has no setting",
    "learned_scale": "it has no setting",
    "matmul": "it has no setting",
    "maximum": "it has no setting",
    "minimum": "it has no setting",
    "multiply": "it has no setting",
    "prelu": "its slopes' shape says all",
    "rearrange": "where each number goes is compared as a setting",
    "reduce": "its axes and its function are compared as settings",
    "repeat": "its output's shape says all",
    "rescale": "its numbers are read where they are used",
    "reshape": "it changes no number",
    "roll": "where each number goes is compared as a setting",
    "slice": "where each number goes is compared as a setting",
    "spatial_dropout": "what it draws is compared as distributions",
    "stack": "where each number goes is compared as a setting",
    "subtract": "it has no setting",
}
"""By kind, why nobody suspects that a layer of that kind does something else than it says."""


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ({"initial": ["cell", "state"]}, {"initial": ["state", "cell"]}),
        ({"returns": "cell"}, {"returns": "state"}),
    ],
)
def test_states_that_are_swapped_are_caught(does: dict[str, Any], says: dict[str, Any]) -> None:
    each = next(e for e in EXAMPLES if does.items() <= e.node.attributes.items())
    record = recorded(each)
    claimed = replace(each.node, attributes=each.node.attributes | says)
    assert reference.ratios([claimed], each.parameters, record, False)[0] > 1
    candidates = hypotheses(claimed, record)
    ratios = reference.ratios([c for _, c in candidates], each.parameters, record, False)
    (fitting,) = [c for (_, c), ratio in zip(candidates, ratios, strict=True) if ratio <= 1]
    assert fitting.attributes == each.node.attributes


@pytest.mark.parametrize("kind", sorted(SUSPECTED))
def test_a_layer_that_does_something_else_is_caught(kind: str) -> None:
    code, does, says = SUSPECTED[kind]
    each = next(
        e
        for e in EXAMPLES
        if e.node.kind == kind
        and e.node.attributes.keys() >= does.keys()
        and len(e.node.attributes.get("padding", [0, 0])) == 2
        and (kind != "activation" or e.label == "leaky_relu")
    )
    really = replace(each, node=replace(each.node, attributes=each.node.attributes | does))
    record = recorded(really)
    claimed = replace(really.node, attributes=really.node.attributes | says)
    assert reference.ratios([claimed], each.parameters, record, False)[0] > 1
    candidates = hypotheses(claimed, record)
    ratios = reference.ratios([c for _, c in candidates], each.parameters, record, False)
    fitting = [c for c, ratio in zip(candidates, ratios, strict=True) if ratio <= 1]
    assert fitting, "no hypothesis fits"
    assert fitting[0][0] == code
    assert all(fitting[0][1].attributes[name] == value for name, value in does.items())


# Nothing about a kind is forgotten.


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_complete(kind: str) -> None:
    """Whoever adds a kind sees here what it still lacks."""
    here = KINDS[kind]
    if here.compute is None:
        assert here.rounding is None, f"{kind} has a rounding bound, but no computation"
        return
    assert here.rounding is not None, f"{kind} has no rounding bound"
    examples = [each for each in EXAMPLES if each.node.kind == kind]
    assert examples, f"{kind} has no example here: no truth, no gradient check, no rounding check"
    for each in examples:
        own = each.node.attributes.keys()
        assert own <= here.attributes.keys(), f"{kind}: {own - here.attributes.keys()} unexplained"
        assert words(each.node), f"{kind} has no words"
        required = {role for role, r in here.roles.items() if r.required}
        assert required <= each.parameters.keys() <= here.roles.keys(), f"{kind}: roles"
        suspicions = hypotheses(each.node, recorded(each))
        assert all(code in CAUSES for code, _ in suspicions), f"{kind}: a cause that nobody knows"
        assert not suspicions or kind in SUSPECTED, f"{kind} has hypotheses, but no test of them"
        suspected = (kind in SUSPECTED) != (kind in NOTHING_TO_SUSPECT)
        assert suspected, f"{kind} has no hypothesis test, and NOTHING_TO_SUSPECT has no reason"
        record = recorded(each)
        box = replace(each.node, kind="custom", attributes={"class": "Lambda"})
        guessed = any(guess.kind == kind for guess in guesses(box, record))
        assert not guessed or kind in GUESSED, f"{kind} has guesses, but no test of them"
    roles = {role for each in examples for role in each.parameters}
    assert roles == here.roles.keys(), f"{kind}: no example has {here.roles.keys() - roles}"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_is_planted_in_every_kind(kind: str) -> None:
    planted = kind in PLANTED_IN_KIND
    assert planted != (kind in NOTHING_TO_PLANT), f"{kind} has no planted case in cases.py"
    changes = {change for _, _, change, _, _ in PLANTED}
    assert not planted or PLANTED_IN_KIND[kind] in changes, f"{kind}: no such case is planted"


PACKAGE = Path(diptych.__file__).parent
FRAMEWORKS = PACKAGE / "auditing" / "frameworks"
READERS = {
    folder.parent.name: [folder.parent] for folder in sorted(FRAMEWORKS.glob("*/adapter.py"))
}
"""By framework, where its readers are."""
READERS["onnx"] += [PACKAGE / "formats" / "onnx"]


def statements(framework: str) -> Iterator[ast.AST]:
    """All syntax of a framework's readers."""
    for folder in READERS[framework]:
        for path in folder.rglob("*.py"):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def not_expressed(framework: str) -> dict[str, str]:
    """The kinds that a framework says it does not have or read, each with the reason."""
    for statement in statements(framework):
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            continue
        if ast.unparse(statement.target) == "NOT_EXPRESSED":
            return ast.literal_eval(statement.value)
    raise AssertionError(f"{framework} declares no NOT_EXPRESSED")


def named_in(framework: str) -> set[str]:
    """The kinds that stand as words in a framework's readers."""
    declared = set(not_expressed(framework))
    counts = Counter(
        node.value
        for node in statements(framework)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {kind for kind in KINDS if counts[kind] > (kind in declared)}


@pytest.mark.parametrize("framework", READERS)
def test_a_framework_reads_every_kind_or_says_that_it_does_not(framework: str) -> None:
    absent, read = not_expressed(framework), named_in(framework)
    assert absent.keys() <= KINDS.keys(), f"no such kind: {absent.keys() - KINDS.keys()}"
    assert all(absent.values()), "each has a reason"
    both = absent.keys() & read
    assert not both, f"{framework} reads {', '.join(sorted(both))}, and says that it does not"
    missing = KINDS.keys() - read - absent.keys()
    assert not missing, f"{framework} neither reads nor declines {', '.join(sorted(missing))}"
