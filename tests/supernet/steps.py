"""Steps of the sandwich as tests ask for them: what is drawn for a step, and one step on given sub-networks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from supernet.fitting import Fit
from supernet.optimisation import Optimisation
from supernet.recipe import Recipe
from supernet.steps import Moment
from supernet.strategies.sandwich import Sandwich
from supernet.supernet import Supernet


def sandwich_paths(
    space: SearchSpace, seed: int, random_paths: int, largest_only_steps: int = 0, fit: Fit | None = None
) -> Callable[[int], list[Architecture]]:
    """The sub-networks of a step, in a training with one step per epoch."""
    options = Sandwich.Options(random_paths=random_paths, largest_only_epochs=largest_only_steps)
    strategy = Sandwich(space, options, recipe=Recipe(), seed=seed, fit=fit)
    return lambda step: strategy.draw(Moment(step, 10**6, 1))


def train_step(
    supernet: Supernet,
    images: Tensor,
    labels: Tensor,
    archs: list[Architecture],
    optimisation: Optimisation,
    *,
    distill: float,
    seed: int,
    **recipe: Any,
) -> dict[str, float]:
    """One step on these sub-networks, the teacher first, and the update. The share of the soft loss is `distill`."""

    class Given(Sandwich):
        def draw(self, moment: Moment) -> list[Architecture]:
            return archs

    strategy = Given(supernet.space, Sandwich.Options(distill=distill), recipe=Recipe(**recipe), seed=0)
    torch.manual_seed(seed)
    logged = strategy.step(supernet.train(), images, labels, Moment(1, 2, 1))  # by half of a run the share is whole
    return {**{name: float(loss) for name, loss in logged.items()}, **optimisation.step()}
