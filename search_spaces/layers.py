"""Layers that several parts share. Every elastic size is a whole tensor axis; maps are (b, c, h, w) at every border.

Weights start as a truncated normal of standard deviation fan_in ** -0.5, biases at zero. (The papers take 0.02 throughout, which
suits their widths and 300 epochs; at the widths and budgets of a search it starts every branch near zero and costs accuracy.)
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.errors import InputError, unknown

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


def check_activation(name: str) -> None:
    """
    Raises:
        InputError: not one of `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS, 'activation = "{}"')


def check_positive(**values: float) -> None:
    """
    Raises:
        InputError: a value is not above zero, or not finite.
    """
    for key, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"{key} is {value}", "a number above 0", f"{key} = 1")


def check_odd(**values: int) -> None:
    """
    Raises:
        InputError: a kernel size is not odd and positive.
    """
    for key, value in values.items():
        if value < 1 or value % 2 == 0:
            raise InputError(f"{key} is {value}", "an odd whole number: 1, 3, 5, 7, ...", f"{key} = 3")


def check_patch(kernel_size: int, stride: int) -> None:
    """For strided convolutions whose patches overlap (odd kernels) or lie side by side (an even kernel that is the stride).

    Raises:
        InputError: another even kernel, which would have no middle, or a kernel below 1.
    """
    if kernel_size < 1 or (kernel_size % 2 == 0 and kernel_size != stride):
        raise InputError(
            f"kernel_size is {kernel_size} with stride {stride}", "an odd whole number, or an even stride", "kernel_size = 3"
        )  # fmt: skip


def split_heads(dim: int, head_dim: int) -> tuple[int, int]:
    """Number and size of the heads of `dim` channels: `head_dim` each or, where that leaves a remainder, the next larger divisor.

    So every head size fits every width, and a size that divides it is what it says.
    """
    size = next(size for size in range(min(head_dim, dim), dim + 1) if dim % size == 0)
    return dim // size, size


DENOMINATORS = (1, 2, 4, 8, 10, 16, 20, 32, 64, 100)
"""Of the shares that people write, the roundest first."""


def roundest(share: float, same: Callable[[float], bool]) -> float:
    """The roundest share from 0 to 1 that means the same, by `DENOMINATORS`; the share itself where none of these does.

    Args:
        same: whether another share means the same, which is an interval around `share`.
    """
    for denominator in DENOMINATORS:
        nearest = share * denominator
        for numerator in (math.floor(nearest), math.ceil(nearest)):
            if 0 < numerator <= denominator and same(numerator / denominator):
                return numerator / denominator
    return share


def map_size(x: Float[Tensor, "b c h w"]) -> tuple[int, int]:
    """Height and width of a map, to compute with: numbers, or symbols where torch.export leaves them open."""
    height, width = x.shape[2:]
    # torch.jit.trace gives sizes as tensors. Only those are converted: `int` would fix a symbol to the size of the example.
    return (int(height), int(width)) if isinstance(height, Tensor) else (height, width)


def is_known(condition: bool | torch.SymBool) -> bool:
    """Whether a condition on sizes holds.

    False where torch.export leaves the sizes open: code that asks then takes its general path, and the exported program is not
    fixed to the sizes of the example.
    """
    if not torch.compiler.is_exporting():
        return bool(condition)
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # slow to import, and only needed here

    return statically_known_true(condition)


def ceil_div(number: int, divisor: int) -> int:
    """Quotient, rounded up. With symbols torch.export simplifies this form, and not -(-number // divisor)."""
    return (number + divisor - 1) // divisor


def crop(x: Float[Tensor, "b c h w"], height: int, width: int) -> Float[Tensor, "b c height width"]:
    """The first rows and columns of a map."""
    if is_known(height <= x.shape[2]) and is_known(width <= x.shape[3]):
        return x[:, :, :height, :width]
    # torch.export cannot prove that such a slice lies inside the map, but it accepts a negative padding.
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))


def pad_to_multiple(
    x: Float[Tensor, "b c h w"], size: int, value: float = 0.0
) -> Float[Tensor, "b c padded_h padded_w"]:
    """The map, padded at the right and the bottom to sides that `size` divides."""
    h, w = map_size(x)
    return F.pad(x, (0, ceil_div(w, size) * size - w, 0, ceil_div(h, size) * size - h), value=value)


def _remainder_is_open(size: int, *sides: int) -> bool:
    """Whether torch.export leaves open if `size` divides the sides."""
    return not all(is_known(side % size == 0) or is_known(side % size != 0) for side in sides)


def max_pool(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h2 w2"]:
    """Maxima of cells of size x size; the last ones are smaller where `size` does not divide the map."""
    if _remainder_is_open(size, *map_size(x)):  # torch.export cannot prove which cells `ceil_mode` keeps
        return F.max_pool2d(pad_to_multiple(x, size, -math.inf), size, size)
    return F.max_pool2d(x, size, size, ceil_mode=True)


def avg_pool(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h2 w2"]:
    """Means of cells of size x size; the last ones are smaller where `size` does not divide the map."""
    if _remainder_is_open(size, *map_size(x)):
        inside = pad_to_multiple(torch.ones_like(x[:1, :1]), size)
        return F.avg_pool2d(pad_to_multiple(x, size), size) / F.avg_pool2d(inside, size)
    return F.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)


def trunc_normal(*shape: int, fan_in: int) -> nn.Parameter:
    """A parameter drawn from a normal of standard deviation fan_in ** -0.5, truncated at two of them."""
    return nn.Parameter(fill_trunc_normal(torch.empty(*shape), fan_in))


def fill_trunc_normal(tensor: Tensor, fan_in: int) -> Tensor:
    """The same, in place. Only numbers beyond the limits are drawn again. From version 2.12 on, torch's function draws whole tensors again until
    no number is beyond them, which takes up to 6 times as long.
    """
    std = fan_in**-0.5
    if torch.overrides.has_torch_function_variadic(tensor):
        return torch.overrides.handle_torch_function(fill_trunc_normal, (tensor,), tensor, fan_in)
    if tensor.is_meta:
        return tensor
    with torch.no_grad():
        values = torch.empty(tensor.numel(), dtype=tensor.dtype, device=tensor.device).normal_(std=std)
        beyond = (values.abs() > 2 * std).nonzero().squeeze(1)
        while len(beyond):
            drawn = values.new_empty(len(beyond)).normal_(std=std)
            values[beyond] = drawn
            beyond = beyond[drawn.abs() > 2 * std]
        return tensor.copy_(values.view(tensor.shape))


class Conv(nn.Conv2d):
    """A convolution, padded to keep the size at stride 1, started as this module's docstring says."""

    def __init__(
        self, in_dim: int, dim: int, kernel_size: int = 1, *, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(in_dim, dim, kernel_size, stride, kernel_size // 2, groups=groups, bias=bias)

    def reset_parameters(self) -> None:
        fill_trunc_normal(self.weight, self.weight[0].numel())
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class PatchConv(Conv):
    """A convolution whose kernel is its stride: one value per patch. A map that it does not divide is padded with zeros at the right
    and the bottom, so that the output side is ceil(side / stride).
    """

    def __init__(self, in_dim: int, dim: int, size: int, *, bias: bool = True) -> None:
        super().__init__(in_dim, dim, size, stride=size, bias=bias)
        self.padding = (0, 0)

    def forward(self, input: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        return super().forward(pad_to_multiple(input, self.kernel_size[0]))


def strided_conv(in_dim: int, dim: int, kernel_size: int, stride: int, *, bias: bool = True) -> Conv:
    """A convolution whose patches overlap, where the kernel is odd, or lie side by side, where it is an even stride."""
    if kernel_size % 2:
        return Conv(in_dim, dim, kernel_size, stride=stride, bias=bias)
    return PatchConv(in_dim, dim, stride, bias=bias)


class DepthwiseConv(Conv):
    """A depthwise convolution with bias."""

    def __init__(self, dim: int, kernel_size: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__(dim, dim, kernel_size, stride=stride, groups=dim, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight
        return F.conv2d(input, weight, self.bias, self.stride, self.padding, groups=weight.shape[0])


class ToHeads(Conv):
    """A 1x1 convolution from channels to heads side by side: channel h * head_dim + d, where head_dim is dim / num_heads, is number d of
    head h.

    The weight knows no heads, so that an attention with other heads groups the same channels in another way.
    """

    def __init__(self, dim: int, num_heads: int, *, bias: bool = True) -> None:
        super().__init__(dim, dim, bias=bias)
        self.num_heads = num_heads

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b heads n head_dim"]:
        y = super().forward(input)
        b, c, h, w = y.shape
        return y.reshape(b, self.num_heads, c // self.num_heads, h * w).transpose(2, 3)

    def tokens(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b heads n head_dim"]:
        """The same for tokens instead of a map."""
        y = F.linear(x, self.weight.flatten(1), self.bias)
        b, n, c = y.shape
        return y.reshape(b, n, self.num_heads, c // self.num_heads).transpose(1, 2)


class FromHeads(Conv):
    """A 1x1 convolution from heads side by side (`merge_heads`) to channels."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)

    def tokens(self, x: Float[Tensor, "b heads n head_dim"]) -> Float[Tensor, "b n dim"]:
        """The same from heads to tokens instead of a map."""
        b, heads, n, head_dim = x.shape
        return F.linear(x.transpose(1, 2).reshape(b, n, heads * head_dim), self.weight.flatten(1), self.bias)


def merge_heads(x: Float[Tensor, "b heads n head_dim"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    """Heads side by side as channels of a map, in channels-last memory."""
    b, heads, _, head_dim = x.shape
    return x.transpose(1, 2).reshape(b, height, width, heads * head_dim).permute(0, 3, 1, 2)


def attention(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "b heads m d"],
    value: Float[Tensor, "b heads m e"],
    bias: Float[Tensor, "heads n m"] | None = None,
) -> Float[Tensor, "b heads n e"]:
    """softmax(query key^T / sqrt(d) + bias) value."""
    if bias is None:
        return F.scaled_dot_product_attention(query, key, value)
    # Written out: fused attention looks for rows without a key, and has no fast kernel for the gradient of a bias.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3) + bias
    return scores.softmax(dim=-1).to(value.dtype) @ value


def resize_grids(
    bias: Float[Tensor, "heads h w h2 w2"], height: int, width: int, key_height: int, key_width: int
) -> Float[Tensor, "heads height width key_height key_width"]:
    """A bias between two maps, for maps of other sizes: bicubic in the queries' grid, then in the keys'."""
    heads, h, w, h2, w2 = bias.shape
    if not (is_known(h == height) and is_known(w == width)):
        y = bias.reshape(heads, h * w, h2 * w2).transpose(1, 2).reshape(1, heads * h2 * w2, h, w)
        y = F.interpolate(y, size=(height, width), mode="bicubic", align_corners=False)
        bias = y.reshape(heads, h2, w2, height, width).permute(0, 3, 4, 1, 2)
    if not (is_known(h2 == key_height) and is_known(w2 == key_width)):
        y = bias.reshape(1, heads * height * width, h2, w2)
        y = F.interpolate(y, size=(key_height, key_width), mode="bicubic", align_corners=False)
        bias = y.reshape(heads, height, width, key_height, key_width)
    return bias


def match_keys(
    bias: Float[Tensor, "given h w h2 w2"], heads: int, key_height: int, key_width: int
) -> Float[Tensor, "heads n m"]:
    """A stage's position bias as an attention with `heads` heads and its own grid of keys needs it: the last heads, as OSRA's are
    cut from their end, no bias for heads before them, keys resized.
    """
    given, h, w = bias.shape[:3]
    bias = resize_grids(bias[-heads:], h, w, key_height, key_width).reshape(-1, h * w, key_height * key_width)
    return bias if given >= heads else F.pad(bias, (0, 0, 0, 0, heads - given, 0))


def to_windows(x: Float[Tensor, "b c h w"], size: int) -> tuple[Float[Tensor, "bn t c"], Tensor | None]:
    """Square windows of a map, padded with zeros at the right and the bottom where they do not divide it.

    Returns:
        The tokens of each window, windows of an image in row-major order behind each other; and what may be attended to, bool
        (b * windows, 1, 1, size * size), or None when nothing was padded.
    """
    b, c = x.shape[:2]
    h, w = map_size(x)
    if _remainder_is_open(size, h, w):
        # The same with operators of torch, because torch.export cannot prove the reshapes below.
        inside = _unshuffle(pad_to_multiple(x.new_ones(1, 1, h, w), size), size)
        mask = inside.bool().expand(b, -1, -1, -1).reshape(-1, 1, 1, size * size)
        return _unshuffle(pad_to_multiple(x, size), size).flatten(0, 1), mask
    rows, columns = ceil_div(h, size), ceil_div(w, size)
    mask = None
    if h % size or w % size:
        padding = (0, columns * size - w, 0, rows * size - h)
        x, inside = F.pad(x, padding), F.pad(x.new_ones(h, w, dtype=torch.bool), padding)
        windows = (
            inside.reshape(rows, size, columns, size).transpose(1, 2).reshape(1, rows * columns, 1, 1, size * size)
        )
        mask = windows.expand(b, -1, -1, -1, -1).reshape(-1, 1, 1, size * size)
    x = x.permute(0, 2, 3, 1).reshape(b, rows, size, columns, size, c)
    return x.transpose(2, 3).reshape(b * rows * columns, size * size, c), mask


def _unshuffle(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b n t c"]:
    """Windows of a map that they divide, as `to_windows` orders them."""
    b, c = x.shape[:2]
    windows = x.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 4, 5, 1)
    return windows.reshape(b, windows.shape[1] * windows.shape[2], size * size, c)


def from_windows(tokens: Float[Tensor, "bn t c"], size: int, height: int, width: int) -> Float[Tensor, "b c h w"]:
    """The inverse of `to_windows`, without what was padded."""
    rows, columns = ceil_div(height, size), ceil_div(width, size)
    c = tokens.shape[-1]
    if _remainder_is_open(size, height, width):
        x = tokens.reshape(-1, rows, columns, size * size, c).permute(0, 4, 3, 1, 2)
        return crop(F.pixel_shuffle(x.reshape(-1, c * size * size, rows, columns), size), height, width)
    x = tokens.reshape(-1, rows, columns, size, size, c).transpose(2, 3)
    x = x.reshape(x.shape[0], rows * size, columns * size, c)
    return x[:, :height, :width].permute(0, 3, 1, 2)
