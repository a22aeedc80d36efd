"""HAT-Net (arXiv:2106.03180), table 1. Stochastic depth is in neither text nor code; the rates are a guess by its sister PVTv2."""

from search_spaces.architecture import Block, Part
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


def networks() -> list[PaperNetwork]:
    """Tiny, Small, Medium and Large. Mixer and FFN have norms of their own, so the block has none."""
    found = []
    for name, (channels, depths, head_dim, kernels, drop_path) in VARIANTS.items():
        params, macs, top1 = PUBLISHED[name]
        stages = []
        for s, width in enumerate(channels):
            mixer = Part.of("h_mhsa", head_dim=head_dim, window_size=WINDOW[s], pool_size=POOL[s], unused_norm=True)
            ffn = Part.of("inverted_residual", ratio=float(RATIO[s]), kernel_size=kernels[s])
            block = Block(position=NONE, norm=NONE, mixer=mixer, ffn=ffn, scale=NONE)
            between = Part.of("patch_embedding", kernel_size=3, stride=2, norm="group_norm", eps=1e-6)
            stages.append(stage(width, between if s else Part.of("hat_stem"), depths[s], block))
        found.append(
            PaperNetwork(
                name=name,
                family="hat_net",
                arch=architecture(stages, Part.of("linear_head", norm="none", dropout=0.2)),
                source="HAT-Net, table 1",
                params=params,
                macs=macs,
                top1=top1,
                rule="module_hooks",
                drop_path=drop_path,
                note="a norm in each attention is counted and never used, as in the authors' code",
            )
        )
    return found
