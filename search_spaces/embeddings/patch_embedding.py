"""An overlapping patch embedding: a strided convolution with bias, and a norm (PVTv2, arXiv:2106.13797)."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.folding import fold_norms
from search_spaces.layers import check_patch, check_positive, strided_conv
from search_spaces.registry import Embedding, check_norm, lookup, make, register


@register("patch_embedding")
class PatchEmbedding(Embedding):
    """norm(conv(x)). The output side is ceil(side / stride).

    LinGlo: kernel 7, stride 4, then kernel 3, stride 2, layer_norm; PartialFormer: kernel 3, stride 2, layer_norm; HAT-Net between
    stages: kernel 3, stride 2, group_norm with eps 1e-6.

    Options:
        kernel_size: odd; or an even stride, for patches that do not overlap (4 at stride 4, 2 at stride 2).
        stride: of the convolution.
        norm: a registered normalisation.
        eps: of the norm, where it has one.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 3
        stride: int = 2
        norm: str = "layer_norm"
        eps: float = 1e-6

        def __post_init__(self) -> None:
            check_norm(self.norm)
            check_patch(self.kernel_size, self.stride)
            check_positive(stride=self.stride, eps=self.eps)

    examples = (Options(norm="batch_norm"), Options(norm="group_norm"), Options(kernel_size=7, stride=4))
    unordered = ("kernel_size", "stride", "eps")
    part_options = ("norm",)
    variants = (Options(kernel_size=2), Options(kernel_size=4, stride=4))
    centred = {"conv.weight": (2, 3)}

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """Where the norm has no eps, that of the options has no effect."""
        return options if _has_eps(options.norm) else replace(options, eps=cls.Options().eps)

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        return {"conv.bias": "the next batch norm removes the mean"} if options.norm == "batch_norm" else {}

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        # A kernel without a middle is no slice of a larger one, so it has weights of its own.
        self.name = "conv" if options.kernel_size % 2 else "patches"
        self.add_module(self.name, strided_conv(in_dim, dim, options.kernel_size, options.stride))
        self.norm = make("norm", norm_with_eps(options.norm, options.eps), dim)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.norm(getattr(self, self.name)(x))

    def for_inference(self) -> nn.Module:
        """With its batch norm folded, where patches overlap."""
        return fold_norms(self, {"conv": "norm"}) if self.name == "conv" else self


def norm_with_eps(norm: str, eps: float) -> Part:
    """The norm, with this eps if it has such an option."""
    return Part.of(norm, eps=eps) if _has_eps(norm) else Part(norm)


def _has_eps(norm: str) -> bool:
    return "eps" in lookup("norm", norm).Options.__dataclass_fields__
