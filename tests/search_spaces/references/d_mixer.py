"""The reference of the D-Mixer: local operators beside attention with fewer keys, and an enhancer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.search_spaces.references.attention import reference_local
from tests.search_spaces.references.convolutions import (
    reference_dynamic_conv,
    reference_idconv,
    reference_predicted_conv,
)
from tests.search_spaces.references.operations import (
    References,
    Weights,
    attend,
    batch_norm,
    bicubic,
    conv1x1,
    depthwise,
    gelu,
    grown,
    of,
    patches,
    per_channel,
    to_heads,
)

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


D_MIXER: References = {
    ("mixer", "d_mixer"): reference_d_mixer,
}
