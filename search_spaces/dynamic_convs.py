"""Depthwise convolutions whose kernels depend on the image: the D-Mixer's own, and those that its paper sets against it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.folding import norm_behind
from search_spaces.layers import (
    Conv,
    is_known,
    trunc_normal,
)


class IDConv(nn.Module):
    """Input-dependent depthwise convolution (eq. 3): per image, kernels and biases mixed from a bank of groups.

    A = softmax over groups of f(average pool of x to k x k), W = sum over groups of A * kernels; likewise the bias, from the
    global average. f is conv1x1 to dim // 4, BN, GELU, conv1x1 to groups * dim. The norm in f sees k * k positions, then one,
    so training needs a batch of two images.

    Raises:
        InputError: one image, in training of its norm.
    """

    def __init__(self, dim: int, kernel_size: int, num_groups: int) -> None:
        super().__init__()
        squeezed = max(1, dim // 4)
        self.kernel_size = kernel_size
        self.kernels = trunc_normal(num_groups, dim, kernel_size, kernel_size, fan_in=kernel_size**2)
        self.biases = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_groups, dim), std=0.02))
        self.squeeze = Conv(dim, squeezed, bias=False)
        self.norm = nn.BatchNorm2d(squeezed)
        self.expand = trunc_normal(num_groups, dim, squeezed, fan_in=squeezed)
        self.expand_bias = nn.Parameter(torch.zeros(num_groups, dim))

    def group_weights(self, pooled: Float[Tensor, "b c k k2"]) -> Float[Tensor, "b groups c k k2"]:
        groups, dim, squeezed = self.expand.shape
        y = F.gelu(self.norm(self.squeeze(pooled)))
        y = F.conv2d(y, self.expand.reshape(groups * dim, squeezed, 1, 1), self.expand_bias.reshape(-1))
        return y.reshape(y.shape[0], groups, dim, *y.shape[2:]).softmax(dim=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        k = self.kernel_size
        if self.norm.training and is_known(x.shape[0] == 1):
            raise InputError(
                "IDConv trains on a batch of 1 image", "2 or more: its norm sees one position", "batch_size=2"
            )
        kernels = (self.group_weights(F.adaptive_avg_pool2d(x, k)) * self.kernels).sum(dim=1)
        biases = (self.group_weights(x.mean(dim=(2, 3), keepdim=True))[..., 0, 0] * self.biases).sum(dim=1)
        return convolve(x, kernels, biases)


def convolve(
    x: Float[Tensor, "b c h w"], kernels: Float[Tensor, "b c k k2"], biases: Float[Tensor, "b c"] | None
) -> Float[Tensor, "b c h w"]:
    """A depthwise convolution with other kernels and biases for each image."""
    b, c, h, w = x.shape
    if is_known(b == 0):  # torch has no convolution of 0 groups
        y = x * kernels.sum(dim=(2, 3), keepdim=True)
        return y if biases is None else y + biases[:, :, None, None]
    k = kernels.shape[-1]
    summand = None if biases is None else biases.reshape(-1)
    # One convolution with b * c groups: the fastest form on CPU, in plain NCHW memory.
    y = F.conv2d(x.reshape(1, b * c, h, w), kernels.reshape(b * c, 1, k, k), summand, padding=k // 2, groups=b * c)
    return y.reshape(b, c, h, w)


class DynamicConv(nn.Module):
    """Dynamic depthwise convolution (DyConv, arXiv:1912.03458): per image, kernels and biases mixed from a bank of groups by one
    weight per group. The input decides how much of each kernel is taken, and not where: IDConv has a weight per channel and tap.

    The weights are softmax over groups of f(global average), where f squeezes as IDConv's does. Its norm sees one position, so
    training needs a batch of two images.

    Raises:
        InputError: one image, in training of its norm.
    """

    def __init__(self, dim: int, kernel_size: int, num_groups: int) -> None:
        super().__init__()
        squeezed = max(1, dim // 4)
        self.kernels = trunc_normal(num_groups, dim, kernel_size, kernel_size, fan_in=kernel_size**2)
        self.biases = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_groups, dim), std=0.02))
        self.squeeze = Conv(dim, squeezed, bias=False)
        self.norm = nn.BatchNorm2d(squeezed)
        self.expand = Conv(squeezed, num_groups)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if self.norm.training and is_known(x.shape[0] == 1):
            raise InputError(
                "a dynamic convolution trains on a batch of 1 image", "2 or more: its norm sees one position", "batch_size=2"
            )  # fmt: skip
        y = F.gelu(self.norm(self.squeeze(x.mean(dim=(2, 3), keepdim=True))))
        share = self.expand(y).flatten(1).softmax(dim=1)
        groups, dim, k, _ = self.kernels.shape
        kernels = (share @ self.kernels.reshape(groups, dim * k * k)).reshape(-1, dim, k, k)
        return convolve(x, kernels, share @ self.biases)


class PredictedConv(nn.Module):
    """Dynamic depthwise convolution (D-DWConv, arXiv:2106.04263): per image, every weight of every kernel is predicted.

    The kernels are f(global average), where f is conv1x1 to dim // 4, BN, ReLU, conv1x1 to dim * k * k, without biases: so many
    parameters as TransXNet's section III-B counts, dim * (dim // 4) * (k * k + 1). IDConv predicts shares of a bank instead. The
    norm sees one position, so training needs a batch of two images.

    Raises:
        InputError: one image, in training of its norm.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        squeezed = max(1, dim // 4)
        self.squeeze = Conv(dim, squeezed, bias=False)
        self.norm = nn.BatchNorm2d(squeezed)
        self.expand = trunc_normal(dim, kernel_size, kernel_size, squeezed, fan_in=squeezed)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if self.norm.training and is_known(x.shape[0] == 1):
            raise InputError(
                "a dynamic convolution trains on a batch of 1 image", "2 or more: its norm sees one position", "batch_size=2"
            )  # fmt: skip
        y = F.relu(self.norm(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))).flatten(1)
        return convolve(x, F.linear(y, self.expand.flatten(0, 2)).unflatten(1, self.expand.shape[:3]), None)


