"""Single-path training: every step trains one sub-network that is drawn uniformly (SPOS, arXiv:1904.00420)."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from search_spaces.architecture import Architecture
from supernet.steps import Moment, autocast
from supernet.strategy import Strategy
from supernet.supernet import Supernet


class SinglePath(Strategy):
    """Each step trains one sub-network, whose genes are drawn uniformly, on labels.

    If it is outside the limits, it is replaced by a random network between the smallest sizes and the drawn ones, with the same operators
    (`supernet.fitting`).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        """None: there is nothing to choose."""

    @property
    def paths(self) -> int:
        return 1

    def draw(self, moment: Moment) -> list[Architecture]:
        rng = self.random(moment)
        genes = tuple(rng.randrange(len(gene.choices)) for gene in self.space.genes)
        return [self.space.decode(genes) if self.fit is None else self.fit.random_of(genes, rng)]

    def step(
        self, supernet: Supernet, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"], moment: Moment
    ) -> dict[str, Tensor]:
        (arch,) = self.draw(moment)
        with autocast(images.device, self.recipe.amp):
            logits = supernet(images, arch)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        loss.backward()
        return {"loss": loss.detach()}
