"""The token mixer of EMSNet's EMS block (dissertation, section 3.3): a static and a dynamic branch on halves of the channels.

    u = conv1x1(x) = [ static | local | global ]
    static branch    whiten, depthwise conv, multi-scale coordinate convolutions on sampled maps, gate
    dynamic branch   C-MHSA on a map sampled 4 times, G-MHSA on one sampled 6 times
    out = conv1x1([ static | dynamic ])

Three convolutions stand here because of the published counts, ablation rows included. The text says otherwise of two: it cuts the
input "by slice operation" and not by a linear map (sections 3.3.1 and 3.7.4), and eq. 3.5 ends with the gate. Without the first
XXTiny's counts are 5.5 % (parameters) and 7.2 % (MACs) below the printed ones, with it they are within 0.4 and 1.8 %. The step of
the gate in table 3.5 is that of two convolutions, of which eq. 3.5 has one. The text has nothing about the third convolution, which
is behind both branches and as large as the first.

What else the text leaves open follows the counts too: no biases, and patch embeddings that double the channels (but G-MHSA's).
A map that p does not divide is sampled in cells of p x p, the last of them smaller, and cropped after propagation.
Every branch keeps a bank of its own for its rows and columns of the 1x1 convolutions, so that an elastic width or another split
takes the front of every branch.
"""

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.errors import InputError, unknown
from search_spaces.layers import Conv, DepthwiseConv, check_odd, check_positive, map_size, roundest, split_heads
from search_spaces.mixers.c_mhsa import Propagation, Sample, SparseCMHSA
from search_spaces.mixers.coordinate_conv import CoordinateConv
from search_spaces.mixers.g_mhsa import SparseGMHSA
from search_spaces.registry import TokenMixer, register

OPERATORS = ("identity", "whiten", "pyramid", "gate", "c_mhsa", "g_mhsa")
"""Table 3.5, row by row: each adds an operator to the one before."""


def _weight(*convs: nn.Module, dim: int) -> Tensor:
    """The weights of 1x1 convolutions that stand side by side in their outputs (dim 0) or inputs (dim 1)."""
    return torch.cat([cast(Conv, conv).weight for conv in convs], dim=dim)


def _static_sizes(split: tuple[float, ...], dim: int) -> tuple[int, int, int]:
    """Channels of the static branch that are sampled finely, left dense, sampled coarsely."""
    fine, coarse = _size_of(split[0], dim), _size_of(split[2], dim)
    return fine, dim - fine - coarse, coarse


def _size_of(share: float, dim: int) -> int:
    return math.floor(share * dim + 1e-6)


def _roundest_share(share: float, dim: int) -> float:
    size = _size_of(share, dim)
    return roundest(share, lambda other: _size_of(other, dim) == size) if size else 0.0


def _roundest_split(split: tuple[float, ...], dim: int) -> tuple[float, ...]:
    """The roundest shares that give the same channels."""
    fine, coarse = _roundest_share(split[0], dim), _roundest_share(split[2], dim)
    found = (fine, 1 - fine - coarse, coarse)
    is_same = found[1] >= 0 and _static_sizes(found, dim) == _static_sizes(split, dim)
    return split if (fine, coarse) == (split[0], split[2]) or not is_same else found


