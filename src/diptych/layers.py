"""The layers that a network is made of: their values, shapes, weights and cost. Data, not code.

`Layer` is the union of them all. Code that treats every kind ends its ``match`` in
`typing.assert_never`, so the type checker names each place that a new layer must be added to.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Shape = tuple[int, ...]


def _pair(value: Any) -> Any:
    """``3`` means ``(3, 3)``; a list from TOML or JSON means a tuple."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


Count = Annotated[int, Field(strict=True, ge=1, le=2**20)]
Pair = Annotated[tuple[Count, Count], BeforeValidator(_pair)]
Padding = Literal["same", "valid"]
Activation = Literal["linear", "relu", "leaky_relu", "elu", "gelu", "tanh"]


class LayerBase(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(default="", pattern=r"^[A-Za-z][A-Za-z0-9_]*$|^$")

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that comes out, without the batch axis; ValueError where none can."""
        return shape

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """The shapes of the weights, trained or not, for inputs of the given shape."""
        return {}

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of one image's forward pass; elementwise work is not counted."""
        return 0


class _Activated(LayerBase):
    activation: Activation = "linear"
    """``elu`` has an alpha of 1 and ``gelu`` is the exact one, by the error function."""
    slope: float | None = Field(default=None, strict=True, ge=0)
    """The slope of ``leaky_relu`` below zero. Keras' own default is 0.3, TensorFlow's 0.2 and
    PyTorch's 0.01, which is why it must be given."""

    @model_validator(mode="after")
    def _slope_belongs_to_leaky_relu(self) -> Self:
        if self.activation == "leaky_relu" and self.slope is None:
            raise ValueError("activation leaky_relu needs its slope, such as slope = 0.1")
        if self.activation != "leaky_relu" and self.slope is not None:
            raise ValueError(f"activation {self.activation} has no slope; leaky_relu has")
        return self


class _Windowed(LayerBase):
    """Shared fields of convolution and pooling: a window that moves over the image."""

    padding: Padding

    @property
    def window(self) -> tuple[int, int]:
        raise NotImplementedError

    @property
    def steps(self) -> tuple[int, int]:
        raise NotImplementedError

    def pads(self, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros before and after, for height and width.

        ``same`` pads as TensorFlow does: the output is ``ceil(input / stride)`` and an odd pixel
        goes to the bottom and the right.
        """
        if self.padding == "valid":
            return (0, 0), (0, 0)
        totals = [
            max((math.ceil(size / step) - 1) * step + window - size, 0)
            for size, step, window in zip(shape, self.steps, self.window, strict=False)
        ]
        height, width = ((total // 2, total - total // 2) for total in totals)
        return height, width

    def _image_size(self, shape: Shape) -> tuple[int, int]:
        if len(shape) != 3:
            raise ValueError(
                f"needs images (height, width, channels), gets {shape[0]} flat values: "
                "put it before flatten"
            )
        height, width = (
            math.ceil(size / step) if self.padding == "same" else (size - window) // step + 1
            for size, step, window in zip(shape, self.steps, self.window, strict=False)
        )
        if min(height, width) < 1:
            raise ValueError(
                f"its {self.window[0]}×{self.window[1]} window is larger than its "
                f"{shape[0]}×{shape[1]} input: make the window smaller or use padding same"
            )
        return height, width


class Conv(_Windowed, _Activated):
    """A 2-D convolution (cross-correlation, as in every framework), with a bias a filter."""

    kind: Literal["conv"] = "conv"
    filters: Count
    kernel: Pair
    stride: Pair = (1, 1)

    @property
    def window(self) -> tuple[int, int]:
        return self.kernel

    @property
    def steps(self) -> tuple[int, int]:
        return self.stride

    def output_shape(self, shape: Shape) -> Shape:
        return (*self._image_size(shape), self.filters)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"kernel": (*self.kernel, shape[2], self.filters), "bias": (self.filters,)}

    def multiply_adds(self, shape: Shape) -> int:
        height, width, filters = self.output_shape(shape)
        return height * width * filters * math.prod(self.kernel) * shape[2]


class _Pool(_Windowed):
    size: Pair
    stride: Pair | None = None
    """The size itself, unless given."""
    padding: Padding = "valid"

    @property
    def window(self) -> tuple[int, int]:
        return self.size

    @property
    def steps(self) -> tuple[int, int]:
        return self.stride or self.size

    def output_shape(self, shape: Shape) -> Shape:
        return (*self._image_size(shape), shape[2])


class MaxPool(_Pool):
    """The largest value in each window."""

    kind: Literal["max_pool"] = "max_pool"


class AveragePool(_Pool):
    """The mean of each window; padded pixels do not count."""

    kind: Literal["average_pool"] = "average_pool"


class Dropout(LayerBase):
    """In training, zeroes each value with probability ``rate`` and scales the rest up."""

    kind: Literal["dropout"] = "dropout"
    rate: float = Field(strict=True, ge=0, lt=1)


class Flatten(LayerBase):
    """(height, width, channels) to one axis, channels fastest."""

    kind: Literal["flatten"] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Dense(_Activated):
    """Every input to every unit, with a bias a unit."""

    kind: Literal["dense"] = "dense"
    units: Count

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ValueError(
                f"needs flat values, gets images of shape {shape}: put a flatten layer before it"
            )
        return (self.units,)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"kernel": (shape[0], self.units), "bias": (self.units,)}

    def multiply_adds(self, shape: Shape) -> int:
        return shape[0] * self.units


class BatchNorm(LayerBase):
    """Batch normalisation (Ioffe & Szegedy, 2015) over all axes but the last.

    In training the batch's own mean and (biased) variance are used, and the moving ones become
    ``momentum * moving + (1 - momentum) * batch``; at inference the moving ones are used.
    """

    kind: Literal["batch_norm"] = "batch_norm"
    momentum: float = Field(default=0.99, strict=True, ge=0, lt=1)
    epsilon: float = Field(default=1e-3, strict=True, gt=0)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), shape[-1:])


class Activate(_Activated):
    """An activation as a layer of its own, such as the relu after a batch normalisation."""

    kind: Literal["activation"] = "activation"


Layer = Annotated[
    Conv | MaxPool | AveragePool | Dropout | Flatten | Dense | BatchNorm | Activate,
    Field(discriminator="kind"),
]

NOT_TRAINED = frozenset({"moving_mean", "moving_variance"})
"""The weights that follow the data instead of the gradient."""


def margins(expected: Shape, given: Shape) -> list[tuple[int, int]]:
    """Zeros before and after, for each axis, that put a smaller image's features in the middle of
    those that the network's own image gives, before they are made flat."""
    totals = [size - smaller for size, smaller in zip(expected, given, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]
