"""Costs of networks: named functions of an architecture, which are built in, registered by a plugin or read from a table.

    from search_spaces.costs import costs_of, register_cost

    @register_cost("energy_mj", unit="mJ", about="by my formula")
    def energy(arch):
        return 4e-9 * costs_of(arch, ["macs"])["macs"] + 2e-7 * costs_of(arch, ["activations"])["activations"]

Put this into a module that `plugins=` names; `search.budget=energy_mj=3` and `search.objectives=top1,energy_mj` then use the cost. None
means that the cost of a network is not known. Built in are `params`, `macs`, `activations` and `memory`. table.py reads costs that were
measured elsewhere from a CSV file, and latency.py predicts the latency of a network on a device from a profile of that device.

Standard library only: the modules of the built-in costs, which need torch, are imported when one of them is first counted.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, TypeVar

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError, unknown

CostFunction = Callable[[Architecture], float | None]
"""The cost of a network; None if it is not known."""

if TYPE_CHECKING:  # units need torch
    from search_spaces.units import Unit

F = TypeVar("F", bound=CostFunction)

BUILT_IN = {
    "params": "search_spaces.costs.params",
    "macs": "search_spaces.costs.macs",
    "activations": "search_spaces.costs.activations",
    "memory": "search_spaces.costs.memory",
}
"""The module that registers each built-in cost."""

RESERVED = ("top1", "loss", "none", "digest", "architecture")
"""Names that no cost can have, because they mean something else: measured objectives, no budget, and columns of tables."""


LARGEST = 1e30
"""The largest value of a cost: far beyond real values, and safe to compute with."""


@dataclass(frozen=True)
class Additive:
    """How a cost adds up over the units of a network (`search_spaces.units`): base + the sum of `of_unit`, or 0 if that is negative.

    Such a cost can be looked up for many networks at once, bounded, and sampled within limits.

    Args:
        of_unit: what one unit adds, at least 0; None if it is not known.
        base: what every network costs besides its units; may be negative.
    """

    of_unit: "Callable[[Unit], float | None]"
    base: float = 0.0


@dataclass(frozen=True)
class Cost:
    """A registered cost.

    Args:
        name: as budgets and objectives call it: see `is_cost_name`.
        unit: such as "MACs" or "ms"; empty for none.
        about: its meaning in a few words.
        of: the function.
        origin: who registered it: a module's function, or a table's file.
        additive: how it adds up over units; None if it does not.
    """

    name: str
    unit: str
    about: str
    of: CostFunction
    origin: str = ""
    additive: Additive | None = None

    def __call__(self, arch: Architecture) -> float | None:
        """The cost of a complete architecture, or None if it is not known.

        Raises:
            InputError: the function fails, or its result is not a finite number from 0 up.
        """
        try:
            found = self.of(arch)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # the author's code may raise anything
            if self.name in BUILT_IN:  # such as an operator of unknown cost
                raise
            raise InputError(
                f"cost {self.name} ({self.origin}) fails on network {arch.digest} ({type(error).__name__}: {error})",
                "a function of any architecture of the space, which gives a number or None",
                f"fix {self.origin}",
            ) from error
        if found is None:
            return None
        if isinstance(found, Real) and not isinstance(found, bool) and 0 <= found <= LARGEST:
            return int(found) if isinstance(found, Integral) else abs(float(found))  # numpy's too, and no -0.0
        raise InputError(
            f"cost {self.name} ({self.origin}) of network {arch.digest} is {found!r}",
            f"a number from 0 to {LARGEST:.0e}, or None where it is not known",
            f"fix {self.origin}",
        )


_COSTS: dict[str, Cost] = {}


def register_cost(name: str, unit: str = "", about: str = "", additive: Additive | None = None) -> Callable[[F], F]:
    """Function decorator that makes a cost known by `name`. The function gets a complete architecture.

    Args:
        additive: how the same cost adds up over units, if it does.

    Raises:
        TypeError: the name is malformed, reserved, or another cost's.
    """

    def add(function: F) -> F:
        origin = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"
        check_name(name, origin)
        _COSTS[name] = Cost(name, unit, about, function, origin, additive)
        return function

    return add


_DEVICE = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def is_cost_name(name: str) -> bool:
    """Whether this can be the name of a cost: a lower-case identifier, perhaps followed by the name of a device, as in latency_ms@pi5.

    The name of a device has lower-case letters, digits and _ . - and begins with a letter or digit.
    """
    quantity, at, device = name.partition("@")
    return quantity.isidentifier() and name == name.lower() and (not at or bool(_DEVICE.fullmatch(device)))


def check_name(name: str, origin: str) -> None:
    """
    Args:
        origin: who registers the name. The same origin may do so again, as happens when a module is imported again.

    Raises:
        TypeError: no cost can be registered by this name; the message says why.
    """
    if not is_cost_name(name):
        raise TypeError(
            f"a cost cannot be called {name!r}: choose lower-case letters, digits and _, such as latency_ms, and perhaps a device "
            "behind it, as in latency_ms@pi5"
        )
    if name in RESERVED:
        raise TypeError(f"a cost cannot be called {name!r}, which means something else: choose another name")
    if name in BUILT_IN and not origin.startswith(f"{BUILT_IN[name]}."):
        raise TypeError(f"cost {name!r} is built in: choose another name")
    if name in _COSTS and _COSTS[name].origin != origin:
        raise TypeError(f"cost {name!r} is already {_COSTS[name].origin}: choose another name")


def add_cost(cost: Cost) -> None:
    """Registers a cost that is no plain function, such as a column of a table. Raises as `register_cost`."""
    check_name(cost.name, cost.origin)
    _COSTS[cost.name] = cost


@contextmanager
def temporary_costs() -> Iterator[None]:
    """Costs that are registered inside, except built-in ones, are removed afterwards."""
    before = dict(_COSTS)
    try:
        yield
    finally:
        kept = before | {name: cost for name, cost in _COSTS.items() if name in BUILT_IN}
        _COSTS.clear()
        _COSTS.update(kept)


def cost_names() -> tuple[str, ...]:
    """The built-in costs, then the others in the order of registration."""
    return (*BUILT_IN, *(name for name in _COSTS if name not in BUILT_IN))


def cost_named(name: str) -> Cost:
    """
    Raises:
        InputError: there is no such cost; the nearest name is offered.
    """
    if name not in _COSTS:
        if name not in BUILT_IN:
            raise unknown("cost", name, cost_names())
        importlib.import_module(BUILT_IN[name])
    return _COSTS[name]


def costs_of(arch: Architecture, names: Iterable[str] | None = None) -> dict[str, float]:
    """What a complete architecture costs, by the name of each cost. Costs that are not known for it are left out.

    Args:
        names: of the costs that are wanted; all registered ones by default.

    Raises:
        InputError: an unknown name, or a cost that fails as `Cost` says.
    """
    found = {name: cost_named(name)(arch) for name in (cost_names() if names is None else names)}
    return {name: value for name, value in found.items() if value is not None}


__all__ = [
    "BUILT_IN", "RESERVED", "Additive", "Cost", "CostFunction", "add_cost", "check_name", "cost_named", "cost_names", "costs_of", "is_cost_name", "register_cost",
    "temporary_costs",
]  # fmt: skip
