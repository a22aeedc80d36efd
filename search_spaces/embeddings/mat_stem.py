"""The stem of the MAT Transformer (dissertation, section 4.3), used for PartialFormer too."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.folding import fold_norms
from search_spaces.layers import Conv, DepthwiseConv
from search_spaces.registry import Embedding, register


@register("mat_stem")
class MATStem(Embedding):
    """conv3x3 stride 2 to dim // 2, depthwise conv3x3, conv3x3 stride 2 to dim; each with bias and batch norm, GELU between them.

    The output side is ceil(side / 4). The text names the convolutions; biases and norms follow from the published counts.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)
    stride = 4

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        return {"conv?.bias": "the next batch norm removes the mean"}

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        middle = max(1, dim // 2)
        self.conv1 = Conv(in_dim, middle, 3, stride=2)
        self.norm1 = nn.BatchNorm2d(middle)
        self.conv2 = DepthwiseConv(middle, 3)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv3 = Conv(middle, dim, 3, stride=2)
        self.norm3 = nn.BatchNorm2d(dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        x = F.gelu(self.norm1(self.conv1(x)))
        x = F.gelu(self.norm2(self.conv2(x)))
        return self.norm3(self.conv3(x))

    def for_inference(self) -> nn.Module:
        """With its batch norms folded."""
        return fold_norms(self, {"conv1": "norm1", "conv2": "norm2", "conv3": "norm3"})
