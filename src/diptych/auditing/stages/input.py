"""Input: each side's preparation of the same raw images and labels."""

import numpy as np

from diptych.auditing.axes import columns_of
from diptych.auditing.examples import (
    Examples,
    effective,
    leading_rescale,
    shapes_of,
    targets_as,
)
from diptych.auditing.findings import Reporter
from diptych.auditing.kinds.arithmetic import line
from diptych.auditing.kinds.kind import times
from diptych.auditing.pair import Pair
from diptych.auditing.report import Stage

NAME = "input"
WHOLE = 1e-5
"""The allowed difference of the mean of all data, relative to the largest number."""
REVERSED = "channels in reverse order, such as BGR instead of RGB"
CLOSE = 4e-6
"""Scaling takes a few operations in float32, each right to 6e-8 of the largest number."""


def check(pair: Pair, examples: Examples, report: Reporter) -> Stage:
    """Compares the inputs of the first layers that are not scalings, and the targets."""
    stage = Stage(NAME)
    a, b = (effective(pair.graphs[which], examples.raw_x[which]) for which in ("a", "b"))
    if not any(side.prepares for side in pair.sides.values()):
        stage.note = "neither side defines how it prepares data; both got the same data"
    b = examples.of_a(b) if a.size == b.size else b
    if examples.columns is not None and not examples.reshaped:
        report.note("the axes of the inputs are in another order on each side, by their data")
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    bound = CLOSE * float(np.abs(a).max(initial=1e-12))
    if a.shape != b.shape:
        stage.ok = False
        report("input-layout", a=f"inputs {a.shape}", b=f"inputs {b.shape}")
    else:
        stage.coverage.compared(count, examples=count)
        difference = float(np.abs(a - b).max(initial=0.0))
        stage.saw(difference, bound)
        if examples.reshaped:
            stage.ok = False
            of_a, of_b = (_listed(shapes_of(side)) for side in pair.sides.values())
            words = f"the same numbers reshaped to {of_b}, not transposed"
            report("input-layout", a=f"inputs of {of_a}", b=words, effect=_span(a, b))
        elif difference > bound:
            stage.ok = False
            _explain(a, b, report)
    if stage.ok:
        _whole_data(pair, stage, report)
    _targets(pair, examples, stage, report)
    return stage


def _listed(shapes: list[tuple[int, ...]]) -> str:
    """The shapes of inputs, without the batch, such as ``14×12×3``; each one once."""
    return ", ".join(dict.fromkeys(times(shape) for shape in shapes))


def _whole_data(pair: Pair, stage: Stage, report: Reporter) -> None:
    """Compares the number of examples of both sides, and statistics of all of them."""
    a, b = (pair.sides[which].data for which in ("a", "b"))
    if not (a and b):
        return
    spans = [max(abs(data["smallest"]), abs(data["largest"]), 1e-12) for data in (a, b)]
    numbers = ("mean", "deviation", "smallest", "largest")
    scaled = any(np.any(leading_rescale(graph)[0] != 1) for graph in pair.graphs.values())
    apart = [name for name in numbers if abs(a[name] - b[name]) > WHOLE * max(spans)]
    if a["count"] != b["count"] or (apart and not scaled):
        words = [
            f"{data['count']:,} examples, from {data['smallest']:.6g} to {data['largest']:.6g}, "
            f"mean {data['mean']:.6g}"
            for data in (a, b)
        ]
        stage.ok = False
        report("examples", a=words[0], b=words[1], effect="compared over the whole data")
    else:
        stage.coverage.compared(1, data_of=f"{a['count']:,} examples")


def _explain(a: np.ndarray, b: np.ndarray, report: Reporter) -> None:
    """Names the difference of the inputs: rotated or swapped, scaled, or both."""
    turned_ways = [(name, turned) for name, turned in _turned(a) if turned.shape == b.shape]
    for name, turned in turned_ways:
        scale, offset = line(turned, b)
        size = float(np.abs(b).max(initial=1e-12))
        if np.abs(turned * scale + offset - b).max(initial=0.0) > 4 * CLOSE * size:
            continue
        _report_turn(name, a, b, report)
        if abs(scale - 1) > 1e-5 or abs(offset) > 1e-5 * size:
            line_of_b = f"A's times {scale:.6g}"
            line_of_b += f" plus {offset:.6g}" if abs(offset) > 1e-6 else ""
            words = f"{_range(b)}: {line_of_b}"
            report("input-scale", a=_range(a), b=words, effect=_span(a, b))
        return
    for name, turned in turned_ways:
        by_channel = _by_channel(turned, b)
        if by_channel is None:
            continue
        _report_turn(name, a, b, report)
        scales, offsets = (", ".join(f"{v:.4g}" for v in values[:4]) for values in by_channel)
        more = ", …" if len(by_channel[0]) > 4 else ""
        words = f"{_range(b)}: by channel, A's times {scales}{more} plus {offsets}{more}"
        report("input-scale", a=_range(a), b=words, effect=_span(a, b))
        return
    code = "input-scale" if a.ndim < 3 else "input-layout"
    effect = f"no scaling, rotation or mirroring of A's gives B's; {_span(a, b)}"
    report(code, a=_range(a), b=_range(b), effect=effect)


