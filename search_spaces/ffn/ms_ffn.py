"""Multi-scale feed-forward network, MS-FFN (TransXNet, section III-C and fig. 5; details from the authors' code)."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.folding import FixedConv, add_identity, affine, gelu_, in_pieces, norm_before, norm_behind
from search_spaces.layers import Conv, DepthwiseConv, check_positive
from search_spaces.registry import ChannelMixer, register


class Branch(nn.Module):
    """What one scale owns: its rows of fc1, both norms, its depthwise filters, its columns of fc2."""

    def __init__(self, dim: int, hidden: int, kernel_size: int) -> None:
        super().__init__()
        self.fc1 = Conv(dim, hidden, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.conv = DepthwiseConv(hidden, kernel_size)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.fc2 = Conv(hidden, dim, bias=False)


class MergedMSFFN(nn.Module):
    """All scales as one depthwise convolution of the largest kernel, which adds its input; norms folded where borders allow it.

    The norm before the depthwise convolution stays a step of its own: its summand must not reach the zero padding.
    """

    def __init__(self, branches: "list[Branch]", norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.fc1 = FixedConv(torch.cat([branch.fc1.weight for branch in branches]), None)
        factors, summands = zip(*(affine(branch.norm1) for branch in branches), strict=True)
        self.factor = nn.Parameter(torch.cat(factors)[:, None, None].clone())
        self.summand = nn.Parameter(torch.cat(summands)[:, None, None].clone())
        size = max(branch.conv.weight.shape[-1] for branch in branches)
        kernels = [F.pad(b.conv.weight, [(size - b.conv.weight.shape[-1]) // 2] * 4) for b in branches]
        biases = torch.cat([cast(Tensor, branch.conv.bias) for branch in branches])
        self.conv = FixedConv(add_identity(torch.cat(kernels)), biases, groups=len(biases))
        columns = [norm_before(branch.fc2.weight, None, branch.norm2) for branch in branches]
        added = torch.stack([bias for _, bias in columns]).sum(0)
        self.last = FixedConv(*norm_behind(torch.cat([weight for weight, _ in columns], dim=1), added, norm))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return in_pieces(self.piece, x, len(self.summand))

    def piece(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        u = torch.addcmul(self.summand, gelu_(self.fc1(x)), self.factor)
        return self.last(gelu_(self.conv(u)))


@register("ms_ffn")
class MSFFN(ChannelMixer):
    """u = BN(GELU(fc1 x)); w = BN(GELU(DW_k(u) + u)), k by channel group; out = BN(fc2 w).

    int(ratio * dim) hidden channels are shared out over the scales, the remainder to the first: TransXNet has 1, 3, 5 and 7
    on a quarter each. Each scale keeps one bank of weights, so an elastic width takes the front of every scale's channels
    and a smaller scale set drops whole banks; what a scale learned stays with it.

    Options:
        ratio: expansion.
        scales: odd kernel sizes, ascending.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        ratio: float = 4.0
        scales: tuple[int, ...] = (1, 3, 5, 7)

        def __post_init__(self) -> None:
            check_positive(ratio=self.ratio)
            odd = all(scale > 0 and scale % 2 for scale in self.scales)
            if not self.scales or not odd or list(self.scales) != sorted(set(self.scales)):
                raise InputError(
                    f"scales is {list(self.scales)}", "different odd kernel sizes, ascending", "scales = [[1, 3, 5, 7]]"
                )

    examples = (
        Options(ratio=1.0, scales=(3,)),
        Options(ratio=2.0, scales=(1, 3)),
        Options(scales=(1, 3, 5)),
        Options(),
    )

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        return {"branches.*.norm2.bias": "behind the next convolution is a batch norm, which takes the mean away"}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        hidden = int(options.ratio * dim)
        count = len(options.scales)
        if hidden < count:
            raise InputError(
                f"ms_ffn has {hidden} hidden channels for {count} scales", "at least one channel a scale", "ratio = 4"
            )
        sizes = [hidden - (count - 1) * (hidden // count)] + [hidden // count] * (count - 1)
        self.branches = nn.ModuleDict(
            {str(scale): Branch(dim, size, scale) for scale, size in zip(options.scales, sizes, strict=True)}
        )
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        branches = cast("list[Branch]", list(self.branches.values()))
        mixed = []
        for branch in branches:
            u = branch.norm1(F.gelu(branch.fc1(x)))
            mixed.append(branch.norm2(F.gelu(branch.conv(u) + u)))
        weight = torch.cat([branch.fc2.weight for branch in branches], dim=1)
        return self.norm(F.conv2d(torch.cat(mixed, dim=1), weight))

    def for_inference(self) -> nn.Module:
        return MergedMSFFN(cast("list[Branch]", list(self.branches.values())), self.norm)
