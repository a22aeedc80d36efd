"""The sandwich rule with in-place distillation (BigNAS, arXiv:2003.11142), and strict operator fairness: see `supernet.sampling`."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from supernet.optimisation import soft_cross_entropy
from supernet.sampling import sandwich
from supernet.steps import Moment, autocast
from supernet.strategy import Strategy
from supernet.supernet import Supernet


class Sandwich(Strategy):
    """The largest sub-network learns from labels; the smallest and random ones learn from labels and from its outputs."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        """
        Args:
            random_paths: random sub-networks per step, besides the largest and the smallest.
            distill: weight of the distillation loss for all but the largest, from 0 to 1; it rises linearly over the first half of the run.
            largest_only_epochs: epochs at the start that train the largest sub-network alone.
        """

        random_paths: int = 2
        distill: float = 0.5
        largest_only_epochs: float = 0.0

        def __post_init__(self) -> None:
            if self.random_paths < 0:
                raise InputError(f"random_paths is {self.random_paths}", "0 or more", "random_paths=2")
            if not 0 <= self.distill <= 1:
                raise InputError(f"distill is {self.distill}", "from 0 to 1", "distill=0.5")
            if self.largest_only_epochs < 0:
                raise InputError(
                    f"largest_only_epochs is {self.largest_only_epochs}", "0 or more", "largest_only_epochs=0"
                )

    options: Options

    @property
    def paths(self) -> int:
        return 2 + self.options.random_paths

    def draw(self, moment: Moment) -> list[Architecture]:
        """The sub-network of largest sizes, which is the teacher, then the smallest, then random ones."""
        archs = sandwich(self.space, self.random(moment), self.options.random_paths, self.fit)
        alone = round(self.options.largest_only_epochs * moment.per_epoch)
        return archs[:1] if moment.step < alone else archs

    def step(
        self, supernet: Supernet, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"], moment: Moment
    ) -> dict[str, Tensor]:
        archs = self.draw(moment)
        distill = self.options.distill * min(1.0, 2 * moment.step / moment.total)
        teacher, losses = None, []
        for arch in archs:
            with autocast(images.device, self.recipe.amp):
                logits = supernet(images, arch)
            if teacher is None:
                loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
                teacher = logits.detach()
            else:
                loss = (1 - distill) * F.cross_entropy(logits.float(), labels)
                if distill:
                    loss = loss + distill * soft_cross_entropy(logits, teacher)
            (loss / len(archs)).backward()
            losses.append(loss.detach())
        return {"loss_largest": losses[0], "loss_smallest": losses[min(1, len(losses) - 1)]}
