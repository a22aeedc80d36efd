"""TransXNet (arXiv:2310.19380), table I; the text lacks the table's body, the values are those of the authors' code.

GroupNorm with one group has eps 1e-5 here. The position bias is made for 224 x 224 and resized as the authors do it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from search_spaces.architecture import Architecture, Block, Part
from search_spaces.layers import split_heads
from search_spaces.papers import PaperNetwork, architecture, stage

SR_RATIO = (8, 4, 2, 1)
MAP_SIZE = (56, 28, 14, 7)

#                     channels             depths         heads           groups        ratio         drop path
VARIANTS = {
    "transxnet_tiny": ((48, 96, 224, 448), (3, 3, 9, 3), (1, 2, 4, 8), (2, 2, 2, 2), (4, 4, 4, 4), 0.1),
    "transxnet_small": ((64, 128, 320, 512), (4, 4, 12, 4), (1, 2, 5, 8), (2, 2, 3, 4), (6, 6, 4, 4), 0.2),
    "transxnet_base": ((76, 152, 336, 672), (4, 4, 21, 4), (2, 4, 8, 16), (2, 2, 4, 4), (8, 8, 4, 4), 0.4),
}

#                     params  MACs  top-1
PUBLISHED = {
    "transxnet_tiny": (12.8, 1.8, 81.6),
    "transxnet_small": (26.9, 4.5, 83.8),
    "transxnet_base": (48.0, 8.3, 84.6),
}

NORM = Part.of("group_norm", eps=1e-5)
HEAD = Part.of("linear_head", norm="group_norm", dropout=0.0)


ENHANCED = {"table_10_reduction_without_overlap": {"overlap": False}, "table_10_conv1x1": {"enhancer": "conv1x1"}}
LOCAL = {
    "depthwise": "depthwise convolution",
    "window": "window attention",
    "dynamic": "dynamic convolution (DyConv)",
    "predicted": "predicted kernels (D-DWConv)",
}
SCALES = {"3": (3,), "1_3": (1, 3), "1_3_5": (1, 3, 5), "1_3_5_7_9": (1, 3, 5, 7, 9)}
NOTE = "the table's figures are not in the text at hand; the text has no more of the row than what it changes"


def transxnet(variant: str, mixer: Mapping[str, Any] = MappingProxyType({}), **parts: Part) -> Architecture:
    """A TransXNet. Heads keep their size at other ratios, so that there are fewer or more of them.

    Args:
        variant: a name in `VARIANTS`.
        mixer: options of the D-Mixer that differ from the paper's.
        parts: of a block, where they differ from the paper's: `position` or `ffn`.
    """
    channels, depths, heads, groups, ratios, _ = VARIANTS[variant]
    stages = []
    for s, width in enumerate(channels):
        own: dict[str, Any] = {
            "attention_ratio": 0.5, "head_dim": width // 2 // heads[s], "sr_ratio": SR_RATIO[s],
            "kernel_size": 7, "num_groups": groups[s],
        } | dict(mixer)  # fmt: skip
        if SR_RATIO[s] == 1:  # nothing is reduced
            own.pop("overlap", None)
        changed = dict(parts)
        if "ffn" in changed:
            changed["ffn"] = Part.of(
                changed["ffn"].name, **(dict(changed["ffn"].options) | {"ratio": float(ratios[s])})
            )
        block = {
            "position": Part.of("dpe", kernel_size=7),
            "norm": NORM,
            "mixer": Part.of("d_mixer", **own),
            "ffn": Part.of("ms_ffn", ratio=float(ratios[s]), scales=(1, 3, 5, 7)),
            "scale": Part.of("layer_scale", init=1e-5, bias=True),
        }
        kernel, stride = (3, 2) if s else (7, 4)
        embedding = Part.of("conv_downsampling", kernel_size=kernel, stride=stride, norm="batch_norm")
        attended = round(width * own["attention_ratio"])
        count = attended // split_heads(attended, own["head_dim"])[1]
        bias = Part.of("dense_table", num_heads=count, map_size=MAP_SIZE[s], sr_ratio=SR_RATIO[s], resize="flat")
        stages.append(stage(width, embedding, depths[s], Block(**(block | changed)), bias))
    return architecture(stages, HEAD)


def table_6() -> Architecture:
    """The D-Mixer in a network like Swin-T: its widths and depths, patches that do not overlap, and a plain FFN.

    The text has no sizes of heads, groups or expansion; heads and groups are those of `transxnet_small`, which has nearly these
    widths, and the expansion is Swin-T's.
    """
    groups = VARIANTS["transxnet_small"][3]
    stages = []
    for s, (width, depth) in enumerate(zip((64, 128, 256, 512), (2, 2, 6, 2), strict=True)):
        size = 2 if s else 4
        block = Block(
            position=Part.of("dpe", kernel_size=7),
            norm=NORM,
            mixer=Part.of("d_mixer", head_dim=32, sr_ratio=SR_RATIO[s], num_groups=groups[s]),
            ffn=Part.of("mlp", ratio=4.0),
            scale=Part.of("layer_scale", init=1e-5, bias=True),
        )
        embedding = Part.of("conv_downsampling", kernel_size=size, stride=size, norm="batch_norm")
        bias = Part.of("dense_table", num_heads=width // 64, map_size=MAP_SIZE[s], sr_ratio=SR_RATIO[s], resize="flat")
        stages.append(stage(width, embedding, depth, block, bias))
    return architecture(stages, HEAD)


def ablations() -> dict[str, tuple[Architecture, str]]:
    """Rows of tables VI to X that the text describes: the network and what it differs in from TransXNet-T."""
    tiny = "transxnet_tiny"
    found = {"table_6_d_mixer": (table_6(), "table VI")}
    for local in LOCAL:
        found[f"table_7_{local}"] = (transxnet(tiny, {"local": local}), "table VII")
    for name, scales in SCALES.items():
        found[f"table_8_scales_{name}"] = (transxnet(tiny, ffn=Part.of("ms_ffn", scales=scales)), "table VIII")
    found["table_8_mlp"] = (transxnet(tiny, ffn=Part.of("mlp")), "table VIII")
    found["table_9_ratio_0_25"] = (transxnet(tiny, {"attention_ratio": 0.25}), "table IX")
    found["table_10_without_dpe"] = (transxnet(tiny, position=Part.of("none")), "table X")
    for name, options in ENHANCED.items():
        found[name] = (transxnet(tiny, options), "table X")
    return found


def networks() -> list[PaperNetwork]:
    """T, S and B, then the ablations of T."""
    found = []
    for name in VARIANTS:
        params, macs, top1 = PUBLISHED[name]
        found.append(
            PaperNetwork(
                name=name,
                family="transxnet",
                arch=transxnet(name),
                source="TransXNet, table I and the authors' code",
                params=params,
                macs=macs,
                top1=top1,
                rule="module_hooks",
                drop_path=VARIANTS[name][-1],
            )
        )
    for row, (arch, table) in ablations().items():
        found.append(
            PaperNetwork(
                name=f"transxnet_{row}",
                family="transxnet",
                arch=arch,
                source=f"TransXNet, {table}",
                rule="module_hooks",
                drop_path=0.1,
                note=NOTE,
                ablation=True,
            )
        )
    return found
