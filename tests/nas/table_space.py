"""A space without networks, for tests of the loop: a member is a word over a few letters, and everything is known of it."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from search_spaces.errors import OutsideBudget
from search_spaces.space import Gene, Genes


@dataclass(frozen=True)
class Word:
    """Stands for an architecture."""

    digest: str

    @property
    def letters(self) -> list[int]:
        return [int(letter) for letter in self.digest]


@dataclass(frozen=True)
class Words:
    """All words of `length` letters, of which there are `letters`. With `short`, the first letter is the length, and further
    letters do not matter: different genes, one member."""

    length: int = 5
    letters: int = 3
    short: bool = False

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        first = (Gene("length", tuple(range(1, self.length + 1))),) if self.short else ()
        return first + tuple(Gene(f"g{i}", tuple(range(self.letters))) for i in range(self.length))

    @cached_property
    def members(self) -> list[Any]:
        lengths = range(1, self.length + 1) if self.short else (self.length,)
        letters = "012345"[: self.letters]
        return [Word("".join(word)) for length in lengths for word in itertools.product(letters, repeat=length)]

    @property
    def size(self) -> int:
        return len(self.members)

    def decode(self, genes: Genes) -> Any:
        if self.short:
            genes = genes[1 : genes[0] + 2]
        return Word("".join(map(str, genes)))

    def encode(self, arch: Any) -> Genes:
        letters = tuple(arch.letters)
        return (len(letters) - 1, *letters, *(0,) * (self.length - len(letters))) if self.short else letters

    def sample(self, rng: random.Random, excess: Callable[[Any], float] | None = None) -> Any:
        inside = [member for member in self.members if excess is None or excess(member) <= 0]
        if not inside:
            raise OutsideBudget(self.members[0])
        return rng.choice(inside)
