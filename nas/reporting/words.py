"""How the report writes numbers and names."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from nas.goals.budget import Budget
from nas.log import shown

LATENCY = "latency_ms"
"""The cost of a device's time, with or without `@` and its name."""


def plain(text: str) -> str:
    """Text that UTF-8 can write: half of a surrogate pair, from a file name that is no UTF-8, becomes a question mark. Control characters
    are shown as escapes.
    """
    return shown(text.encode(errors="replace").decode())


def compact(number: float) -> str:
    """Three significant digits with K, M, G or T: 847, 31.2K, 2.35M; whole numbers below a thousand as they are; 3.52, 0.0125."""
    if number < 0:
        return f"-{compact(-number)}"
    for scale, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "K")):
        value = number / scale
        if value >= 0.9995:
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{letter}"
    return f"{number:.0f}" if number == int(number) or number >= 99.95 else f"{number:#.3g}".rstrip(".")


def exactly(number: float) -> str:
    """A number with every digit: 1,234,567, 3.5."""
    return f"{int(number):,}" if number == int(number) else f"{number:,}"


def plural(count: int, noun: str) -> str:
    """The count with its noun: 1 class, 1,797 images, 3 searches."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith(('s', 'ch')) else 's'}"


def listed(items: Iterable[str]) -> str:
    """a, b and c."""
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last


def spoken(role: str) -> str:
    """A role as a reader says it: Pareto front, hand-designed, random best."""
    return "Pareto front" if role == "front" else plain(role.replace("_", "-" if role.startswith("hand_") else " "))


_SAMPLERS = {
    "nsga2": "NSGA-II",
    "nsga3": "NSGA-III",
    "random": "random search",
    "tpe": "TPE",
    "cmaes": "CMA-ES",
    "gp": "Gaussian process",
}


def sampler_name(name: str) -> str:
    """A sampler as a reader knows it: NSGA-II, random search."""
    return _SAMPLERS.get(name, plain(name.replace("_", " ")))


def shorten(text: str, width: int) -> str:
    """The text, cut off with two dots where it is longer than `width`."""
    return text if len(text) <= width else text[: max(0, width - 2)] + ".."


class Named(Protocol):
    """A cost as `CostInfo` has it."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...


def cost_name(name: str) -> str:
    """A cost as a reader knows it; other names than MACs are as they are typed."""
    return "MACs" if name == "macs" else plain(name)


def axis_name(cost: Named) -> str:
    """A cost on an axis, with its unit."""
    if cost.name == "macs":
        return "MACs (the papers' FLOPs)"
    return plain(f"{cost.name} ({cost.unit})" if cost.unit and cost.unit != cost.name else cost.name)


def amount(name: str, value: float | None, costs: Mapping[str, Named]) -> str:
    """A cost in a sentence: 3.66M MACs, 110K params, 3.52 ms, 3.52 ms on pi5, energy 3.52 mJ."""
    words = "unknown" if value is None else compact(value)
    if name in ("macs", "params"):
        return f"{words} {cost_name(name)}"
    if value is not None and name.partition("@")[0] == LATENCY:
        return plain(f"{words} {_time(name)}")
    unit = costs[name].unit if name in costs and value is not None else ""
    return plain(f"{name} {words}{f' {unit}' if unit and unit != name else ''}")


def _time(name: str) -> str:
    """The unit of a latency, with its device: ms, ms on pi5."""
    device = name.partition("@")[2]
    return f"ms on {device}" if device else "ms"


def limits(budget: Budget, costs: Mapping[str, Named]) -> str:
    """A budget in a sentence: 4.00M MACs and from 3 to 5 ms."""
    return listed(_limit(budget, name, costs) for name in budget.names) if budget else "none"


def _limit(budget: Budget, name: str, costs: Mapping[str, Named]) -> str:
    low, high = budget.floor(name), budget.limit(name)
    if low is None:
        return amount(name, high, costs)
    ends = f"from {compact(low)} to {compact(high)}" if high is not None else f"at least {compact(low)}"
    if name in ("macs", "params"):
        return f"{ends} {cost_name(name)}"
    if name.partition("@")[0] == LATENCY:
        return plain(f"{ends} {_time(name)}")
    unit = costs[name].unit if name in costs else ""
    return plain(f"{name} {ends}{f' {unit}' if unit and unit != name else ''}")


def bounds(budget: Budget, name: str) -> str:
    """The limits of one cost without its name: 4.00M, 2.00M–4.00M, ≥ 2.00M."""
    low, high = budget.floor(name), budget.limit(name)
    most = "" if high is None else compact(high)
    return most if low is None else f"{compact(low)}–{most}" if most else f"≥ {compact(low)}"


SCORE_NAMES = {"top1": "top-1", "loss": "loss"}
"""What is measured on images, as a reader knows it; both are in `nas.goals.objectives.SCORES`."""


def objective_name(name: str) -> str:
    """An objective as a reader knows it."""
    return SCORE_NAMES.get(name) or cost_name(name)
