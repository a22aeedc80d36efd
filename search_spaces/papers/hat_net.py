"""HAT-Net (arXiv:2106.03180), table 1. Stochastic depth is in neither text nor code; the rates are a guess by its sister PVTv2."""

from collections.abc import Sequence

from search_spaces.architecture import Architecture, Block, Part
from search_spaces.papers import PaperNetwork, architecture, stage

RATIO = (8, 8, 4, 4)
WINDOW = (8, 7, 7, 1)  # G1; in the last stage attention is plain
POOL = (8, 4, 2, 1)  # G2

#                     channels             depths         head dim  kernel        drop path
VARIANTS = {
    "hat_net_tiny": ((48, 96, 240, 384), (2, 2, 6, 3), 48, (3, 3, 3, 3), 0.1),
    "hat_net_small": ((64, 128, 320, 512), (2, 3, 8, 3), 64, (3, 3, 3, 3), 0.1),
    "hat_net_medium": ((64, 128, 320, 512), (3, 6, 18, 3), 64, (5, 3, 5, 3), 0.3),
    "hat_net_large": ((64, 128, 320, 640), (3, 8, 27, 3), 64, (3, 3, 3, 3), 0.3),
}

#                   params  MACs  top-1
PUBLISHED = {
    "hat_net_tiny": (12.7, 2.0, 79.8),
    "hat_net_small": (25.7, 4.3, 82.6),
    "hat_net_medium": (42.9, 8.3, 84.0),
    "hat_net_large": (63.1, 11.5, 84.2),
}

NONE = Part.of("none")


GROUP_NORM = Part.of("group_norm", eps=1e-6)

#          stages with H-MHSA, top-1 after 100 epochs; the fourth row is hat_net_small
TABLE_5 = {
    "design_1": ((False, False, False), 78.2),
    "design_2": ((True, False, False), 78.2),
    "design_3": ((True, True, False), 78.4),
}
NOTE = "a norm in each attention is counted and never used, as in the authors' code"


def hat_net(variant: str, hierarchical: Sequence[bool] = (True, True, True), activation: str = "silu") -> Architecture:
    """A HAT-Net.

    Args:
        variant: a name in `VARIANTS`.
        hierarchical: whether each of the first three stages has H-MHSA; else it has window attention with the same windows.
        activation: of the stem and of the inverted residuals.
    """
    channels, depths, head_dim, kernels, _ = VARIANTS[variant]
    stages = []
    for s, width in enumerate(channels):
        norm, mixer = (
            NONE,
            Part.of("h_mhsa", head_dim=head_dim, window_size=WINDOW[s], pool_size=POOL[s], unused_norm=True),
        )
        if s < len(hierarchical) and not hierarchical[s]:
            norm, mixer = GROUP_NORM, Part.of("window_attention", head_dim=head_dim, window_size=WINDOW[s])
        ffn = Part.of("inverted_residual", ratio=float(RATIO[s]), kernel_size=kernels[s], activation=activation)
        block = Block(position=NONE, norm=norm, mixer=mixer, ffn=ffn, scale=NONE)
        between = Part.of("patch_embedding", kernel_size=3, stride=2, norm="group_norm", eps=1e-6)
        stages.append(stage(width, between if s else Part.of("hat_stem", activation=activation), depths[s], block))
    return architecture(stages, Part.of("linear_head", norm="none", dropout=0.2))


def networks() -> list[PaperNetwork]:
    """Tiny, Small, Medium and Large, whose mixers and FFNs have norms of their own; then the ablations of Small."""
    found = []
    for name in VARIANTS:
        params, macs, top1 = PUBLISHED[name]
        found.append(
            PaperNetwork(
                name=name,
                family="hat_net",
                arch=hat_net(name),
                source="HAT-Net, table 1",
                params=params,
                macs=macs,
                top1=top1,
                rule="module_hooks",
                drop_path=VARIANTS[name][-1],
                note=NOTE,
            )
        )
    rows = {
        f"hat_net_table_5_{row}": (hat_net("hat_net_small", stages), "table 5", top1)
        for row, (stages, top1) in TABLE_5.items()
    }
    rows["hat_net_small_gelu"] = (hat_net("hat_net_small", activation="gelu"), "section 4.4", 82.7)
    for name, (arch, where, top1) in rows.items():
        note = (
            "trained for 100 epochs; the size of its windows is not printed, ours is that of H-MHSA"
            if "table" in name
            else NOTE
        )
        found.append(
            PaperNetwork(
                name=name,
                family="hat_net",
                arch=arch,
                source=f"HAT-Net, {where}",
                top1=top1,
                rule="module_hooks",
                drop_path=0.1,
                note=note,
                ablation=True,
            )
        )
    return found
