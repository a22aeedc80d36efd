"""The references of EMS and of its two attentions, which sample, attend and propagate."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.search_spaces.references.convolutions import coordinate_conv
from tests.search_spaces.references.operations import (
    References,
    Weights,
    attend,
    by_heads,
    conv1x1,
    depthwise,
    of,
    patches,
    softmax,
    to_heads,
)


def sampled(x: Tensor, size: int, value: Callable[[Tensor], Tensor]) -> Tensor:
    """One value for each size x size cell; cells at the right and the bottom may be smaller."""
    _, _, height, width = x.shape
    rows = [
        torch.stack([value(x[:, :, i : i + size, j : j + size]) for j in range(0, width, size)], -1)
        for i in range(0, height, size)
    ]
    return torch.stack(rows, -2)


def cell_maxima(x: Tensor, size: int) -> Tensor:
    return sampled(x, size, lambda cell: cell.amax((2, 3)))


def sampled_means(w: Weights, x: Tensor, size: int) -> Tensor:
    return conv1x1(w["conv.weight"], None, sampled(x, size, lambda cell: cell.mean((2, 3))))


def propagate(weight: Tensor, x: Tensor, size: int, to: torch.Size) -> Tensor:
    """out[size * i + a, size * j + b] = weight[a, b] * x[i, j]"""
    assert weight.shape[1:] == (1, size, size)
    i, j = torch.arange(to[0])[:, None], torch.arange(to[1])[None]
    return weight[:, 0, i % size, j % size] * x[:, :, i // size, j // size]


def c_mhsa(w: Weights, x: Tensor, head_dim: int, kernel: int = 3) -> Tensor:
    """Window by window around every second position: what its centre says that its k * k positions take of its k * k values."""
    places, edge = kernel**2, kernel // 2
    b, c, height, width = x.shape
    heads = by_heads(x, head_dim).shape[1]
    scores = w[f"scores.{c // heads}" if kernel == 3 else f"scores.{c // heads}_{kernel}"]
    assert scores.shape == (heads, places, places, c)
    centres = depthwise(w["reduce.weight"], None, x, 2)
    attention = softmax(torch.einsum("ansc,bchw->banshw", scores, centres), 3)
    values = patches(conv1x1(w["value.weight"], None, x), kernel, 2, edge)
    values = values.reshape(b, heads, c // heads, places, *centres.shape[2:])
    out = torch.zeros(
        b, heads, c // heads, height + 2 * edge + 1, width + 2 * edge + 1, dtype=x.dtype
    )  # with what lies outside the map
    for i in range(centres.shape[2]):
        for j in range(centres.shape[3]):
            y = torch.einsum("bans,bads->badn", attention[..., i, j], values[..., i, j])
            for n in range(places):
                out[..., 2 * i + n // kernel, 2 * j + n % kernel] += y[..., n]
    return out[..., edge : edge + height, edge : edge + width].reshape(x.shape)


def g_mhsa(w: Weights, x: Tensor, head_dim: int) -> Tensor:
    q, k, v = (to_heads(w, name, x, head_dim) for name in ("query", "key", "value"))
    return attend(q, k, v).reshape(x.shape)


def sparse(attention: Callable[..., Tensor], w: Weights, weight: Tensor, x: Tensor, size: int, head_dim: int) -> Tensor:
    """Sample, attend, propagate."""
    y = attention(of(w, "attention"), sampled_means(of(w, "sample"), x, size), head_dim)
    return propagate(weight, y, size, x.shape[2:])


def reference_c_mhsa(w: Weights, options: Any, x: Tensor) -> Tensor:
    weight = w[f"propagate.kernels.{options.patch_size}"]
    assert len(weight) == options.expansion * x.shape[1]
    y = sparse(partial(c_mhsa, kernel=options.kernel_size), w, weight, x, options.patch_size, options.head_dim)
    return conv1x1(w["project.weight"], w["project.bias"], y)


def reference_g_mhsa(w: Weights, options: Any, x: Tensor) -> Tensor:
    weight = w[f"propagate.kernels.{options.patch_size}"]
    y = sparse(g_mhsa, w, weight, x, options.patch_size, options.head_dim)
    return conv1x1(w["project.weight"], w["project.bias"], y)


def reference_ems_static(w: Weights, options: Any, u: Tensor) -> Tensor:
    c = u.shape[1]
    shares = [Fraction(str(share)) for share in options.static_split]
    fine, coarse = (0 if options.operators == "whiten" else int(shares[i] * c) for i in (0, 2))
    scales = {
        "fine": (fine, options.patch_sizes[0]),
        "dense": (c - fine - coarse, None),
        "coarse": (coarse, options.patch_sizes[1]),
    }
    scales = {name: scale for name, scale in scales.items() if scale[0]}
    banks = {name: of(w, f"segments.{name}") for name in scales}
    whitened = conv1x1(torch.cat([bank["whiten.weight"] for bank in banks.values()]), None, u)
    whitened = whitened - whitened.mean(1, keepdim=True)
    if options.operators == "whiten":
        return depthwise(banks["dense"]["conv.weight"], None, whitened)
    y, start = 0, 0
    for name, (size, patch) in scales.items():
        bank = banks[name]
        part = depthwise(bank["conv.weight"], None, whitened[:, start : start + size])
        if patch is not None:
            z = conv1x1(bank["sample.conv.weight"], None, cell_maxima(part, patch))
            assert z.shape[1] == 2 * size
            part = propagate(
                bank[f"propagate.kernels.{patch}"], coordinate_conv(of(bank, "coordinate"), z), patch, u.shape[2:]
            )
        y = y + conv1x1(
            bank["last.weight" if options.operators == "pyramid" else "fuse.weight"], None, part
        )  # the columns of one convolution of all parts
        start += size
    if options.operators == "pyramid":
        return y
    last = w["last.weight" if options.operators == "gate" else "after.weight"]
    return conv1x1(last, None, conv1x1(w["gate.weight"], None, u) / (1 + torch.exp(-y)))


def reference_ems(w: Weights, options: Any, x: Tensor) -> Tensor:
    """Each branch through its rows of the first convolution and its columns of the last."""
    y = conv1x1(w["static_enter.weight"], None, x)
    if options.operators != "identity":
        y = reference_ems_static(of(w, "static"), options, y)
    if options.operators in ("pyramid", "gate"):
        return y
    y = conv1x1(w["static_leave.weight"], None, y)
    share = Fraction(str(options.dynamic_ratio)) if options.split else 1  # without a split each branch has all channels
    dynamic = int(share * x.shape[1])
    wide = int(Fraction(str(options.global_ratio)) * dynamic) if options.operators == "g_mhsa" else 0
    sizes = {"local": dynamic - wide, "wide": wide}
    local = partial(c_mhsa, kernel=options.local_kernel_size)
    branches = {
        "local": (local, 2, options.patch_sizes[2], options.local_head_dim),
        "wide": (g_mhsa, 1, options.patch_sizes[3], options.global_head_dim),
    }
    for name, (attention, expansion, patch, head_dim) in branches.items():
        if options.operators not in ("c_mhsa", "g_mhsa") or not sizes[name]:
            continue
        u = conv1x1(w[f"{name}_enter.weight"], None, x)
        assert u.shape[1] == sizes[name]
        z = sparse(
            attention, of(w, f"dynamic.{name}"), w[f"dynamic.{name}.propagate.kernels.{patch}"], u, patch, head_dim
        )
        assert z.shape[1] == expansion * u.shape[1]
        z = conv1x1(w[f"dynamic.{name}_fuse.weight"], None, z)
        y = y + conv1x1(w["dynamic_leave.weight"], None, z)
    return y


EMS: References = {
    ("mixer", "c_mhsa"): reference_c_mhsa,
    ("mixer", "ems"): reference_ems,
    ("mixer", "g_mhsa"): reference_g_mhsa,
}
