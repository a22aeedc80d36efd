"""Partial attention of PartialFormer (dissertation, section 5.3): full attention among foreground tokens, a single query for the rest.

The text leaves several points open; what is built here is the reading that agrees with the published counts:
the score is the channel mean of the tokens before normalisation (after it the mean is zero and the order noise); softmax over
keys; the bridging query is not projected; it is read after the output projection; the background's residual in eq. 5.7 is the
block's (`background_residual` adds the normalised token as well, which is the equation to the letter).
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.layers import (
    Conv,
    FromHeads,
    ToHeads,
    attention,
    check_positive,
    is_known,
    map_size,
    roundest,
    split_heads,
    trunc_normal,
)
from search_spaces.registry import TokenMixer, register


class HeadMLP(nn.Module):
    """Mixes attention maps over heads (eq. 5.5): FC2(softmax over keys of FC1(scores)), heads -> e * heads -> heads, biases."""

    def __init__(self, num_heads: int, expansion: int) -> None:
        super().__init__()
        self.weight1 = trunc_normal(expansion, num_heads, num_heads, fan_in=num_heads)
        self.bias1 = nn.Parameter(torch.zeros(expansion, num_heads))
        self.weight2 = trunc_normal(num_heads, expansion, num_heads, fan_in=expansion * num_heads)
        self.bias2 = nn.Parameter(torch.zeros(num_heads))

    def forward(self, scores: Float[Tensor, "b heads n m"]) -> Float[Tensor, "b heads n m"]:
        expansion, heads, _ = self.weight1.shape
        b, _, n, m = scores.shape
        # Batched matrix products over the head axis: several times faster than a 1x1 convolution with so few channels.
        y = self.weight1.reshape(1, expansion * heads, heads).expand(b, -1, -1) @ scores.reshape(b, heads, n * m)
        y = (y + self.bias1.reshape(-1, 1)).reshape(b, expansion * heads, n, m).softmax(dim=-1)
        y = self.weight2.reshape(1, heads, expansion * heads).expand(b, -1, -1) @ y.reshape(b, expansion * heads, n * m)
        return (y + self.bias2[:, None]).reshape(b, heads, n, m)


class ChannelMLP(nn.Module):
    """What the single query's answer passes through: FC, LN, ReLU, FC with max(8, dim // 32) channels inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = max(8, dim // 32)
        self.fc1 = Conv(dim, inner)
        self.norm_weight = nn.Parameter(torch.ones(inner))
        self.norm_bias = nn.Parameter(torch.zeros(inner))
        self.fc2 = Conv(inner, dim)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        y = F.linear(x, self.fc1.weight.flatten(1), self.fc1.bias)
        y = F.relu(F.layer_norm(y, self.norm_weight.shape, self.norm_weight, self.norm_bias, 1e-6))
        return F.linear(y, self.fc2.weight.flatten(1), self.fc2.bias)


def foreground(ratio: float, n: int) -> int:
    """How many of n tokens are the foreground."""
    return min(n, max(1, round(ratio * n)))


MOST_PARTS = 10**6
"""The largest denominator of a share, as `rounded_share` reads it."""


def rounded_share(share: float, n: int) -> int:
    """round(share * n), also where torch.export leaves n open: neither its files nor ONNX know `round`, and ONNX would take a share that
    is multiplied with a size for a whole number. So the share is a fraction there, 3/10 for 0.3, and of two equally near numbers the
    even one is taken, as `round` does. Of the shares with two digits some miss ties as floats (0.7 * 45 is below 31.5): there it is one
    more.
    """
    if not isinstance(n, torch.SymInt):
        return round(share * n)
    return nearest(Fraction(share).limit_denominator(MOST_PARTS), n)


def nearest(share: Fraction, n: int) -> int:
    """The whole number next to a share of n, by whole numbers alone; of two equally near ones the even one."""
    if share == 1:
        return n
    twice, whole = 2 * share.numerator * n + share.denominator, 2 * share.denominator
    found = twice // whole
    is_tie = 1 - torch.sym_min(1, twice % whole)
    return cast(int, found - is_tie * (found % 2))


