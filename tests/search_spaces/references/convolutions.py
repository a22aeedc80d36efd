"""The references of mixers that convolve or pool, and of those that leave a map as it is."""

from typing import Any

import torch
from torch import Tensor

from tests.search_spaces.references.operations import (
    References,
    Weights,
    batch_norm,
    cell_means,
    conv1x1,
    depthwise,
    gelu,
    identity,
    of,
    softmax,
)


def reference_depthwise_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    return depthwise(w["conv.weight"], w["conv.bias"], x)


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


def reference_idconv_mixer(w: Weights, options: Any, x: Tensor) -> Tensor:
    return reference_idconv(of(w, "conv"), options, x)


def reference_se_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    y = gelu(batch_norm(of(w, "norm"), depthwise(w["conv.weight"], None, x)))
    pooled = conv1x1(w["squeeze.weight"], w["squeeze.bias"], y.mean((2, 3), keepdim=True)).clamp(min=0)
    assert pooled.shape[1] == max(1, x.shape[1] // options.reduction)
    gate = 1 / (1 + torch.exp(-conv1x1(w["expand.weight"], w["expand.bias"], pooled)))
    return conv1x1(w["project.weight"], w["project.bias"], gate * y)


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


def coordinate_conv(w: Weights, x: Tensor) -> Tensor:
    """As one depthwise convolution, whose kernels are outer products: without biases, zeros outside stay zeros."""
    return depthwise(torch.einsum("cxyk,cxlz->cxlk", w["row"], w["column"]), None, x)


def reference_coordinate_conv(w: Weights, options: Any, x: Tensor) -> Tensor:
    return coordinate_conv(of(w, "conv"), x)


CONVOLUTIONS: References = {
    ("mixer", "coordinate_conv"): reference_coordinate_conv,
    ("mixer", "depthwise_conv"): reference_depthwise_conv,
    ("mixer", "idconv"): reference_idconv_mixer,
    ("mixer", "identity"): identity,
    ("mixer", "none"): identity,
    ("mixer", "pooling"): reference_pooling,
    ("mixer", "se_conv"): reference_se_conv,
}
