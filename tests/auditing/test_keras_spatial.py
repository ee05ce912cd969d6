"""Keras' layers that move, resample, join and drop numbers, against the reference."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import check, functional, kinds, numbers, side

from diptych.auditing import reference
from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.auditing.frameworks.keras.layer_classes import AUGMENTATIONS
from diptych.auditing.graph import INPUT
from diptych.auditing.kinds.registry import kind_of

IMAGE, BLOCK, SIGNAL = (6, 7, 2), (4, 5, 3, 2), (8, 2)


def proven(model: Adapter, kind: str) -> None:
    """Every node is of a known kind, one of this kind, and does what it says in float64."""
    assert kind in kinds(model) and "custom" not in kinds(model)
    x = numbers(3, *model.graph().input_shape)
    record = check(model, x) | {INPUT: x}
    distances = reference.check(model.graph(), model.parameters(), record, False)
    assert all(distance.ratio <= 1 for distance in distances.values()), distances


@pytest.mark.parametrize(
    ("size", "strides", "padding", "more"),
    [
        (3, 2, "same", {}),
        (2, 2, "valid", {}),
        (2, 3, "valid", {}),
        (2, 3, "same", {}),
        (4, 2, "same", {}),
        (3, 1, "valid", {"dilation_rate": 2}),
        (3, 2, "same", {"output_padding": 1}),
        (3, 2, "valid", {"output_padding": 1}),
    ],
)
def test_a_transposed_convolution(size: int, strides: int, padding: str, more: Any) -> None:
    model = side(
        keras.Input(IMAGE),
        lambda: layers.Conv2DTranspose(3, size, strides=strides, padding=padding, **more),
    )
    proven(model, "conv_transpose")


LAYERS: list[tuple[str, tuple[int, ...], Any]] = [
    ("conv", BLOCK, lambda: layers.Conv3D(3, 3, padding="same")),
    ("conv_transpose", BLOCK, lambda: layers.Conv3DTranspose(3, 2, 2)),
    ("conv_transpose", SIGNAL, lambda: layers.Conv1DTranspose(3, 3, 2, padding="same")),
    ("max_pool", BLOCK, lambda: layers.MaxPooling3D(2)),
    ("average_pool", BLOCK, lambda: layers.AveragePooling3D(2)),
    ("global_average_pool", BLOCK, lambda: layers.GlobalAveragePooling3D()),
    ("reduce", IMAGE, lambda: layers.GlobalAveragePooling2D(keepdims=True)),
    ("adaptive_average_pool", IMAGE, lambda: layers.AdaptiveAveragePooling2D((4, 3))),
    ("adaptive_max_pool", IMAGE, lambda: layers.AdaptiveMaxPooling2D((4, 3))),
    ("average_pool", IMAGE, lambda: layers.AdaptiveAveragePooling2D((3, 7))),
    ("resize", IMAGE, lambda: layers.UpSampling2D(2)),
    ("resize", IMAGE, lambda: layers.UpSampling2D((2, 3), interpolation="bilinear")),
    ("resize", IMAGE, lambda: layers.UpSampling2D(2, interpolation="bicubic")),
    ("resize", IMAGE, lambda: layers.Resizing(4, 9)),
    ("resize", IMAGE, lambda: layers.Resizing(4, 9, interpolation="nearest")),
    ("resize", SIGNAL, lambda: layers.UpSampling1D(3)),
    ("resize", BLOCK, lambda: layers.UpSampling3D(2)),
    ("rearrange", IMAGE, lambda: layers.Permute((2, 3, 1))),
    ("slice", IMAGE, lambda: layers.Cropping2D(((1, 0), (2, 1)))),
    ("slice", SIGNAL, lambda: layers.Cropping1D(1)),
    ("slice", BLOCK, lambda: layers.Cropping3D(1)),
    ("pad", BLOCK, lambda: layers.ZeroPadding3D(1)),
    ("repeat", (5,), lambda: layers.RepeatVector(3)),
    ("spatial_dropout", IMAGE, lambda: layers.SpatialDropout2D(0.2)),
    ("spatial_dropout", IMAGE, lambda: layers.Dropout(0.2, noise_shape=(None, 1, 1, None))),
    ("drop_path", IMAGE, lambda: layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))),
    ("gaussian_dropout", IMAGE, lambda: layers.GaussianDropout(0.3)),
    ("gaussian_noise", IMAGE, lambda: layers.GaussianNoise(0.3)),
    ("alpha_dropout", IMAGE, lambda: layers.AlphaDropout(0.3)),
    ("augmentation", IMAGE, lambda: layers.RandomRotation(0.1)),
]
OPERATIONS: list[tuple[str, Any]] = [
    ("rearrange", lambda x: keras.ops.transpose(x, (0, 3, 1, 2))),
    ("rearrange", lambda x: keras.ops.swapaxes(x, 1, 2)),
    ("rearrange", lambda x: keras.ops.moveaxis(x, 1, -1)),
    ("slice", lambda x: x[:, 1:3]),
    ("slice", lambda x: x[:, -1]),
    ("slice", lambda x: x[..., ::2]),
    ("slice", lambda x: keras.ops.flip(x, axis=1)),
    ("roll", lambda x: keras.ops.roll(x, 2, axis=2)),
    ("stack", lambda x: keras.ops.stack([x, x], axis=2)),
    ("repeat", lambda x: keras.ops.repeat(x, 2, axis=1)),
    ("repeat", lambda x: keras.ops.tile(x, (1, 1, 2, 1))),
    ("reduce", lambda x: keras.ops.mean(x, axis=3)),
    ("reduce", lambda x: keras.ops.sum(x, axis=(1, 2), keepdims=True)),
    ("concatenate", lambda x: keras.ops.concatenate([x, x], axis=1)),
    ("reshape", lambda x: keras.ops.expand_dims(x, 1)),
    ("pad", lambda x: keras.ops.pad(x, ((0, 0), (1, 1), (2, 0), (0, 0)), mode="reflect")),
    ("depth_to_space", lambda x: keras.ops.depth_to_space(x, 2)),
    ("space_to_depth", lambda x: keras.ops.space_to_depth(x, 2)),
    ("resize", lambda x: keras.ops.image.resize(x, (5, 5))),
]


@pytest.mark.parametrize(
    ("kind", "shape", "make"), LAYERS, ids=[f"{kind} {i}" for i, (kind, *_) in enumerate(LAYERS)]
)
def test_a_layer_does_what_its_node_says(kind: str, shape: tuple[int, ...], make: Any) -> None:
    proven(side(keras.Input(shape), make), kind)


@pytest.mark.parametrize(
    ("kind", "function"), OPERATIONS, ids=[f"{kind} {i}" for i, (kind, _) in enumerate(OPERATIONS)]
)
def test_an_operation_does_what_its_node_says(kind: str, function: Any) -> None:
    proven(functional((4, 6, 8), function), kind)


def test_a_random_layer_has_its_strength_in_its_node() -> None:
    weak, weak_again, strong = (
        side(keras.Input((8, 8, 3)), lambda factor=factor: layers.RandomRotation(factor))
        .graph()
        .nodes[0]
        for factor in (0.1, 0.1, 0.2)
    )
    differences = kind_of(weak).differences
    assert differences(weak, weak_again, {}, {}) == []
    assert [difference.code for difference in differences(weak, strong, {}, {})] == ["augmentation"]


@pytest.mark.parametrize("cls", AUGMENTATIONS, ids=lambda cls: cls.__name__)
def test_random_layers_pass_images_on_in_inference(cls: Any) -> None:
    required = {"RandomTranslation": (0.2, 0.2), "RandomPosterization": (4,)}
    try:
        layer = cls(*required.get(cls.__name__, ()))
    except TypeError:
        layer = cls(0.2)
    images = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3)).astype(np.float32)
    still = keras.ops.convert_to_numpy(layer(images, training=False))
    np.testing.assert_array_equal(still, images)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RandomRotation(0.2),
        lambda: layers.SpatialDropout2D(0.5),
        lambda: layers.GaussianNoise(0.5),
        lambda: layers.Dropout(0.5, noise_shape=(None, 1, 1, 1)),
    ],
)
def test_gradients_are_taken_without_what_is_random(make: Any) -> None:
    model = side(
        keras.Input((8, 8, 3)),
        make,
        lambda: layers.Conv2D(2, 3),
        lambda: layers.GlobalAveragePooling2D(),
    )
    x, y = numbers(4, 8, 8, 3), numbers(4, 2)
    losses = [model.loss_and_gradients(x, y)[0] for _ in range(3)]
    last = model.graph().nodes[-1].name
    assert len(set(losses)) == 1
    assert losses[0] == pytest.approx(model.loss(model.record(x, False)[last], y), rel=1e-5)
