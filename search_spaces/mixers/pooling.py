"""Average pooling as a token mixer (PoolFormer, arXiv:2111.11418)."""

from dataclasses import dataclass, replace

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import check_odd
from search_spaces.registry import TokenMixer, register


@register("pooling")
class Pooling(TokenMixer):
    """mean over a k x k neighbourhood, minus x. It owns no weights; positions outside the map do not count."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 3

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)

    examples = (Options(), Options(kernel_size=5))

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With a neighbourhood no larger than one that has the whole map wherever it stands."""
        return replace(options, kernel_size=min(options.kernel_size, 2 * max(height, width) - 1))

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.kernel_size = options.kernel_size

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        k = self.kernel_size
        return F.avg_pool2d(x, k, stride=1, padding=k // 2, count_include_pad=False) - x
