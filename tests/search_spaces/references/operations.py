"""What the references are made of: convolutions, norms, heads and grids, with sums and loops."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]
References = dict[tuple[str, str], Callable[..., Tensor]]
"""By the kind and the name of a part."""


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": gelu, "silu": silu, "relu": lambda x: x.clamp(min=0)}


def softmax(x: Tensor, dim: int) -> Tensor:
    e = torch.exp(x - x.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def per_channel(values: Tensor) -> Tensor:
    return values[None, :, None, None]


def of(w: Weights, prefix: str) -> Weights:
    """The tensors of a child."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in w.items() if name.startswith(f"{prefix}.")}


def conv1x1(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    y = torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x)
    return y if bias is None else y + per_channel(bias)


def grown(x: Tensor, height: int, width: int) -> Tensor:
    """Zeros at the bottom and at the right, up to this size."""
    padded = torch.zeros(*x.shape[:2], height, width, dtype=x.dtype)
    padded[:, :, : x.shape[2], : x.shape[3]] = x
    return padded


def patches(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """What each output position sees: (b, c, kernel * kernel, h2, w2), zeros outside."""
    b, c, h, w = x.shape
    out = [(size + 2 * padding - kernel) // stride + 1 for size in (h, w)]
    padded = torch.zeros(b, c, h + 2 * padding, w + 2 * padding, dtype=x.dtype)
    padded[:, :, padding : padding + h, padding : padding + w] = x
    rows = []
    for i in range(kernel):
        for j in range(kernel):
            last = [i + stride * (out[0] - 1) + 1, j + stride * (out[1] - 1) + 1]
            rows.append(padded[:, :, i : last[0] : stride, j : last[1] : stride])
    return torch.stack(rows, dim=2)


def conv(weight: Tensor, x: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    kernel = weight.shape[-1]
    y = torch.einsum("oik,bikhw->bohw", weight.flatten(2), patches(x, kernel, stride, kernel // 2))
    return y if bias is None else y + per_channel(bias)


def depthwise(weight: Tensor, bias: Tensor | None, x: Tensor, stride: int = 1) -> Tensor:
    kernel = weight.shape[-1]
    y = torch.einsum("ck,bckhw->bchw", weight[:, 0].flatten(1), patches(x, kernel, stride, kernel // 2))
    return y if bias is None else y + per_channel(bias)


def batch_norm(w: Weights, x: Tensor) -> Tensor:
    """In evaluation, with the running statistics."""
    scale = w["weight"] / torch.sqrt(w["running_var"] + 1e-5)
    return per_channel(scale) * (x - per_channel(w["running_mean"])) + per_channel(w["bias"])


def normed(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    mean = x.mean(dims, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(dims, keepdim=True) + eps)


def by_heads(x: Tensor, head_dim: int) -> Tensor:
    """(b, c, ...) to (b, heads, d, ...): d is head_dim or, where that leaves a remainder, the next divisor of c."""
    d = next(d for d in range(head_dim, head_dim + x.shape[1]) if d >= x.shape[1] or x.shape[1] % d == 0)
    return torch.stack(x.split(d, 1), 1)


def to_heads(w: Weights, name: str, x: Tensor, head_dim: int) -> Tensor:
    """(b, heads, d, n)"""
    return by_heads(conv1x1(w[f"{name}.weight"], w.get(f"{name}.bias"), x), head_dim).flatten(3)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """(b, heads, d, n) each; the bias (heads, n, m)."""
    scores = softmax(torch.einsum("badn,badm->banm", q, k) / math.sqrt(q.shape[2]) + bias, -1)
    return torch.einsum("banm,badm->badn", scores, v)


def cell_means(x: Tensor, rows: int, columns: int) -> Tensor:
    """The mean of each cell of a grid; cells overlap where the size does not divide."""

    def span(i: int, cells: int, size: int) -> slice:
        return slice(i * size // cells, -(-(i + 1) * size // cells))

    def mean(i: int, j: int) -> Tensor:
        return x[:, :, span(i, rows, x.shape[2]), span(j, columns, x.shape[3])].mean((2, 3))

    return torch.stack([torch.stack([mean(i, j) for j in range(columns)], -1) for i in range(rows)], -2)


def bicubic(size: int, to: int) -> Tensor:
    """The matrix (to, size) that resizes an axis: the cubic convolution with a = -3/4 between the centres of cells, taps beyond
    the border taken at the border.
    """

    def tap(t: float) -> float:
        t = abs(t)
        if t <= 1:
            return 1.25 * t**3 - 2.25 * t**2 + 1
        return -0.75 * t**3 + 3.75 * t**2 - 6 * t + 3 if t < 2 else 0.0

    matrix = torch.zeros(to, size, dtype=torch.float64)
    for i in range(to):
        place = (i + 0.5) * size / to - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            matrix[i, min(max(j, 0), size - 1)] += tap(place - j)
    return matrix


def identity(w: Weights, options: Any, x: Tensor) -> Tensor:
    return x


def window_positions(height: int, width: int, size: int) -> list[list[tuple[int, int]]]:
    """The positions of each window, row-major; windows at the right and the bottom may have fewer."""
    return [
        [(i, j) for i in range(top, min(top + size, height)) for j in range(left, min(left + size, width))]
        for top in range(0, height, size)
        for left in range(0, width, size)
    ]


def one_group(w: Weights, x: Tensor) -> Tensor:
    return per_channel(w["weight"]) * normed(x, (1, 2, 3), 1e-6) + per_channel(w["bias"])
