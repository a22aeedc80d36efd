"""Budgets: limits on any costs of a network, and the one number that says how far a network is outside them.

    4M                          at most 4 million MACs
    macs=2M..4M,params=100K     a range of MACs, both ends included, and at most 100,000 parameters
    latency_ms@pi5=8            at most 8 ms on the device `pi5`
    macs=2M..                   at least 2 million MACs

Standard library only. A budget knows names and numbers; what a cost is and how it is counted is in `search_spaces.costs`.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Self

from search_spaces.costs import is_cost_name
from search_spaces.errors import InputError
from search_spaces.limits import UNKNOWN, shortfall, violation

Costs = Mapping[str, float]
"""What a network costs, by the name of each cost. A cost that is not known for it is left out."""

LARGEST = 10**18
"""Of a limit: far beyond use, and exact wherever it is computed with."""

_SCALES = {"K": 10**3, "M": 10**6, "G": 10**9}


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:40]!r}...{text[-10:]!r}"


def quantity(number: float) -> str:
    """A number as it is typed in a budget, with every digit: 2M, 1.5M, 1234567, 3.5."""
    exact = Decimal(repr(number))
    for letter, scale in reversed(_SCALES.items()):
        scaled = exact / scale
        if scaled >= 1 and scaled == round(scaled, 3):
            return f"{scaled.normalize():f}{letter}"
    return f"{exact.normalize():f}"


_WORDS = {"macs": "MACs", "params": "parameters", "activations": "bytes of activations", "memory": "bytes of memory"}

_MILLISECONDS = re.compile(r"\w+_ms(@.+)?")
"""Names of costs whose unit is said by the name itself."""


def worded(name: str, value: float) -> str:
    """A cost for reading: 3,274,176 MACs with every digit; 3.512 ms (latency_ms@pi5), because a time has no more digits than that."""
    if _MILLISECONDS.fullmatch(name):
        return f"{value:,.4g} ms ({name})"
    return f"{value:,} {_WORDS.get(name, name)}"


def rounded_up(number: float) -> float:
    """The least number of three significant digits that is no smaller."""
    return _rounded(number, math.ceil)


def rounded_down(number: float) -> float:
    """The greatest number of three significant digits that is no larger."""
    return _rounded(number, math.floor)


def _rounded(number: float, towards: Callable[[Decimal], int]) -> float:
    if number <= 0:
        return 0.0
    exact = Decimal(repr(number))
    step = Decimal(10) ** (exact.adjusted() - 2)
    return float(towards(exact / step) * step)


def number_of(text: str) -> float | None:
    """A number above 0 with K, M or G at its end or without; whole numbers as int. None where the text is no such number."""
    text = text.strip()
    scale = _SCALES.get(text[-1:].upper(), 1)
    try:
        number = Decimal(text if scale == 1 else text[:-1])  # a float would lose digits, or overflow
    except InvalidOperation:
        return None
    if not number.is_finite() or number <= 0:
        return None
    if number > LARGEST // scale:  # not yet a whole number: 1e999999999 would fill the memory
        return math.inf
    exact = number * scale
    return int(exact) if exact == round(exact) else float(exact) or None


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a network may cost, and the least where a range is given.

    Args:
        limits: (cost, limit) by the names of the costs, each name once, sorted by name; empty for no limit.
        floors: (cost, least value) in the same way. A cost with both has a range, whose ends belong to it.
    """

    limits: tuple[tuple[str, float], ...] = ()
    floors: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str, key: str = "search.budget") -> Self:
        """From "4M" (MACs), "macs=2M..4M,latency_ms@pi5=3.5" or "none".

        Args:
            key: what the message calls it.

        Raises:
            InputError: anything else. Whether there is a cost of such a name is checked where costs are known.
        """
        if text.strip().lower() == "none":
            return cls()
        limits: dict[str, float] = {}
        floors: dict[str, float] = {}
        for item in text.split(","):
            name, sign, value = item.rpartition("=")
            name = name.strip().lower() if sign else "macs"
            if sign and not is_cost_name(name):
                raise _no_budget(text, key)
            if name in limits or name in floors:
                raise InputError(f"{key} is {_short(text)}", f"one limit for {name}", f"{key}={name}={value.strip()}")
            low, high = _range(value, name, text, key)
            if low is not None:
                floors[name] = low
            if high is not None:
                limits[name] = high
        return cls(tuple(sorted(limits.items())), tuple(sorted(floors.items())))

    def __str__(self) -> str:
        """As it is typed: equal budgets have equal texts."""
        if not self:
            return "none"
        if self.names == ("macs",):
            return self.spelt("macs")
        return self._named()

    def __bool__(self) -> bool:
        return bool(self.limits or self.floors)

    @property
    def names(self) -> tuple[str, ...]:
        """The costs that it limits, from above or from below, sorted."""
        return tuple(sorted(dict((*self.floors, *self.limits))))

    def limit(self, name: str) -> float | None:
        """The most of a cost, or None."""
        return dict(self.limits).get(name)

    def floor(self, name: str) -> float | None:
        """The least of a cost, or None."""
        return dict(self.floors).get(name)

    def spelt(self, name: str) -> str:
        """What is typed after the name of a limited cost: 4M, 2M..4M or 2M.. ."""
        low, high = self.floor(name), self.limit(name)
        most = "" if high is None else quantity(high)
        return most if low is None else f"{quantity(low)}..{most}"

    def over(self, names: Collection[str]) -> "Budget":
        """What it says of some costs alone."""

        def kept(bounds: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
            return tuple(bound for bound in bounds if bound[0] in names)

        return Budget(kept(self.limits), kept(self.floors))

    def single(self) -> "tuple[Budget, ...]":
        """Each limit and each floor as a budget of its own."""
        return (
            *(Budget(limits=(limit,)) for limit in self.limits),
            *(Budget(floors=(floor,)) for floor in self.floors),
        )

    def __or__(self, other: "Budget") -> "Budget":
        """What holds where both hold; of two limits of one cost, the stricter."""
        limits = {name: min(limit, other.limit(name) or limit) for name, limit in (*other.limits, *self.limits)}
        floors = {name: max(floor, other.floor(name) or floor) for name, floor in (*other.floors, *self.floors)}
        return Budget(tuple(sorted(limits.items())), tuple(sorted(floors.items())))

    def violations(self, costs: Costs) -> dict[str, float]:
        """Per limited cost, how far it is outside: cost / limit - 1 or 1 - cost / floor, whichever is larger. At most 0 where both are kept,
        `UNKNOWN` where the cost is not known.
        """
        return {name: self._outside(name, costs[name]) if name in costs else UNKNOWN for name in self.names}

    def _outside(self, name: str, cost: float) -> float:
        high, low = self.limit(name), self.floor(name)
        above = -math.inf if high is None else violation(cost, high)
        return above if low is None else max(above, shortfall(cost, low))

    def excess(self, costs: Costs) -> float:
        """The largest violation; a network is feasible when it is not above 0. -1 without limits."""
        return max(self.violations(costs).values(), default=-1.0)

    def allows(self, costs: Costs) -> bool:
        """Whether every limited cost is known and within its limits."""
        return all(name in costs and costs[name] <= limit for name, limit in self.limits) and all(
            name in costs and costs[name] >= floor for name, floor in self.floors
        )

    def refusal(self, space: str, nearest: Costs, together: "Sequence[Budget]" = ()) -> InputError:
        """The error of a budget that nothing was found within.

        Args:
            space: its name.
            nearest: costs of the network that came nearest; every limited cost is known.
            together: two budgets of one limit each, which no network was found to keep together though each has networks of its own.
        """
        violations = self.violations(nearest)
        binding = max(violations, key=violations.__getitem__)
        words = ", ".join(worded(name, nearest[name]) for name in self.names if name in nearest)
        high, low = self.limit(binding), self.floor(binding)
        cause = f"{binding} is the binding limit"
        if together:
            cause = f"no network was found that has {' and '.join(budget.said() for budget in together)}"
            allowed = "limits that some network keeps together: the nearest network's costs are such limits"
        else:
            way = "or more" if high is not None and nearest[binding] > high else "or less"
            allowed = f"{worded(binding, nearest[binding])} {way}"
            allowed += ", and the other limits above" if len(self.names) > 1 else ""
            cause += ", from below" if low is not None and nearest[binding] < low else ""
        return InputError(
            f"no network of space {space} was found within {self._named()}: {cause}, and the nearest network found has {words}",
            allowed,
            f"search.budget={self.widened(nearest)}",
        )

    def widened(self, costs: Costs) -> "Budget":
        """The same limits, where these costs break them moved as far as needed to keep them, to round numbers; for unknown costs as they
        are.
        """
        limits = [
            (name, rounded_up(costs[name]) if costs.get(name, 0) > limit else limit) for name, limit in self.limits
        ]
        floors = [
            (name, rounded_down(costs[name]) if costs.get(name, floor) < floor else floor)
            for name, floor in self.floors
        ]
        return Budget(tuple(limits), tuple((name, floor) for name, floor in floors if floor > 0))

    def said(self) -> str:
        """For reading: at most 4M macs and at least 100K params."""
        words = [f"at most {quantity(limit)} {name}" for name, limit in self.limits]
        return " and ".join([*words, *(f"at least {quantity(floor)} {name}" for name, floor in self.floors)])

    def _named(self) -> str:
        return ",".join(f"{name}={self.spelt(name)}" for name in self.names)


def _no_budget(text: str, key: str) -> InputError:
    return InputError(
        f"{key} is {_short(text)}",
        "numbers above 0 with K, M or G, or ranges of them (2M..4M), for MACs or after the name of a cost; or none",
        f"{key}=3M, or {key}=macs=2M..3M,params=100K",
    )


def _range(value: str, name: str, text: str, key: str) -> tuple[float | None, float | None]:
    """The least and the most that a text allows: "4M", "2M..4M" or "2M..".

    Raises:
        InputError: it is none of these, or the least is above the most.
    """
    low, dots, high = value.partition("..")
    typed = [low, high] if dots else [value]
    numbers = [number_of(end) if end.strip() else None for end in typed]
    if any(number is None and end.strip() for number, end in zip(numbers, typed, strict=True)) or not any(numbers):
        raise _no_budget(text, key)
    if any(number is not None and math.isinf(number) for number in numbers):
        most = f"at most {LARGEST // 10**9:,}G {'MACs' if name == 'macs' else name}, or none"
        raise InputError(f"{key} is {_short(text)}", most, f"{key}=none")
    if not dots:
        return None, numbers[0]
    least, most = numbers
    if least is not None and most is not None and least > most:
        raise InputError(
            f"{key} is {_short(text)}: no {name} can be at least {quantity(least)} and at most {quantity(most)}",
            "a range from the smaller number to the larger one",
            f"{key}={name}={quantity(most)}..{quantity(least)}",
        )
    return least, most
