"""The contract of a strategy of supernet training: which sub-networks a step runs, and what they learn from.

    class HalfAndHalf(Strategy):
        @dataclass(frozen=True, kw_only=True, slots=True)
        class Options:
            share: float = 0.5

        @property
        def paths(self): return 2                                 # the most sub-networks of one step
        def draw(self, moment): ...                               # the sub-networks of a step
        def step(self, supernet, images, labels, moment): ...     # runs them, calls backward, returns what to log

Each strategy of the project is a file of its name in `supernet/strategies/`. `supernet.testing` has the invariants that every strategy
must keep, as tests to inherit.
"""

import abc
import dataclasses
import random
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError, unknown
from search_spaces.space import SearchSpace
from supernet.fitting import Fit
from supernet.recipe import Recipe
from supernet.seeding import derive_seed
from supernet.steps import Moment
from supernet.supernet import Supernet


class Strategy(abc.ABC):
    """How the shared weights of a space are trained.

    Options: a frozen dataclass, nested, of numbers, texts and truth values with defaults.

    Args:
        space: bound to the data, and narrowed to the limits where there are any.
        options: an instance of `Options`.
        recipe: of the training. The strategy applies its label smoothing and number format.
        seed: of everything that is drawn.
        fit: draws sub-networks within limits; None without limits.
    """

    Options: ClassVar[type]

    def __init__(self, space: SearchSpace, options: Any, *, recipe: Recipe, seed: int, fit: Fit | None = None) -> None:
        self.space, self.options, self.recipe, self.seed, self.fit = space, options, recipe, seed, fit

    def random(self, moment: Moment) -> random.Random:
        """A new generator for a step. It depends only on the seed and the number of the step."""
        return random.Random(derive_seed(self.seed, "paths", moment.step))

    @property
    @abc.abstractmethod
    def paths(self) -> int:
        """The largest number of sub-networks per step. The memory that training needs depends on it."""

    @abc.abstractmethod
    def draw(self, moment: Moment) -> list[Architecture]:
        """The sub-networks of a step: members of the space within the limits; the first is one of those that need most memory.

        They depend only on the arguments of the strategy and on the moment, because every process draws for itself.
        """

    @abc.abstractmethod
    def step(
        self, supernet: Supernet, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"], moment: Moment
    ) -> dict[str, Tensor]:
        """Runs the sub-networks of a step and leaves the gradients of a mean over these images: see `supernet.steps.Step`.

        What it returns are losses, means over sub-networks and not sums: a training that ends with all of them at the loss of guessing says so.
        """


def options_of(strategy: type[Strategy], values: Mapping[str, object], key: str = "option") -> Any:
    """The checked options of a strategy; those that are not given have their defaults.

    Args:
        key: what a message calls an option.

    Raises:
        InputError: the strategy has no such option, or the value is of another type or not allowed.
    """
    hints = typing.get_type_hints(strategy.Options)
    defaults = {item.name: item.default for item in dataclasses.fields(typing.cast(Any, strategy.Options))}
    found: dict[str, object] = {}
    for name, value in values.items():
        if name not in hints:
            if not hints:
                raise InputError(
                    f"{key} {name}: strategy {strategy.__name__} has no options", "no options", f"{key} left out"
                )
            raise unknown(f"{key} of strategy {strategy.__name__}:", name, hints, f"{{}}={value}")
        if hints[name] is float and type(value) is int:
            value = float(value)
        if type(value) is not hints[name]:
            words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
            raise InputError(f"{key} {name} is {value!r}", words[hints[name]], f"{name}={defaults[name]}")
        found[name] = value
    return strategy.Options(**found)
