"""LinGlo (arXiv:2207.00188), section 4. No code and no MACs were published; what the text leaves open is read literally."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from search_spaces.architecture import Architecture, Block, Part
from search_spaces.papers import PaperNetwork, architecture, stage

RATIO = (8, 8, 4, 4)
HEADS = (1, 2, 5, 8)
MAP_SIZE = (56, 28, 14, 7)

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


CONVOLUTION = Part.of("se_conv")

#               what differs from b0, stages of convolution; params, top-1 after 100 epochs
ROWS: dict[str, tuple[dict[str, Any], int, float | None, float]] = {
    "table_5_c_h_h_h": ({}, 1, 3.4, 68.8),
    "table_5_c_c_h_h": ({}, 2, 3.3, 67.2),
    "table_6_cpe": ({"num_branches": 1, "skip": False}, 0, None, 68.5),
    "table_6_r_cpe": ({"num_branches": 1}, 0, None, 69.2),
    "table_6_p_cpe": ({"skip": False}, 0, None, 69.3),
}


def linglo(variant: str, ffn: Mapping[str, Any] = MappingProxyType({}), convolutions: int = 0) -> Architecture:
    """A LinGlo.

    Args:
        variant: a name in `VARIANTS`.
        ffn: options of the FFN that differ from the paper's.
        convolutions: stages, from the first on, with a convolution in the place of the attention.
    """
    channels, depths = VARIANTS[variant]
    stages = []
    for s, width in enumerate(channels):
        stem = Part.of("patch_embedding", kernel_size=7, stride=4, norm="layer_norm", eps=1e-6)
        between = Part.of("patch_embedding", kernel_size=3, stride=2, norm="layer_norm", eps=1e-6)
        block = Block(
            position=NONE,
            norm=Part.of("layer_norm"),
            mixer=CONVOLUTION if s < convolutions else Part.of("key_only_attention", head_dim=width // HEADS[s]),
            ffn=Part.of("rp_cpe_ffn", ratio=float(RATIO[s]), **ffn),
            scale=NONE,
        )
        stages.append(stage(width, between if s else stem, depths[s], block))
    return architecture(stages, Part.of("linear_head", norm="layer_norm", dropout=0.0))


def without_convolutions() -> Architecture:
    """LinGlo-w/o-C-b0 (section 5.4, figure 5): patches that do not overlap, no RP-CPE, and absolute positions as PVT adds them.

    The text's LinGlo-w/o-CH, of one stage only, is not in the family's space and so no network here.
    """
    stages = []
    for s, found in enumerate(linglo("linglo_b0").stages):
        size = 2 if s else 4
        embedding = Part.of("patch_embedding", kernel_size=size, stride=size, norm="layer_norm", eps=1e-6)
        later = replace(found.blocks[0], ffn=Part.of("mlp", ratio=float(RATIO[s])))
        first = replace(later, position=Part.of("absolute", map_size=MAP_SIZE[s]))
        stages.append(replace(found, embedding=embedding, blocks=(first,) + (later,) * (len(found.blocks) - 1)))
    return architecture(stages, Part.of("linear_head", norm="layer_norm", dropout=0.0))


def networks() -> list[PaperNetwork]:
    """b0, b1 and b2, in the form that is trained: RP-CPE with its four branches; then the ablations of b0."""
    found = []
    for name in VARIANTS:
        params, top1 = PUBLISHED[name]
        found.append(
            PaperNetwork(
                name=name,
                family="linglo",
                arch=linglo(name),
                source="LinGlo, section 4 and table 2",
                params=params,
                top1=top1,
                note=NOTE,
            )
        )
    for row, (ffn, convolutions, params, top1) in ROWS.items():
        found.append(
            PaperNetwork(
                name=f"linglo_{row}",
                family="linglo",
                arch=linglo("linglo_b0", ffn, convolutions),
                source=f"LinGlo, table {row[6]}",
                params=params,
                top1=top1,
                note=f"trained for 100 epochs; {NOTE}",
                ablation=True,
            )
        )
    found.append(
        PaperNetwork(
            name="linglo_figure_5_without_convolutions",
            family="linglo",
            arch=without_convolutions(),
            source="LinGlo, section 5.4 and figure 5",
            note="the text prints no count of it, and its accuracy as a curve only",
            ablation=True,
        )
    )
    return found
