"""Every part against its equations, written here anew with loops and sums, in float64: outputs and all gradients.

A reference is a function (w, options, x, ...) of the part's tensors by name; it shares no code with the part.
"""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.costs.pieces import part_cost
from search_spaces.mixers.c_mhsa import Propagation, Sample
from search_spaces.testing import Case, cases, noise, randomise

Weights = dict[str, Tensor]


# What the references are made of


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


# The references


def identity(w: Weights, options: Any, x: Tensor) -> Tensor:
    return x


def reference_layer_norm(w: Weights, options: Any, x: Tensor) -> Tensor:
    return per_channel(w["weight"]) * normed(x, (1,), options.eps) + per_channel(w["bias"])


def reference_group_norm(w: Weights, options: Any, x: Tensor) -> Tensor:
    return per_channel(w["weight"]) * normed(x, (1, 2, 3), options.eps) + per_channel(w["bias"])


def reference_batch_norm(w: Weights, options: Any, x: Tensor) -> Tensor:
    return batch_norm(of(w, "norm"), x)


def reference_layer_scale(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = torch.einsum("c,bchw->bchw", w["weight"], x)
    return y + per_channel(w["bias"]) if options.bias else y


def reference_dpe(w: Weights, options: Any, x: Tensor) -> Tensor:
    return x + depthwise(w["conv.weight"], w["conv.bias"], x)


def reference_depthwise_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    return depthwise(w["conv.weight"], w["conv.bias"], x)


def named_norm(name: str, w: Weights, x: Tensor, **options: Any) -> Tensor:
    return REFERENCES["norm", name](w, registry.options("norm", Part.of(name, **options)), x)


def strided(w: Weights, options: Any, x: Tensor) -> Tensor:
    """Patches that overlap, for odd kernels, or lie side by side from the corner on, for even ones."""
    if options.kernel_size % 2:
        return conv(w["conv.weight"], x, options.stride)
    seen = patches(
        grown(x, *(-(-n // options.stride) * options.stride for n in x.shape[2:])), options.stride, options.stride, 0
    )
    return torch.einsum("oik,bikhw->bohw", w["patches.weight"].flatten(2), seen)


def reference_conv_downsampling(w: Weights, options: Any, x: Tensor) -> Tensor:
    return named_norm(options.norm, of(w, "norm"), strided(w, options, x))


def reference_conv_stem(w: Weights, options: Any, x: Tensor) -> Tensor:
    first, second = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[options.stride]
    y = gelu(named_norm(options.norm, of(w, "norm1"), conv(w["conv1.weight"], x, first)))
    return named_norm(options.norm, of(w, "norm2"), conv(w["conv2.weight"], y, second))


def reference_ems_stem(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = gelu(batch_norm(of(w, "norm1"), conv(w["conv1.weight"], x, 2)))
    return batch_norm(of(w, "norm2"), conv(w["conv2.weight"], y, 2))


def reference_mat_stem(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = gelu(batch_norm(of(w, "norm1"), conv(w["conv1.weight"], x, 2, w["conv1.bias"])))
    y = gelu(batch_norm(of(w, "norm2"), depthwise(w["conv2.weight"], w["conv2.bias"], y)))
    return batch_norm(of(w, "norm3"), conv(w["conv3.weight"], y, 2, w["conv3.bias"]))


def reference_hat_stem(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = conv(w["conv1.weight"], x, 2, w["conv1.bias"])
    assert y.shape[1] == 16
    return conv(w["conv2.weight"], ACTIVATIONS[options.activation](one_group(of(w, "norm"), y)), 2, w["conv2.bias"])


def reference_patch_embedding(w: Weights, options: Any, x: Tensor) -> Tensor:
    eps = {"eps": options.eps} if options.norm in ("layer_norm", "group_norm") else {}
    y = strided(w, options, x) + per_channel(w["conv.bias" if options.kernel_size % 2 else "patches.bias"])
    return named_norm(options.norm, of(w, "norm"), y, **eps)


def reference_patch_merging(w: Weights, options: Any, x: Tensor) -> Tensor:
    _, _, height, width = x.shape
    four = patches(grown(x, height + height % 2, width + width % 2), 2, 2, 0)  # (b, c, 4, h2, w2)
    scale, shift = (w[f"norm_{name}"].T[None, :, :, None, None] for name in ("weight", "bias"))
    return torch.einsum("oqc,bcqhw->bohw", w["weight"], scale * normed(four, (1, 2), 1e-6) + shift)


def reference_bilinear_embedding(w: Weights, options: Any, x: Tensor) -> Tensor:
    """A sample is the sum over the whole map, each position by its tent: 1 - distance along both axes, where that is positive."""
    size = x.shape[2:]
    y = gelu(batch_norm(of(w, "offset_norm"), depthwise(w["offset_conv.weight"], None, x, 2)))
    offset = torch.tanh(conv1x1(w["offset.weight"], None, y))  # across, down, in output cells
    out = offset.shape[2:]
    assert tuple(out) == (-(-size[0] // 2), -(-size[1] // 2))
    cell = [torch.arange(out[0])[:, None], torch.arange(out[1])[None]]
    tents = []
    for axis in (0, 1):
        place = (cell[axis] + 0.5 + offset[:, 1 - axis]) * size[axis] / out[axis] - 0.5  # in pixels of x
        place = place.clamp(0, size[axis] - 1)[..., None]
        tents.append((1 - (place - torch.arange(size[axis])).abs()).clamp(min=0))
    y = depthwise(w["conv.weight"], w["conv.bias"], torch.einsum("bhwi,bhwj,bcij->bchw", *tents, x))
    return named_norm("layer_norm", of(w, "norm"), conv1x1(w["expand.weight"], w["expand.bias"], y))


def reference_dense_table(w: Weights, options: Any, x: Tensor) -> Tensor:
    side, keys = options.map_size, -(-options.map_size // options.sr_ratio)
    size = x.shape[2:]
    to = (*size, *(-(-n // options.sr_ratio) for n in size))
    table = w[f"tables.{side}_by_{keys}"]
    if options.resize == "flat":
        rows, columns = bicubic(side**2, to[0] * to[1]), bicubic(keys**2, to[2] * to[3])
        return torch.einsum("nq,mk,aqk->anm", rows, columns, table).reshape(-1, *to)
    axes = [bicubic(*sizes) for sizes in zip((side, side, keys, keys), to, strict=True)]
    return torch.einsum("hi,wj,uk,vl,aijkl->ahwuv", *axes, table.reshape(-1, side, side, keys, keys))


def reference_linear_head(w: Weights, options: Any, x: Tensor) -> Tensor:
    pooled = named_norm(options.norm, of(w, "norm"), x).mean((2, 3))
    return pooled @ w["linear.weight"].T + w["linear.bias"]


def reference_conv_head(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = conv1x1(w["conv.weight"], w["conv.bias"], named_norm(options.norm, of(w, "norm"), x))
    return gelu(batch_norm(of(w, "conv_norm"), y)).mean((2, 3)) @ w["linear.weight"].T + w["linear.bias"]


def reference_mlp(w: Weights, options: Any, x: Tensor) -> Tensor:
    activation = {"gelu": gelu, "silu": silu, "relu": lambda y: y.clamp(min=0)}[options.activation]
    return conv1x1(w["fc2.weight"], w["fc2.bias"], activation(conv1x1(w["fc1.weight"], w["fc1.bias"], x)))


def reference_ms_ffn(w: Weights, options: Any, x: Tensor) -> Tensor:
    """As one hidden map whose channel groups have kernels of their own: the way the paper draws it."""
    banks = [of(w, f"branches.{scale}") for scale in options.scales]
    sizes = [len(bank["norm1.bias"]) for bank in banks]
    hidden = int(options.ratio * x.shape[1])
    assert sum(sizes) == hidden
    assert sizes[1:] == [hidden // len(sizes)] * (len(sizes) - 1)

    def together(name: str, dim: int = 0) -> Tensor:
        return torch.cat([bank[name] for bank in banks], dim)

    keys = ("weight", "bias", "running_mean", "running_var")
    norm1, norm2 = ({key: together(f"{norm}.{key}") for key in keys} for norm in ("norm1", "norm2"))
    u = batch_norm(norm1, gelu(conv1x1(together("fc1.weight"), None, x)))
    parts, start = [], 0
    for bank, size in zip(banks, sizes, strict=True):
        parts.append(depthwise(bank["conv.weight"], bank["conv.bias"], u[:, start : start + size]))
        start += size
    v = batch_norm(norm2, gelu(torch.cat(parts, 1) + u))
    return batch_norm(of(w, "norm"), conv1x1(together("fc2.weight", 1), None, v))


def reference_global_attention(w: Weights, options: Any, x: Tensor) -> Tensor:
    b, c, height, width = x.shape
    y = attend(*(to_heads(w, name, x, options.head_dim) for name in ("query", "key", "value")))
    return conv1x1(w["project.weight"], w["project.bias"], y.reshape(b, c, height, width))


def reference_idconv(w: Weights, options: Any, x: Tensor) -> Tensor:
    """One image and one group at a time: attention over groups, a kernel of its own, a sum over its window."""
    kernel, groups = options.kernel_size, options.num_groups

    def squeezed(pooled: Tensor) -> Tensor:
        return gelu(
            batch_norm(of(w, "norm"), conv1x1(w["squeeze.weight"], None, pooled))
        )  # of the whole batch, for its statistics

    def attention(y: Tensor) -> Tensor:
        scores = [conv1x1(w["expand"][g][:, :, None, None], w["expand_bias"][g], y)[0] for g in range(groups)]
        return softmax(torch.stack(scores), 0)  # (groups, c, k, k)

    out = []
    cells, means = squeezed(cell_means(x, kernel, kernel)), squeezed(x.mean((2, 3), keepdim=True))
    for image, local, whole in zip(x.split(1), cells.split(1), means.split(1), strict=True):
        a, alpha = attention(local), attention(whole)[:, :, 0, 0]
        kernels = sum(a[g] * w["kernels"][g] for g in range(groups))
        bias = sum(alpha[g] * w["biases"][g] for g in range(groups))
        out.append(depthwise(kernels[:, None], bias, image))
    return torch.cat(out)


def reference_dynamic_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    """One image at a time: a share of each group for the whole image, and a sum of that many kernels."""
    y = conv1x1(w["squeeze.weight"], None, x.mean((2, 3), keepdim=True))
    y = conv1x1(w["expand.weight"], w["expand.bias"], gelu(batch_norm(of(w, "norm"), y)))
    out = []
    for image, share in zip(x.split(1), softmax(y[:, :, 0, 0], 1), strict=True):
        kernel, bias = (sum(share[g] * w[name][g] for g in range(options.num_groups)) for name in ("kernels", "biases"))
        out.append(depthwise(kernel[:, None], bias, image))
    return torch.cat(out)


def reference_predicted_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    """One image at a time: every tap of every channel is a sum over what the image was squeezed to."""
    y = batch_norm(of(w, "norm"), conv1x1(w["squeeze.weight"], None, x.mean((2, 3), keepdim=True))).clamp(min=0)
    kernels = torch.einsum("chws,bs->bchw", w["expand"], y[:, :, 0, 0])
    return torch.cat([depthwise(k[:, None], None, image) for k, image in zip(kernels, x.split(1), strict=True)])


LOCAL: dict[str, Callable[..., Tensor]] = {
    "idconv": reference_idconv,
    "depthwise": lambda w, options, x: depthwise(w["weight"], w["bias"], x),
    "dynamic": reference_dynamic_conv,
    "predicted": reference_predicted_conv,
    "window": lambda w, options, x: conv1x1(
        w["project.weight"], w["project.bias"], reference_local(w, options.kernel_size, options.head_dim, x)
    ),
}
"""The D-Mixer's local operators."""


def reference_idconv_mixer(w: Weights, options: Any, x: Tensor) -> Tensor:
    return reference_idconv(of(w, "conv"), options, x)


def reference_osra(w: Weights, options: Any, x: Tensor, position_bias: Tensor | None = None) -> Tensor:
    y, stride = x, options.sr_ratio
    if stride > 1:
        r = of(w, f"reductions.{stride}" if options.overlap else f"reductions.{stride}_apart")
        if options.overlap:
            y = depthwise(r["conv.weight"], None, y, stride)
        else:
            cells = patches(grown(y, *(-(-n // stride) * stride for n in y.shape[2:])), stride, stride, 0)
            y = torch.einsum("ck,bckhw->bchw", r["conv.weight"][:, 0].flatten(1), cells)
        y = gelu(batch_norm(of(r, "norm1"), y))
        y = batch_norm(of(r, "norm2"), per_channel(r["scale.weight"][:, 0, 0, 0]) * y)
        assert y.shape[2:] == (-(-x.shape[2] // stride), -(-x.shape[3] // stride))
    y = y + depthwise(w["refine.weight"], w["refine.bias"], y)
    q, k, v = (to_heads(w, n, z, options.head_dim) for n, z in (("query", x), ("key", y), ("value", y)))
    bias = torch.zeros(q.shape[1], q.shape[3], k.shape[3], dtype=x.dtype)
    if position_bias is not None:
        for head in range(-1, -1 - min(len(bias), len(position_bias)), -1):  # the last heads belong together
            axes = (bicubic(*sizes) for sizes in zip(position_bias.shape[3:], y.shape[2:], strict=True))
            bias[head] = torch.einsum("uk,vl,ijkl->ijuv", *axes, position_bias[head]).reshape(bias[head].shape)
    return attend(q, k, v, bias).reshape(x.shape)


def reference_ste(w: Weights, x: Tensor) -> Tensor:
    y = batch_norm(of(w, "norm1"), gelu(depthwise(w["conv.weight"], w["conv.bias"], x)))
    y = batch_norm(of(w, "norm2"), gelu(conv1x1(w["squeeze.weight"], w["squeeze.bias"], y)))
    return x + batch_norm(of(w, "norm3"), conv1x1(w["expand.weight"], w["expand.bias"], y))


def reference_d_mixer(w: Weights, options: Any, x: Tensor, position_bias: Tensor | None = None) -> Tensor:
    local, branches = x.shape[1] - round(options.attention_ratio * x.shape[1]), []
    if options.attention_ratio < 1:
        branches.append(LOCAL[options.local](of(w, options.local), options, x[:, :local]))
    if options.attention_ratio > 0:
        branches.append(reference_osra(of(w, "osra"), options, x[:, local:], position_bias))
    y = torch.cat(branches, 1)
    if options.enhancer == "conv1x1":
        return conv1x1(w["conv1x1.weight"], w["conv1x1.bias"], y)
    return reference_ste(of(w, "ste"), y)


def reference_partial_attention(w: Weights, options: Any, x: Tensor, residual: Tensor) -> Tensor:
    b, c, height, width = x.shape
    n = height * width
    bridge = by_heads(w["bridge"][None], options.head_dim)[0]  # (heads, d)
    heads, d = bridge.shape
    mlp = of(w, f"head_mlps.{d}")
    foreground = min(n, max(1, round(options.foreground_ratio * n)))
    out = torch.zeros(b, c, n, dtype=x.dtype)
    for i in range(b):
        score = [float(residual[i, :, p // width, p % width].sum()) for p in range(n)]
        chosen = sorted(range(n), key=lambda p: -score[p])[:foreground]
        rest = [p for p in range(n) if p not in chosen]
        token = {p: x[i, :, p // width, p % width] for p in range(n)}

        def project(name: str, p: int, token: dict = token) -> Tensor:
            return to_heads(w, name, token[p][None, :, None, None], options.head_dim)[0, :, :, 0]

        # Mixed attention of the foreground and the bridging query, which is its own query, key and value.
        queries = [project("query", p) for p in chosen] + [bridge]
        keys = [project("key", p) for p in chosen] + [bridge]
        values = [project("value", p) for p in chosen] + [bridge]
        answers = []
        for query in queries:
            scores = torch.stack([(query * key).sum(1) / math.sqrt(d) for key in keys], 1)  # (heads, foreground + 1)
            wide = torch.einsum("egh,hm->egm", mlp["weight1"], scores) + mlp["bias1"][:, :, None]
            mixed = torch.einsum("aeg,egm->am", mlp["weight2"], softmax(wide, -1))
            mixed = mixed + mlp["bias2"][:, None]
            summed = sum(mixed[:, m, None] * values[m] for m in range(len(values)))
            answers.append(w["project.weight"][:, :, 0, 0] @ summed.flatten() + w["project.bias"])
        for p, answer in zip(chosen, answers, strict=False):
            out[i, :, p] = answer

        # The single query on the background.
        if rest:
            query = answers[-1].reshape(heads, d)
            scores = torch.stack([(query * project("key", p)).sum(1) / math.sqrt(d) for p in rest], 1)
            shares = softmax(scores, -1)
            single = sum(shares[:, m, None] * project("value", p) for m, p in enumerate(rest)).flatten()
            fc1, fc2 = (w[f"channel_mlp.{name}.weight"][:, :, 0, 0] for name in ("fc1", "fc2"))
            y = normed((fc1 @ single + w["channel_mlp.fc1.bias"])[None], (1,), 1e-6)[0]
            y = (y * w["channel_mlp.norm_weight"] + w["channel_mlp.norm_bias"]).clamp(min=0)
            y = fc2 @ y + w["channel_mlp.fc2.bias"]
            for p in rest:
                out[i, :, p] = token[p] + y if options.background_residual else y
    return out.reshape(b, c, height, width)


def reference_se_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = gelu(batch_norm(of(w, "norm"), depthwise(w["conv.weight"], None, x)))
    pooled = conv1x1(w["squeeze.weight"], w["squeeze.bias"], y.mean((2, 3), keepdim=True)).clamp(min=0)
    assert pooled.shape[1] == max(1, x.shape[1] // options.reduction)
    gate = 1 / (1 + torch.exp(-conv1x1(w["expand.weight"], w["expand.bias"], pooled)))
    return conv1x1(w["project.weight"], w["project.bias"], gate * y)


def reference_absolute(w: Weights, options: Any, x: Tensor) -> Tensor:
    axes = (bicubic(options.map_size, size) for size in x.shape[2:])
    return x + torch.einsum("hi,wj,cij->chw", *axes, w[f"tables.{options.map_size}"])


def reference_pooling(w: Weights, options: Any, x: Tensor) -> Tensor:
    """The mean of the neighbours that exist, one position at a time."""
    _, _, height, width = x.shape
    reach = options.kernel_size // 2
    out = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            near = x[:, :, max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
            out[:, :, i, j] = near.mean((2, 3))
    return out - x


def window_positions(height: int, width: int, size: int) -> list[list[tuple[int, int]]]:
    """The positions of each window, row-major; windows at the right and the bottom may have fewer."""
    return [
        [(i, j) for i in range(top, min(top + size, height)) for j in range(left, min(left + size, width))]
        for top in range(0, height, size)
        for left in range(0, width, size)
    ]


def reference_local(w: Weights, size: int, head_dim: int, x: Tensor) -> Tensor:
    """Attention among the positions of each window: (b, c, h, w), before any projection."""
    out = torch.zeros_like(x)
    for window in window_positions(x.shape[2], x.shape[3], size):
        tokens = torch.stack([x[:, :, i, j] for i, j in window], -1)[..., None]  # a map of one column
        q, k, v = (to_heads(w, name, tokens, head_dim) for name in ("query", "key", "value"))
        y = attend(q, k, v).flatten(1, 2)
        for n, (i, j) in enumerate(window):
            out[:, :, i, j] = y[:, :, n]
    return out


def reference_window_attention(w: Weights, options: Any, x: Tensor) -> Tensor:
    return conv1x1(w["project.weight"], w["project.bias"], reference_local(w, options.window_size, options.head_dim, x))


def reference_spatial_reduction_attention(w: Weights, options: Any, x: Tensor) -> Tensor:
    y, stride = x, options.sr_ratio
    if stride > 1:
        r = of(w, f"reductions.{stride}")
        height, width = (-(-n // stride) * stride for n in x.shape[2:])
        seen = patches(grown(x, height, width), stride, stride, 0)
        y = torch.einsum("oik,bikhw->bohw", r["conv.weight"].flatten(2), seen) + per_channel(r["conv.bias"])
        y = per_channel(r["norm.weight"]) * normed(y, (1,), 1e-6) + per_channel(r["norm.bias"])
    q, k, v = (to_heads(w, n, z, options.head_dim) for n, z in (("query", x), ("key", y), ("value", y)))
    return conv1x1(w["project.weight"], w["project.bias"], attend(q, k, v).reshape(x.shape))


def reference_key_only_attention(w: Weights, options: Any, x: Tensor) -> Tensor:
    """Head by head: a saliency of each position, then the salient mean of the keys."""
    b, c, height, width = x.shape
    keys = to_heads(w, "key", x, options.head_dim)  # (b, heads, d, n)
    gate, d = by_heads(w["gate"][None], options.head_dim)[0], keys.shape[2]
    contexts = []
    for head in range(keys.shape[1]):
        saliency = softmax(torch.einsum("bdn,d->bn", keys[:, head], gate[head]) / math.sqrt(d), -1)
        contexts.append(torch.einsum("bn,bdn->bd", saliency, keys[:, head]))
    context = torch.cat(contexts, 1)
    y = context[:, :, None, None] * conv1x1(w["value.weight"], w["value.bias"], x)
    y = conv1x1(w["mix1.weight"], w["mix1.bias"], y) + keys.reshape(b, c, height, width)
    return conv1x1(w["mix2.weight"], w["mix2.bias"], y)


def one_group(w: Weights, x: Tensor) -> Tensor:
    return per_channel(w["weight"]) * normed(x, (1, 2, 3), 1e-6) + per_channel(w["bias"])


def reference_h_mhsa(w: Weights, options: Any, x: Tensor) -> Tensor:
    u = one_group(of(w, "norm"), x)
    if options.window_size == 1:
        q, k, v = (to_heads(w, f"whole.{n}", u, options.head_dim) for n in ("query", "key", "value"))
        return conv1x1(w["whole_project.weight"], w["whole_project.bias"], attend(q, k, v).reshape(x.shape))
    g = one_group(of(w, "grid_norm"), x + reference_local(of(w, "local"), options.window_size, options.head_dim, u))
    height, width = x.shape[2:]
    size = options.pool_size
    rows = [
        torch.stack([g[:, :, i : i + size, j : j + size].mean((2, 3)) for j in range(0, width, size)], -1)
        for i in range(0, height, size)
    ]
    p = one_group(of(w, "pool_norm"), torch.stack(rows, -2))
    q, k, v = (to_heads(w, f"pooled.{n}", z, options.head_dim) for n, z in (("query", g), ("key", p), ("value", p)))
    return conv1x1(w["project.weight"], w["project.bias"], attend(q, k, v).reshape(x.shape) + g)


def reference_mat_attention(w: Weights, options: Any, x: Tensor) -> Tensor:
    """Window by window, each with the abstract token; then the tokens among themselves; then every position asks them."""
    b, _, height, width = x.shape

    def project(name: str, tokens: Tensor) -> Tensor:
        return to_heads(w, name, tokens[..., None], options.head_dim)  # tokens (b, c, n)

    token = by_heads(w["token"].expand(b, -1), options.head_dim)[..., None]
    abstract, local, queries, places = [], [], [], []
    for window in window_positions(height, width, options.window_size):
        tokens = torch.stack([x[:, :, i, j] for i, j in window], -1)
        q, k, v = (project(name, tokens) for name in ("query", "key", "value"))
        y = attend(torch.cat((q, token), -1), torch.cat((k, token), -1), torch.cat((v, token), -1))
        local.append(y[..., :-1])
        abstract.append(y[..., -1].flatten(1))
        queries.append(q)
        places += window
    a = torch.stack(abstract, -1)  # (b, c, windows)
    mixed = attend(project("mix_query", a), project("mix_key", a), project("mix_value", a)).flatten(1, 2)
    mixed = conv1x1(w["mix_project.weight"], w["mix_project.bias"], mixed[..., None])[..., 0]
    fused = attend(torch.cat(queries, -1), project("fuse_key", mixed), project("fuse_value", mixed))
    y = conv1x1(w["project.weight"], w["project.bias"], (torch.cat(local, -1) + fused).flatten(1, 2)[..., None])[..., 0]
    out = torch.zeros_like(x)
    for n, (i, j) in enumerate(places):
        out[:, :, i, j] = y[:, :, n]
    return out


def reference_dw_mlp(w: Weights, options: Any, x: Tensor) -> Tensor:
    activation = {"gelu": gelu, "silu": silu, "relu": lambda y: y.clamp(min=0)}[options.activation]
    y = depthwise(w["conv.weight"], w["conv.bias"], conv1x1(w["fc1.weight"], w["fc1.bias"], x))
    return conv1x1(w["fc2.weight"], w["fc2.bias"], activation(y))


def reference_inverted_residual(w: Weights, options: Any, x: Tensor) -> Tensor:
    activation = ACTIVATIONS[options.activation]
    y = activation(conv1x1(w["fc1.weight"], None, one_group(of(w, "norm1"), x)))
    y = activation(depthwise(w["conv.weight"], None, y))
    return one_group(of(w, "norm2"), conv1x1(w["fc2.weight"], None, y))


def reference_rp_cpe_ffn(w: Weights, options: Any, x: Tensor) -> Tensor:
    h = conv1x1(w["fc1.weight"], w["fc1.bias"], x)
    assert h.shape[1] == int(options.ratio * x.shape[1])
    y = h if options.skip else 0 * h
    for i in range(options.num_branches):
        branch = of(w, f"branches.{i}")
        sizes = [options.kernel_size - 2 * n for n in range(options.kernel_size // 2 + 1)]  # by turns where they differ
        assert branch["conv.weight"].shape[-1] == (sizes[i % len(sizes)] if options.diverse else options.kernel_size)
        z = depthwise(branch["conv.weight"], branch.get("conv.bias"), h)
        y = y + (batch_norm(of(branch, "norm"), z) if options.branch_norm else z)
    return conv1x1(w["fc2.weight"], w["fc2.bias"], gelu(y))


def coordinate_conv(w: Weights, x: Tensor) -> Tensor:
    """As one depthwise convolution, whose kernels are outer products: without biases, zeros outside stay zeros."""
    return depthwise(torch.einsum("cxyk,cxlz->cxlk", w["row"], w["column"]), None, x)


def reference_coordinate_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    return coordinate_conv(of(w, "conv"), x)


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


REFERENCES: dict[tuple[str, str], Callable[..., Tensor]] = {
    ("embedding", "bilinear_embedding"): reference_bilinear_embedding,
    ("embedding", "conv_downsampling"): reference_conv_downsampling,
    ("embedding", "conv_stem"): reference_conv_stem,
    ("embedding", "ems_stem"): reference_ems_stem,
    ("embedding", "hat_stem"): reference_hat_stem,
    ("embedding", "mat_stem"): reference_mat_stem,
    ("embedding", "patch_embedding"): reference_patch_embedding,
    ("embedding", "patch_merging"): reference_patch_merging,
    ("ffn", "dw_mlp"): reference_dw_mlp,
    ("ffn", "inverted_residual"): reference_inverted_residual,
    ("ffn", "mlp"): reference_mlp,
    ("ffn", "ms_ffn"): reference_ms_ffn,
    ("ffn", "rp_cpe_ffn"): reference_rp_cpe_ffn,
    ("head", "conv_head"): reference_conv_head,
    ("head", "linear_head"): reference_linear_head,
    ("mixer", "c_mhsa"): reference_c_mhsa,
    ("mixer", "coordinate_conv"): reference_coordinate_conv,
    ("mixer", "d_mixer"): reference_d_mixer,
    ("mixer", "depthwise_conv"): reference_depthwise_conv,
    ("mixer", "ems"): reference_ems,
    ("mixer", "g_mhsa"): reference_g_mhsa,
    ("mixer", "global_attention"): reference_global_attention,
    ("mixer", "h_mhsa"): reference_h_mhsa,
    ("mixer", "idconv"): reference_idconv_mixer,
    ("mixer", "identity"): identity,
    ("mixer", "key_only_attention"): reference_key_only_attention,
    ("mixer", "mat_attention"): reference_mat_attention,
    ("mixer", "none"): identity,
    ("mixer", "partial_attention"): reference_partial_attention,
    ("mixer", "pooling"): reference_pooling,
    ("mixer", "se_conv"): reference_se_conv,
    ("mixer", "spatial_reduction_attention"): reference_spatial_reduction_attention,
    ("mixer", "window_attention"): reference_window_attention,
    ("norm", "batch_norm"): reference_batch_norm,
    ("norm", "group_norm"): reference_group_norm,
    ("norm", "layer_norm"): reference_layer_norm,
    ("norm", "none"): identity,
    ("position", "absolute"): reference_absolute,
    ("position", "dpe"): reference_dpe,
    ("position", "none"): identity,
    ("position", "peg"): reference_dpe,
    ("position_bias", "dense_table"): reference_dense_table,
    ("scale", "layer_scale"): reference_layer_scale,
    ("scale", "none"): identity,
}

ELSEWHERE: set[tuple[str, str]] = set()
"""Parts whose reference stands in a test file of their own."""


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_part_has_a_reference(kind: str) -> None:
    missing = [name for name in registry.parts(kind) if (kind, name) not in REFERENCES.keys() | ELSEWHERE]
    assert not missing, f"write a naive version of {missing} into REFERENCES, or name its test in ELSEWHERE"


def compare(module: torch.nn.Module, reference: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Outputs, and the gradients of every parameter and of the inputs that want one, in float64."""
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    names = [name for name, _ in module.named_parameters()]
    for name in names:
        state[name].requires_grad_()

    y = module(*inputs)
    expected = reference(state, *inputs)
    torch.testing.assert_close(y, expected, atol=1e-10, rtol=1e-8)

    cotangent = noise(*y.shape, seed=4, dtype=torch.float64)
    xs = {f"input {i}": x for i, x in enumerate(inputs) if x.requires_grad}
    own = [parameter for _, parameter in module.named_parameters()]
    kwargs = {"allow_unused": True, "materialize_grads": True}
    found = torch.autograd.grad((y * cotangent).sum(), [*xs.values(), *own], **kwargs)
    wanted = torch.autograd.grad((expected * cotangent).sum(), [*xs.values(), *(state[n] for n in names)], **kwargs)
    for name, one, other in zip([*xs, *names], found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def compare_case(case: Case, module: torch.nn.Module, options: Any, height: int, width: int) -> None:
    inputs = case.inputs(height, width, batch=2, dtype=torch.float64)
    inputs[0].requires_grad_()
    reference = REFERENCES[case.kind, case.name]
    compare(module.double(), lambda w, *xs: reference(w, options, *xs), *inputs)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (3, 10)])
@pytest.mark.parametrize("case", [case for case in cases() if (case.kind, case.name) in REFERENCES], ids=str)
def test_reference(case: Case, height: int, width: int) -> None:
    compare_case(case, case.make(), case.options, height, width)


@pytest.mark.parametrize("case", cases("embedding") + cases("mixer") + cases("ffn"), ids=str)
def test_reference_where_shares_of_the_width_are_no_whole_numbers(case: Case) -> None:
    dims = (5, 22) if case.kind == "embedding" else (22,)
    module = randomise(registry.make(case.kind, case.part, *dims)).eval()
    count = len(case.inputs(1, 1))
    inputs = [noise(2, dims[0], 7, 5, seed=1 + i, dtype=torch.float64) for i in range(count)]
    reference = REFERENCES[case.kind, case.name]
    compare(module.double(), lambda w, *xs: reference(w, case.options, *xs), inputs[0].requires_grad_(), *inputs[1:])


@pytest.mark.parametrize("case", cases("mixer", "h_mhsa"), ids=str)
def test_h_mhsa_with_a_norm_that_is_never_used(case: Case) -> None:
    options = dataclasses.replace(case.options, unused_norm=True)
    module = randomise(case.module_class(*case.dims, options)).eval()
    assert any(name.startswith("unused_norm.") for name in module.state_dict())
    compare_case(case, module, options, 7, 5)


@pytest.mark.parametrize("resize", ["grid", "flat"])
@pytest.mark.parametrize("case", cases("position_bias", "dense_table"), ids=str)
def test_dense_table_on_maps_of_its_size(case: Case, resize: str) -> None:
    """Nothing is resized; then one side alone is, and maps that are smaller, to one position."""
    side, options = case.options.map_size, dataclasses.replace(case.options, resize=resize)
    module = randomise(case.module_class(options))
    y = module(noise(1, 1, side, side))
    assert torch.equal(y.flatten(3).flatten(1, 2), next(module.parameters()))
    for height, width in [(side, side), (side, side + 3), (side + 1, side), (side // 2, side // 2), (1, 1)]:
        compare_case(case, module, options, height, width)


@pytest.mark.parametrize(("keys_down", "keys_across"), [(0, 0), (2, 1), (-1, 3)])
@pytest.mark.parametrize("more_heads", [-1, 0, 2])
@pytest.mark.parametrize(
    "case", [case for case in cases("mixer", "d_mixer") if case.options.attention_ratio > 0], ids=str
)
def test_d_mixer_adds_its_position_bias(case: Case, more_heads: int, keys_down: int, keys_across: int) -> None:
    """Also a bias for fewer or more heads than it has, and for another grid of keys."""
    module = case.make().double()
    heads = round(case.options.attention_ratio * case.dims[0]) // case.options.head_dim
    height, width = 7, 5
    keys = (-(-height // case.options.sr_ratio) + keys_down, -(-width // case.options.sr_ratio) + keys_across)
    (x,) = case.inputs(height, width, batch=2, dtype=torch.float64)
    bias = noise(heads + more_heads, height, width, *keys, seed=3, dtype=torch.float64)
    compare(module, lambda w, *xs: reference_d_mixer(w, case.options, *xs), x.requires_grad_(), bias.requires_grad_())


@pytest.mark.parametrize("change", [{}, {"skip": False}, {"branch_norm": False}, {"num_branches": 1}], ids=str)
@pytest.mark.parametrize("case", cases("ffn", "rp_cpe_ffn"), ids=str)
def test_rp_cpe_is_one_convolution_in_evaluation(case: Case, change: dict[str, Any]) -> None:
    options = dataclasses.replace(case.options, **change)
    module = randomise(case.module_class(*case.dims, options)).eval().double()
    single = dataclasses.replace(options, num_branches=1, branch_norm=False, skip=False, diverse=False)
    merged = module.reparameterised()
    assert module.reparameterised_options(options) == (None if single == options else single)
    if single == options:
        assert merged is None
        return
    plain = case.module_class(*case.dims, single).double().eval()
    plain.load_state_dict(merged.state_dict())  # it is what its options say
    for height, width in [(8, 8), (7, 5), (1, 1)]:
        (x,) = case.inputs(height, width, batch=2, dtype=torch.float64)
        y = module(x)
        torch.testing.assert_close(merged(x), y, atol=1e-10, rtol=1e-8)
        torch.testing.assert_close(plain(x), y, atol=1e-10, rtol=1e-8)
    randomise(merged, 9)
    assert torch.equal(module(x), y)  # on copies of the weights


def batch_norm_in_training(w: Weights, x: Tensor) -> Tensor:
    return per_channel(w["weight"]) * normed(x, (0, 2, 3), 1e-5) + per_channel(w["bias"])


def normalises_batches(case: Case) -> bool:
    return any(isinstance(module, torch.nn.BatchNorm2d) for module in case.make().modules())


@pytest.mark.parametrize("case", [case for case in cases() if normalises_batches(case)], ids=str)
def test_reference_in_training(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same equations with the batch's statistics in place of the running ones, outputs and gradients."""
    monkeypatch.setitem(globals(), "batch_norm", batch_norm_in_training)
    module = case.make().train()
    compare_case(case, module, case.options, 8, 8)
    norms = [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) - 5 for norm in norms} <= {1, 2}  # the norm in IDConv sees two maps


@pytest.mark.parametrize(("name", "function"), [("gelu", gelu), ("silu", silu), ("relu", lambda x: x.clamp(min=0))])
def test_activations(name: str, function: Callable[[Tensor], Tensor]) -> None:
    from search_spaces import layers

    x = noise(100, dtype=torch.float64) * 3
    torch.testing.assert_close(layers.ACTIVATIONS[name](x), function(x))


def test_attention_is_softmax_attention() -> None:
    from search_spaces.layers import attention

    q, k, v = noise(2, 3, 5, 4), noise(2, 3, 6, 4, seed=1), noise(2, 3, 6, 7, seed=2)
    y = attention(q, k, v)
    expected = torch.einsum("banm,bame->bane", softmax(torch.einsum("band,bamd->banm", q, k) / 2, -1), v)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize(("height", "width", "size"), [(56, 56, 6), (7, 14, 6), (9, 5, 4), (3, 2, 4), (8, 12, 4)])
@pytest.mark.parametrize("maximum", [False, True])
def test_a_token_is_sampled_from_the_positions_that_it_is_given_back_to(
    maximum: bool, height: int, width: int, size: int
) -> None:
    """Each cell has a number of its own: sampled and propagated with ones, every position has it again."""
    sample, propagation = Sample(1, 1, size, maximum=maximum), Propagation(1, size)
    for parameter in (*sample.parameters(), *propagation.parameters()):
        torch.nn.init.ones_(parameter)
    rows, columns = torch.arange(height) // size, torch.arange(width) // size
    numbers = (rows[:, None] * (columns[-1] + 1) + columns).reshape(1, 1, height, width).double()
    with torch.no_grad():
        tokens = sample.double()(numbers)
        assert tokens.shape[2:] == (rows[-1] + 1, columns[-1] + 1)
        torch.testing.assert_close(propagation.double()(tokens, height, width), numbers)


@pytest.mark.parametrize(("side", "size"), [(8, 2), (8, 4), (12, 6), (6, 3)])
def test_means_of_cells_that_divide_the_map_are_those_of_adaptive_pooling(side: int, size: int) -> None:
    sample = randomise(Sample(3, 5, size)).double()
    x = noise(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        expected = sample.conv(torch.nn.functional.adaptive_avg_pool2d(x, side // size))
        torch.testing.assert_close(sample(x), expected)


def test_partial_attention_breaks_ties_by_position() -> None:
    case = next(iter(cases("mixer", "partial_attention")))
    module, (x, residual) = case.make(), case.inputs(4, 5)
    flat, ramp = torch.zeros_like(residual), -torch.arange(20.0).reshape(1, 1, 4, 5).expand_as(residual)
    with torch.no_grad():
        torch.testing.assert_close(module(x, flat), module(x, ramp))
        assert not torch.equal(module(x, residual), module(x, ramp))


def test_partial_attention_moves_with_its_tokens() -> None:
    """It sees a set: permuting positions permutes the output."""
    case = cases("mixer", "partial_attention")[1]
    module = case.make().double()
    x, residual = case.inputs(4, 5, dtype=torch.float64)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))

    def moved(y: Tensor) -> Tensor:
        return y.flatten(2)[:, :, order].reshape(y.shape)

    with torch.no_grad():
        torch.testing.assert_close(moved(module(x, residual)), module(moved(x), moved(residual)))


# TransXNet's block against the closed forms that were verified on the authors' code


def transxnet_block(dim: int, stride: int, groups: int) -> list[tuple[str, Part, int]]:
    """The parts of a block and how often they stand in it."""
    mixer = Part.of("d_mixer", head_dim=dim // 2 // (dim // 48), sr_ratio=stride, kernel_size=7, num_groups=groups)
    return [
        ("position", Part.of("dpe", kernel_size=7), 1),
        ("norm", Part.of("group_norm"), 2),
        ("mixer", mixer, 1),
        ("scale", Part.of("layer_scale"), 2),
        ("ffn", Part.of("ms_ffn", ratio=4.0, scales=(1, 3, 5, 7)), 1),
    ]


@pytest.mark.parametrize(
    ("dim", "side", "stride", "groups"),
    [(48, 56, 8, 2), (96, 28, 4, 2), (96, 56, 4, 3), (48, 57, 2, 2), (96, 7, 1, 4)],
)
def test_transxnet_block_has_the_closed_form_costs(dim: int, side: int, stride: int, groups: int) -> None:
    c, k, g, s = dim // 2, 7, groups, stride
    q, inner, h = c // 4, max(16, dim // 8), 4 * dim
    wide = h - 3 * (h // 4) + (9 + 25 + 49) * (h // 4)
    params = 50 * dim + 4 * dim + 4 * dim  # DPE, two norms, two scales
    params += g * c * k * k + g * c + c * q + 2 * q + q * g * c + g * c  # IDConv
    params += 3 * c * c + 3 * c + 10 * c + ((c * (s + 3) ** 2 + 5 * c) if s > 1 else 0)  # OSRA
    params += 2 * dim * inner + 3 * inner + 15 * dim  # STE
    params += 2 * dim * h + wide + 5 * h + 2 * dim  # MS-FFN

    n, reduced = side * side, (-(-side // s)) ** 2
    macs = 49 * dim * n  # DPE
    macs += (k * k + 1) * (c * q + q * g * c) + c * k * k * n  # IDConv
    macs += c * c * n + 9 * c * reduced + 2 * c * c * reduced  # OSRA
    macs += (c * (s + 3) ** 2 * reduced + c * reduced) if s > 1 else 0
    macs += 2 * n * reduced * c  # its products
    macs += 9 * dim * n + 2 * dim * inner * n  # STE
    macs += 2 * dim * h * n + wide * n  # MS-FFN
    macs += 2 * (q * (k * k + 1) + (2 * dim + inner) * n + (2 * h + dim) * n)  # batch norms
    macs += 4 * c * reduced if s > 1 else 0
    macs += 10 * dim * n + c * n  # group norms, pooling
    # LayerScale is a product here, which counts nothing; the authors' convolution is 2 * dim * n more.

    found = [
        (times, part_cost(kind, registry.complete_part(kind, part), (dim,), side, side))
        for kind, part, times in transxnet_block(dim, stride, groups)
    ]
    assert sum(times * cost.params for times, cost in found) == params
    assert sum(times * cost.macs for times, cost in found) == macs


def test_transxnet_stem_and_downsampling_have_the_closed_form_costs() -> None:
    stem = Part.of("conv_downsampling", kernel_size=7, stride=4, norm="batch_norm")
    found = part_cost("embedding", stem, (3, 48), 224, 224)
    assert found == (149 * 48, 147 * 48 * 56 * 56 + 2 * 48 * 56 * 56, 56, 56)
    found = part_cost("embedding", Part.of("conv_downsampling"), (48, 96), 56, 56)
    assert found == (9 * 48 * 96 + 2 * 96, 9 * 48 * 96 * 28 * 28 + 2 * 96 * 28 * 28, 28, 28)
    head = Part.of("linear_head", norm="group_norm")
    assert part_cost("head", head, (448, 1000), 7, 7) == (2 * 448 + 1000 * 448 + 1000, 1000 * 448 + 6 * 448 * 49, 0, 0)


def test_a_wrong_shape_fails_by_its_annotation() -> None:
    """The shape checks are on: a map without a batch axis would otherwise be normalised as something else."""
    norm = next(case for case in cases("norm", "layer_norm")).make()
    with pytest.raises(Exception, match=r"b c h w") as error:
        norm(noise(16, 8, 8))
    assert type(error.value).__module__.startswith("jaxtyping")
