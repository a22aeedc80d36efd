"""Input-dependent depthwise convolution, IDConv, as a token mixer of its own (TransXNet, section III-B, eq. 3)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.dynamic_convs import IDConv
from search_spaces.errors import InputError
from search_spaces.layers import check_odd
from search_spaces.registry import TokenMixer, register


@register("idconv")
class IDConvMixer(TokenMixer):
    """The D-Mixer's local branch on all channels, without its token enhancer. Training needs a batch of two images.

    Options:
        kernel_size: odd (7).
        num_groups: kernels that are mixed, at least 2 (2 to 4).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 7
        num_groups: int = 2

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)
            if self.num_groups < 2:
                raise InputError(
                    f"num_groups is {self.num_groups}", "2 or more: one would be a static kernel", "num_groups = 2"
                )

    examples = (Options(kernel_size=3), Options(kernel_size=5, num_groups=3), Options())
    centred = {"conv.kernels": (2, 3)}

    @classmethod
    def mixes_kernels(cls, options: Options) -> bool:
        return True

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.conv = IDConv(dim, options.kernel_size, options.num_groups)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.conv(x)
