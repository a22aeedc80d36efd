"""Counts of what is made on the meta device, where nothing takes memory, and the limits on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from search_spaces.errors import InputError

MOST_NUMBERS = 2 * 10**9
"""Weights of a network that no file limits: 8 GB of float32."""

MOST_TENSORS = 100_000
"""Of a network that no file limits."""

MOST_MODULES = 200_000
"""In any network, those without weights included."""

MOST_IN_A_PART = 2000
"""Modules of one part, and tensors."""


@dataclass
class Made:
    """What has been made so far, and how much of it may be."""

    numbers: int = 0
    tensors: int = 0
    modules: int = 0


def check_made(made: Made, most: Made, what: str) -> None:
    """
    Args:
        what: asks for it, for messages.

    Raises:
        InputError: more has been made than may be.
    """
    for name in ("modules", "tensors", "numbers"):
        limit = getattr(most, name)
        if getattr(made, name) > limit:
            raise InputError(
                f"{what} asks for more than {limit:,} {'weights' if name == 'numbers' else name}",
                "a network of a size that can be used, and weights that were made for it",
                "smaller widths, depths and options, or the folder as `nas extract` wrote it",
            )


class _Counting:
    """What modules call when they register tensors and modules. Its methods are made once, and not for each network that is built."""

    def __init__(self, most: Made, what: str) -> None:
        self.made, self.most, self.what = Made(), most, what

    def tensor(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            self.made.tensors += 1
            self.made.numbers += tensor.numel()
            if self.made.numbers > self.most.numbers or self.made.tensors > self.most.tensors:
                check_made(self.made, self.most, self.what)

    def module(self, module: nn.Module, name: str, child: nn.Module | None) -> None:
        self.made.modules += 1
        if self.made.modules > self.most.modules:
            check_made(self.made, self.most, self.what)


@contextmanager
def limited(
    numbers: int = MOST_NUMBERS,
    tensors: int = MOST_TENSORS,
    modules: int = MOST_MODULES,
    what: str = "the architecture",
) -> Iterator[Made]:
    """Counts what modules register while they are made, and stops at the first one too many.

    So the time is bounded too, whatever loop over an option's value a part has in its constructor.

    Raises:
        InputError: inside it, more is made than may be.
    """
    counting = _Counting(Made(numbers, tensors, modules), what)
    handles: list[Any] = [
        register_module_parameter_registration_hook(counting.tensor),
        register_module_buffer_registration_hook(counting.tensor),
        register_module_module_registration_hook(counting.module),
    ]
    try:
        yield counting.made
    finally:
        for handle in handles:
            handle.remove()
