"""LinGlo's FFN with a re-parameterised convolutional position encoding, RP-CPE (LinGlo, arXiv:2207.00188, section 3).

The text leaves open where RP-CPE sits and what its branches are; it is taken between fc1 and the activation, and a branch as
a depthwise convolution with batch norm, as in the re-parameterisation that the paper names (DBB, arXiv:2103.13425).
"""

import dataclasses
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.folding import norm_behind
from search_spaces.layers import Conv, DepthwiseConv, check_odd, check_positive
from search_spaces.registry import ChannelMixer, SkipInit, register


class Branch(nn.Module):
    """A depthwise convolution, with batch norm or with a bias."""

    def __init__(self, dim: int, kernel_size: int, has_norm: bool) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, kernel_size, bias=not has_norm)
        self.norm = nn.BatchNorm2d(dim) if has_norm else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.norm(self.conv(x))

    def fused(self) -> tuple[Tensor, Tensor]:
        """Weight (c, 1, k, k) and bias (c) of the convolution that this branch is in evaluation mode."""
        weight, norm = self.conv.weight, self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return weight, cast(Tensor, self.conv.bias)
        return norm_behind(weight, None, norm)


@register("rp_cpe_ffn")
class RPCPEFFN(ChannelMixer):
    """fc2(GELU(h + sum of branches(h))), h = fc1(x), with biases; int(ratio * dim) hidden channels.

    After training all branches and the skip are one depthwise convolution: `reparameterised`.

    Options:
        ratio: expansion (8, 8, 4, 4 by stage).
        kernel_size: of the branches (3).
        num_branches: parallel branches (4; 1 is the paper's R-CPE).
        branch_norm: whether each branch has a batch norm.
        diverse: whether the branches have kernels of different sizes, the odd numbers from kernel_size down to 1 by turns, as the paper
            proposes for further work.
        skip: whether h is added (without is the paper's P-CPE; with one branch, CPE).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        ratio: float = 4.0
        kernel_size: int = 3
        num_branches: int = 4
        branch_norm: bool = True
        skip: bool = True
        diverse: bool = False

        def __post_init__(self) -> None:
            check_positive(ratio=self.ratio, num_branches=self.num_branches)
            check_odd(kernel_size=self.kernel_size)

    examples = (
        Options(ratio=1.0, num_branches=1, branch_norm=False, skip=False),
        Options(ratio=1.5, kernel_size=5, num_branches=2),
        Options(),
    )
    unordered = ("skip",)
    variants = (Options(ratio=1.0, kernel_size=5, num_branches=4, diverse=True),)
    centred = {"branches.*.conv.weight": (2, 3)}

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With kernels of one size where there is one branch, or none but one size."""
        alike = options.num_branches == 1 or options.kernel_size == 1
        return dataclasses.replace(options, diverse=options.diverse and not alike)

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.options = options
        hidden = max(1, int(options.ratio * dim))
        self.fc1 = Conv(dim, hidden)
        sizes = range(options.kernel_size, 0, -2) if options.diverse else [options.kernel_size]
        self.branches = nn.ModuleList(
            Branch(hidden, sizes[i % len(sizes)], options.branch_norm) for i in range(options.num_branches)
        )
        self.fc2 = Conv(hidden, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        h = self.fc1(x)
        y = h if self.options.skip else torch.zeros_like(h)
        for branch in self.branches:
            y = y + branch(h)
        return self.fc2(F.gelu(y))

    @classmethod
    def reparameterised_options(cls, options: Options) -> Options | None:
        """One branch with a bias, no skip."""
        merged = dataclasses.replace(options, num_branches=1, branch_norm=False, skip=False, diverse=False)
        return None if merged == options else merged

    @torch.no_grad()
    def reparameterised(self) -> "RPCPEFFN | None":
        """The same map in evaluation mode with one branch, no norm and no skip, on copies of the weights."""
        options = self.reparameterised_options(self.options)
        if options is None:
            return None
        weights, biases = zip(*(branch.fused() for branch in cast("list[Branch]", list(self.branches))), strict=True)
        size = self.options.kernel_size
        weights = [F.pad(weight, [(size - weight.shape[-1]) // 2] * 4) for weight in weights]
        weight, bias = torch.stack(weights).sum(0), torch.stack(biases).sum(0)
        if self.options.skip:
            middle = self.options.kernel_size // 2
            weight[:, 0, middle, middle] += 1
        with SkipInit():  # nothing is drawn: every weight is copied
            merged = RPCPEFFN(self.fc1.weight.shape[1], options).to(weight).train(self.training)
        merged.fc1.load_state_dict(self.fc1.state_dict())
        merged.fc2.load_state_dict(self.fc2.state_dict())
        branch = cast(Branch, merged.branches[0])
        branch.conv.weight.copy_(weight)
        cast(Tensor, branch.conv.bias).copy_(bias)
        return merged
