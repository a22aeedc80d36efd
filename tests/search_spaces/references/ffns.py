"""The references of feed-forward networks."""

from typing import Any

import torch
from torch import Tensor

from tests.search_spaces.references.operations import (
    ACTIVATIONS,
    References,
    Weights,
    batch_norm,
    conv1x1,
    depthwise,
    gelu,
    of,
    one_group,
    silu,
)


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


FFNS: References = {
    ("ffn", "dw_mlp"): reference_dw_mlp,
    ("ffn", "inverted_residual"): reference_inverted_residual,
    ("ffn", "mlp"): reference_mlp,
    ("ffn", "ms_ffn"): reference_ms_ffn,
    ("ffn", "rp_cpe_ffn"): reference_rp_cpe_ffn,
}
