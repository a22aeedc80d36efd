"""The form of a network that is run, not trained: the same outputs up to rounding, in less time.

    fast = inference_form(network)
    fast(x.contiguous(memory_format=torch.channels_last))

Norms with running statistics are folded into the convolutions beside them, parallel branches merged into one kernel, LayerScale
folded into the layer before it, and weights laid out channels-last. Each part says how, by `for_inference`.
"""

import copy
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.folding import FixedConv
from search_spaces.network import Network, ResidualBlock, StagePieces
from search_spaces.registry import PartModule
from search_spaces.scales.layer_scale import LayerScale
from search_spaces.scales.none import NoScale


class FoldedBlock(ResidualBlock):
    """A block whose channel mixer ends with a convolution that adds the residual itself."""

    def __init__(self, block: ResidualBlock) -> None:
        nn.Module.__init__(self)
        self._modules.update(block._modules)

    def forward(
        self, x: Float[Tensor, "b c h w"], position_bias: Float[Tensor, "heads h w h2 w2"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        x = self.mix(x, position_bias)
        return self.ffn(self.norm2(x), add=x)


@torch.no_grad()
def inference_form(network: Network) -> Network:
    """A copy for inference, in evaluation mode; its modules are no parts any more and its state dict is its own."""
    fast = copy.deepcopy(network).eval().requires_grad_(False)
    for stage in cast("list[StagePieces]", list(fast.stages)):
        stage.embedding = cast(PartModule, stage.embedding).for_inference()
        for b, block in enumerate(cast("list[ResidualBlock]", list(stage.blocks))):
            for name, child in list(block.named_children()):
                if isinstance(child, PartModule):
                    setattr(block, name, child.for_inference())
            last = getattr(block.ffn, "last", None)
            if isinstance(last, FixedConv) and isinstance(block.scale2, LayerScale):
                last.scale(block.scale2.weight, block.scale2.bias)
                block.scale2 = NoScale(0, NoScale.Options())
            if isinstance(last, FixedConv) and isinstance(block.scale2, NoScale):
                stage.blocks[b] = FoldedBlock(block)
    fast.head = cast(PartModule, fast.head).for_inference()
    return fast.requires_grad_(False).to(memory_format=torch.channels_last)
