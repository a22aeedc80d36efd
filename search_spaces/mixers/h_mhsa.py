"""Hierarchical multi-head self-attention, H-MHSA (HAT-Net, section 3.2; details from the authors' code)."""

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.layers import (
    FromHeads,
    ToHeads,
    attention,
    avg_pool,
    check_positive,
    from_windows,
    map_size,
    merge_heads,
    split_heads,
    to_windows,
)
from search_spaces.registry import TokenMixer, make, register

NORM = Part.of("group_norm", eps=1e-6)


class Attend(nn.Module):
    """The three projections of an attention; called, all three as one convolution: (b, 3 * heads * head_dim, h, w)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.query = ToHeads(dim, heads)
        self.key = ToHeads(dim, heads)
        self.value = ToHeads(dim, heads)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c3 h w"]:
        parts = (self.query, self.key, self.value)
        bias = torch.cat([cast(Tensor, part.bias) for part in parts])
        return F.conv2d(x, torch.cat([part.weight for part in parts]), bias)


@register("h_mhsa")
class HMHSA(TokenMixer):
    """Local attention in a grid of G1 x G1 windows, then attention of every position to a map pooled G2 times.

        L = attention in windows of norm(x)
        g = norm(x + L)
        y = project(attention(g, norm(pool(g))) + g)

    with one-group norms and x the block's features before normalisation: a block leaves its own norm out. With
    `window_size` 1 there is no local step and no pooling, but plain global attention of norm(x). Windows that do not divide the
    map are padded and masked, and pooling keeps the last, smaller cells (the official code refuses the first and drops the second).

    Options:
        head_dim: channels of a head, or the next divisor of the width (48 in Tiny, else 64).
        window_size: G1; 8, 7, 7, 1 by stage at 224. Owns no weights above 1.
        pool_size: G2; 8, 4, 2 by stage at 224. Owns no weights.
        unused_norm: whether there is a norm that is never used, as in the authors' code and published counts.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        head_dim: int = 16
        window_size: int = 7
        pool_size: int = 2
        unused_norm: bool = False

        def __post_init__(self) -> None:
            check_positive(head_dim=self.head_dim, window_size=self.window_size, pool_size=self.pool_size)

    brings_norm = True
    examples = (
        Options(head_dim=4, window_size=1),
        Options(head_dim=4, window_size=3),
        Options(head_dim=8, pool_size=4),
    )
    unordered = ("pool_size",)

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the size that heads have, and cells no larger than the map. Without windows nothing is pooled."""
        pool = 1 if options.window_size == 1 else min(options.pool_size, max(height, width))
        return replace(options, head_dim=split_heads(dims[0], options.head_dim)[1], pool_size=pool)

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        names = ("local", "pooled") if options.window_size > 1 else ("whole",)
        return dict.fromkeys(
            (f"{name}.key.bias" for name in names),
            "softmax does not change when one number is added to all scores of a query",
        )

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        heads, _ = split_heads(dim, options.head_dim)
        self.window_size, self.pool_size = options.window_size, options.pool_size
        self.norm = make("norm", NORM, dim)
        if options.unused_norm:
            self.unused_norm = make("norm", NORM, dim)
        # The step without windows has banks of its own: its values are projected, those of windows are added to x.
        if options.window_size == 1:
            self.whole = Attend(dim, heads)
            self.whole_project = FromHeads(dim)
        else:
            self.local = Attend(dim, heads)
            self.grid_norm = make("norm", NORM, dim)
            self.pool_norm = make("norm", NORM, dim)
            self.pooled = Attend(dim, heads)
            self.project = FromHeads(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        h, w = map_size(x)
        u = self.norm(x)
        if self.window_size == 1:
            y = attention(self.whole.query(u), self.whole.key(u), self.whole.value(u))
            return self.whole_project(merge_heads(y, h, w))
        tokens, mask = to_windows(self.local(u), self.window_size)
        heads, c = self.local.query.num_heads, x.shape[1]
        count, size, _ = tokens.shape
        query, key, value = tokens.reshape(count, size, 3, heads, c // heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        y = y.transpose(1, 2).reshape(count, size, c)
        g = self.grid_norm(x + from_windows(y, self.window_size, h, w))
        p = self.pool_norm(avg_pool(g, self.pool_size))
        y = attention(self.pooled.query(g), self.pooled.key(p), self.pooled.value(p))
        return self.project(merge_heads(y, h, w) + g)
