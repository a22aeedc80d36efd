"""What a target of fuzzing is: a kind of input, how one is made, and how the project reads it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Args:
        name: as it is typed.
        make: writes an input into an empty folder, and says in a word or two what was changed.
        read: reads it as the project does, with that folder as the present one; gives what became of it, or nothing where it was
            simply accepted.
        share: inputs of a whole run over all targets. Cheap targets have more.
        few: inputs of `make test`.
        ready: imports and makes what the first input would take longer for.
    """

    name: str
    make: Callable[[random.Random, Path], str]
    read: Callable[[Path], str | None]
    share: int
    few: int
    ready: Callable[[], None] = lambda: None

    def write(self, number: int, folder: Path) -> str:
        """Writes input number `number` into an empty folder, and says what was changed."""
        return self.make(random.Random(f"{self.name} {number}"), folder)
