"""A search space: a finite set of architectures, given as choices per stage and per block.

A space is a readable TOML file:

    name = "tiny"
    about = "Two mixers in two stages."
    in_channels = 1                 # these three follow the data when a run starts
    num_classes = 10
    resolution = 16
    head = { part = "linear_head" }

    [block]                         # choices of every stage that does not list its own
    position = [{ part = "none" }]
    norm = [{ part = "layer_norm" }]
    mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }, { part = "global_attention", head_dim = 8 }]
    ffn = [{ part = "mlp", ratio = [2, 4] }]
    scale = [{ part = "none" }]

    # position_bias = [{ part = "none" }, ...], a key of a stage: a bias that its attention blocks share; the default is none

    [[stages]]
    width = [16, 32]
    depth = [1, 2]
    embedding = [{ part = "conv_stem", stride = 2 }]
    per_stage = ["ffn"]             # chosen once for all blocks of the stage

A list is always a list of choices; a value that is itself a list is written inside one (`scales = [[3], [1, 3]]`). Training takes the
last value of a list as the largest. So numbers ascend, false comes before true, and shorter lists come before longer ones. Words may have
any order, and so may the options that a part declares as `PartModule.unordered`, such as `sr_ratio`.
`per_stage` names a slot ("mixer") or one option of one part ("mixer.d_mixer.attention_ratio"). `per_network`, a key beside `head`,
names slots or options that are chosen once for all stages that have them.

Standard library only. A gene is a choice with more than one value. An architecture is encoded as one index per gene, which is 0 if the
gene has no effect (a block beyond the depth, an option of a part that was not chosen, an option without effect). A checked space knows
the rules of its parts, and all its members are canonical: each function is one member (`search_spaces.canonical`).
"""

from search_spaces.choices import NO_BIAS, Buildable, Gene, PartChoice, Place, Rules, Slot, StageSpace, members
from search_spaces.space.description import check_ties
from search_spaces.space.genes import Genes
from search_spaces.space.moves import REJECTIONS, RESTARTS, Cost, Excess, SearchSpace

__all__ = [
    "NO_BIAS", "REJECTIONS", "RESTARTS", "Buildable", "Cost", "Excess", "Gene", "Genes", "PartChoice", "Place", "Rules", "SearchSpace", "Slot",
    "StageSpace", "check_ties", "members",
]  # fmt: skip
