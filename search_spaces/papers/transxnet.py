"""TransXNet (arXiv:2310.19380), table I; the text lacks the table's body, the values are those of the authors' code.

GroupNorm with one group has eps 1e-5 here. The position bias is made for 224 x 224 and resized as the authors do it.
"""

from search_spaces.architecture import Block, Part
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


def networks() -> list[PaperNetwork]:
    """T, S and B."""
    found = []
    for name, (channels, depths, heads, groups, ratios, drop_path) in VARIANTS.items():
        params, macs, top1 = PUBLISHED[name]
        stages = []
        for s, width in enumerate(channels):
            stem = Part.of("conv_downsampling", kernel_size=7, stride=4, norm="batch_norm")
            block = Block(
                position=Part.of("dpe", kernel_size=7),
                norm=NORM,
                mixer=Part.of(
                    "d_mixer",
                    attention_ratio=0.5,
                    head_dim=width // 2 // heads[s],
                    sr_ratio=SR_RATIO[s],
                    kernel_size=7,
                    num_groups=groups[s],
                ),
                ffn=Part.of("ms_ffn", ratio=float(ratios[s]), scales=(1, 3, 5, 7)),
                scale=Part.of("layer_scale", init=1e-5, bias=True),
            )
            bias = Part.of("dense_table", num_heads=heads[s], map_size=MAP_SIZE[s], sr_ratio=SR_RATIO[s], resize="flat")
            embedding = Part.of("conv_downsampling", kernel_size=3, stride=2, norm="batch_norm") if s else stem
            stages.append(stage(width, embedding, depths[s], block, bias))
        found.append(
            PaperNetwork(
                name=name,
                family="transxnet",
                arch=architecture(stages, Part.of("linear_head", norm="group_norm", dropout=0.0)),
                source="TransXNet, table I and the authors' code",
                params=params,
                macs=macs,
                top1=top1,
                rule="module_hooks",
                drop_path=drop_path,
            )
        )
    return found
