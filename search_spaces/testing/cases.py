"""Examples of parts, and wrong values of their options.

Examples of a part are built at `DIM` channels.
"""

import dataclasses
import math
import typing
from typing import Any

from torch import Tensor

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.testing.comparing import noise, randomise

DIM, IN_DIM, CLASSES = 16, 6, 5
SIZES = ((1, 1), (7, 5), (8, 8), (3, 10))
"""One position, odd, square, and flatter than most kernels."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One example of one registered part."""

    kind: str
    name: str
    index: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}-{self.index}"

    @property
    def module_class(self) -> type[registry.PartModule]:
        return registry.lookup(self.kind, self.name)

    @property
    def options(self) -> Any:
        return (*self.module_class.examples, *self.module_class.variants)[self.index]

    @property
    def mixes_kernels(self) -> bool:
        return self.module_class.mixes_kernels(self.options)

    @property
    def part(self) -> Part:
        return Part(self.name, tuple(dataclasses.asdict(self.options).items()))

    @property
    def dims(self) -> tuple[int, ...]:
        return {"embedding": (IN_DIM, DIM), "head": (DIM, CLASSES), "position_bias": ()}.get(self.kind, (DIM,))

    def make(self, seed: int = 0) -> registry.PartModule:
        """The part with random weights and statistics, in evaluation mode."""
        module = registry.make(self.kind, self.part, *self.dims)
        randomise(module, seed)
        return module.eval()

    def inputs(self, height: int, width: int, batch: int = 1, seed: int = 1, **kwargs: Any) -> tuple[Tensor, ...]:
        """What `forward` takes: a map, and for some mixers the map before normalisation too."""
        module = self.module_class
        count = 2 if issubclass(module, registry.TokenMixer) and module.needs_residual else 1
        channels = self.dims[0] if self.dims else DIM
        return tuple(noise(batch, channels, height, width, seed=seed + i, **kwargs) for i in range(count))

    def output_shape(self, height: int, width: int, batch: int = 1) -> tuple[int, ...]:
        if self.kind == "head":
            return batch, CLASSES
        if self.kind == "position_bias":
            keys = (-(-height // self.options.sr_ratio), -(-width // self.options.sr_ratio))
            return self.options.num_heads, height, width, *keys
        stride = 1
        if self.kind == "embedding":  # an option, or a constant of the class
            stride = getattr(self.options, "stride", None) or getattr(self.module_class, "stride")  # noqa: B009
        return batch, DIM, -(-height // stride), -(-width // stride)


def cases(kind: str | None = None, name: str | None = None) -> list[Case]:
    """Every example of every registered part, or of those of one kind or name."""
    return [
        Case(found_kind, found_name, index)
        for found_kind in ([kind] if kind else registry.KINDS)
        for found_name, module in registry.parts(found_kind).items()
        if name in (None, found_name)
        for index in range(len(module.examples) + len(module.variants))
    ]


WRONG_TYPES: dict[Any, tuple[Any, ...]] = {
    int: (1.5, "1", True, (1,)),
    float: ("0.5", True, (0.5,)),
    str: (1, True, ("gelu",)),
    bool: (1, "true", 0.0),
    tuple: (3, "3", (("a",),), (True,)),
}
WRONG_VALUES: dict[Any, tuple[Any, ...]] = {
    int: (0, -1),
    float: (-1.0, math.nan, math.inf, -math.inf),
    str: ("no such name", ""),
    bool: (),
    tuple: ((), (-1,), (3, 3)),
}


def option_types(module: type[registry.PartModule]) -> dict[str, Any]:
    hints = typing.get_type_hints(module.Options)
    return {key: typing.get_origin(hint) or hint for key, hint in hints.items()}
