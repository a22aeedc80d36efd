"""EMSNet's stem (dissertation, section 3.3.3): two strided 3x3 convolutions."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.folding import fold_norms
from search_spaces.layers import Conv
from search_spaces.registry import Embedding, register


@register("ems_stem")
class EMSStem(Embedding):
    """conv3x3 stride 2 to dim, BN, GELU, conv3x3 stride 2, BN; no biases. The output side is ceil(side / 4).

    `conv_stem` is the same with half the channels in the middle; the published MACs want them all.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)
    stride = 4

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        self.conv1 = Conv(in_dim, dim, 3, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(dim)
        self.conv2 = Conv(dim, dim, 3, stride=2, bias=False)
        self.norm2 = nn.BatchNorm2d(dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.norm2(self.conv2(F.gelu(self.norm1(self.conv1(x)))))

    def for_inference(self) -> nn.Module:
        """With its batch norms folded."""
        return fold_norms(self, {"conv1": "norm1", "conv2": "norm2"})
