"""The form of a network that is run, not trained: the same outputs up to rounding, in less time.

    fast = inference_form(network)
    fast(x.contiguous(memory_format=torch.channels_last))

Norms with running statistics are folded into the convolutions beside them, parallel branches merged into one kernel, LayerScale
folded into the layer before it, and weights laid out channels-last. Each part says how, by `for_inference`.
"""

from typing import cast

import torch

from search_spaces.folding import FixedConv
from search_spaces.network import Network, ResidualBlock, StagePieces
from search_spaces.registry import PartModule
from search_spaces.reparameterisation import reparameterise
from search_spaces.scales.layer_scale import LayerScale
from search_spaces.scales.none import NoScale


@torch.no_grad()
def inference_form(network: Network) -> Network:
    """A copy for inference, in evaluation mode. Its modules are not what their parts say and its state dict is its own: it is not to be
    trained, shared or folded again.
    """
    fast = reparameterise(network).eval().requires_grad_(False)
    for stage in cast("list[StagePieces]", list(fast.stages)):
        stage.embedding = cast(PartModule, stage.embedding).for_inference()
        for block in cast("list[ResidualBlock]", list(stage.blocks)):
            fold_block(block)
    fast.head = cast(PartModule, fast.head).for_inference()
    return fast.requires_grad_(False).to(memory_format=torch.channels_last)


def fold_block(block: ResidualBlock) -> None:
    """Brings a block, or what is left of one, into its form for inference, in place."""
    for name, child in list(block.named_children()):
        if isinstance(child, PartModule):
            setattr(block, name, child.for_inference())
    last = getattr(getattr(block, "ffn", None), "last", None)
    if isinstance(last, FixedConv) and isinstance(block.scale2, LayerScale):
        last.scale(block.scale2.weight, block.scale2.bias)
        block.scale2 = NoScale(0, NoScale.Options())
