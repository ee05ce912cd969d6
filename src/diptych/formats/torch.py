"""PyTorch: an exported program, and the module as Python with its weights.

The Python file is idiomatic: layers in a ``Sequential``, channels first, PyTorch's order of
flattening. The exported program is built from this file.
"""

import json
import math
import textwrap
from collections import OrderedDict
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch

from diptych.formats.archives import EMBEDDED
from diptych.formats.protocol import Content, in_batches
from diptych.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Shape,
)
from diptych.network import Network, Weights

EXAMPLE = """\
import torch

program = torch.export.load("{file}").module()
images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())  # channels first
logits = program(images).detach().numpy()
"""

PIXELS = '''
class Pixels(nn.Module):
    """Pixels from 0 to 255 as numbers from 0 to 1."""

    def forward(self, images):
        return images.float() * (1 / 255)
'''
AVERAGE = '''
class PaddedAverage(nn.Module):
    """Average pooling with other padding on each side: what is padded does not count."""

    def __init__(self, size, stride, padding):
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x):
        counted = nn.functional.pad(torch.ones_like(x[:1, :1]), self.padding)
        sums = nn.functional.avg_pool2d(nn.functional.pad(x, self.padding), self.size, self.stride)
        return sums / nn.functional.avg_pool2d(counted, self.size, self.stride)
'''


def write(content: Content, path: Path) -> None:
    text = source(content)
    path.with_suffix(".py").write_text(text, encoding="utf-8")
    state = {name: torch.from_numpy(value) for name, value in state_of(content).items()}
    torch.save(state, path.with_suffix(".pt"))

    names: dict[str, Any] = {}
    exec(compile(text, path.with_suffix(".py").name, "exec"), names)
    module = names["build"]()
    module.load_state_dict(state)
    module.eval()
    height, width, channels = content.network.input_shape
    kind = torch.uint8 if content.uint8_input else torch.float32
    images = torch.zeros((2, channels, height, width), dtype=kind)
    program = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("n")},))
    said = {EMBEDDED: json.dumps(content.about)}
    torch.export.save(program, path, extra_files=said)


def tool() -> str:
    return f"torch.export of PyTorch {torch.__version__}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    program = torch.export.load(path).module()
    with torch.no_grad():
        parts = [
            program(torch.from_numpy(some.transpose(0, 3, 1, 2).copy())).numpy()
            for some in in_batches(images)
        ]
    return np.concatenate(parts)


def source(content: Content) -> str:
    """The file that builds the module."""
    network = content.network
    lines = ['("pixels", Pixels()),'] if content.uint8_input else []
    for layer, before, after in network.steps():
        lines += [f'("{name}", {call}),' for name, call in modules(layer, before, after)]
    classes = [PIXELS] if content.uint8_input else []
    if any("PaddedAverage" in line for line in lines):
        classes.append(AVERAGE)
    height, width, channels = network.input_shape
    kind = "uint8 pixels" if content.uint8_input else "float32 in [0, 1]"
    text = [
        f'"""Network {network.name}: images (n, {channels}, {height}, {width}), {kind}, to logits.',
        "",
        "build() gives the network with new weights; load(FILE) with those of the .pt file beside",
        'this one, ready to predict (or, after train(), to go on training).\n"""\n',
        "from collections import OrderedDict\n",
        "import torch\nfrom torch import nn\n",
        *("\n" + each.lstrip("\n") for each in classes),
        "\ndef build():\n    layers = [",
        textwrap.indent("\n".join(lines), " " * 8),
        "    ]\n    return nn.Sequential(OrderedDict(layers))\n",
        "\ndef load(file):\n    network = build()",
        "    network.load_state_dict(torch.load(file, weights_only=True))",
        "    return network.eval()",
    ]
    return "\n".join(text) + "\n"


