"""One strided convolution and a norm: TransXNet's patch embeddings (section III-A)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.folding import fold_norms
from search_spaces.layers import Conv, check_odd, check_positive
from search_spaces.registry import Embedding, check_norm, make, register


@register("conv_downsampling")
class ConvDownsampling(Embedding):
    """conv (no bias), norm. The output side is ceil(side / stride).

    TransXNet: kernel 7, stride 4 as the stem; kernel 3, stride 2 between stages; batch_norm.

    Options:
        kernel_size: odd.
        stride: of the convolution.
        norm: a registered normalisation.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 3
        stride: int = 2
        norm: str = "batch_norm"

        def __post_init__(self) -> None:
            check_norm(self.norm)
            check_odd(kernel_size=self.kernel_size)
            check_positive(stride=self.stride)

    examples = (Options(kernel_size=1), Options(norm="layer_norm"), Options(kernel_size=7, stride=4))
    centred = {"conv.weight": (2, 3)}

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        self.conv = Conv(in_dim, dim, options.kernel_size, stride=options.stride, bias=False)
        self.norm = make("norm", Part(options.norm), dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.norm(self.conv(x))

    def for_inference(self) -> nn.Module:
        """With its batch norms folded."""
        return fold_norms(self, {"conv": "norm"})
