"""One optimisation step, for a supernet and for a stand-alone network alike: clip, guard, AdamW, cosine schedule, averaged weights."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from search_spaces.network import decayed

MAX_SKIPPED = 50
"""Steps in a row whose gradients may be non-finite before training is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Learning rate by step: linear warm-up, then half a cosine to zero.

    Args:
        lr: peak.
        warmup_steps, total_steps: lengths.
    """

    lr: float
    warmup_steps: int
    total_steps: int

    def at(self, step: int) -> float:
        """The rate of step `step`, counted from 0."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@runtime_checkable
class Rates(Protocol):
    """The learning rate by step; `Schedule` is one."""

    def at(self, step: int) -> float:
        """The rate of step `step`, counted from 0."""
        ...


@runtime_checkable
class Average(Protocol):
    """Averaged weights of a module, in place of those that `Optimisation` keeps itself."""

    def update(self, step: int) -> None:
        """Called after step `step`, counted from 1."""
        ...

    def use(self) -> None:
        """Puts the averaged weights into the module, for good."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """All that a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a recipe has in place of the linear warm-up with cosine, of AdamW, and of the averaged weights.

    Args:
        rates: by step.
        optimizer: on the parameters of the module. A group with `lr_scale` has that multiple of the rate.
        average: None for the average that the recipe's `ema` asks for.
        more_epochs: passes after those that the recipe has, such as a cool-down.
    """

    rates: Rates
    optimizer: torch.optim.Optimizer
    average: Average | None = None
    more_epochs: int = 0


class Optimisation:
    """AdamW on a module, with everything around a step.

    What decays is `search_spaces.network.decayed`. Averaged weights (EMA) follow with a decay of
    min(ema, (1 + step) / (10 + step)), so that early weights are forgotten.

    A step whose gradients are not all finite is skipped and counted; running statistics go back to the last good ones.

    Args:
        clip: largest gradient norm, 0 for none.
        ema: decay of the averaged weights, 0 for none.
        pieces: what stands in place of the schedule, of AdamW and of the averaged weights.
    """

    def __init__(
        self,
        module: nn.Module,
        schedule: Schedule,
        *,
        weight_decay: float,
        clip: float,
        ema: float,
        pieces: Pieces | None = None,
    ) -> None:
        self.module, self.clip = module, clip
        self.rates: Rates = pieces.rates if pieces else schedule
        self.average = pieces.average if pieces else None
        self.ema = 0.0 if self.average else ema
        self.parameters = dict(module.named_parameters())
        self.optimizer = pieces.optimizer if pieces else _adamw(module, schedule.lr, weight_decay)
        self.averaged = {name: p.detach().clone() for name, p in self.parameters.items()} if self.ema else {}
        self.step_count = self.skipped = self.skipped_in_a_row = 0
        self._remember_statistics()

    def _remember_statistics(self) -> None:
        self._statistics = {name: buffer.clone() for name, buffer in self.module.named_buffers()}

    @torch.no_grad()
    def step(self) -> dict[str, float]:
        """Uses the gradients that are there and clears them. Returns lr and grad_norm.

        Raises:
            FloatingPointError: `MAX_SKIPPED` steps in a row had non-finite gradients.
        """
        lr = self.rates.at(self.step_count)
        self.step_count += 1
        used = [p for p in self.parameters.values() if p.grad is not None]
        total = get_total_norm([p.grad for p in used if p.grad is not None], foreach=True)
        norm = float(total)
        if not math.isfinite(norm):
            self.skipped += 1
            self.skipped_in_a_row += 1
            self.optimizer.zero_grad(set_to_none=True)
            for name, buffer in self.module.named_buffers():
                buffer.copy_(self._statistics[name])
            if self.skipped_in_a_row >= MAX_SKIPPED:
                raise FloatingPointError(
                    f"{MAX_SKIPPED} steps in a row had gradients that are not finite: lower the learning rate"
                )
            return {"lr": lr, "grad_norm": math.inf}
        self.skipped_in_a_row = 0
        if self.clip and norm > self.clip:
            clip_grads_with_norm_(used, self.clip, total, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            decay = min(self.ema, (1 + self.step_count) / (10 + self.step_count))
            get_ema_multi_avg_fn(decay)(list(self.averaged.values()), list(self.parameters.values()), self.step_count)
        if self.average:
            self.average.update(self.step_count)
        if self.step_count % 50 == 0:
            self._remember_statistics()
        return {"lr": lr, "grad_norm": norm}

    @torch.no_grad()
    def use_averaged(self) -> None:
        """Puts the averaged weights into the module, for good."""
        for name, average in self.averaged.items():
            self.parameters[name].copy_(average)
        if self.average:
            self.average.use()

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, the module's own state included."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "statistics": self._statistics,
            "counts": [self.step_count, self.skipped, self.skipped_in_a_row],
            **({"average": self.average.state_dict()} if self.average else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            for name, average in self.averaged.items():
                average.copy_(state["averaged"][name])
        self._statistics = {name: buffer.to(_device(self.module)) for name, buffer in state["statistics"].items()}
        if self.average:
            self.average.load_state_dict(state["average"])
        self.step_count, self.skipped, self.skipped_in_a_row = state["counts"]


def groups_of(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that decay (`search_spaces.network.decayed`), and those that do not."""
    weights, parameters = decayed(module), dict(module.named_parameters())
    groups = [
        {"params": [p for name, p in parameters.items() if name in weights], "weight_decay": weight_decay},
        {"params": [p for name, p in parameters.items() if name not in weights], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _adamw(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups_of(module, weight_decay), lr=lr, foreach=True)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def soft_cross_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean cross-entropy of `logits` (b, classes) against the teacher's softmax, in float32. Its gradient is KL's."""
    return -(teacher.float().softmax(dim=-1) * logits.float().log_softmax(dim=-1)).sum(dim=-1).mean()
