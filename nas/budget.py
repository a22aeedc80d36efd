"""Budgets: limits on any costs of a network, and the one number that says how far a network is above them.

Standard library only. A budget knows names and numbers; what a cost is and how it is counted is in `search_spaces.costs`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Self

from search_spaces.errors import InputError

Costs = Mapping[str, float]
"""What a network costs, by the name of each cost. A cost that is not known for it is left out."""

LARGEST = 10**18
"""Of a limit: far beyond use, and exact wherever it is computed with."""

UNKNOWN = 1e6
"""Excess of a network that has no value for a limited cost: finite, because samplers compute with it."""

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


def worded(name: str, value: float) -> str:
    """A cost for reading, with every digit: 3,274,176 MACs."""
    return f"{value:,} {_WORDS.get(name, name)}"


def rounded_up(number: float) -> float:
    """The least number of three significant digits that is no smaller."""
    if number <= 0:
        return 0.0
    step = Decimal(10) ** (math.floor(math.log10(number)) - 2)
    return float(math.ceil(Decimal(repr(number)) / step) * step)


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


def _violation(cost: float, limit: float) -> float:
    """cost / limit - 1, above 0 if and only if the cost is above the limit: division rounds."""
    found = cost / limit - 1
    if cost > limit:
        return max(found, math.ulp(1.0))
    return min(found, 0.0)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a network may cost.

    Args:
        limits: (cost, limit) by the names of the costs, each name once, sorted by name; empty for no limit.
    """

    limits: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str, key: str = "search.budget") -> Self:
        """From "4M" (MACs), "macs=4M,latency_ms=3.5" or "none".

        Args:
            key: what the message calls it.

        Raises:
            InputError: anything else. Whether there is a cost of such a name is checked where costs are known.
        """
        if text.strip().lower() == "none":
            return cls()
        limits: dict[str, float] = {}
        for item in text.split(","):
            name, sign, value = item.rpartition("=")
            name = name.strip().lower() if sign else "macs"
            limit = number_of(value)
            if limit is None or (sign and not name.isidentifier()):
                raise InputError(
                    f"{key} is {_short(text)}",
                    "numbers above 0 with K, M or G, for MACs or after the name of a cost; or none",
                    f"{key}=3M, or {key}=macs=3M,params=100K",
                )
            if math.isinf(limit):
                most = f"at most {LARGEST // 10**9:,}G {'MACs' if name == 'macs' else name}, or none"
                raise InputError(f"{key} is {_short(text)}", most, f"{key}=none")
            if name in limits:
                raise InputError(f"{key} is {_short(text)}", f"one limit for {name}", f"{key}={name}={value.strip()}")
            limits[name] = limit
        return cls(tuple(sorted(limits.items())))

    def __str__(self) -> str:
        """As it is typed: equal budgets have equal texts."""
        if not self.limits:
            return "none"
        if len(self.limits) == 1 and self.limits[0][0] == "macs":
            return quantity(self.limits[0][1])
        return ",".join(f"{name}={quantity(limit)}" for name, limit in self.limits)

    def __bool__(self) -> bool:
        return bool(self.limits)

    @property
    def names(self) -> tuple[str, ...]:
        """The costs that it limits."""
        return tuple(name for name, _ in self.limits)

    def limit(self, name: str) -> float | None:
        """The limit of a cost, or None."""
        return dict(self.limits).get(name)

    def violations(self, costs: Costs) -> dict[str, float]:
        """Per limited cost, cost / limit - 1: at most 0 where the limit is kept, `UNKNOWN` where the cost is not known."""
        return {name: _violation(costs[name], limit) if name in costs else UNKNOWN for name, limit in self.limits}

    def excess(self, costs: Costs) -> float:
        """The largest violation; a network is feasible when it is not above 0. -1 without limits."""
        return max(self.violations(costs).values(), default=-1.0)

    def allows(self, costs: Costs) -> bool:
        """Whether no cost is above its limit. An unknown cost is."""
        return all(name in costs and costs[name] <= limit for name, limit in self.limits)

    def refusal(self, space: str, nearest: Costs) -> InputError:
        """The error of a budget that nothing was found within.

        Args:
            space: its name.
            nearest: costs of the network that came nearest; every limited cost is known.
        """
        violations = self.violations(nearest)
        binding = max(violations, key=violations.__getitem__)
        raised = {name: max(limit, rounded_up(nearest.get(name, 0))) for name, limit in self.limits}
        words = ", ".join(worded(name, nearest[name]) for name in self.names if name in nearest)
        return InputError(
            f"no network of space {space} was found within {self._spelt()}: {binding} is the binding limit, and the nearest "
            f"network found has {words}",
            f"{worded(binding, nearest[binding])} or more"
            + (", and the other limits above" if len(self.limits) > 1 else ""),
            f"search.budget={Budget(tuple(raised.items()))}",
        )

    def _spelt(self) -> str:
        return ",".join(f"{name}={quantity(limit)}" for name, limit in self.limits)
