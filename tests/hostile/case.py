"""What a case is, and the list of all cases."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.hostile.world import World

Prepare = Callable[[World], Iterable[str]]


@dataclass(frozen=True)
class Case:
    """Something hostile, and the command that meets it.

    Args:
        name: what is hostile, in words.
        prepare: changes a world and gives the words of the command.
        codes: exit codes that are right. 2 comes with a message in three parts; 0 is for input that is harmless after all.
        made: names in the desk that the command may make or change beside the run folder, because the user asked for them.
        said: a text that a message must contain. By default it must say the name of a file that the case has changed, or, where there is
            none, the key or the value of the last word that is typed: another reason than the hostile one would refuse harmless input too.
        after: looks at the world afterwards; its assertions are those of the case.
    """

    name: str
    prepare: Prepare
    codes: tuple[int, ...] = (2,)
    made: tuple[str, ...] = ()
    said: str = ""
    after: Callable[[World], None] | None = None

    def __str__(self) -> str:
        return self.name


CASES: list[Case] = []


def add(name: str, prepare: Prepare, **about: object) -> None:
    """Adds a case. Names are unique."""
    if any(case.name == name for case in CASES):
        raise ValueError(f"two cases are called {name!r}")
    CASES.append(Case(name, prepare, **about))  # type: ignore[arg-type]


def case(name: str, **about: object) -> Callable[[Prepare], Prepare]:
    """Makes a case of a function."""

    def decorated(prepare: Prepare) -> Prepare:
        add(name, prepare, **about)
        return prepare

    return decorated
