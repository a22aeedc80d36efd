"""Folding one linear step into the next, for the form of a part that is run and not trained. All of it is exact up to rounding."""

import copy
from collections.abc import Callable
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
    """Weight and bias of a convolution with the following batch norm folded in."""
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


def gelu_(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """GELU in the memory of x; of a channels-last map as a plain tensor, for which there is a faster kernel."""
    torch.ops.aten.gelu_(x.permute(0, 2, 3, 1))
    return x


PIECE = 2**20
"""Numbers of a hidden map that stay in a processor's cache, 4 MiB of float32."""


def in_pieces(
    forward: Callable[[Tensor], Tensor], x: Float[Tensor, "b c h w"], hidden: int
) -> Float[Tensor, "b c2 h w"]:
    """`forward(x)`, which makes maps of `hidden` channels on its way, for a piece of the batch after the other where such maps are
    large: on a processor, and outside of a compiler, which cuts loops itself.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return forward(x)
    numbers = hidden * x.shape[2] * x.shape[3]
    if x.shape[0] * numbers <= 2 * PIECE:
        return forward(x)
    return torch.cat([forward(piece) for piece in x.split(max(1, PIECE // numbers))])


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


def fold_norms(part: nn.Module, norms: dict[str, str]) -> nn.Module:
    """A copy of `part` with batch norms folded into the convolutions before them, {convolution: norm}. Other norms stay."""
    folded = copy.copy(part)  # the same forward over other children
    folded._modules = dict(part._modules)
    for name, behind in norms.items():
        conv, norm = cast(nn.Conv2d, getattr(part, name)), getattr(part, behind)
        norm = getattr(norm, "norm", norm)  # of the part batch_norm
        if isinstance(norm, nn.BatchNorm2d):
            weight, bias = norm_behind(conv.weight, conv.bias, norm)
            folded._modules |= {name: FixedConv(weight, bias, conv.stride[0], conv.groups), behind: nn.Identity()}
    return folded
