"""Parts as a user writes them, in a file outside the checkout: each says itself what it needs to be costed, trained and tested."""

PARTS = '''\
"""A window attention written with torch.einsum, and a mixer with a table of its own and an operator that no counter knows."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.layers import Conv, check_positive, from_windows, map_size, to_windows
from search_spaces.registry import TokenMixer, register


@register("einsum_window")
class EinsumWindow(TokenMixer):
    """Attention of one head inside windows; what pads the map to whole windows is masked out."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        side: int = 4

        def __post_init__(self) -> None:
            check_positive(side=self.side)

    examples = (Options(side=2), Options())

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        return {"key.bias": "softmax does not change when one number is added to all scores of a query"}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.side = options.side
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.out = Conv(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens, mask = to_windows(x, self.side)  # (windows, t, c)
        q, k, v = self.query(tokens), self.key(tokens), self.value(tokens)
        scores = torch.einsum("wtc,wuc->wtu", q, k) * x.shape[1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(mask[:, 0].logical_not(), float("-inf"))
        y = torch.einsum("wtu,wuc->wtc", scores.softmax(-1), v)
        return self.out(from_windows(y, self.side, *map_size(x)))


@register("running_sum")
class RunningSum(TokenMixer):
    """Adds up all rows above, and scales channels by a table of two axes, which weight decay is to leave alone."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)
    undecayed = ("table",)
    operators = {"cumsum": lambda result, *inputs, **options: result.numel()}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.table = nn.Parameter(torch.ones(dim, 2))
        self.out = Conv(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.cumsum(2) * self.table[:, :1, None]) + x * self.table[:, 1:, None]
'''
