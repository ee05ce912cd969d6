"""Layers that move, resample, join and drop numbers: from PyTorch, and faults in them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diptych.auditing import reference
from diptych.auditing.findings import Reporter
from diptych.auditing.frameworks.defaults import DRAWING
from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.kinds.registry import KINDS, kind_of
from diptych.auditing.match import align, parameter_shapes, simplified
from diptych.auditing.pair import Pair
from diptych.auditing.report import Audit
from diptych.auditing.stages import structure

Make = Callable[[], nn.Module]
SHAPE = (4, 8, 6)
"""The channels, height and width of the examples."""


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class StochasticDepth(nn.Module):
    """As torchvision has it."""

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return input
        size = [len(input)] + [1] * (input.ndim - 1)
        noise = torch.empty(size).bernoulli_(1 - self.p)
        return input * noise.div_(1 - self.p)


class DropPath(nn.Module):
    """As timm has it."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = 1 - self.drop_prob
        return x * x.new_empty((len(x), *[1] * (x.ndim - 1))).bernoulli_(keep).div_(keep)


def side(layer: nn.Module, axes: int = 2) -> Adapter:
    """A module under audit: a convolution, the layer, and what makes it a regression."""
    sizes = (4, *SHAPE[1:], 4)[: axes + 1]
    convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](4, 4, 1)
    x = np.random.default_rng(0).normal(size=(8, *sizes)).astype(np.float32)

    def build(seed: int) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = nn.Sequential(convolution, layer, nn.Flatten(), nn.LazyLinear(1))
        module(torch.tensor(x))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        return module, nn.MSELoss(), optimizer, {"data": (x, x[:, :1, 0].reshape(8, -1)[:, :1])}

    return Adapter(build)


def spatial(adapter: Adapter) -> Graph:
    return simplified(adapter.graph())[0]


READ: list[tuple[str, nn.Module, int]] = [
    ("conv", nn.Conv3d(4, 2, 3, padding=1), 3),
    ("conv", nn.Conv1d(4, 4, 3, padding=1, groups=4), 1),
    ("conv", nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), 2),
    ("conv", nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), 2),
    ("conv_transpose", nn.ConvTranspose1d(4, 2, 3, 2, 1, 1), 1),
    ("conv_transpose", nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1, groups=2), 2),
    ("conv_transpose", nn.ConvTranspose2d(4, 2, 2, 2, dilation=2, bias=False), 2),
    ("conv_transpose", nn.ConvTranspose3d(4, 2, 2, 2), 3),
    ("pad", nn.ReplicationPad2d((1, 2, 0, 1)), 2),
    ("pad", nn.ConstantPad2d(1, 0.5), 2),
    ("max_pool", nn.MaxPool3d(2), 3),
    ("average_pool", nn.AvgPool3d(2), 3),
    ("adaptive_average_pool", nn.AdaptiveAvgPool2d((3, 4)), 2),
    ("adaptive_max_pool", nn.AdaptiveMaxPool2d((3, 4)), 2),
    ("adaptive_average_pool", nn.AdaptiveAvgPool3d(3), 3),
    ("resize", nn.Upsample(scale_factor=2), 2),
    ("resize", nn.Upsample(scale_factor=1.5, mode="bilinear"), 2),
    ("resize", nn.Upsample(size=(5, 9), mode="bilinear", align_corners=True), 2),
    ("resize", nn.Upsample(scale_factor=2, mode="bicubic"), 2),
    ("resize", nn.Upsample(scale_factor=2, mode="linear"), 1),
    ("adaptive_average_pool", Function(lambda x: F.interpolate(x, (3, 4), mode="area")), 2),
    ("depth_to_space", nn.PixelShuffle(2), 2),
    ("space_to_depth", nn.PixelUnshuffle(2), 2),
    ("rearrange", nn.ChannelShuffle(2), 2),
    ("rearrange", Function(lambda x: x.permute(0, 1, 3, 2)), 2),
    ("slice", Function(lambda x: x[:, 1:3, ::2]), 2),
    ("slice", Function(lambda x: x[:, :, -1]), 2),
    ("slice", Function(lambda x: x[:, 0]), 2),
    ("slice", Function(lambda x: x.narrow(2, 1, 4)), 2),
    ("slice", Function(lambda x: x.flip(3)), 2),
    ("roll", Function(lambda x: x.roll((1, -2), (1, 3))), 2),
    ("repeat", Function(lambda x: x.repeat(1, 2, 1, 3)), 2),
    ("repeat", Function(lambda x: x.repeat_interleave(2, 2)), 2),
    ("repeat", Function(lambda x: x[:, :, :1].expand(-1, -1, 5, -1)), 2),
    ("stack", Function(lambda x: torch.stack([x, x], 2)), 2),
    ("concatenate", Function(lambda x: torch.cat([x, x], 3)), 2),
    ("concatenate", Function(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)), 2),
    ("reduce", Function(lambda x: x.mean(1, keepdim=True)), 2),
    ("reduce", Function(lambda x: x.sum((1, 2))), 2),
    ("reduce", Function(lambda x: x.max(3).values), 2),
    ("spatial_dropout", nn.Dropout2d(0.2), 2),
    ("spatial_dropout", nn.Dropout1d(0.2), 1),
    ("alpha_dropout", nn.AlphaDropout(0.2), 2),
    ("drop_path", StochasticDepth(0.2), 2),
    ("drop_path", DropPath(0.2), 2),
]


