"""One strided convolution and a norm: TransXNet's patch embeddings (section III-A)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.folding import fold_norms
from search_spaces.layers import check_patch, check_positive, strided_conv
from search_spaces.registry import Embedding, check_norm, make, register


@register("conv_downsampling")
class ConvDownsampling(Embedding):
    """conv (no bias), norm. The output side is ceil(side / stride).

    TransXNet: kernel 7, stride 4 as the stem; kernel 3, stride 2 between stages; batch_norm.

    Options:
        kernel_size: odd; or an even stride, for patches that do not overlap (4 at stride 4, 2 at stride 2).
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
            check_patch(self.kernel_size, self.stride)
            check_positive(stride=self.stride)

    examples = (Options(kernel_size=1), Options(norm="layer_norm"), Options(kernel_size=7, stride=4))
    unordered = ("kernel_size", "stride")
    part_options = ("norm",)
    variants = (Options(kernel_size=2), Options(kernel_size=4, stride=4))
    centred = {"conv.weight": (2, 3)}

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        # A kernel without a middle is no slice of a larger one, so it has weights of its own.
        self.name = "conv" if options.kernel_size % 2 else "patches"
        self.add_module(self.name, strided_conv(in_dim, dim, options.kernel_size, options.stride, bias=False))
        self.norm = make("norm", Part(options.norm), dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.norm(getattr(self, self.name)(x))

    def for_inference(self) -> nn.Module:
        """With its batch norm folded, where patches overlap."""
        return fold_norms(self, {"conv": "norm"}) if self.name == "conv" else self
