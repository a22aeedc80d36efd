"""Operators that the plain networks of plain.py share."""

from torch import Tensor, nn


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, over (..., tokens, d)."""
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ value


def heads_first(x: Tensor, parts: int, heads: int) -> Tensor:
    """(b, parts * heads * d, h, w), channels ordered [part][head][d], to (parts, b, heads, h * w, d)."""
    b, c, h, w = x.shape
    return x.reshape(b, parts, heads, c // (parts * heads), h * w).permute(1, 0, 2, 4, 3)


def channels_first(x: Tensor, height: int, width: int) -> Tensor:
    """(b, heads, h * w, d) to (b, heads * d, h, w)."""
    b, heads, _, d = x.shape
    return x.transpose(2, 3).reshape(b, heads * d, height, width)


def depthwise(channels: int, kernel: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A depthwise convolution that keeps the size at stride 1 (odd kernels)."""
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)
