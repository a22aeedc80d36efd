"""The one error a user's input can cause, in three parts: what was given, what is allowed, what to type instead; and the exception of
a search space in which nothing within a budget was found, from which whoever knows the budget makes such an error.

Standard library only, so that every message about an argument is printed without importing torch.
"""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture


class InputError(ValueError):
    """Input from outside (an argument, a file, a data set) that cannot be used. The command line exits with code 2 on it.

    Args:
        given: what was given and why it does not work, as a sentence without a full stop.
        allowed: what is allowed.
        instead: what to type or do instead.
    """

    def __init__(self, given: str, allowed: str, instead: str) -> None:
        self.given, self.allowed, self.instead = given, allowed, instead
        super().__init__(f"{given}\n  allowed: {allowed}\n  instead: {instead}")

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        return type(self), (self.given, self.allowed, self.instead)


class OutsideBudget(Exception):
    """No member of a space was found within a budget.

    Args:
        nearest: the architecture that came nearest.
    """

    def __init__(self, nearest: "Architecture") -> None:
        self.nearest = nearest
        super().__init__("no member of the space was found within the budget")

    def __reduce__(self) -> "tuple[type[OutsideBudget], tuple[Architecture]]":
        return type(self), (self.nearest,)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name closest to `name` in spelling; the first in sorted order when nothing is close.

    Raises:
        ValueError: `known` is empty.
    """
    names = sorted(known)
    if not names:
        raise ValueError("nearest() needs at least one known name")
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.01)
    return close[0] if close else names[0]


def unknown(kind: str, name: object, known: Iterable[str], type_instead: str = "{}") -> InputError:
    """The error for a name that is not known, offering the nearest one.

    Args:
        kind: what the name is of, such as "token mixer".
        type_instead: how the nearest name is typed, with one `{}`.
    """
    names = sorted(known)
    if not names:
        return InputError(f"unknown {kind} {name!r}", f"no {kind} can be given here", "leave it out")
    return InputError(f"unknown {kind} {name!r}", ", ".join(names), type_instead.format(nearest(str(name), names)))