class FoldedIDConv(nn.Module):
    """IDConv with its norm folded, and both of its poolings through its two convolutions at once."""

    def __init__(self, conv: IDConv) -> None:
        super().__init__()
        groups, dim, squeezed = conv.expand.shape
        self.kernel_size, self.groups = conv.kernel_size, groups
        self.kernels, self.biases = nn.Parameter(conv.kernels.flatten(2)), nn.Parameter(conv.biases)
        weight, bias = norm_behind(conv.squeeze.weight, None, conv.norm)
        self.squeeze, self.squeeze_bias = nn.Parameter(weight[:, :, 0, 0]), nn.Parameter(bias[:, None])
        self.expand = nn.Parameter(conv.expand.reshape(groups * dim, squeezed))
        self.expand_bias = nn.Parameter(conv.expand_bias.reshape(groups * dim, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, c, h, w = x.shape
        k = self.kernel_size
        pooled = torch.cat((F.adaptive_avg_pool2d(x, k).flatten(2), x.mean(dim=(2, 3)).unsqueeze(2)), dim=2)
        y = self.expand @ F.gelu(self.squeeze @ pooled + self.squeeze_bias) + self.expand_bias
        share = y.reshape(b, self.groups, c, k * k + 1).softmax(dim=1)
        kernels = (share[..., :-1] * self.kernels).sum(dim=1).reshape(b * c, 1, k, k)
        biases = (share[..., -1] * self.biases).sum(dim=1).reshape(-1)
        if is_known(b == 0):
            return x * biases.reshape(b, c, 1, 1)
        y = F.conv2d(x.reshape(1, b * c, h, w), kernels, biases, padding=k // 2, groups=b * c)
        return y.reshape(b, c, h, w)
