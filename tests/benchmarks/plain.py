"""TransXNet-Tiny and HAT-Net-Tiny as a reader of the papers would write them: the anchor of speed comparisons, plain on purpose.

Nothing of this project is used here, and nothing is fused, folded or cached, so that what is built elsewhere can be timed against it
and checked against it. The keys and shapes of `state_dict()` are the official ones. Stochastic depth is left out. HAT-Net is in
plain_hat_net.py, and what both share in plain_operators.py.

    TransXNet   Lou et al., "TransXNet: Learning Both Global and Local Dynamics with a Dual Dynamic Token Mixer"
    HAT-Net     Liu et al., "Vision Transformers with Hierarchical Attention"
"""

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks.plain_hat_net import HATNet
from tests.benchmarks.plain_operators import attention, channels_first, depthwise, heads_first


def transxnet_tiny() -> nn.Module:
    """TransXNet-Tiny for ImageNet-1k; its position tables are those of 224 x 224."""
    return TransXNet(
        channels=(48, 96, 224, 448),
        depths=(3, 3, 9, 3),
        strides=(8, 4, 2, 1),
        heads=(1, 2, 4, 8),
        groups=2,
        kernel=7,
        ratio=4,
        resolution=224,
        classes=1000,
    )


def hat_net_tiny() -> nn.Module:
    """HAT-Net-Tiny for ImageNet-1k; with its windows, height and width have to be multiples of 224."""
    return HATNet(
        channels=(48, 96, 240, 384),
        depths=(2, 2, 6, 3),
        head_dim=48,
        ratios=(8, 8, 4, 4),
        windows=(8, 7, 7, 1),
        pools=(8, 4, 2, 1),
        classes=1000,
    )


def fill_by_rule(module: nn.Module) -> None:
    """Fill every entry of the state dict, in place, with values that depend on its name and shape alone.

    z is standard normal, from NumPy's legacy generator (the same on every machine) seeded with the CRC-32 of the name:

        num_batches_tracked                            0
        running_var                                    0.5 + |z|
        running_mean                                   0.1 z
        at most one axis, name ends in "weight"        1 + 0.1 z
        at most one axis, otherwise                    0.1 z
        more axes                                      z / sqrt(product of all axes but the first)
    """
    for name, tensor in module.state_dict().items():
        shape = tuple(tensor.shape)
        z = torch.tensor(np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape), dtype=torch.float32)
        if name.endswith("num_batches_tracked"):
            tensor.zero_()
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + z.abs())
        elif len(shape) > 1:
            tensor.copy_(z / math.sqrt(math.prod(shape[1:])))
        elif name.endswith("weight"):
            tensor.copy_(1 + 0.1 * z)
        else:
            tensor.copy_(0.1 * z)


# ---------------------------------------------------------------- TransXNet


class ConvNorm(nn.Module):
    """A convolution without bias, BatchNorm and, if asked for, GELU."""

    def __init__(self, conv: nn.Conv2d, gelu: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels)
        self.activation = nn.GELU() if gelu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class PatchEmbedding(nn.Module):
    """The stem, and the step between two stages."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = ConvNorm(nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class IDConv(nn.Module):
    """Input-dependent depthwise convolution: every image mixes its kernel and its bias from a bank of `groups`."""

    def __init__(self, channels: int, groups: int, kernel: int) -> None:
        super().__init__()
        self.channels, self.groups, self.kernel = channels, groups, kernel
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(groups, channels, kernel, kernel), std=0.02))
        self.bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(groups, channels), std=0.02))
        self.proj = nn.Sequential(
            ConvNorm(nn.Conv2d(channels, channels // 4, 1, bias=False), gelu=True),
            nn.Conv2d(channels // 4, groups * channels, 1),
        )

    def mixing(self, x: Tensor, size: int) -> Tensor:
        """Shares of the groups by channel and cell of a `size` x `size` grid: (b, groups, channels, size, size)."""
        shares = self.proj(F.adaptive_avg_pool2d(x, size))
        return shares.reshape(x.shape[0], self.groups, self.channels, size, size).softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        weight = (self.mixing(x, self.kernel) * self.weight).sum(dim=1)
        bias = (self.mixing(x, 1).flatten(2) * self.bias).sum(dim=1)
        kernels = weight.reshape(b * c, 1, self.kernel, self.kernel)
        out = F.conv2d(x.reshape(1, b * c, h, w), kernels, bias.flatten(), padding=self.kernel // 2, groups=b * c)
        return out.reshape(b, c, h, w)


class OSRA(nn.Module):
    """Overlapping spatial reduction attention: keys and values come from a map reduced by `stride`."""

    def __init__(self, channels: int, heads: int, stride: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Conv2d(channels, channels, 1)
        self.kv = nn.Conv2d(channels, 2 * channels, 1)
        self.sr = nn.Sequential()
        if stride > 1:
            self.sr.append(ConvNorm(depthwise(channels, stride + 3, stride, bias=False), gelu=True))
            self.sr.append(ConvNorm(depthwise(channels, 1, bias=False)))
        self.local_conv = depthwise(channels, 3)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        reduced = self.sr(x)
        reduced = reduced + self.local_conv(reduced)
        (query,) = heads_first(self.q(x), 1, self.heads)
        key, value = heads_first(self.kv(reduced), 2, self.heads)
        table = (query.shape[2], key.shape[2])
        if position.shape[2:] != table:
            position = F.interpolate(position, table, mode="bicubic", align_corners=False)
        return channels_first(attention(query, key, value, position), *x.shape[2:])


class DMixer(nn.Module):
    """IDConv on the first half of the channels, OSRA on the second, then the squeezed token enhancer over both."""

    def __init__(self, channels: int, heads: int, stride: int, groups: int, kernel: int) -> None:
        super().__init__()
        inner = max(16, channels // 8)
        self.local_unit = IDConv(channels // 2, groups, kernel)
        self.global_unit = OSRA(channels // 2, heads, stride)
        self.proj = nn.Sequential(
            depthwise(channels, 3),
            nn.GELU(),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, inner, 1),
            nn.GELU(),
            nn.BatchNorm2d(inner),
            nn.Conv2d(inner, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        x = torch.cat([self.local_unit(first), self.global_unit(second, position)], dim=1)
        return x + self.proj(x)


class MultiScale(nn.Module):
    """Four depthwise convolutions, each on its quarter of the channels, plus the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.ModuleList(depthwise(channels // 4, kernel) for kernel in (1, 3, 5, 7))

    def forward(self, x: Tensor) -> Tensor:
        quarters = x.chunk(4, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.proj, quarters, strict=True)], dim=1) + x


