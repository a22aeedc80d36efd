"""The dual dynamic token mixer, D-Mixer (TransXNet, section III-B, eq. 2; details from the authors' code).

    x = [ local channels | global channels ]
    y = [ IDConv(local)  | OSRA(global)    ]      input-dependent depthwise convolution, overlapping spatial-reduction attention
    out = STE(y)                                  squeezed token enhancer: the only mixing between the two

The local operator, the reduction of OSRA's keys and the enhancer can be those that the paper sets against its own (tables VI to X).
OSRA's position bias, which all blocks of a stage share, belongs to the stage: position_biases/dense_table.py.
"""

import copy
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.dynamic_convs import DynamicConv, FoldedIDConv, IDConv, PredictedConv
from search_spaces.errors import InputError, unknown
from search_spaces.folding import FixedConv, add_identity, gelu_, norm_before, norm_behind
from search_spaces.layers import (
    Conv,
    DepthwiseConv,
    ToHeads,
    attention,
    check_odd,
    check_positive,
    map_size,
    match_keys,
    merge_heads,
    pad_to_multiple,
    roundest,
    split_heads,
)
from search_spaces.mixers.window_attention import WindowAttention
from search_spaces.registry import TokenMixer, register


class Reduction(nn.Module):
    """Overlapping spatial reduction, OSR: depthwise (s + 3) x (s + 3) at stride s, BN, GELU, depthwise 1x1, BN.

    Without overlap (NSR) the depthwise kernel is s x s, and a map that s does not divide is padded with zeros at the right and the
    bottom.
    """

    def __init__(self, dim: int, stride: int, overlap: bool = True) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, stride + 3 if overlap else stride, stride=stride, bias=False)
        self.multiple = 1
        if not overlap:
            self.conv.padding, self.multiple = (0, 0), stride
        self.norm1 = nn.BatchNorm2d(dim)
        self.scale = DepthwiseConv(dim, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        if self.multiple > 1:
            x = pad_to_multiple(x, self.multiple)
        return self.norm2(self.scale(F.gelu(self.norm1(self.conv(x)))))


class OSRA(nn.Module):
    """Overlapping spatial-reduction attention (eq. 4): queries at every position, keys and values on the reduced map.

    At stride 1 nothing is reduced, but the 3x3 local refinement of the keys stays. Each stride, with and without overlap, has its
    own reduction, so a searched stride shares the projections only.
    """

    def __init__(self, dim: int, head_dim: int, stride: int, overlap: bool = True) -> None:
        super().__init__()
        heads, _ = split_heads(dim, head_dim)
        name = str(stride) if overlap else f"{stride}_apart"
        self.reductions = nn.ModuleDict({name: Reduction(dim, stride, overlap)} if stride > 1 else {})
        self.refine = DepthwiseConv(dim, 3)
        self.query = ToHeads(dim, heads)
        self.key = ToHeads(dim, heads)
        self.value = ToHeads(dim, heads)

    def forward(
        self, x: Float[Tensor, "b c h w"], position_bias: Float[Tensor, "given h w h2 w2"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        y = x
        for reduction in self.reductions.values():
            y = reduction(y)
        y = y + self.refine(y)
        query = self.query(x)
        bias = None
        if position_bias is not None:
            bias = match_keys(position_bias, query.shape[1], *map_size(y))
        return merge_heads(attention(query, self.key(y), self.value(y), bias), x.shape[2], x.shape[3])


class STE(nn.Module):
    """Squeezed token enhancer (eq. 5): x + BN(expand(BN(GELU(squeeze(BN(GELU(DW3x3 x))))))), max(16, dim // 8) inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = max(16, dim // 8)
        self.conv = DepthwiseConv(dim, 3)
        self.norm1 = nn.BatchNorm2d(dim)
        self.squeeze = Conv(dim, inner)
        self.norm2 = nn.BatchNorm2d(inner)
        self.expand = Conv(inner, dim)
        self.norm3 = nn.BatchNorm2d(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.norm2(F.gelu(self.squeeze(self.norm1(F.gelu(self.conv(x))))))
        return x + self.norm3(self.expand(y))


class FoldedOSRA(nn.Module):
    """OSRA with its norms folded, and keys and values as one convolution."""

    def __init__(self, osra: OSRA) -> None:
        super().__init__()
        self.reduce, self.factor, self.summand, self.plain = None, None, None, None
        for reduction in cast("list[Reduction]", list(osra.reductions.values())):
            if reduction.multiple > 1:  # torch.export cannot prove the strides of a map that is padded and then folded
                self.plain = reduction
                continue
            weight, bias = norm_behind(reduction.conv.weight, None, reduction.norm1)
            self.stride, self.padding = reduction.conv.stride, reduction.conv.padding
            self.reduce, self.reduce_bias = nn.Parameter(weight), nn.Parameter(bias)
            factor, summand = norm_behind(reduction.scale.weight, None, reduction.norm2)
            self.factor, self.summand = nn.Parameter(factor[:, 0]), nn.Parameter(summand[:, None, None])
        self.refine = FixedConv(add_identity(osra.refine.weight), osra.refine.bias, groups=osra.refine.groups)
        self.query, dim = osra.query, osra.query.weight.shape[0]
        self.shape = (2, osra.query.num_heads, dim // osra.query.num_heads)
        bias = torch.cat((cast(Tensor, osra.key.bias), cast(Tensor, osra.value.bias)))
        self.both = FixedConv(torch.cat((osra.key.weight, osra.value.weight)), bias)

    def forward(
        self, x: Float[Tensor, "b c h w"], position_bias: Float[Tensor, "given h w h2 w2"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        y = self.plain(x) if self.plain is not None else None
        x = x.contiguous(memory_format=torch.channels_last)  # once for both readers
        y = x if y is None else y.contiguous(memory_format=torch.channels_last)
        if self.reduce is not None and self.factor is not None and self.summand is not None:
            y = gelu_(F.conv2d(x, self.reduce, self.reduce_bias, self.stride, self.padding, groups=x.shape[1]))
            y = torch.addcmul(self.summand, y, self.factor)
        y = self.refine(y)
        key, value = self.both(y).reshape(y.shape[0], *self.shape, y.shape[2] * y.shape[3]).transpose(3, 4).unbind(1)
        bias = None
        if position_bias is not None:
            bias = match_keys(position_bias, self.shape[1], *map_size(y))
        return merge_heads(attention(self.query(x), key, value, bias), x.shape[2], x.shape[3])


class FoldedSTE(nn.Module):
    """STE with its norms folded."""

    def __init__(self, ste: STE) -> None:
        super().__init__()
        self.conv = ste.conv
        self.squeeze = FixedConv(*norm_before(ste.squeeze.weight, ste.squeeze.bias, ste.norm1))
        expand = norm_before(ste.expand.weight, ste.expand.bias, ste.norm2)
        self.expand = FixedConv(*norm_behind(*expand, ste.norm3))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.expand(gelu_(self.squeeze(gelu_(self.conv(x)))))


LOCAL = ("idconv", "depthwise", "dynamic", "predicted", "window")
ENHANCERS = ("ste", "conv1x1")


def same_heads(head_dim: int, widths: list[int]) -> int:
    """The smallest size of heads that gives the same heads in attentions of these widths; its default where there is none."""
    sizes = [split_heads(width, head_dim)[1] for width in widths]
    for found in sorted(set(sizes)):
        if [split_heads(width, found)[1] for width in widths] == sizes:
            return found
    return head_dim if sizes else DMixer.Options().head_dim


def local_operator(dim: int, options: "DMixer.Options") -> nn.Module:
    """What mixes the local channels; each kind has weights of its own."""
    if options.local == "depthwise":
        return DepthwiseConv(dim, options.kernel_size)
    if options.local == "dynamic":
        return DynamicConv(dim, options.kernel_size, options.num_groups)
    if options.local == "predicted":
        return PredictedConv(dim, options.kernel_size)
    if options.local == "window":
        return WindowAttention(dim, WindowAttention.Options(window_size=options.kernel_size, head_dim=options.head_dim))
    return IDConv(dim, options.kernel_size, options.num_groups)


@register("d_mixer")
class DMixer(TokenMixer):
    """IDConv on the first (1 - attention_ratio) * dim channels, OSRA on the last attention_ratio * dim, then STE.

    At a ratio of 0 there is no OSRA, and at 1 no IDConv; STE stays.

    In a supernet each branch keeps a bank of its own. IDConv's is cut from its front and OSRA's from its end, so that at one
    width both read and write their channels of the residual stream when the ratio moves the boundary between them.

    Options:
        attention_ratio: share of the channels that OSRA gets, 0 to 1; the paper has 0.5 and names other ratios as future work.
        head_dim: channels of an OSRA head, or the next divisor of attention_ratio * dim; of a window's head, too.
        sr_ratio: OSRA's stride, 1 or even (8, 4, 2, 1 by stage at 224).
        kernel_size: of the local operator (7); the side of a window.
        num_groups: kernels that IDConv or a dynamic convolution mixes, at least 2 (2 to 4).
        local: what mixes the local channels (table VII): idconv; depthwise, a static convolution; dynamic, a convolution whose
            kernel is mixed for the image but not for places in it (DyConv); predicted, a convolution whose kernel is predicted
            from the image (D-DWConv); window, attention in windows.
        overlap: whether OSRA's reduction overlaps (OSR, the paper's), or not (NSR, table X).
        enhancer: what mixes the two branches (table X): ste, or conv1x1, a 1x1 convolution.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        attention_ratio: float = 0.5
        head_dim: int = 8
        sr_ratio: int = 1
        kernel_size: int = 7
        num_groups: int = 2
        local: str = "idconv"
        overlap: bool = True
        enhancer: str = "ste"

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)
            check_positive(head_dim=self.head_dim)
            if not 0 <= self.attention_ratio <= 1:
                raise InputError(f"attention_ratio is {self.attention_ratio}", "from 0 to 1", "attention_ratio = 0.5")
            if self.local not in LOCAL:
                raise unknown("local", self.local, LOCAL, 'local = "{}"')
            if self.enhancer not in ENHANCERS:
                raise unknown("enhancer", self.enhancer, ENHANCERS, 'enhancer = "{}"')
            if self.sr_ratio != 1 and (self.sr_ratio < 1 or self.sr_ratio % 2):
                raise InputError(f"sr_ratio is {self.sr_ratio}", "1 or an even number", "sr_ratio = 2")
            if self.num_groups < 2:
                raise InputError(
                    f"num_groups is {self.num_groups}", "2 or more: one would be a static kernel", "num_groups = 2"
                )

    examples = (
        Options(attention_ratio=0.25, head_dim=2, kernel_size=3),
        Options(head_dim=2, sr_ratio=2, kernel_size=5),
        Options(attention_ratio=0.75, head_dim=2, sr_ratio=4, num_groups=3),
    )
    unordered = ("sr_ratio", "overlap")
    variants = (
        Options(attention_ratio=0.0, head_dim=2, kernel_size=3),
        Options(attention_ratio=1.0, head_dim=2, sr_ratio=2, overlap=False),
        Options(head_dim=2, sr_ratio=2, kernel_size=3, local="depthwise", overlap=False, enhancer="conv1x1"),
        Options(head_dim=2, sr_ratio=2, kernel_size=3, local="dynamic"),
        Options(head_dim=2, sr_ratio=2, kernel_size=3, local="predicted"),
        Options(attention_ratio=0.0, head_dim=2, kernel_size=3, local="window", enhancer="conv1x1"),
    )
    takes_position_bias = True
    part_options = ("local", "enhancer")
    centred = {
        "idconv.kernels": (2, 3),
        "dynamic.kernels": (2, 3),
        "predicted.expand": (1, 2),
        "depthwise.weight": (2, 3),
    }
    trailing = {
        "osra.query.*": (0, 1), "osra.key.*": (0, 1), "osra.value.*": (0, 1),
        "osra.refine.*": (0,), "osra.reductions.*": (0,),
    }  # fmt: skip

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the share of the channels and the size of heads that result; what the branches that there are do not use has its
        default.
        """
        dim, ratio, default = dims[0], options.attention_ratio, cls.Options()
        attended = round(ratio * dim)
        if attended in (0, dim) and attended != ratio * dim:  # refused when it is built
            return options
        found = replace(options, attention_ratio=float(attended == dim))
        if 0 < attended < dim:
            share = roundest(ratio, lambda other: round(other * dim) == attended)
            found = replace(options, attention_ratio=share)
        if attended == dim:
            found = replace(found, kernel_size=default.kernel_size, local=default.local)
        if attended == dim or options.local not in ("idconv", "dynamic"):
            found = replace(found, num_groups=default.num_groups)
        if not attended:
            found = replace(found, sr_ratio=default.sr_ratio)
        if found.sr_ratio == 1:
            found = replace(found, overlap=default.overlap)
        in_windows = dim - attended if options.local == "window" else 0
        return replace(found, head_dim=same_heads(options.head_dim, [n for n in (attended, in_windows) if n]))

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        same_scores = "softmax does not change when one number is added to all scores of a query"
        return {
            "osra.key.bias": same_scores,
            "window.key.bias": same_scores,
            "ste.expand.bias": "the next batch norm removes the mean",
            "ste.norm2.bias": "the batch norm after the next convolution removes the mean",
        }

    @classmethod
    def mixes_kernels(cls, options: Options) -> bool:
        return options.attention_ratio < 1 and options.local in ("idconv", "dynamic", "predicted")

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        attended = round(options.attention_ratio * dim)
        if attended in (0, dim) and attended != options.attention_ratio * dim:
            raise InputError(
                f"attention_ratio {options.attention_ratio} of {dim} channels is {attended}",
                "at least one channel for each branch, or a ratio of 0 or 1", "attention_ratio = 0.5",
            )  # fmt: skip
        self.split = (dim - attended, attended)
        self.local, self.enhancer = options.local, options.enhancer
        if attended < dim:
            self.add_module(options.local, local_operator(dim - attended, options))
        if attended:
            self.osra = OSRA(attended, options.head_dim, options.sr_ratio, options.overlap)
        self.add_module(options.enhancer, STE(dim) if options.enhancer == "ste" else Conv(dim, dim))

    def forward(
        self, x: Float[Tensor, "b c h w"], position_bias: Float[Tensor, "given h w h2 w2"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        enhance = getattr(self, self.enhancer)
        if not self.split[0]:
            return enhance(self.osra(x, position_bias))
        local, global_ = x.split(self.split, dim=1) if self.split[1] else (x, None)
        mixed = getattr(self, self.local)(local)
        if x.is_contiguous(memory_format=torch.channels_last):
            mixed = mixed.contiguous(memory_format=torch.channels_last)
        if global_ is not None:
            mixed = torch.cat((mixed, self.osra(global_, position_bias)), dim=1)
        return enhance(mixed)

    def for_inference(self) -> nn.Module:
        folded = copy.copy(self)  # the same forward over folded children
        folded._modules = {name: folded_child(child) for name, child in self.named_children()}
        return folded


def folded_child(child: nn.Module) -> nn.Module:
    """A branch or enhancer with its norms folded; itself where it has none, or mixes its kernels from one position."""
    if isinstance(child, IDConv):
        return FoldedIDConv(child)
    if isinstance(child, OSRA):
        return FoldedOSRA(child)
    return FoldedSTE(child) if isinstance(child, STE) else child
