"""The references of embeddings and heads."""

from typing import Any

import torch
from torch import Tensor

from tests.search_spaces.references.norms_and_positions import named_norm
from tests.search_spaces.references.operations import (
    ACTIVATIONS,
    References,
    Weights,
    batch_norm,
    conv,
    conv1x1,
    depthwise,
    gelu,
    grown,
    normed,
    of,
    one_group,
    patches,
    per_channel,
)


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


def reference_linear_head(w: Weights, options: Any, x: Tensor) -> Tensor:
    pooled = named_norm(options.norm, of(w, "norm"), x).mean((2, 3))
    return pooled @ w["linear.weight"].T + w["linear.bias"]


def reference_conv_head(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = conv1x1(w["conv.weight"], w["conv.bias"], named_norm(options.norm, of(w, "norm"), x))
    return gelu(batch_norm(of(w, "conv_norm"), y)).mean((2, 3)) @ w["linear.weight"].T + w["linear.bias"]


EMBEDDINGS: References = {
    ("embedding", "bilinear_embedding"): reference_bilinear_embedding,
    ("embedding", "conv_downsampling"): reference_conv_downsampling,
    ("embedding", "conv_stem"): reference_conv_stem,
    ("embedding", "ems_stem"): reference_ems_stem,
    ("embedding", "hat_stem"): reference_hat_stem,
    ("embedding", "mat_stem"): reference_mat_stem,
    ("embedding", "patch_embedding"): reference_patch_embedding,
    ("embedding", "patch_merging"): reference_patch_merging,
}


HEADS: References = {
    ("head", "conv_head"): reference_conv_head,
    ("head", "linear_head"): reference_linear_head,
}
