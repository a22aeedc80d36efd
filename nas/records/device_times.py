"""Times of whole networks on devices, measured beside what was predicted. Standard library only."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from nas.goals.budget import Budget
from nas.records import RecordError
from nas.records.shapes import A_DIGEST, Flag, Maybe, Named, Number, Table, Text, Whole
from search_spaces.costs import is_cost_name

CHANGED = 0.05
"""Change of a device's speed from which on it is said."""

PREDICTED, WITHIN, OVER = "predicted only", "within budget when measured", "over budget when measured"
"""What is known of a network's time on a device: nothing was measured, or the measurement keeps the budget, or it does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceTime:
    """A line of measured.jsonl: the time of a whole network on a device, beside what the model of the device predicts.

    Args:
        digest: of the network.
        cost: its name, such as latency_ms@laptop.
        predicted: by the model of the device; None where it does not know all parts of the network.
        measured: median in the unit of the cost; None where the device is not the one that searched.
        low, high: 95 % confidence interval of the median.
        rounds: behind the median.
        device: digest of the device's fingerprint.
        noisy: whether the machine was too noisy and was measured all the same.
        time: when, in ISO 8601 and UTC.
        speed: the time that networks of the device's profile took beside it, over the time that they took when the device was profiled: 1.1
            is a device that has become 10 % slower. None where the profile has no networks, and in records of older versions.
    """

    digest: str
    cost: str
    predicted: float | None
    measured: float | None
    low: float | None
    high: float | None
    rounds: int
    device: str
    noisy: bool
    time: str
    speed: float | None = None

    def within(self, budget: Budget) -> bool:
        """Whether the whole confidence interval is at most the budget's limit on this cost. True where nothing was measured.

        The least of a range says where the search looks. A network that turns out to be faster has broken no promise.
        """
        most = budget.limit(self.cost)
        return self.high is None or most is None or self.high <= most

    def said(self, budget: Budget) -> str:
        """`PREDICTED`, `WITHIN` or `OVER`."""
        return PREDICTED if self.measured is None else WITHIN if self.within(budget) else OVER

    @property
    def ratio(self) -> float | None:
        """Measured over predicted; None where one of them is not known."""
        return self.measured / self.predicted if self.measured and self.predicted else None

    def to_dict(self) -> dict[str, Any]:
        """As it is written; `DeviceTime.from_dict(m.to_dict()) == m`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any], _: object = None) -> Self:
        """
        Raises:
            RecordError: a key is missing, or a value of another type or out of its range.
        """
        line = {"speed": None, **line}
        if wrong := _SHAPE.fault(line, ""):
            raise RecordError(wrong)
        return cls(**{field.name: line[field.name] for field in fields(cls)})


_SHAPE = Table({
    "digest": A_DIGEST, "cost": Named(is_cost_name), "rounds": Whole(), "device": Text(200), "noisy": Flag(), "time": Text(200),
    **dict.fromkeys(("predicted", "measured", "low", "high", "speed"), Maybe(Number())),
})  # fmt: skip


def latest(measurements: Iterable[DeviceTime]) -> dict[tuple[str, str], DeviceTime]:
    """By digest and cost, the last measurement, which counts."""
    return {(measurement.digest, measurement.cost): measurement for measurement in measurements}


def changed_speed(measurements: Iterable[DeviceTime]) -> str:
    """How much slower or faster the device was than when it was profiled, in words; empty where that is at most `CHANGED`, or unknown."""
    speeds = [m.speed for m in measurements if m.speed is not None]
    if not speeds or abs(change := statistics.median(speeds) - 1) <= CHANGED:
        return ""
    more = "more" if change > 0 else "less"
    return (
        f"the networks of its profile take {abs(change):.0%} {more} time than when it was profiled: its speed has changed, and nas profile "
        "measures it again"
    )


def refuted(measurements: Iterable[DeviceTime], budget: Budget) -> frozenset[str]:
    """Digests of the networks that were found over the budget when they were measured."""
    return frozenset(m.digest for m in latest(measurements).values() if not m.within(budget))
