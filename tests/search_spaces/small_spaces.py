"""Small spaces of which every member can be listed, and a small space to be changed into others."""

import itertools
from functools import cache

from search_spaces.architecture import Architecture
from search_spaces.named import check
from search_spaces.space import SearchSpace

HEADER = """
name = "{name}"
in_channels = 2
num_classes = 3
resolution = 8
head = {{ part = "linear_head", norm = ["none", "layer_norm"] }}
"""

BLOCK = """
[block]
position = [{ part = "none" }]
norm = [{ part = "layer_norm" }]
scale = [{ part = "none" }]
"""

TEXTS = {
    # One member: nothing to choose.
    "one": """
head = { part = "linear_head" }
[block]
position = { part = "dpe", kernel_size = 3 }
norm = { part = "group_norm" }
scale = { part = "layer_scale", init = 0.1 }
mixer = { part = "depthwise_conv", kernel_size = 3 }
ffn = { part = "mlp", ratio = 1 }
[[stages]]
width = 8
depth = 2
embedding = { part = "conv_stem", stride = 2 }
""",
    # Stages without blocks, alone and beside deeper ones.
    "empty": BLOCK
    + """
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]
ffn = [{ part = "mlp", ratio = [1, 2] }]
[[stages]]
width = [4, 8]
depth = [0, 1]
embedding = [{ part = "conv_stem", stride = [1, 2] }, { part = "conv_downsampling" }]
[[stages]]
width = 8
depth = 0
embedding = { part = "conv_downsampling" }
[[stages]]
width = 8
depth = [0, 2]
embedding = { part = "conv_downsampling" }
""",
    # Whole slots chosen once a stage.
    "slots": BLOCK
    + """
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }, { part = "global_attention", head_dim = 4 }]
ffn = [{ part = "mlp", ratio = [1, 2] }, { part = "ms_ffn", ratio = 1 }]
[[stages]]
width = [8, 12]
depth = 2
embedding = { part = "conv_stem", stride = 2 }
per_stage = ["mixer"]
[[stages]]
width = 16
depth = [0, 2]
embedding = { part = "conv_downsampling" }
per_stage = ["ffn", "mixer"]
""",
    # Single options chosen once a stage: they matter only where a block uses their part.
    "options": BLOCK
    + """
ffn = { part = "mlp", ratio = 1 }
mixer = [
    { part = "depthwise_conv", kernel_size = [3, 5] },
    { part = "d_mixer", attention_ratio = [0.25, 0.75], head_dim = 2, kernel_size = [3, 5] },
]
[[stages]]
width = 8
depth = [0, 1, 2]
embedding = { part = "conv_stem", stride = 2 }
per_stage = ["mixer.d_mixer.attention_ratio", "mixer.depthwise_conv.kernel_size"]
[[stages]]
width = [8, 16]
depth = 1
embedding = { part = "conv_downsampling" }
per_stage = ["ffn", "mixer.d_mixer.kernel_size"]
""",
    # A larger stride is cheaper: one mixer costs more than the other with its first option and less with its last.
    "strides": BLOCK
    + """
ffn = { part = "mlp", ratio = 1 }
[[stages]]
width = 8
depth = [1, 2]
embedding = { part = "conv_stem", stride = 1 }
mixer = [
    { part = "partial_attention", head_dim = 4, foreground_ratio = 0.5 },
    { part = "d_mixer", head_dim = 4, sr_ratio = [1, 2, 4], kernel_size = 3 },
]
[[stages]]
width = [8, 16]
depth = [0, 1]
embedding = { part = "conv_downsampling", kernel_size = 1, stride = 1 }
mixer = [
    { part = "d_mixer", head_dim = 4, sr_ratio = [1, 2, 4], kernel_size = 3 },
    { part = "partial_attention", head_dim = 4, foreground_ratio = 0.5 },
]
per_stage = ["mixer.d_mixer.sr_ratio"]
""",
    # Parts and unordered values, costly ones first: the cheapest member is not where the choices begin.
    "turned": BLOCK
    + """
mixer = { part = "depthwise_conv", kernel_size = 3 }
ffn = [{ part = "ms_ffn", ratio = [1, 4], scales = [[3, 5], [1, 9]] }, { part = "mlp", ratio = 2 }]
[[stages]]
width = [8, 16]
depth = [1, 2]
embedding = [{ part = "conv_stem", stride = 1 }, { part = "conv_downsampling", stride = [1, 2], kernel_size = [7, 1] }]
""",
}  # fmt: skip


def text_of(name: str) -> str:
    text = TEXTS[name]
    header = HEADER.format(name=name)
    if "head = { part" in text:
        header, text = header.partition("head")[0], text
    return header + text


@cache
def hand_written(name: str) -> SearchSpace:
    return check(SearchSpace.from_toml(text_of(name)))


SMALL = {name: hand_written(name) for name in TEXTS}


@cache
def enumerate_members(space: SearchSpace) -> frozenset[Architecture]:
    """Every member, from every combination of genes."""
    return frozenset(map(space.decode, itertools.product(*(range(len(gene.choices)) for gene in space.genes))))


BASE = HEADER.format(name="wrong") + BLOCK + """
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]
ffn = [{ part = "mlp", ratio = 2 }]
[[stages]]
width = [8, 16]
depth = [1, 2]
embedding = { part = "conv_stem", stride = 2 }
per_stage = ["mixer"]
"""  # fmt: skip
