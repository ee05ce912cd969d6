"""The networks, as data: where a side of each is, and which fault is planted in its second side."""

from dataclasses import dataclass

SELF, FAULT, PORT = "itself", "fault", "port"


@dataclass(frozen=True)
class Network:
    """A network that is audited against itself and against itself with one fault deep inside.

    Attributes:
        name: what the table calls it.
        side: ``file.py:function`` in `sides`; the faulty one is ``…_faulty``.
        fault: the planted fault, in words.
        causes: codes of `docs/causes.toml`, one of which has to be the first finding's.
        port: the same network in the other framework, if there is a faithful one, as a pair.
    """

    name: str
    side: str
    fault: str = ""
    causes: tuple[str, ...] = ()
    port: tuple[str, str] | None = None

    def pairs(self) -> dict[str, tuple[str, str]]:
        """The audits of this network: both sides of each."""
        audits: dict[str, tuple[str, str]] = {}
        if self.side:
            audits[SELF] = (self.side, self.side)
            audits[FAULT] = (self.side, f"{self.side}_faulty")
        if self.port:
            audits[PORT] = self.port
        return audits


def _port(name: str) -> tuple[str, str]:
    return f"keras_ports.py:{name}", f"torch_ports.py:{name}"


MOMENTUM, BN_EPSILON = ("batchnorm-momentum",), ("batchnorm-epsilon",)
EPSILON, DROPOUT, BIAS = ("normalisation-epsilon",), ("dropout-rate",), ("bias-missing",)

NETWORKS: tuple[Network, ...] = (
    Network(
        "LSTM classifier (PyTorch)",
        "torch_sequences.py:lstm",
        "dropout 0.3 for 0.2 between the layers",
        DROPOUT,
        _port("lstm"),
    ),
    Network(
        "GRU classifier (PyTorch)",
        "torch_sequences.py:gru",
        "a dense layer without bias",
        BIAS,
        _port("gru"),
    ),
    Network(
        "LSTM classifier (Keras)",
        "keras_ports.py:lstm",
        "dropout 0.3 for 0.2 between the layers",
        DROPOUT,
    ),
    Network("GRU classifier (Keras)", "keras_ports.py:gru", "a dense layer without bias", BIAS),
    Network(
        "CNN-LSTM (PyTorch)",
        "torch_sequences.py:cnn_lstm",
        "momentum 0.01 for 0.1 in the second batch normalisation",
        MOMENTUM,
    ),
    Network(
        "Transformer encoder (PyTorch)",
        "torch_sequences.py:transformer",
        "dropout 0.2 for 0.1 after the second attention",
        DROPOUT,
        _port("transformer"),
    ),
    Network(
        "Transformer encoder (Keras)",
        "keras_applications.py:transformer",
        "epsilon 1e-3 for 1e-6 in the last layer normalisation",
        EPSILON,
    ),
    Network(
        "VAE (PyTorch)", "torch_sequences.py:vae", "a dense layer of the decoder without bias", BIAS
    ),
    Network(
        "DCGAN (PyTorch)",
        "torch_sequences.py:dcgan",
        "momentum 0.01 for 0.1 in the generator's second batch normalisation",
        MOMENTUM,
    ),
    Network(
        "wide and deep (Keras)",
        "keras_applications.py:wide_and_deep",
        "the second dense layer without bias",
        BIAS,
    ),
    Network(
        "BERT, 2 layers (transformers)",
        "torch_sequences.py:bert",
        "epsilon 1e-5 for 1e-12 in the last layer normalisation",
        EPSILON,
    ),
    Network(
        "GPT-2, 2 layers (transformers)",
        "torch_sequences.py:gpt2",
        "dropout 0.2 for 0.1 in the second block",
        DROPOUT,
    ),
    Network(
        "T5, 2 layers (transformers)",
        "torch_sequences.py:t5",
        "epsilon 1e-3 for 1e-6 in the decoder's second block",
        EPSILON,
    ),
    Network(
        "ViT-B/32, 2 blocks (torchvision)",
        "torch_images.py:vit_b_32",
        "a dense layer of the second block without bias",
        BIAS,
    ),
    Network(
        "ViT-tiny, 2 blocks (timm)",
        "torch_images.py:timm_vit",
        "epsilon 1e-3 for 1e-6 in the second block",
        EPSILON,
    ),
    Network(
        "SqueezeNet 1.1 (torchvision)",
        "torch_images.py:squeezenet",
        "a convolution of the seventh fire module without bias",
        BIAS,
    ),
    Network(
        "ShuffleNetV2 ×0.5 (torchvision)",
        "torch_images.py:shufflenet",
        "stride 2 for 1 in the last convolution",
        ("stride",),
    ),
    Network(
        "MobileNetV2 (torchvision)",
        "torch_images.py:mobilenet_v2",
        "momentum 0.01 for 0.1 in block 14",
        MOMENTUM,
        _port("mobilenet_v2"),
    ),
    Network(
        "MobileNetV3-small (torchvision)",
        "torch_images.py:mobilenet_v3",
        "epsilon 1e-5 for 1e-3 in block 8",
        BN_EPSILON,
    ),
    Network(
        "U-Net (Keras)",
        "keras_ports.py:unet",
        "momentum 0.99 for 0.9 on the way up",
        MOMENTUM,
        _port("unet"),
    ),
    Network(
        "U-Net on ResNet-18 (segmentation_models_pytorch)",
        "torch_images.py:unet",
        "momentum 0.01 for 0.1 in the decoder's third block",
        MOMENTUM,
    ),
    Network(
        "ResNet-18 (torchvision)",
        "torch_images.py:resnet18",
        "momentum 0.01 for 0.1 in the third stage",
        MOMENTUM,
        _port("resnet18"),
    ),
    Network(
        "RegNetY-400MF (torchvision)",
        "torch_images.py:regnet",
        "momentum 0.01 for 0.1 in the third stage",
        MOMENTUM,
    ),
    Network(
        "EfficientNet-B0 (torchvision)",
        "torch_images.py:efficientnet",
        "dropout 0.4 for 0.2 before the classes",
        DROPOUT,
    ),
    Network(
        "DenseNet-121 (torchvision)",
        "torch_images.py:densenet121",
        "epsilon 1e-3 for 1e-5 in the third block",
        BN_EPSILON,
    ),
    Network(
        "ConvNeXt-tiny (torchvision)",
        "torch_images.py:convnext",
        "epsilon 1e-3 for 1e-6 in the third stage",
        EPSILON,
    ),
    Network(
        "Swin-T (torchvision)",
        "torch_images.py:swin",
        "a dense layer of the second stage without bias",
        BIAS,
    ),
    Network(
        "ResNet-50 (torchvision)",
        "torch_images.py:resnet50",
        "epsilon 1e-3 for 1e-5 in the third stage",
        BN_EPSILON,
    ),
    Network(
        "MobileNetV2 (Keras)",
        "keras_applications.py:mobilenet_v2",
        "momentum 0.9 for 0.999 in block 8",
        MOMENTUM,
    ),
    Network(
        "EfficientNetB0 (Keras)",
        "keras_applications.py:efficientnet",
        "epsilon 1e-5 for 1e-3 in block 4b",
        BN_EPSILON,
    ),
    Network(
        "ResNet50 (Keras)",
        "keras_applications.py:resnet50",
        "momentum 0.9 for 0.99 in the third stage",
        MOMENTUM,
    ),
    Network(
        "ConvNeXtTiny (Keras)",
        "keras_applications.py:convnext",
        "epsilon 1e-3 for 1e-6 in the third stage",
        EPSILON,
    ),
)
"""Small ones first."""
