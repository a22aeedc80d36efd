"""The references of mixers that attend, over the whole map, in windows, or from a share of the positions."""

import math
from typing import Any

import torch
from torch import Tensor

from tests.search_spaces.references.operations import (
    References,
    Weights,
    attend,
    by_heads,
    conv1x1,
    grown,
    normed,
    of,
    one_group,
    patches,
    per_channel,
    softmax,
    to_heads,
    window_positions,
)


def reference_global_attention(w: Weights, options: Any, x: Tensor) -> Tensor:
    b, c, height, width = x.shape
    y = attend(*(to_heads(w, name, x, options.head_dim) for name in ("query", "key", "value")))
    return conv1x1(w["project.weight"], w["project.bias"], y.reshape(b, c, height, width))


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


ATTENTION: References = {
    ("mixer", "global_attention"): reference_global_attention,
    ("mixer", "h_mhsa"): reference_h_mhsa,
    ("mixer", "key_only_attention"): reference_key_only_attention,
    ("mixer", "mat_attention"): reference_mat_attention,
    ("mixer", "partial_attention"): reference_partial_attention,
    ("mixer", "spatial_reduction_attention"): reference_spatial_reduction_attention,
    ("mixer", "window_attention"): reference_window_attention,
}
