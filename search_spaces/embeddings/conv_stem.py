"""A convolutional stem of two convolutions, for small images too.

The papers' stems are other networks, and files of architectures name them: `ems_stem` has all channels in the middle, `hat_stem` has 16
there and a norm behind the first convolution only, `mat_stem` has a depthwise convolution between the two, and TransXNet's is one
convolution, which is what `conv_downsampling` is between stages too. As options of one part they would be options that exclude one another.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.errors import InputError
from search_spaces.folding import fold_norms
from search_spaces.layers import Conv
from search_spaces.registry import Embedding, check_norm, make, register


@register("conv_stem")
class ConvStem(Embedding):
    """conv3x3 to dim // 2, norm, GELU, conv3x3 to dim, norm. The output side is ceil(side / stride).

    Options:
        stride: 1, 2 or 4 in all; small images need a small one.
        norm: a registered normalisation.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        stride: int = 4
        norm: str = "batch_norm"

        def __post_init__(self) -> None:
            check_norm(self.norm)
            if self.stride not in (1, 2, 4):
                raise InputError(f"stride is {self.stride}", "1, 2 or 4", "stride = 4")

    examples = (Options(stride=1), Options(stride=2, norm="layer_norm"), Options())
    unordered = ("stride",)
    part_options = ("norm",)

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        middle = max(1, dim // 2)
        norm = Part(options.norm)
        self.conv1 = Conv(in_dim, middle, 3, stride=min(2, options.stride), bias=False)
        self.norm1 = make("norm", norm, middle)
        self.conv2 = Conv(middle, dim, 3, stride=max(1, options.stride // 2), bias=False)
        self.norm2 = make("norm", norm, dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.norm2(self.conv2(F.gelu(self.norm1(self.conv1(x)))))

    def for_inference(self) -> nn.Module:
        """With its batch norms folded."""
        return fold_norms(self, {"conv1": "norm1", "conv2": "norm2"})
