"""The one error a user's input can cause, in three parts: what was given, what is allowed, what to type instead; and the exception of
a search space in which nothing within a budget was found, from which whoever knows the budget makes such an error.

Standard library only, so that every message about an argument is printed without importing torch.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture


LONGEST = 800
"""Characters of what was given, and of what to type instead, in a message. The middle of a longer text is left out."""

LONGEST_LIST = 20_000
"""Characters of what is allowed, which may list hundreds of names."""


LARGEST = 10**18
"""Of a number that is quoted with all its digits, whatever its sign."""


def quoted(value: object) -> str:
    """A plain value as Python writes it, for a message: without the middle of a long one, and of a long list or table only its length."""
    if isinstance(value, list | tuple | dict) and len(value) > 20:
        return f"a {type(value).__name__} of {len(value):,} values"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of more than 18 digits"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}...{text[-20:]}"


class InputError(ValueError):
    """Input from outside (an argument, a file, a data set) that cannot be used. The command line exits with code 2 on it.

    Whatever its parts quote, each of them is one line of bounded length, and characters that a terminal would obey are shown as Python
    escapes them: no text from outside can pass for another line of the message.

    Args:
        given: what was given and why it does not work, as a sentence without a full stop.
        allowed: what is allowed.
        instead: what to type or do instead.
        listed: what `given` speaks of, such as the names of several files, each on a line of its own.
    """

    def __init__(self, given: str, allowed: str, instead: str, listed: Sequence[str] = ()) -> None:
        self.given, self.allowed, self.instead = visible(given), visible(allowed, LONGEST_LIST), visible(instead)
        self.listed = tuple(map(visible, listed))
        lines = "".join(f"\n    {line}" for line in self.listed)
        super().__init__(f"{self.given}{lines}\n  allowed: {self.allowed}\n  instead: {self.instead}")

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str, tuple[str, ...]]]:
        return type(self), (self.given, self.allowed, self.instead, self.listed)


def visible(text: str, longest: int = LONGEST) -> str:
    """A text as one line that can be printed anywhere: control characters, line breaks and characters that change the direction of writing
    as Python escapes them, and the middle left out of one that is longer than `longest`.
    """
    text = _shortened(text, longest)
    if text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _shortened(shown, longest)  # an escape has up to ten characters


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest * 3 // 4]} ... {text[-longest // 8 :]}"


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
    """The known name closest to the first 200 characters of `name` in spelling; the first in sorted order when nothing is close.

    Raises:
        ValueError: `known` is empty.
    """
    names = sorted(known)
    if not names:
        raise ValueError("nearest() needs at least one known name")
    close = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.01)
    return close[0] if close else names[0]


def unknown(kind: str, name: object, known: Iterable[str], type_instead: str = "{}") -> InputError:
    """The error for a name that is not known, offering the nearest one.

    Args:
        kind: what the name is of, such as "token mixer".
        type_instead: how the nearest name is typed. Its first `{}` stands for the name; it is no format string, so the text behind that may
            be any text from outside.
    """
    names = sorted(known)
    if not names:
        return InputError(f"unknown {kind} {quoted(name)}", f"no {kind} can be given here", "leave it out")
    shown = quoted(name)
    return InputError(
        f"unknown {kind} {shown}", ", ".join(names), type_instead.replace("{}", nearest(str(name), names), 1)
    )
