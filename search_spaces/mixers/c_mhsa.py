"""Convolution-based multi-head self-attention, C-MHSA (dissertation, section 3.3.2), and the sparse sampling around it.

A window's attention comes from one feature at its centre, without queries and keys: unfold the values, mix the nine of each window,
fold them back. The text's patch embedding, C-MHSA and propagation stand around it, so that the attention sees a sparse map.
"""

from dataclasses import dataclass, replace

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import (
    Conv,
    DepthwiseConv,
    avg_pool,
    check_odd,
    check_positive,
    crop,
    map_size,
    max_pool,
    split_heads,
    trunc_normal,
)
from search_spaces.registry import TokenMixer, register


class CMHSA(nn.Module):
    """Attention inside overlapping k x k windows, one every two positions (eqs. 3.9 and 3.10). No biases, no output projection.

    A = softmax over keys of M * DW3x3 stride 2 (x), a matrix of k * k by k * k a head and window, 9 x 9 in the paper; values V = N x, unfolded; y = fold(A V).
    Windows overlap, and what they say of a position is added up, not averaged.
    """

    def __init__(self, dim: int, head_dim: int, kernel_size: int = 3) -> None:
        super().__init__()
        heads, size = split_heads(dim, head_dim)
        self.kernel_size, places = kernel_size, kernel_size**2
        self.reduce = DepthwiseConv(dim, 3, stride=2, bias=False)
        self.num_heads, self.bank = heads, str(size) if kernel_size == 3 else f"{size}_{kernel_size}"
        # A bank for each size of heads, whose channels differ, and of windows, whose places do.
        self.scores = nn.ParameterDict({self.bank: trunc_normal(heads, places, places, dim, fan_in=dim)})
        self.value = Conv(dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, c = x.shape[:2]
        heads, size = self.num_heads, c // self.num_heads
        k, places = self.kernel_size, self.kernel_size**2
        a = F.conv2d(self.reduce(x), self.scores[self.bank].reshape(heads * places**2, c, 1, 1))
        windows = a.shape[2] * a.shape[3]
        a = a.reshape(b, heads, places, places, windows).permute(0, 1, 4, 2, 3).softmax(dim=-1)
        v = F.unfold(self.value(x), k, padding=k // 2, stride=2)
        v = v.reshape(b, heads, size, places, windows).permute(0, 1, 4, 3, 2)
        y = (a @ v).permute(0, 1, 4, 3, 2).reshape(b, c * places, windows)
        return F.fold(y, map_size(x), k, padding=k // 2, stride=2)


class Propagation(nn.Module):
    """Gives each sampled token back to the p x p positions it stands for: a depthwise transposed convolution, kernel and stride p.

    Each p has a kernel of its own, for the place (i, j) of a small patch is not that of a large one.
    """

    def __init__(self, dim: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        kernel = trunc_normal(dim, 1, patch_size, patch_size, fan_in=1)
        self.kernels = nn.ParameterDict({str(patch_size): kernel})

    def forward(self, x: Float[Tensor, "b c h2 w2"], height: int, width: int) -> Float[Tensor, "b c h w"]:
        kernel = self.kernels[str(self.patch_size)]
        y = F.conv_transpose2d(x, kernel, stride=self.patch_size, groups=kernel.shape[0])
        return crop(y, height, width)


class Sample(nn.Module):
    """The patch embedding inside a block: pooling with kernel and stride p, then a 1x1 convolution without bias.

    A token stands for one p x p cell of the map, the cell that `Propagation` gives its result back to (sections 3.3.1 and 3.3.3).
    The last row and column of cells are smaller where p does not divide the map, and their means are over the positions inside it.
    Adaptive pooling to the same size has other bins: a token would read positions that it does not write to.
    """

    def __init__(self, in_dim: int, dim: int, patch_size: int, *, maximum: bool = False) -> None:
        super().__init__()
        self.patch_size, self.maximum = patch_size, maximum
        self.conv = Conv(in_dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        pool = max_pool if self.maximum else avg_pool
        return self.conv(pool(x, self.patch_size))


class SparseCMHSA(nn.Module):
    """Sample, C-MHSA, propagation: `expansion` times the input's channels come out (eq. 3.7)."""

    def __init__(self, in_dim: int, patch_size: int, expansion: int, head_dim: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.sample = Sample(in_dim, expansion * in_dim, patch_size)
        self.attention = CMHSA(expansion * in_dim, head_dim, kernel_size)
        self.propagate = Propagation(expansion * in_dim, patch_size)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h w"]:
        return self.propagate(self.attention(self.sample(x)), *map_size(x))


@register("c_mhsa")
class CMHSAMixer(TokenMixer):
    """Sample, C-MHSA, propagation and a 1x1 convolution back to the width, as a token mixer of its own.

    Each patch size has its own propagation kernel; a searched one shares the rest.

    Options:
        patch_size: a token stands for patch_size squared positions (4).
        expansion: channels of the sampled map over the block's (2).
        head_dim: channels of a head, or the next divisor of the sampled map's channels (32).
        kernel_size: side of a window, odd (3).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        patch_size: int = 4
        expansion: int = 2
        head_dim: int = 32
        kernel_size: int = 3

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)
            check_positive(patch_size=self.patch_size, expansion=self.expansion, head_dim=self.head_dim)

    variants = (Options(patch_size=2, expansion=1, head_dim=8, kernel_size=5),)
    examples = (
        Options(patch_size=1, expansion=1, head_dim=8),
        Options(patch_size=2, head_dim=16),
        Options(patch_size=3),
    )
    unordered = ("patch_size",)

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the size that heads have."""
        return replace(options, head_dim=split_heads(options.expansion * dims[0], options.head_dim)[1])

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        inner = options.expansion * dim
        self.sample = Sample(dim, inner, options.patch_size)
        self.attention = CMHSA(inner, options.head_dim, options.kernel_size)
        self.propagate = Propagation(inner, options.patch_size)
        self.project = Conv(inner, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.attention(self.sample(x))
        return self.project(self.propagate(y, *map_size(x)))