@register("partial_attention")
class PartialAttention(TokenMixer):
    """Mixed multi-head self-attention (MMSA) on the foreground, single-query attention (SQA) on the background.

    The round(foreground_ratio * n) tokens of the highest score (1 at least) are the foreground; ties go to the earlier token.
    The ratio owns no weights. Without background (ratio 1) SQA is idle. Which tokens are chosen is not differentiable.

    Tokens are scored by the mean over the channels of the block's input. Where that comes straight from a layer norm, as behind
    `patch_embedding` with `norm = "layer_norm"` and no position encoding, the norm's initial scale and bias make all scores equal but for
    rounding. Two forms of such a network may then choose different tokens, until training has changed the norm.

    Options:
        foreground_ratio: above 0, up to 1 (1/64, 1/8, 0.3, 3/4 by stage; the text has no figures but "N_F << N_B").
        head_dim: channels of a head, or the next divisor of the width (12 in B0, else 16).
        head_expansion: HeadMLP's e (1; the papers' networks have a second reading with 2, papers/partialformer.py).
        background_residual: whether a background token is added to what it gets. Owns no weights.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        foreground_ratio: float = 0.25
        head_dim: int = 16
        head_expansion: int = 2
        background_residual: bool = False

        def __post_init__(self) -> None:
            check_positive(head_dim=self.head_dim, head_expansion=self.head_expansion)
            if not 0 < self.foreground_ratio <= 1:
                raise InputError(
                    f"foreground_ratio is {self.foreground_ratio}", "above 0, up to 1", "foreground_ratio = 0.25"
                )

    examples = (
        Options(foreground_ratio=0.1, head_dim=4, head_expansion=1),
        Options(head_dim=8, background_residual=True),
        Options(foreground_ratio=1.0, head_dim=8),
    )
    needs_residual = True

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the share of the tokens and the size of heads that result. Without background there is nothing to add to it."""
        n, head_dim = height * width, split_heads(dims[0], options.head_dim)[1]
        count = foreground(options.foreground_ratio, n)
        if count == n:
            return replace(options, head_dim=head_dim, foreground_ratio=1.0, background_residual=False)
        share = roundest(options.foreground_ratio, lambda other: foreground(other, n) == count)
        return replace(options, head_dim=head_dim, foreground_ratio=share)

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        found = {"head_mlps.*.bias1": "it adds one number to all scores of a query, before the softmax"}
        if options.foreground_ratio == 1:
            found["channel_mlp.*"] = "there is no background whose tokens would go through it"
        return found

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        heads, head_dim = split_heads(dim, options.head_dim)
        self.foreground_ratio, self.background_residual = options.foreground_ratio, options.background_residual
        self.query = ToHeads(dim, heads)
        self.key = ToHeads(dim, heads)
        self.value = ToHeads(dim, heads)
        self.bridge = trunc_normal(dim, fan_in=dim)
        # A bank for each size of heads: the same head has other channels at another.
        self.bank = str(head_dim)
        self.head_mlps = nn.ModuleDict({self.bank: HeadMLP(heads, options.head_expansion)})
        self.project = FromHeads(dim)
        self.channel_mlp = ChannelMLP(dim)

    def forward(self, x: Float[Tensor, "b c h w"], residual: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, c, h, w = x.shape
        n = math.prod(map_size(x))
        count = cast(int, torch.sym_min(n, torch.sym_max(1, rounded_share(self.foreground_ratio, n))))
        score = residual.float().mean(dim=1).reshape(b, n)
        order = score.argsort(dim=1, descending=True, stable=True)[:, :, None].expand(b, n, c)
        tokens = x.permute(0, 2, 3, 1).reshape(b, n, c).gather(1, order)  # foreground first

        query = self.query.tokens(tokens[:, :count])
        key = self.key.tokens(tokens)
        value = self.value.tokens(tokens)

        # MMSA: the bridging query sits behind the foreground tokens, as query, key and value alike.
        heads, d = query.shape[1], query.shape[3]
        bridge = self.bridge.to(query.dtype).reshape(1, heads, 1, d).expand(b, heads, 1, d)
        scores = torch.cat((query, bridge), 2) @ torch.cat((key[:, :, :count], bridge), 2).transpose(2, 3) * d**-0.5
        mixed = self.project.tokens(self.head_mlps[self.bank](scores) @ torch.cat((value[:, :, :count], bridge), 2))
        parts = [mixed[:, :count]]

        # SQA: what the bridging query now knows asks the background once; every background token gets the same answer.
        if not is_known(count == n):
            single = mixed[:, count:].reshape(b, 1, heads, d).transpose(1, 2)
            answer = attention(single, key[:, :, count:], value[:, :, count:]).transpose(1, 2).reshape(b, 1, c)
            background = self.channel_mlp(answer).expand(b, n - count, c)
            parts.append(tokens[:, count:] + background if self.background_residual else background)
        out = torch.cat(parts, dim=1)
        return torch.empty_like(out).scatter(1, order, out).reshape(b, h, w, c).permute(0, 3, 1, 2)
