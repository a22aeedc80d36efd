"""A convolution with squeeze and excitation as a token mixer (SE, arXiv:1709.01507; LinGlo's ablation, arXiv:2207.00188, table 5)."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.folding import fold_norms
from search_spaces.layers import Conv, DepthwiseConv, check_odd, check_positive
from search_spaces.registry import TokenMixer, register


@register("se_conv")
class SEConv(TokenMixer):
    """conv1x1(gate * u), u = GELU(BN(DW(x))), gate = sigmoid(fc2(ReLU(fc1(mean of u over the map)))).

    LinGlo says no more than that convolutional blocks with SE replace encoder layers, at almost the same number of parameters. Here
    this stands in the place of the attention, and the FFN stays.

    Options:
        kernel_size: of the depthwise convolution, odd (3).
        reduction: channels over those inside the gate (4).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 3
        reduction: int = 4

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)
            check_positive(reduction=self.reduction)

    examples = (Options(reduction=8), Options(kernel_size=5))
    unordered = ("reduction",)
    centred = {"conv.weight": (2, 3)}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        squeezed = max(1, dim // options.reduction)
        self.conv = DepthwiseConv(dim, options.kernel_size, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.squeeze = Conv(dim, squeezed)
        self.expand = Conv(squeezed, dim)
        self.project = Conv(dim, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        u = F.gelu(self.norm(self.conv(x)))
        gate = self.expand(F.relu(self.squeeze(u.mean(dim=(2, 3), keepdim=True)))).sigmoid()
        return self.project(gate * u)

    def for_inference(self) -> nn.Module:
        """With its batch norm folded."""
        return fold_norms(self, {"conv": "norm"})
