"""The classifier of the MAT Transformer and of PartialFormer, by their published counts (dissertation, chapters 4 and 5)."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.folding import fold_norms
from search_spaces.layers import Conv, check_positive
from search_spaces.registry import Head, check_norm, make, register


@register("conv_head")
class ConvHead(Head):
    """Linear(mean over positions of GELU(BN(conv1x1(norm(x))))); the convolution has a bias and stands before the pooling.

    Options:
        hidden: channels of the convolution (1280).
        norm: a registered normalisation.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        hidden: int = 1280
        norm: str = "layer_norm"

        def __post_init__(self) -> None:
            check_positive(hidden=self.hidden)
            check_norm(self.norm)

    examples = (Options(hidden=8, norm="none"), Options(hidden=20))
    part_options = ("norm",)

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        found = {"conv.bias": "the next batch norm removes the mean"}
        if options.norm != "none":
            found["norm.bias"] = "the batch norm after the next convolution removes the mean"
        return found

    def __init__(self, dim: int, num_classes: int, options: Options) -> None:
        super().__init__(dim, num_classes, options)
        self.norm = make("norm", Part(options.norm), dim)
        self.conv = Conv(dim, options.hidden)
        self.conv_norm = nn.BatchNorm2d(options.hidden)
        self.linear = nn.Linear(options.hidden, num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b hidden h w"]:
        """What is pooled."""
        return F.gelu(self.conv_norm(self.conv(self.norm(x))))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        return self.linear(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))

    def for_inference(self) -> nn.Module:
        """With its batch norms folded."""
        return fold_norms(self, {"conv": "conv_norm"})
