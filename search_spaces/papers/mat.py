"""MAT Transformer (dissertation, chapter 4), tables 4.3 and 4.12, and the rows of the ablations, tables 4.2 and 4.9.

The depthwise convolution in the MLP, the conditional encoding before each attention and the 1280-wide head are in no text: the
counts, which they reproduce within 0.01 % (parameters) and 0.15 % (MACs), ask for them.
"""

from collections.abc import Sequence

from search_spaces.architecture import Architecture, Block, Part
from search_spaces.papers import PaperNetwork, architecture, stage

#          base width  depths       heads of stages 3, 4
VARIANTS = {
    "mat_1": (24, (2, 2, 6, 6), (12, 24)),
    "mat_2": (32, (2, 2, 6, 6), (8, 16)),
    "mat_3": (36, (2, 2, 8, 8), (8, 16)),
    "mat_4": (48, (3, 3, 8, 8), (12, 24)),
    "mat_5": (64, (2, 2, 8, 8), (16, 32)),
}

#           params  MACs   top-1
PUBLISHED = {
    "mat_1": (6.714, 0.389, None),
    "mat_2": (10.767, 0.666, 79.0),
    "mat_3": (17.008, 1.042, 80.2),
    "mat_4": (29.057, 1.933, 81.0),
    "mat_5": (50.108, 3.156, 81.9),
}

NOTES = {
    "mat_1": "its top-1 is illegible in the text at hand",
    "mat_2": "also table 4.2's model 3, and table 4.9's rows MAT Attn and Bilinear PE",
}

NONE = Part.of("none")
MIXER, NO_MIXER = "mat_attention", "none"


def mat(
    base: int,
    depths: Sequence[int],
    head_dim: int,
    mixers: Sequence[str] = (NO_MIXER, NO_MIXER, MIXER, MIXER),
    embedding: str = "bilinear_embedding",
    ffn: str = "dw_mlp",
) -> Architecture:
    """A MAT Transformer with this token mixer in each stage."""
    embeddings = {
        "bilinear_embedding": Part.of("bilinear_embedding"),
        "patch_merging": Part.of("patch_merging"),
        "conv": Part.of("patch_embedding", kernel_size=3, stride=2, norm="layer_norm", eps=1e-6),
    }
    stages = []
    for s, depth in enumerate(depths):
        options = {} if mixers[s] == NO_MIXER else {"window_size": 7, "head_dim": head_dim}
        block = Block(
            position=NONE if mixers[s] == NO_MIXER else Part.of("peg", kernel_size=3),
            norm=Part.of("layer_norm"),
            mixer=Part.of(mixers[s], **options),
            ffn=Part.of(ffn, ratio=4.0),
            scale=NONE,
        )
        stages.append(stage(base * 2**s, embeddings[embedding] if s else Part.of("mat_stem"), depth, block))
    return architecture(stages, Part.of("conv_head", hidden=1280, norm="layer_norm"))


def networks() -> list[PaperNetwork]:
    """MAT-1 to MAT-5, then the ablations of MAT-2."""
    found = []
    for name, (base, depths, heads) in VARIANTS.items():
        params, macs, top1 = PUBLISHED[name]
        found.append(
            PaperNetwork(
                name=name,
                family="mat",
                arch=mat(base, depths, 4 * base // heads[0]),
                source="dissertation, tables 4.3 and 4.4",
                params=params,
                macs=macs,
                top1=top1,
                drop_path=0.05,
                note=NOTES.get(name, ""),
            )
        )
    base, depths, _ = VARIANTS["mat_2"]
    n, m = NO_MIXER, MIXER
    #     row                   network                                                        params  MACs   top-1
    rows = {
        "table_4_2_model_1": (mat(base, depths, 16, (m, m, m, m)), 10.874, 0.783, 78.9),
        "table_4_2_model_2": (mat(base, depths, 16, (n, m, m, m)), 10.852, 0.707, 78.8),
        "table_4_2_model_4": (mat(base, depths, 16, (n, n, n, m)), 9.767, 0.568, 78.5),
        "table_4_9_pure_mlp": (mat(base, depths, 16, (n, n, n, n), ffn="mlp"), 5.699, 0.461, 58.4),
        "table_4_9_window_attention": (mat(base, depths, 16, (n, n, *["window_attention"] * 2)), 7.802, 0.659, 76.9),
        "table_4_9_conv_embedding": (mat(base, depths, 16, embedding="conv"), 11.107, 0.703, 78.7),
        "table_4_9_patch_merging": (mat(base, depths, 16, embedding="patch_merging"), 10.892, 0.679, 78.5),
    }
    for name, (arch, params, macs, top1) in rows.items():
        source = f"dissertation, table {name[6:9].replace('_', '.')}"
        found.append(
            PaperNetwork(
                name=f"mat_{name}",
                family="mat",
                arch=arch,
                source=source,
                params=params,
                macs=macs,
                top1=top1,
                ablation=True,
            )
        )
    return found
