"""The references of norms, scales, positions and position biases."""

from typing import Any

import torch
from torch import Tensor

from search_spaces import registry
from search_spaces.architecture import Part
from tests.search_spaces.references.operations import (
    References,
    Weights,
    batch_norm,
    bicubic,
    depthwise,
    identity,
    normed,
    of,
    per_channel,
)


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


def reference_absolute(w: Weights, options: Any, x: Tensor) -> Tensor:
    axes = (bicubic(options.map_size, size) for size in x.shape[2:])
    return x + torch.einsum("hi,wj,cij->chw", *axes, w[f"tables.{options.map_size}"])


NORMS: References = {
    ("norm", "batch_norm"): reference_batch_norm,
    ("norm", "group_norm"): reference_group_norm,
    ("norm", "layer_norm"): reference_layer_norm,
    ("norm", "none"): identity,
}


def named_norm(name: str, w: Weights, x: Tensor, **options: Any) -> Tensor:
    return NORMS["norm", name](w, registry.options("norm", Part.of(name, **options)), x)


SCALES: References = {
    ("scale", "layer_scale"): reference_layer_scale,
    ("scale", "none"): identity,
}


POSITIONS: References = {
    ("position", "absolute"): reference_absolute,
    ("position", "dpe"): reference_dpe,
    ("position", "none"): identity,
    ("position", "peg"): reference_dpe,
    ("position_bias", "dense_table"): reference_dense_table,
}
