"""What values from a file have to be: types, ranges and keys, said once and checked where a file is read. Standard library only.

    OF_A_SCORE = Table({"top1": Share(), "images": Whole(1)}, {"note": Maybe(Text())})
    OF_A_SCORE.fault({"top1": 2, "images": 5}, "score")        # "score.top1"

Every shape has `fault(value, where)`: the place of the first value that is not of the shape, or "" if there is none. For the whole of a file,
which has to be a list or a table, `where` is "".
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from search_spaces.costs import LARGEST, is_cost_name
from search_spaces.files.plain import encodable

MOST = 10**18
"""The largest whole number: far beyond every count, and exact in all that is computed of it."""

TOP = "its top level"
"""The place of a value that is in no other."""

DIGEST = re.compile(r"[0-9a-f]{12}")


class Shape(Protocol):
    """What a value has to be."""

    def fault(self, value: Any, where: str) -> str:
        """The place of the first value that is not so; empty if all are."""
        ...


@dataclass(frozen=True)
class Whole:
    """A whole number of a range."""

    least: int = 0
    most: int = MOST

    def fault(self, value: Any, where: str) -> str:
        return "" if type(value) is int and self.least <= value <= self.most else where


@dataclass(frozen=True)
class Number:
    """A finite number of a range."""

    least: float = 0.0
    most: float = LARGEST

    def fault(self, value: Any, where: str) -> str:
        right = type(value) in (int, float) and self.least <= value <= self.most  # no NaN is
        return "" if right else where


SHARE = Number(0, 1)
"""Such as a top-1."""

ANY_NUMBER = Number(-LARGEST, LARGEST)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def fault(self, value: Any, where: str) -> str:
        return "" if isinstance(value, bool) else where


@dataclass(frozen=True)
class Text:
    """A text that can be written as UTF-8.

    Args:
        most: characters.
        like: what it must match as a whole, if it is not any text.
    """

    most: int = 10_000
    like: re.Pattern[str] | None = None

    def fault(self, value: Any, where: str) -> str:
        right = isinstance(value, str) and len(value) <= self.most and encodable(value)
        return "" if right and (self.like is None or self.like.fullmatch(value)) else where


A_DIGEST = Text(12, DIGEST)
"""Of an architecture."""


@dataclass(frozen=True)
class OneOf:
    """One of some values."""

    values: tuple[Any, ...]

    def fault(self, value: Any, where: str) -> str:
        return "" if any(type(value) is type(one) and value == one for one in self.values) else where


@dataclass(frozen=True)
class Named:
    """What a function says is right, such as `is_cost_name`, of texts."""

    right: Callable[[str], bool]

    def fault(self, value: Any, where: str) -> str:
        return "" if isinstance(value, str) and len(value) <= 200 and self.right(value) else where


@dataclass(frozen=True)
class Maybe:
    """None, or of another shape."""

    of: Shape

    def fault(self, value: Any, where: str) -> str:
        return "" if value is None else self.of.fault(value, where)


@dataclass(frozen=True)
class Items:
    """A list.

    Args:
        of: each item.
        least: how many at least.
    """

    of: Shape
    least: int = 0

    def fault(self, value: Any, where: str) -> str:
        if not isinstance(value, list | tuple) or len(value) < self.least:
            return where or TOP
        return next((found for n, item in enumerate(value) if (found := self.of.fault(item, f"{where}[{n}]"))), "")


@dataclass(frozen=True)
class Entries:
    """A table with any keys.

    Args:
        of: each value.
        keys: each key.
    """

    of: Shape
    keys: Shape = field(default_factory=lambda: Text(200))

    def fault(self, value: Any, where: str) -> str:
        if not isinstance(value, Mapping):
            return where or TOP
        for key, item in value.items():
            if self.keys.fault(key, "key"):
                return where or TOP
            if found := self.of.fault(item, f"{where}.{key}".lstrip(".") or TOP):
                return found
        return ""


@dataclass(frozen=True)
class Table:
    """A table with known keys; others are not looked at.

    Args:
        needed, known: shapes by key, of keys that must and that may be there.
    """

    needed: Mapping[str, Shape] = field(default_factory=dict)
    known: Mapping[str, Shape] = field(default_factory=dict)

    def fault(self, value: Any, where: str) -> str:
        if not isinstance(value, Mapping):
            return where or TOP
        dot = f"{where}." if where else ""
        for key, shape in (*self.needed.items(), *self.known.items()):
            if key in value:
                if found := shape.fault(value[key], dot + key):
                    return found
            elif key in self.needed:
                return dot + key
        return ""


@dataclass(frozen=True)
class Anything:
    """Any value, which whoever takes it checks or compares."""

    def fault(self, value: Any, where: str) -> str:
        return ""


@dataclass(frozen=True)
class Plain:
    """Any value of JSON: numbers, texts, lists and tables that can be printed and written again."""

    def fault(self, value: Any, where: str) -> str:
        if value is None or isinstance(value, bool):
            return ""
        if isinstance(value, str):
            return Text(1_000_000).fault(value, where)
        if isinstance(value, int | float):
            return "" if isinstance(value, int) or math.isfinite(value) else where
        if isinstance(value, Mapping):
            return Entries(self, Text()).fault(value, where)
        return Items(self).fault(value, where)


COSTS = Entries(ANY_NUMBER, Named(is_cost_name))
"""By name, the costs of a network."""
