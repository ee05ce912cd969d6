"""PyTorch sides that read images: torchvision, timm and segmentation_models_pytorch.

Each network has a second function, ``…_faulty``: the same with one fault deep inside.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision.models as vision
from torch import nn

CLASSES = 4
EXTRAS = dict[str, Any]
SIDE = tuple[nn.Module, Callable[..., Any] | None, torch.optim.Optimizer, EXTRAS]


def classifier(network: nn.Module, size: int = 32, examples: int = 8) -> SIDE:
    """A side that learns classes of images, by SGD with momentum."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(examples, 3, size, size)).astype("float32")
    data: EXTRAS = {"data": (x, generator.integers(0, CLASSES, examples))}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    return network, nn.CrossEntropyLoss(), optimizer, data


def with_fault(build: Callable[[], SIDE], path: str, name: str, value: object) -> SIDE:
    """The side with one attribute of the submodule at a path set to another value."""
    side = build()
    layer = side[0].get_submodule(path)
    if getattr(layer, name) == value:
        raise ValueError(f"{path}.{name} is {value!r} already: a fault needs another value")
    setattr(layer, name, value)
    return side


def without_bias(build: Callable[[], SIDE], path: str) -> SIDE:
    """The side without the bias of the layer at a path."""
    network = build()[0]
    layer: Any = network.get_submodule(path)
    layer.bias = None
    return classifier(network)


def squeezenet() -> SIDE:
    return classifier(vision.squeezenet1_1(num_classes=CLASSES))


def squeezenet_faulty() -> SIDE:
    return without_bias(squeezenet, "features.11.expand3x3")


def shufflenet() -> SIDE:
    return classifier(vision.shufflenet_v2_x0_5(num_classes=CLASSES), size=64)


def shufflenet_faulty() -> SIDE:
    return with_fault(shufflenet, "conv5.0", "stride", (2, 2))


def mobilenet_v2() -> SIDE:
    return classifier(vision.mobilenet_v2(num_classes=CLASSES))


def mobilenet_v2_faulty() -> SIDE:
    return with_fault(mobilenet_v2, "features.14.conv.1.1", "momentum", 0.01)


def mobilenet_v3() -> SIDE:
    return classifier(vision.mobilenet_v3_small(num_classes=CLASSES))


def mobilenet_v3_faulty() -> SIDE:
    return with_fault(mobilenet_v3, "features.8.block.1.1", "eps", 1e-5)


def efficientnet() -> SIDE:
    return classifier(vision.efficientnet_b0(num_classes=CLASSES))


def efficientnet_faulty() -> SIDE:
    return with_fault(efficientnet, "classifier.0", "p", 0.4)


def resnet18() -> SIDE:
    return classifier(vision.resnet18(num_classes=CLASSES))


def resnet18_faulty() -> SIDE:
    return with_fault(resnet18, "layer3.1.bn2", "momentum", 0.01)


def resnet50() -> SIDE:
    return classifier(vision.resnet50(num_classes=CLASSES))


def resnet50_faulty() -> SIDE:
    return with_fault(resnet50, "layer3.2.bn1", "eps", 1e-3)


def densenet121() -> SIDE:
    return classifier(vision.densenet121(num_classes=CLASSES))


def densenet121_faulty() -> SIDE:
    return with_fault(densenet121, "features.denseblock3.denselayer5.norm2", "eps", 1e-3)


def regnet() -> SIDE:
    return classifier(vision.regnet_y_400mf(num_classes=CLASSES))


def regnet_faulty() -> SIDE:
    return with_fault(regnet, "trunk_output.block3.block3-2.f.b.1", "momentum", 0.01)


def convnext() -> SIDE:
    return classifier(vision.convnext_tiny(num_classes=CLASSES))


def convnext_faulty() -> SIDE:
    return with_fault(convnext, "features.5.3.block.2", "eps", 1e-3)


def swin() -> SIDE:
    return classifier(vision.swin_t(num_classes=CLASSES))


def swin_faulty() -> SIDE:
    return without_bias(swin, "features.3.1.mlp.0")


def vit_b_32() -> SIDE:
    """torchvision's ViT-B/32 with fewer and narrower blocks, on small images."""
    network = vision.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=CLASSES,
    )
    return classifier(network)


def vit_b_32_faulty() -> SIDE:
    return without_bias(vit_b_32, "encoder.layers.encoder_layer_1.mlp.3")


def timm_vit() -> SIDE:
    import timm

    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, num_classes=CLASSES
    )
    return classifier(network)


def timm_vit_faulty() -> SIDE:
    return with_fault(timm_vit, "blocks.1.norm2", "eps", 1e-3)


def unet() -> SIDE:
    """A U-Net of segmentation_models_pytorch on a ResNet-18; a class for each pixel."""
    import segmentation_models_pytorch

    network = segmentation_models_pytorch.Unet("resnet18", encoder_weights=None, classes=CLASSES)
    x = np.random.default_rng(0).normal(size=(8, 3, 32, 32)).astype("float32")
    y = np.random.default_rng(1).integers(0, CLASSES, (8, 32, 32))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    return network, nn.CrossEntropyLoss(), optimizer, {"data": (x, y)}


def unet_faulty() -> SIDE:
    return with_fault(unet, "decoder.blocks.2.conv1.1", "momentum", 0.01)