@pytest.mark.parametrize(
    ("kind", "layer", "axes"), READ, ids=[f"{kind} {i}" for i, (kind, *_) in enumerate(READ)]
)
def test_what_pytorch_computes_is_what_the_node_says(
    kind: str, layer: nn.Module, axes: int
) -> None:
    model = side(layer, axes)
    graph = model.graph()
    assert kind in [node.kind for node in graph.nodes], graph.nodes
    assert all(node.kind != "custom" for node in graph.nodes)
    for node in graph.nodes:
        assert set(node.attributes) == set(KINDS[node.kind].attributes), node
    x = np.random.default_rng(1).normal(size=(5, *graph.input_shape)).astype(np.float32)
    record = model.record(x, False) | {INPUT: x}
    distances = reference.check(graph, model.parameters(), record, False)
    assert distances.keys() == {node.name for node in graph.nodes}
    assert all(distance.ratio <= 1 for distance in distances.values()), distances
    for node in graph.nodes:
        again = model.run_node(node.name, [record[name] for name in node.inputs], False)
        np.testing.assert_allclose(again, record[node.name], rtol=1e-5, atol=1e-6)


def differences(a: nn.Module, b: nn.Module, axes: int = 2) -> list[tuple[str, Node, Node]]:
    """The code of each difference between two modules, with the matched nodes."""
    one, other = side(a, axes), side(b, axes)
    graphs = [spatial(each) for each in (one, other)]
    own = [each.parameters() for each in (one, other)]
    found = []
    for match in align(graphs[0], graphs[1], own[0], own[1]):
        assert match.a is not None and match.b is not None, match
        shapes = [
            parameter_shapes(node, of) for node, of in zip((match.a, match.b), own, strict=True)
        ]
        found += [
            (difference.code, match.a, match.b)
            for difference in kind_of(match.a).differences(match.a, match.b, *shapes)
        ]
    return found


PLANTED: dict[str, tuple[str, nn.Module, nn.Module]] = {
    "adaptive_average_pool": ("kernel-size", nn.AdaptiveAvgPool2d(3), nn.AdaptiveAvgPool2d(4)),
    "adaptive_max_pool": ("pooling", nn.AdaptiveMaxPool2d(5), nn.AdaptiveAvgPool2d(5)),
    "alpha_dropout": ("layer-kind", nn.AlphaDropout(0.2), nn.Dropout(0.2)),
    "conv_transpose": (
        "padding", nn.ConvTranspose2d(4, 4, 3, 2, 1, 1), nn.ConvTranspose2d(4, 4, 3, 2, 0, 0)
    ),
    "drop_path": ("dropout-rate", StochasticDepth(0.1), StochasticDepth(0.3)),
    "pad": ("padding", nn.ReflectionPad2d(1), nn.ReplicationPad2d(1)),
    "rearrange": (
        "axis",
        Function(lambda x: x.permute(0, 1, 3, 2)),
        Function(lambda x: x.permute(0, 2, 1, 3)),
    ),
    "reduce": ("axis", Function(lambda x: x.sum(2)), Function(lambda x: x.amax(2))),
    "repeat": (
        "axis",
        Function(lambda x: x.repeat(1, 1, 2, 1)),
        Function(lambda x: x.repeat_interleave(2, 2)),
    ),
    "resize": (
        "resampling",
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    ),
    "roll": ("axis", Function(lambda x: x.roll(1, 2)), Function(lambda x: x.roll(-1, 2))),
    "slice": ("axis", Function(lambda x: x[:, :, 1:]), Function(lambda x: x[:, :, :-1])),
    "spatial_dropout": ("layer-kind", nn.Dropout2d(0.2), nn.Dropout(0.2)),
    "stack": (
        "axis",
        Function(lambda x: torch.stack([x, x], 2)),
        Function(lambda x: torch.stack([x, x], 3)),
    ),
}  # fmt: skip
"""By kind: the cause, a layer, and one that is planted in its place."""


@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_a_planted_fault_is_named(kind: str) -> None:
    code, a, b = PLANTED[kind]
    assert [code for code, _, _ in differences(a, b)] == [code]
    assert differences(a, a) == []


@pytest.mark.parametrize("kind", ["depth_to_space", "space_to_depth"])
def test_blocks_in_another_order_are_named(kind: str) -> None:
    here = KINDS[kind]
    a = Node("a", kind, (INPUT,), (4, 6, 2), {"block": 2, "order": "channels"})
    b = Node("b", kind, (INPUT,), (4, 6, 2), {"block": 2, "order": "blocks"})
    if kind == "space_to_depth":
        a, b = (Node(n.name, kind, n.inputs, (2, 3, 8), n.attributes) for n in (a, b))
    assert [difference.code for difference in here.differences(a, b, {}, {})] == ["resampling"]
    assert here.differences(a, a, {}, {}) == []


