"""LinGlo (arXiv:2207.00188), section 4. No code and no MACs were published; what the text leaves open is read literally."""

from search_spaces.architecture import Block, Part
from search_spaces.papers import PaperNetwork, architecture, stage

RATIO = (8, 8, 4, 4)
HEADS = (1, 2, 5, 8)

#                 channels             depths
VARIANTS = {
    "linglo_b0": ((32, 64, 160, 256), (2, 3, 3, 2)),
    "linglo_b1": ((64, 128, 320, 512), (2, 3, 3, 2)),
    "linglo_b2": ((64, 128, 320, 512), (3, 5, 9, 3)),
}

#                params  top-1
PUBLISHED = {
    "linglo_b0": (3.4, 72.5),
    "linglo_b1": (13.1, 79.7),
    "linglo_b2": (25.4, 82.7),
}

NONE = Part.of("none")
NOTE = "counted with RP-CPE fused, as it runs; the printed counts fit no reading of the text and are those of PVTv2-B0, B1 and B2; the paper prints no MACs"


def networks() -> list[PaperNetwork]:
    """b0, b1 and b2, in the form that is trained: RP-CPE with its four branches."""
    found = []
    for name, (channels, depths) in VARIANTS.items():
        params, top1 = PUBLISHED[name]
        stages = []
        for s, width in enumerate(channels):
            stem = Part.of("patch_embedding", kernel_size=7, stride=4, norm="layer_norm", eps=1e-6)
            between = Part.of("patch_embedding", kernel_size=3, stride=2, norm="layer_norm", eps=1e-6)
            block = Block(
                position=NONE,
                norm=Part.of("layer_norm"),
                mixer=Part.of("key_only_attention", head_dim=width // HEADS[s]),
                ffn=Part.of("rp_cpe_ffn", ratio=float(RATIO[s])),
                scale=NONE,
            )
            stages.append(stage(width, between if s else stem, depths[s], block))
        found.append(
            PaperNetwork(
                name=name,
                family="linglo",
                arch=architecture(stages, Part.of("linear_head", norm="layer_norm", dropout=0.0)),
                source="LinGlo, section 4 and table 2",
                params=params,
                top1=top1,
                note=NOTE,
            )
        )
    return found
