"""Statistics of a changed training example relative to the original one."""

import numpy as np

Statistics = dict[str, np.ndarray]


def statistics(x: np.ndarray, original: np.ndarray) -> Statistics:
    """The changes of examples, one number per example and statistic.

    Args:
        x: examples as they are trained on (n, …), channels last.
        original: what each was made of, of the same shape.
    """
    count = len(x)
    flat, source = (v.reshape(count, -1).astype(np.float64) for v in (x, original))
    found: Statistics = {"the mean": flat.mean(1) - source.mean(1)}
    found["the largest number"] = flat.max(1) - source.max(1)
    found["the smallest number"] = flat.min(1) - source.min(1)
    found["the deviation"] = flat.std(1) - source.std(1)
    found["the share of the smallest number"] = _share(flat) - _share(source)
    scale = _along(flat, source)
    found["the contrast"] = scale
    found["what is not the example's"] = _residual(flat, source, scale)
    found["what is not the example's, on average"] = (flat - source).mean(1)
    neighbour = np.roll(source, 1, axis=0)
    found["the likeness to another example"] = _along(flat - source, neighbour)
    if x.ndim > 2:
        found |= _of_images(x.astype(np.float64), original.astype(np.float64))
    return found


def _of_images(x: np.ndarray, original: np.ndarray) -> Statistics:
    """Statistics of examples with positions: height and width of images, length of sequences."""
    count = len(x)
    found: Statistics = {}
    for axis, name in ((1, "vertical"), (2, "horizontal"))[: x.ndim - 2]:
        flipped = np.flip(original, axis).reshape(count, -1)
        found[f"the likeness to the {name} mirror image"] = _along(x.reshape(count, -1), flipped)
        found[f"the {name} differences"] = _roughness(x, axis) - _roughness(original, axis)
        found[f"the {name} centre"] = _centre(x, axis) - _centre(original, axis)
    if x.ndim == 4 and x.shape[1] == x.shape[2]:
        turned = original.swapaxes(1, 2).reshape(count, -1)
        found["the likeness to the transposed image"] = _along(x.reshape(count, -1), turned)
    return found


def _along(values: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The factor by which a direction comes nearest, both without their means, (n,)."""
    values = values - values.mean(1, keepdims=True)
    direction = direction - direction.mean(1, keepdims=True)
    size = np.sum(np.square(direction), axis=1)
    return np.sum(values * direction, axis=1) / np.where(size > 0, size, 1.0)


def _residual(values: np.ndarray, source: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The root mean square of what is left without the source, (n,)."""
    values = values - values.mean(1, keepdims=True)
    source = source - source.mean(1, keepdims=True)
    return np.sqrt(np.mean(np.square(values - scale[:, None] * source), axis=1))


def _share(flat: np.ndarray) -> np.ndarray:
    return np.mean(flat <= flat.min(1, keepdims=True) + 1e-6, axis=1)


def _roughness(x: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(np.diff(x, axis=axis)).reshape(len(x), -1).mean(1)


def _centre(x: np.ndarray, axis: int) -> np.ndarray:
    """The centre of mass along an axis, from -1 to 1, (n,)."""
    weight = np.abs(x - x.reshape(len(x), -1).min(1).reshape(-1, *(1 for _ in x.shape[1:])))
    others = tuple(i for i in range(1, x.ndim) if i != axis)
    profile = weight.sum(axis=others)
    places = np.linspace(-1, 1, profile.shape[1])
    total = profile.sum(1)
    return (profile @ places) / np.where(total > 0, total, 1.0)