class MSFFN(nn.Module):
    """Multi-scale feed-forward network."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.GELU(), nn.BatchNorm2d(hidden))
        self.dwconv = MultiScale(hidden)
        self.act = nn.GELU()
        self.norm = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Sequential(nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = self.dwconv(self.fc1(x))
        return self.fc2(self.norm(self.act(x)))


def layer_scale(channels: int) -> nn.Conv2d:
    """A scale and an offset by channel, as a depthwise 1 x 1 convolution; starts at 1e-5 and 0."""
    conv = depthwise(channels, 1)
    nn.init.constant_(conv.weight, 1e-5)
    nn.init.constant_(conv.bias, 0.0)
    return conv


class TransXBlock(nn.Module):
    """Dynamic position encoding, D-Mixer and MS-FFN, each with a residual."""

    def __init__(self, channels: int, heads: int, stride: int, groups: int, kernel: int, ratio: int) -> None:
        super().__init__()
        self.pos_embed = depthwise(channels, 7)
        self.norm1 = nn.GroupNorm(1, channels)
        self.token_mixer = DMixer(channels, heads, stride, groups, kernel)
        self.norm2 = nn.GroupNorm(1, channels)
        self.mlp = MSFFN(channels, ratio * channels)
        self.layer_scale_1 = layer_scale(channels)
        self.layer_scale_2 = layer_scale(channels)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        x = x + self.pos_embed(x)
        x = x + self.layer_scale_1(self.token_mixer(self.norm1(x), position))
        return x + self.layer_scale_2(self.mlp(self.norm2(x)))


class TransXNet(nn.Module):
    """Stem, then stages of blocks with a step down before all but the first, and a classifier."""

    def __init__(
        self,
        channels: tuple[int, ...],
        depths: tuple[int, ...],
        strides: tuple[int, ...],
        heads: tuple[int, ...],
        groups: int,
        kernel: int,
        ratio: int,
        resolution: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(3, channels[0], kernel=7, stride=4)
        self.relative_pos_enc = nn.ParameterList()
        self.network = nn.ModuleList()
        side = math.ceil(resolution / 4)
        for i, width in enumerate(channels):
            if i > 0:
                self.network.append(PatchEmbedding(channels[i - 1], width, kernel=3, stride=2))
                side = math.ceil(side / 2)
            self.network.append(
                nn.ModuleList(TransXBlock(width, heads[i], strides[i], groups, kernel, ratio) for _ in range(depths[i]))
            )
            table = torch.zeros(1, heads[i], side**2, math.ceil(side / strides[i]) ** 2)
            self.relative_pos_enc.append(nn.Parameter(table))
        self.classifier = nn.Sequential(
            nn.GroupNorm(1, channels[-1]),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels[-1], classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        positions = iter(self.relative_pos_enc)
        for part in self.network:
            if isinstance(part, nn.ModuleList):
                position = next(positions)
                for block in part:
                    x = block(x, position)
            else:
                x = part(x)
        return self.classifier(x).flatten(1)