class Segment(nn.Module):
    """One scale of the static branch: its rows of the whiten convolution, its filters, its columns of the fusion."""

    def __init__(self, dim: int, size: int, patch_size: int, options: "EMS.Options") -> None:
        super().__init__()
        self.size = size
        self.whiten = Conv(dim, size, bias=False)
        self.conv = DepthwiseConv(size, options.kernel_size, bias=False)
        fused = size
        if patch_size > 1:
            fused = 2 * size
            self.sample = Sample(size, fused, patch_size, maximum=True)
            self.coordinate = CoordinateConv(fused, options.coordinate_kernel_size)
            self.propagate = Propagation(fused, patch_size)
        self.samples = patch_size > 1
        if options.operators == "pyramid":
            self.last = Conv(fused, dim, bias=False)
        elif options.operators != "whiten":
            self.fuse = Conv(fused, dim, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        if not self.samples:
            return x
        return self.propagate(self.coordinate(self.sample(x)), *map_size(x))


class StaticBranch(nn.Module):
    """Eqs. 3.1 to 3.5: after(gate(u) * sigmoid(Y)), Y = fuse of three scales of DW(whiten(u)).

    The equations have no convolution after the gate; the counts of table 3.5 have (see this module).
    Whitening takes from each position the mean over its channels (the appendix has the mean over positions; the method has this).
    """

    def __init__(self, dim: int, options: "EMS.Options") -> None:
        super().__init__()
        split = options.static_split if options.operators != "whiten" else (0.0, 1.0, 0.0)
        sizes = _static_sizes(split, dim)
        patches = (options.patch_sizes[0], 1, options.patch_sizes[1])
        names = ("fine", "dense", "coarse")
        self.segments = nn.ModuleDict(
            {n: Segment(dim, s, p, options) for n, s, p in zip(names, sizes, patches, strict=True) if s > 0}
        )
        self.fused = options.operators != "whiten"
        self.gated = options.operators not in ("whiten", "pyramid")
        # What writes the block's output has a bank of its own, apart from what the fusion reads.
        self.is_last = options.operators == "gate"
        if self.gated:
            self.gate = Conv(dim, dim, bias=False)
            if self.is_last:
                self.last = Conv(dim, dim, bias=False)
            else:
                self.after = Conv(dim, dim, bias=False)

    def forward(self, u: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        segments = cast("list[Segment]", list(self.segments.values()))
        t = F.conv2d(u, _weight(*(segment.whiten for segment in segments), dim=0))
        filters = _weight(*(segment.conv for segment in segments), dim=0)
        t = F.conv2d(t - t.mean(dim=1, keepdim=True), filters, padding=filters.shape[-1] // 2, groups=filters.shape[0])
        parts = t.split([segment.size for segment in segments], dim=1)
        y = torch.cat([segment(part) for segment, part in zip(segments, parts, strict=True)], dim=1)
        if self.fused:
            fuse = "fuse" if self.gated else "last"
            y = F.conv2d(y, _weight(*(segment.get_submodule(fuse) for segment in segments), dim=1))
        if not self.gated:
            return y
        y = self.gate(u) * y.sigmoid()
        return self.last(y) if self.is_last else self.after(y)


class DynamicBranch(nn.Module):
    """Eqs. 3.6 to 3.8: the first channels through C-MHSA, the others through G-MHSA, fused by a 1x1 convolution.

    Args:
        dim: channels that come out.
        sizes: channels of C-MHSA and of G-MHSA, one behind the other in the input; 0 for no G-MHSA.
    """

    def __init__(self, dim: int, sizes: tuple[int, int], options: "EMS.Options") -> None:
        super().__init__()
        self.sizes = sizes
        self.local = SparseCMHSA(sizes[0], options.patch_sizes[2], 2, options.local_head_dim, options.local_kernel_size)
        self.local_fuse = Conv(2 * sizes[0], dim, bias=False)
        if sizes[1]:
            self.wide = SparseGMHSA(sizes[1], options.patch_sizes[3], options.global_head_dim)
            self.wide_fuse = Conv(sizes[1], dim, bias=False)

    def forward(self, u: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        if not self.sizes[1]:
            return self.local_fuse(self.local(u))
        local, wide = u.split(self.sizes, dim=1)
        y = torch.cat((self.local(local), self.wide(wide)), dim=1)
        return F.conv2d(y, _weight(self.local_fuse, self.wide_fuse, dim=1))


def branch_sizes(dim: int, options: "EMS.Options") -> tuple[int, int, int]:
    """Channels of the static branch, of C-MHSA and of G-MHSA."""
    if options.operators not in ("c_mhsa", "g_mhsa"):
        return dim, 0, 0
    has_wide = options.operators == "g_mhsa"
    dynamic = math.floor(options.dynamic_ratio * dim + 1e-6) if options.split else dim
    wide = math.floor(options.global_ratio * dynamic + 1e-6) if has_wide else 0
    if not 0 < dynamic < dim + (not options.split) or wide == dynamic or (has_wide and not wide):
        raise InputError(
            f"dynamic_ratio {options.dynamic_ratio} and global_ratio {options.global_ratio} of {dim} channels leave a branch without any",
            "at least one channel for each branch", "dynamic_ratio = 0.5",
        )  # fmt: skip
    return dim - dynamic if options.split else dim, dynamic - wide, wide


@register("ems")
class EMS(TokenMixer):
    """EMSNet's spatial interaction. With fewer `operators` it is a row of the ablation (table 3.5), where the static branch has
    all channels until the dynamic one comes.

    Options:
        operators: identity, whiten, pyramid, gate, c_mhsa or g_mhsa (all of them).
        static_split: shares of the static channels that are sampled finely, left dense, sampled coarsely (1/4, 1/2, 1/4).
        patch_sizes: of the fine, coarse, C-MHSA and G-MHSA sampling (2, 4, 4, 6).
        kernel_size: of the depthwise convolution (3).
        coordinate_kernel_size: of the coordinate convolutions (7).
        local_head_dim, global_head_dim: channels of a head of C-MHSA and G-MHSA (32, 16); one head at least.
        dynamic_ratio: share of the channels that the dynamic branch gets (1/2); the static branch has the others.
        global_ratio: share of the dynamic channels that G-MHSA gets (1/2); C-MHSA has the others.
        split: whether the static and the dynamic branch share the channels out; without it, each reads and writes all of them (one
            reading of table 3.9), and dynamic_ratio means nothing.
        local_kernel_size: side of C-MHSA's windows, odd (3).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        operators: str = "g_mhsa"
        static_split: tuple[float, ...] = (0.25, 0.5, 0.25)
        patch_sizes: tuple[int, ...] = (2, 4, 4, 6)
        kernel_size: int = 3
        coordinate_kernel_size: int = 7
        local_head_dim: int = 32
        global_head_dim: int = 16
        dynamic_ratio: float = 0.5
        global_ratio: float = 0.5
        split: bool = True
        local_kernel_size: int = 3

        def __post_init__(self) -> None:
            if self.operators not in OPERATORS:
                raise unknown("operators", self.operators, OPERATORS, 'operators = "{}"')
            check_odd(
                kernel_size=self.kernel_size,
                coordinate_kernel_size=self.coordinate_kernel_size,
                local_kernel_size=self.local_kernel_size,
            )
            for name in ("dynamic_ratio", "global_ratio"):
                if not 0 < getattr(self, name) < 1:
                    raise InputError(
                        f"{name} is {getattr(self, name)}", "between 0 and 1; operators leaves branches out", f"{name} = 0.5"
                    )  # fmt: skip
            check_positive(local_head_dim=self.local_head_dim, global_head_dim=self.global_head_dim)
            split = self.static_split
            if len(split) != 3 or not all(0 <= share <= 1 for share in split) or abs(sum(split) - 1) > 1e-6:
                raise InputError(
                    f"static_split is {list(split)}",
                    "three shares that add up to 1",
                    "static_split = [[0.25, 0.5, 0.25]]",
                )
            if len(self.patch_sizes) != 4 or not all(size >= 2 for size in self.patch_sizes):
                raise InputError(
                    f"patch_sizes is {list(self.patch_sizes)}", "four whole numbers from 2 up", "patch_sizes = [[2, 4, 4, 6]]"
                )  # fmt: skip

    examples = (
        Options(static_split=(0.5, 0.25, 0.25), coordinate_kernel_size=3, local_head_dim=4, global_head_dim=2),
        Options(local_head_dim=4, global_head_dim=2),
        Options(operators="c_mhsa", local_head_dim=8),
        Options(operators="gate"),
        Options(operators="pyramid", static_split=(0.5, 0.5, 0.0)),
        Options(operators="whiten"),
        Options(operators="identity"),
    )
    unordered = ("split",)
    variants = (
        Options(dynamic_ratio=0.25, local_head_dim=4, global_head_dim=2),
        Options(global_ratio=0.25, local_head_dim=4, global_head_dim=2, local_kernel_size=5),
        Options(split=False, local_head_dim=4, global_head_dim=2),
    )
    centred = {
        "static.segments.*.conv.weight": (2, 3),
        "static.segments.*.coordinate.row": (3,), "static.segments.*.coordinate.column": (2,),
    }  # fmt: skip

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """What the operators do not use has its default, shares are the roundest of the channels that result, and heads have the sizes
        that result.
        """
        used, default = OPERATORS.index(options.operators), cls.Options()
        try:
            static, local, wide = branch_sizes(dims[0], options)
        except InputError:  # refused when it is built
            return options
        dynamic = local + wide
        split = default.static_split
        if used >= OPERATORS.index("pyramid"):
            split = _roundest_split(options.static_split, static)
        samples = [used >= OPERATORS.index("pyramid") and size > 0 for size in _static_sizes(split, static)]
        patches = zip((samples[0], samples[2], dynamic, wide), options.patch_sizes, default.patch_sizes, strict=True)
        shares = default.dynamic_ratio, default.global_ratio
        if dynamic and options.split:
            shares = roundest(options.dynamic_ratio, lambda other: _size_of(other, dims[0]) == dynamic), shares[1]
        if wide:
            shares = shares[0], roundest(options.global_ratio, lambda other: _size_of(other, dynamic) == wide)
        near, far = default.local_head_dim, default.global_head_dim
        return replace(
            options,
            static_split=split,
            patch_sizes=tuple(own if matters else other for matters, own, other in patches),
            kernel_size=options.kernel_size if used else default.kernel_size,
            coordinate_kernel_size=options.coordinate_kernel_size if samples[0] or samples[2] else default.coordinate_kernel_size,
            local_head_dim=split_heads(2 * local, options.local_head_dim)[1] if local else near,
            global_head_dim=split_heads(wide, options.global_head_dim)[1] if wide else far,
            dynamic_ratio=shares[0],
            global_ratio=shares[1],
            split=options.split or not dynamic,
            local_kernel_size=options.local_kernel_size if local else default.local_kernel_size,
        )  # fmt: skip

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        if dim < 16:
            raise InputError(f"ems has {dim} channels", "16 or more, for its five branches", "width = 16")
        static, local, wide = branch_sizes(dim, options)
        self.sizes = (static, local + wide)
        self.static_enter = Conv(dim, static, bias=False)
        self.static = StaticBranch(static, options) if options.operators != "identity" else nn.Identity()
        dynamic = local + wide
        if local:
            self.local_enter = Conv(dim, local, bias=False)
            if wide:
                self.wide_enter = Conv(dim, wide, bias=False)
            self.dynamic = DynamicBranch(dynamic, (local, wide), options)
        # In the rows with a fusion but no dynamic branch, the fusion or the convolution behind the gate is the last one.
        self.leaves = options.operators not in ("pyramid", "gate")
        if self.leaves:
            self.static_leave = Conv(static, dim, bias=False)
            if local:
                self.dynamic_leave = Conv(dynamic, dim, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.sizes[1]:
            y = self.static(self.static_enter(x))
            return self.static_leave(y) if self.leaves else y
        enters = [self.static_enter, self.local_enter, *([self.wide_enter] if self.dynamic.sizes[1] else [])]
        static, dynamic = F.conv2d(x, _weight(*enters, dim=0)).split(self.sizes, dim=1)
        y = torch.cat((self.static(static), self.dynamic(dynamic)), dim=1)
        return F.conv2d(y, _weight(self.static_leave, self.dynamic_leave, dim=1))
