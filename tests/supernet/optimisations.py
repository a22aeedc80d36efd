"""Optimisations as tests ask for them, and the gradients that an update is given."""

from typing import Any

from torch import Tensor, nn

from supernet.optimisation import Optimisation, Schedule

SCHEDULE = Schedule(lr=0.1, warmup_steps=2, total_steps=100)


def optimise(module: nn.Module, **changes: Any) -> Optimisation:
    return Optimisation(module, SCHEDULE, **({"weight_decay": 0.0, "clip": 0.0, "ema": 0.0} | changes))


def gradients_at_the_update(optimisation: Optimisation) -> dict[str, Tensor]:
    """What the optimizer sees, in place of its step."""
    seen: dict[str, Tensor] = {}

    def look(*args: Any, **kwargs: Any) -> None:
        seen.update({n: p.grad.clone() for n, p in optimisation.parameters.items() if p.grad is not None})

    optimisation.optimizer.step = look  # type: ignore[method-assign]
    return seen