def test_a_pixel_shuffle_written_out_is_the_same() -> None:
    def written(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return (
            x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)
        )

    assert differences(nn.PixelShuffle(2), Function(written)) == []


def test_a_channel_shuffle_written_out_is_the_same() -> None:
    def written(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)

    assert differences(nn.ChannelShuffle(2), Function(written)) == []


def test_nearest_resampling_is_the_same_by_whichever_name() -> None:
    exact = nn.Upsample(scale_factor=2, mode="nearest-exact")
    assert differences(nn.Upsample(scale_factor=2), exact) == []


def test_padding_with_zeros_before_a_max_pool_counts_only_where_numbers_are_negative() -> None:
    padded = nn.Sequential(nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))
    of_its_own = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    assert differences(padded, of_its_own) == []
    assert [node.kind for node in spatial(side(padded[1:])).nodes][1:3] == ["pad", "max_pool"]
    alone = spatial(side(nn.Sequential(nn.ConstantPad2d(1, -np.inf), nn.MaxPool2d(3, 2))))
    assert [node.kind for node in alone.nodes][1:2] == ["max_pool"]


def test_padding_with_zeros_before_an_average_pool_counts_in_the_average() -> None:
    padded = nn.Sequential(nn.ZeroPad2d(1), nn.AvgPool2d(3, 2))
    assert differences(padded, nn.AvgPool2d(3, 2, 1)) == []
    left_out = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    assert [code for code, *_ in differences(padded, left_out)] == ["pooling"]


def test_drop_path_of_the_whole_batch_is_no_known_kind() -> None:
    kinds = [node.kind for node in side(StochasticDepth(0.2, "batch")).graph().nodes]
    assert "custom" in kinds and "drop_path" not in kinds


@pytest.mark.parametrize("layer", [StochasticDepth(0.5), DropPath(0.5), nn.Dropout2d(0.5)])
def test_gradients_are_taken_with_whole_branches_kept(layer: nn.Module) -> None:
    model = side(layer)
    x = np.random.default_rng(1).normal(size=(5, *model.graph().input_shape)).astype(np.float32)
    y = np.ones((5, 1), np.float32)
    losses = {model.loss_and_gradients(x, y)[0] for _ in range(8)}
    assert len(losses) == 1
    assert losses.pop() == pytest.approx(model.loss(model.record(x, False)["3"], y), rel=1e-5)


class Joined(nn.Module):
    """Two branches, joined in either order."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.one, self.other, self.first = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1), first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.one(x)
        other = self.other(F.relu(one.repeat(1, 2, 1, 1)))
        return torch.cat([one, other] if self.first == "one" else [other, one], 1)


@pytest.mark.parametrize(("first", "codes"), [("one", []), ("other", ["axis"])])
def test_inputs_that_are_joined_in_another_order_are_named(first: str, codes: list[str]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        a, b = side(Joined("one")), side(Joined(first))
    sides = {}
    for which, adapter in (("a", a), ("b", b)):
        own = adapter.parameters()
        sides[which] = SimpleNamespace(
            own=own,
            graph=adapter.graph(),
            framework=adapter.framework,
            trains=True,
            targets="values",
        )
    graphs = {which: sides[which].graph for which in sides}
    pair = Pair.of(sides, graphs)  # pyright: ignore[reportArgumentType]
    x = np.random.default_rng(1).normal(size=(5, 8, 6, 4)).astype(np.float32)
    audit = Audit("a", "b", (a.framework, b.framework))
    examples: Any = SimpleNamespace(x={"a": x, "b": x})
    structure.check(pair, examples, Reporter(audit, "structure"))
    assert [finding.code for finding in audit.findings] == codes


def test_adapters_know_the_kinds_that_draw_random_numbers() -> None:
    """An adapter's process has no autograd, which the kinds need."""
    assert set(DRAWING) == {name for name, kind in KINDS.items() if kind.in_training == "draws"}


@pytest.mark.parametrize(
    ("kind", "code", "a", "b"),
    [
        ("gaussian_dropout", "dropout-rate", {"rate": 0.1}, {"rate": 0.2}),
        ("gaussian_noise", "noise", {"deviation": 0.1}, {"deviation": 0.2}),
        (
            "augmentation",
            "augmentation",
            {"class": "RandomRotation", "settings": {"factor": "(-0.1, 0.1)"}},
            {"class": "RandomRotation", "settings": {"factor": "(-0.2, 0.2)"}},
        ),
    ],
)
def test_another_strength_of_what_pytorch_lacks_is_named(
    kind: str, code: str, a: dict[str, Any], b: dict[str, Any]
) -> None:
    one, other = (Node("layer", kind, (INPUT,), (4,), attributes) for attributes in (a, b))
    here = KINDS[kind].differences
    assert [difference.code for difference in here(one, other, {}, {})] == [code]
    assert here(one, one, {}, {}) == []
