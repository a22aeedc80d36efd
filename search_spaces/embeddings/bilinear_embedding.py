"""Bilinear patch embedding of the MAT Transformer (dissertation, section 4.3): downsampling at learned places.

The published counts fix its size (2 C^2 + 29 C parameters, 36 MACs a low-resolution channel), not its layers; the layout is a choice.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.folding import fold_norms
from search_spaces.layers import Conv, DepthwiseConv, map_size
from search_spaces.registry import Embedding, make, register


@register("bilinear_embedding")
class BilinearEmbedding(Embedding):
    """norm(conv1x1(DW3x3(sample(x)))): one bilinear sample of x for each output cell, at its centre plus a learned offset.

    offset = tanh(conv1x1(GELU(BN(DW3x3 stride 2 (x))))), at most one output cell, the same for all channels, zero at the start.
    The output side is ceil(side / 2). Sampling is in float32 at least; its gradient on CUDA is not deterministic.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)
    stride = 2

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        self.offset_conv = DepthwiseConv(in_dim, 3, stride=2, bias=False)
        self.offset_norm = nn.BatchNorm2d(in_dim)
        self.offset = Conv(in_dim, 2, bias=False)
        nn.init.zeros_(self.offset.weight)
        self.conv = DepthwiseConv(in_dim, 3)
        self.expand = Conv(in_dim, dim)
        self.norm = make("norm", Part("layer_norm"), dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        offset = self.offset(F.gelu(self.offset_norm(self.offset_conv(x)))).tanh()
        h, w = map_size(offset)
        dtype = torch.promote_types(x.dtype, torch.float32)
        across = (torch.arange(w, device=x.device, dtype=dtype) * 2 + (1 - w)) / w  # centres of the cells in [-1, 1]
        down = (torch.arange(h, device=x.device, dtype=dtype) * 2 + (1 - h)) / h
        offset = offset.to(dtype)
        grid = torch.stack((offset[:, 0] * 2 / w + across, offset[:, 1] * 2 / h + down[:, None]), dim=3)
        y = F.grid_sample(x.to(dtype), grid, padding_mode="border", align_corners=False)
        return self.norm(self.expand(self.conv(y.to(x.dtype))))

    def for_inference(self) -> nn.Module:
        """With its batch norms folded."""
        return fold_norms(self, {"offset_conv": "offset_norm"})
