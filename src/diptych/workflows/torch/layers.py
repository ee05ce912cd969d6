"""Differences of PyTorch: `FlattenChannelsLast`, `BiasedBatchNorm`, sums in float32."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.layers import Shape, margins


def at_least_float32(x: Tensor) -> Tensor:
    """Gives bfloat16 as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class FlattenChannelsLast(nn.Module):
    """`nn.Flatten` puts a channel's pixels side by side; here it is a pixel's channels.

    Around the features of a cropped image come zeros, up to the shape that is expected.
    """

    def __init__(self, expected: Shape) -> None:
        super().__init__()
        self.expected = expected

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        x = x.permute(0, 2, 3, 1)
        if x.shape[1:] != self.expected:
            (top, bottom), (left, right), _ = margins(self.expected, tuple(x.shape[1:]))
            x = F.pad(x, (0, 0, left, right, top, bottom))
        return x.flatten(1)


class BiasedBatchNorm(nn.BatchNorm2d):
    """PyTorch's moving variance is a sample's, n/(n-1) times the batch's; here it is the batch's.

    For images and for flat values.
    """

    unbiased = False

    def forward(self, input: Tensor) -> Tensor:
        mean, variance, momentum = self.running_mean, self.running_var, self.momentum
        assert mean is not None and variance is not None and momentum is not None
        axes = [axis for axis in range(input.ndim) if axis != 1]
        if self.training and input.numel() == input.shape[1]:
            # PyTorch refuses a single value; less its mean, nothing is left of it.
            shape = [1, -1, *[1] * (input.ndim - 2)]
            y = (input - input) * self.weight.view(shape) + self.bias.view(shape)
        else:  # A momentum of 0 leaves the averages to us.
            kept = (mean.clone(), variance.clone())
            y = F.batch_norm(input, *kept, self.weight, self.bias, self.training, 0.0, self.eps)
        if self.training:
            with torch.no_grad():
                new_variance, new_mean = torch.var_mean(at_least_float32(input), axes, correction=0)
                mean.lerp_(new_mean, momentum)
                variance.lerp_(new_variance, momentum)
        return y
