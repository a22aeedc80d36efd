"""Folding one linear step into the next, for the form of a part that is run and not trained. All of it is exact up to rounding."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Factor and summand of each channel that a batch norm is in evaluation mode."""
    factor = norm.weight * (cast(Tensor, norm.running_var) + norm.eps).rsqrt()
    return factor, norm.bias - cast(Tensor, norm.running_mean) * factor


def norm_behind(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm behind it folded in."""
    factor, summand = affine(norm)
    folded = weight * factor.reshape(-1, *(1,) * (weight.dim() - 1))
    return folded, summand if bias is None else summand + bias * factor


def norm_before(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight (out, in, 1, 1) and bias of a 1x1 convolution with the batch norm before it folded in."""
    factor, summand = affine(norm)
    added = weight[:, :, 0, 0] @ summand
    return weight * factor[None, :, None, None], added if bias is None else added + bias


def add_identity(weight: Tensor) -> Tensor:
    """A depthwise kernel (c, 1, k, k) whose convolution adds its input."""
    middle = weight.shape[-1] // 2
    weight = weight.clone()
    weight[:, 0, middle, middle] += 1
    return weight


class FixedConv(nn.Module):
    """A convolution with given weight and bias, padded to keep the size at stride 1."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.stride, self.groups = stride, groups

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b out h2 w2"]:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.weight.shape[-1] // 2, groups=self.groups)

    @torch.no_grad()
    def scale(self, factor: Tensor, summand: Tensor | None) -> None:
        """Multiplies each output channel, and adds to it."""
        self.weight.mul_(factor[:, None, None, None])
        bias = torch.zeros_like(factor) if self.bias is None else self.bias * factor
        self.bias = nn.Parameter(bias if summand is None else bias + summand, requires_grad=False)