def _report_turn(name: str, a: np.ndarray, b: np.ndarray, report: Reporter) -> None:
    if name:
        code = "channel-order" if name == REVERSED else "input-layout"
        report(code, a="unchanged", b=name, effect=_span(a, b))


def _by_channel(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The scale and offset per channel that turn A's inputs into B's; None if there are none."""
    if a.ndim < 2 or a.shape[-1] == 1:
        return None
    one, other = (values.reshape(-1, a.shape[-1]) for values in (a, b))
    centred = one - one.mean(0)
    squares = np.sum(centred**2, axis=0)
    if not np.all(squares > 0):
        return None
    scales = np.sum(centred * (other - other.mean(0)), axis=0) / squares
    offsets = other.mean(0) - scales * one.mean(0)
    size = float(np.abs(b).max(initial=1e-12))
    away = float(np.abs(one * scales + offsets - other).max(initial=0.0))
    return (scales, offsets) if away <= 16 * CLOSE * size else None


def _turned(a: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The inputs, and versions of them with the usual mistakes in their layout."""
    candidates = [("", a)]
    if a.ndim == 2 and a.shape[1] == 784:  # MNIST, flattened.
        images = a.reshape(-1, 28, 28)
        candidates.append(("height and width swapped", images.transpose(0, 2, 1).reshape(a.shape)))
    if a.ndim >= 3:
        swapped = a.swapaxes(1, 2)
        candidates += [
            ("height and width swapped", swapped),
            (REVERSED, a[..., ::-1]),
            ("upside down", a[:, ::-1]),
            ("left and right swapped", a[:, :, ::-1]),
            ("rotated by 180 degrees", a[:, ::-1, ::-1]),
            ("channels first, read as channels last", np.moveaxis(a, -1, 1).reshape(a.shape)),
        ]
    return candidates


def _range(values: np.ndarray) -> str:
    return f"values from {values.min():.4g} to {values.max():.4g}"


def _span(a: np.ndarray, b: np.ndarray) -> str:
    return f"inputs differ by up to {np.abs(a - b).max(initial=0.0):.3g}"


def _targets(pair: Pair, examples: Examples, stage: Stage, report: Reporter) -> None:
    a = examples.raw_y["a"]
    side_a, side_b = pair.sides["a"], pair.sides["b"]
    b = targets_as(examples.raw_y["b"], side_a.targets, side_b)
    if not (side_a.trains and side_b.trains):
        return
    if side_a.targets == "classes" and a.size != b.size:
        report("label-encoding", a=f"labels {a.shape}", b=f"labels {b.shape}")
        stage.ok = False
        return
    one, other = a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1).astype(float)
    shapes = [side.packed_targets or [y.shape[1:]] for side, y in ((side_a, a), (side_b, b))]
    columns = columns_of(one, other, *shapes)
    one = one if columns is None else one[:, columns]
    if _repeated(one, other) or _repeated(other, one):
        report.note("one side gets the same targets once for each of its outputs")
        return
    if one.shape != other.shape or not np.allclose(one, other, 1e-6, 1e-6):
        stage.ok = False
        of_a, of_b = _mapping(one, other)
        report("label-encoding", a=of_a, b=of_b)


def _repeated(one: np.ndarray, other: np.ndarray) -> bool:
    """True if the second targets are the first ones more than once, side by side."""
    times, rest = divmod(other.shape[1], max(1, one.shape[1]))
    if len(one) != len(other) or times < 2 or rest:
        return False
    return bool(np.allclose(np.tile(one, (1, times)), other, 1e-6, 1e-6))


def _mapping(a: np.ndarray, b: np.ndarray) -> tuple[str, str]:
    """The first labels of each side, or how B's follow from A's."""
    if a.shape == b.shape and a.shape[1] > 1:
        a, b = a.argmax(1)[:, None], b.argmax(1)[:, None]
    if a.shape == b.shape and np.ptp(b - a) == 0:
        return f"labels such as {a[0, 0]:g}", f"the same plus {b[0, 0] - a[0, 0]:g}"
    first = [", ".join(f"{v:g}" for v in labels[:8, 0]) for labels in (a, b)]
    return f"labels {first[0]}, …", f"labels {first[1]}, …"
