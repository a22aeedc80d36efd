"""Patch merging (Swin, arXiv:2103.14030, section 3.1): the plain downsampling that MAT's bilinear embedding is set against."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import ceil_div, map_size, pad_to_multiple, trunc_normal
from search_spaces.registry import Embedding, register


@register("patch_merging")
class PatchMerging(Embedding):
    """linear(layer norm of the four features of a 2 x 2 patch), no bias. An odd side is padded by one row or column of zeros."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)
    undecayed = ("norm_weight",)
    stride = 2

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        self.norm_weight = nn.Parameter(torch.ones(4, in_dim))
        self.norm_bias = nn.Parameter(torch.zeros(4, in_dim))
        self.weight = trunc_normal(dim, 4, in_dim, fan_in=4 * in_dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        b, c = x.shape[:2]
        h, w = map_size(x)
        rows, columns = ceil_div(h, 2), ceil_div(w, 2)
        x = pad_to_multiple(x, 2)
        patches = x.reshape(b, c, rows, 2, columns, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, rows, columns, 4 * c)
        y = F.layer_norm(patches, (4 * int(c),), self.norm_weight.reshape(-1), self.norm_bias.reshape(-1), 1e-6)
        return F.linear(y, self.weight.reshape(self.weight.shape[0], -1)).permute(0, 3, 1, 2)