def modules(layer: Layer, before: Shape, after: Shape) -> list[tuple[str, str]]:
    """The modules that are a layer, each with its name, as Python."""
    name, made = module_name(layer.name), []
    match layer:
        case Conv():
            pads, padding = padded(layer, before)
            if pads:
                made.append((f"{name}_pad", f"nn.ZeroPad2d({pads})"))
            window = f"{layer.kernel}, stride={layer.stride}{padding}"
            made.append((name, f"nn.Conv2d({before[2]}, {layer.filters}, {window})"))
        case MaxPool():
            pads, padding = padded(layer, before)
            if pads:
                made.append((f"{name}_pad", f'nn.ConstantPad2d({pads}, float("-inf"))'))
            made.append((name, f"nn.MaxPool2d({layer.size}, stride={layer.steps}{padding})"))
        case AveragePool():
            pads, padding = padded(layer, before)
            window = f"{layer.size}, stride={layer.steps}"
            if pads:
                made.append((name, f"PaddedAverage({window}, padding={pads})"))
            else:
                counted = ", count_include_pad=False" if padding else ""
                made.append((name, f"nn.AvgPool2d({window}{padding}{counted})"))
        case Dropout():
            made.append((name, f"nn.Dropout({layer.rate})"))
        case Flatten():
            made.append((name, "nn.Flatten()"))
        case Dense():
            made.append((name, f"nn.Linear({before[0]}, {layer.units})"))
        case BatchNorm():
            # PyTorch's momentum is the share of the new average, not of the old one.
            rest = f"eps={layer.epsilon}, momentum={round(1 - layer.momentum, 12)}"
            made.append(
                (name, f"nn.BatchNorm{2 if len(before) == 3 else 1}d({before[-1]}, {rest})")
            )
        case Activate():
            pass
        case _:
            assert_never(layer)
    if isinstance(layer, Activate):
        made.append((name, activation(layer)))
    elif isinstance(layer, Conv | Dense) and layer.activation != "linear":
        made.append((f"{name}_{layer.activation}", activation(layer)))
    return made


def padded(layer: Conv | MaxPool | AveragePool, before: Shape) -> tuple[tuple[int, ...], str]:
    """The padding of the window, and the module that pads before it if needed.

    PyTorch's windows pad both sides equally; where the sides differ, a separate module pads first.
    """
    (top, bottom), (left, right) = layer.pads(before)
    if (top, left) != (bottom, right):
        return (left, right, top, bottom), ""
    return (), f", padding={(top, left)}" if top or left else ""


def activation(layer: Conv | Dense | Activate) -> str:
    match layer.activation:
        case "relu":
            return "nn.ReLU()"
        case "leaky_relu":
            return f"nn.LeakyReLU({layer.slope})"
        case "elu":
            return "nn.ELU()"
        case "gelu":
            return "nn.GELU()"
        case "tanh":
            return "nn.Tanh()"
        case "linear":
            return "nn.Identity()"


def module_name(layer: str) -> str:
    """The layer's name, or one that does not hide a method of PyTorch's."""
    return f"{layer}_" if hasattr(torch.nn.Sequential(OrderedDict()), layer) else layer


def state_of(content: Content) -> Weights:
    """The weights in PyTorch's names and layout.

    PyTorch flattens channels first. So whatever comes after flattening, up to the first dense
    layer, has its weights in that order.
    """
    network: Network = content.network
    state: Weights = {}
    order: np.ndarray | None = None
    for layer, before, _ in network.steps():
        name = module_name(layer.name)
        weights = {
            each: content.weights[f"{layer.name}/{each}"] for each in layer.weight_shapes(before)
        }
        match layer:
            case Flatten() if len(before) == 3:
                order = np.arange(math.prod(before)).reshape(before).transpose(2, 0, 1).ravel()
            case Conv():
                state[f"{name}.weight"] = weights["kernel"].transpose(3, 2, 0, 1)
                state[f"{name}.bias"] = weights["bias"]
            case Dense():
                kernel = weights["kernel"] if order is None else weights["kernel"][order]
                order = None
                state[f"{name}.weight"] = kernel.T
                state[f"{name}.bias"] = weights["bias"]
            case BatchNorm():
                theirs = ("weight", "bias", "running_mean", "running_var")
                for their, value in zip(theirs, weights.values(), strict=True):
                    state[f"{name}.{their}"] = value if order is None else value[order]
                state[f"{name}.num_batches_tracked"] = np.array(0, np.int64)
    return {name: np.array(value, order="C") for name, value in state.items()}
