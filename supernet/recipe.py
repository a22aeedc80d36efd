"""The recipe of gradient descent that the training of a supernet and that of a stand-alone network share.

Standard library only, so that a command line can check and explain its values without importing torch.
"""

from dataclasses import dataclass, field
from typing import Any


def _meant(default: Any, meaning: str) -> Any:
    """A value with its default, and what a help text says of it."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How `supernet.loop.fit` trains; a section of the configuration inherits it and adds keys of its own."""

    epochs: int = _meant(30, "passes over the training images")
    batch_size: int = _meant(64, "images per step")
    lr: float = _meant(2e-3, "peak learning rate of AdamW; linear warm-up, then cosine to zero")
    warmup_epochs: float = _meant(2.0, "epochs of linear warm-up")
    weight_decay: float = _meant(0.05, "decay of weights with two or more axes")
    clip: float = _meant(1.0, "largest gradient norm; 0 for none")
    label_smoothing: float = _meant(0.1, "label smoothing of the loss")
    ema: float = _meant(0.99, "decay of the moving average of the weights, with a warm-up; 0 for none")
    amp: str = _meant("none", "none or bf16 (autocast)")
    checkpoint_steps: int = _meant(100, "steps between checkpoints")
