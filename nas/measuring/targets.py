"""Devices whose latency a search limits or optimises."""

import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nas.config.search import SearchConfig
from nas.goals.budget import Budget
from nas.latency.profiles import differences_here, read_devices
from nas.measuring.timing import Timing
from nas.runtimes import Setting
from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named, cost_names
from search_spaces.costs.latency import LATENCY, DeviceModel, origin_of
from search_spaces.costs.table import read_table
from search_spaces.errors import InputError

COMPARED = 3
"""Networks of the profile that are measured beside the others. Processors change their clocks and virtual machines their neighbours: on one
of two cores everything took 8 to 20 % more time an hour later, and nothing but such a comparison tells that from a wrong prediction.
"""


@dataclass(frozen=True)
class Target:
    """A device whose latency a search limits or optimises.

    Args:
        costs: the names of its latency among the limits and objectives: latency_ms@NAME, latency_ms, or both.
        here: whether this machine is the device.
        setting: how networks run on it; None where the profile does not say so.
    """

    costs: tuple[str, ...]
    model: DeviceModel
    here: bool
    setting: Setting | None

    @property
    def id(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the device's fingerprint; of its name where it has none, as in a CSV file."""
        known = self.model.fingerprint or {"device": self.model.device}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]

    @cached_property
    def compared(self) -> tuple[tuple[Architecture, float], ...]:
        """Networks of the profile with their times then, from fast to slow: by them the device now is compared with the device then."""
        timed = [
            (Architecture.from_dict(network["architecture"]), float(network["ms"]))
            for network in self.model.about.get("networks", ())
        ]
        timed.sort(key=lambda pair: pair[1])
        return tuple(timed[(2 * i + 1) * len(timed) // (2 * COMPARED)] for i in range(min(COMPARED, len(timed))))

    def speed(self, found: Mapping[str, Timing]) -> float | None:
        """The time of `compared` now, over that when the device was profiled (the median of their ratios).

        Args:
            found: what was measured now, by digest.
        """
        ratios = [found[arch.digest].ms / ms for arch, ms in self.compared if arch.digest in found]
        return statistics.median(ratios) if ratios else None

    def about(self) -> dict[str, Any]:
        """What search.json says of it: its name, the error of its model on held-out networks, and its fingerprint."""
        return {
            "device": self.model.device,
            "id": self.id,
            "here": self.here,
            "form": self.model.form,
            "held_out": dict(self.model.errors.get("held_out", {})),
            "fingerprint": dict(self.model.fingerprint),
        }


def targets_of(settings: SearchConfig, budget: Budget, names: Iterable[str]) -> list[Target]:
    """The devices of the profiles of a search whose latency is limited or optimised.

    A profile of this device is what `latency_ms` means, unless that is a cost of a plugin or a column of a table: then the device
    of that cost is unknown, and this one may not stand in for it.

    Args:
        names: of the costs among the objectives.

    Raises:
        InputError: a profile cannot be used.
    """
    wanted = dict.fromkeys((*budget.names, *names))
    found = []
    for file, model in ((path, model) for path in settings.profiles for model in read_devices(path)):
        setting = _setting(model)
        here = setting is not None and not differences_here(model)
        named = {model.name, *([LATENCY] if here and LATENCY in wanted and _latency_is_of(file, settings) else [])}
        costs = tuple(name for name in wanted if name in named)
        if costs:
            found.append(Target(costs, model, here, setting))
    return found


def check_races(settings: SearchConfig, begun: bool) -> None:
    """
    Args:
        begun: whether the run has a search of this name.

    Raises:
        InputError: candidates are raced under a limit that is measured on this machine. A rival that is then found over the
            budget has dropped candidates, some of which would win without it.
    """
    if settings.evaluation != "fast":
        return
    budget = Budget.parse(settings.budget)
    limited = [cost for target in targets_of(settings, budget, ()) if target.here for cost in target.costs]
    if limited:
        raise InputError(
            f"search.evaluation=fast with a limit on {limited[0]}, which is measured on this machine at the end of the search: networks that "
            "are then found over the limit have dropped candidates that could win without them",
            "evaluation=exact or evaluation=plain under a limit on the latency of this machine",
            "search.evaluation=exact" + " search.name=another" * begun,
        )


def _latency_is_of(path: str, settings: SearchConfig) -> bool:
    """Whether `latency_ms` is the cost of a profile of this device. Extraction and retraining do not register the costs of a search, so
    there the tables of the search are asked.
    """
    if LATENCY in cost_names():
        return cost_named(LATENCY).origin == origin_of(path)
    return not any(LATENCY in read_table(table).units for table in (*settings.measured, *settings.learned))


def _setting(model: DeviceModel) -> Setting | None:
    try:
        return Setting(**model.about.get("setting", {}))
    except (TypeError, InputError):  # a device on which Python does not run may be described otherwise
        return None


def about_devices(targets: Sequence[Target]) -> Mapping[str, Any]:
    """What search.json says of the devices of a search, by the name of the cost."""
    return {cost: target.about() for target in targets for cost in target.costs}
