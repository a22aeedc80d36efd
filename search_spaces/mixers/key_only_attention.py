"""Key-only attention with a saliency gate (LinGlo, arXiv:2207.00188, section 3): linear in the number of tokens."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import Conv, ToHeads, check_positive, split_heads, trunc_normal
from search_spaces.registry import TokenMixer, register


@register("key_only_attention")
class KeyOnlyAttention(TokenMixer):
    """K = x W_K, V = x W_V; per head A = softmax over all tokens of K w / sqrt(d), G = sum A K; y = ((G * V) U1 + K) U2.

    The context is a weighted sum of keys, and the residual inside is the keys'. Heads share W_K, W_V, U1 and U2, which are dense;
    only the gate w, the softmax and the context are per head (the text does not say; the counts cannot tell). Biases on all four.
    A weight says nothing of positions: those come from the convolutions around it.

    Options:
        head_dim: channels of a head, or the next divisor of the width (32 in b0, 64 in b1 and b2).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        head_dim: int = 16

        def __post_init__(self) -> None:
            check_positive(head_dim=self.head_dim)

    examples = (Options(head_dim=4), Options(head_dim=8))

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the size that heads have."""
        return replace(options, head_dim=split_heads(dims[0], options.head_dim)[1])

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        heads, _ = split_heads(dim, options.head_dim)
        self.key = ToHeads(dim, heads)
        self.value = Conv(dim, dim)
        self.gate = trunc_normal(dim, fan_in=dim)
        self.mix1 = Conv(dim, dim)
        self.mix2 = Conv(dim, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, c, h, w = x.shape
        key = self.key(x)  # (b, heads, n, d)
        heads, d = key.shape[1], key.shape[3]
        keys = key.transpose(2, 3).reshape(b, c, h, w)
        key = key.contiguous()  # once for both products
        saliency = (key @ self.gate.reshape(heads, d, 1) * d**-0.5).softmax(dim=2)  # (b, heads, n, 1)
        context = (saliency.transpose(2, 3) @ key).reshape(b, c, 1, 1)
        return self.mix2(self.mix1(context * self.value(x)) + keys)
