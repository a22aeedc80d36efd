"""Networks that a search is about to call feasible under a latency budget are measured on the device first.

A model of a device predicts times, and a search works with its predictions. At the end of the search every network with a role (the
Pareto front, random search's best, the baselines and what the user gave: all that is extracted and retrained) and the Pareto front of
each sampler, which the report shows, is measured whole. A network whose confidence interval is not at most the limit may not win; the next ones
take its place and are measured in turn, until the Pareto front has only networks that were measured and keep the budget.

Each measurement is a line of searches/NAME/measured.jsonl. A resumed command measures only what is missing.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from nas.goals.budget import worded
from nas.goals.roles import eligible_of, front_of, roles_of
from nas.latency.accuracy import PredictionErrors, accuracy
from nas.log import Progress
from nas.measuring.noise import NoisyMachine
from nas.measuring.profiling import chunks, measure_some
from nas.measuring.targets import Target
from nas.measuring.timing import Timing, pooled
from nas.records import SAMPLER, Evaluation, eligible
from nas.records.device_times import OVER, WITHIN, DeviceTime, changed_speed, latest, refuted
from nas.runs.searches import MEASURED, Search
from nas.runtimes import Setting
from search_spaces.architecture import Architecture
from search_spaces.costs.params import params
from search_spaces.errors import InputError

TOGETHER = 16
"""Networks that are measured side by side. A resumed command measures at most this many again."""

NEAR = 0.03
"""A network that is within a limit by less than this share is measured twice, and both measurements must be within it. The time of one
network differs by one or two per cent between starts, because its weights lie elsewhere in memory.
"""

ERROR = 0.01
"""Half the width of the confidence interval over the median, at which the measurement of a network ends."""

Meter = Callable[[Sequence[Architecture], Setting, bool], Mapping[str, tuple[Timing, bool]]]
"""Measures networks, as `measure_here` does."""


def measure_here(archs: Sequence[Architecture], setting: Setting, noisy: bool) -> dict[str, tuple[Timing, bool]]:
    """By digest, the time of each network, and whether the machine was too noisy. All are built again and measured side by side.

    The number of threads that this process had is restored.

    Raises:
        NoisyMachine: something disturbs the machine, and `noisy` is false.
        InputError: the runtime is missing or cannot run a network.
    """
    threads, found = torch.get_num_threads(), {}
    try:
        for group in chunks(archs, params):
            measured = measure_some(group, setting, seed=0, error=ERROR, noisy=noisy)
            for arch, timing in zip(group, measured.timings.values(), strict=True):
                found[arch.digest] = timing, measured.noisy
    finally:
        torch.set_num_threads(threads)
    return found


class Delivery:
    """Measures the networks of one search, and remembers what was measured.

    Args:
        noisy: measure on a noisy machine too, and say so in the records.
        meter: the function that measures.
    """

    def __init__(
        self, search: Search, targets: Sequence[Target], noisy: bool = False, meter: Meter = measure_here
    ) -> None:
        self.search, self.targets, self.noisy, self.meter = search, targets, noisy, meter
        self.measurements = search.measurements()

    @property
    def refuted(self) -> frozenset[str]:
        """Digests of the networks that were found over the budget."""
        return refuted(self.measurements, self.search.budget)

    def deliver(self, records: Sequence[Evaluation]) -> None:
        """Measures until every network with a role or on a sampler's Pareto front is measured, where this machine is a device of the search.

        Args:
            records: all evaluations of the search.

        Raises:
            NoisyMachine: something disturbs the machine, and `noisy` is false.
            InputError: the runtime is missing or cannot run a network.
        """
        by_digest = {record.digest: record for record in records}
        while waiting := [(target, new) for target in self.targets if (new := self._missing(target, records))]:
            for target, digests in waiting:
                self._measure(target, [by_digest[digest] for digest in digests])

    def _missing(self, target: Target, records: Sequence[Evaluation]) -> list[str]:
        """Networks with a role, and those on a sampler's Pareto front, whose time on a device is not recorded."""
        known = latest(self.measurements)

        def recorded(digest: str, cost: str) -> bool:
            found = known.get((digest, cost))
            return found is not None and found.device == target.id and (found.measured is not None or not target.here)

        budget, objectives, over = self.search.budget, self.search.objectives, self.refuted
        wanted = dict.fromkeys(roles_of(records, budget, objectives, over))
        for sampler in dict.fromkeys(record.origin.name for record in records if record.origin.kind == SAMPLER):
            own = eligible_of(records, sampler, budget, objectives, over)
            wanted |= dict.fromkeys(record.digest for record in front_of(own, objectives))
        return [digest for digest in wanted if not all(recorded(digest, cost) for cost in target.costs)]

    def _measure(self, target: Target, networks: Sequence[Evaluation]) -> None:
        if not target.here or target.setting is None:
            for network in networks:
                self._record(target, network, None, False)
            return
        progress = Progress(f"search {self.search.name}: measuring on {target.model.device}", len(networks))
        for first in range(0, len(networks), TOGETHER):
            group = networks[first : first + TOGETHER]
            archs = [network.architecture for network in group] + [arch for arch, _ in target.compared]
            found = self._meter(list({arch.digest: arch for arch in archs}.values()), target.setting)
            speed = target.speed({digest: timing for digest, (timing, _) in found.items()})
            near = [network.architecture for network in group if self._is_near(target, found[network.digest][0])]
            for digest, (timing, noisy) in self._meter(near, target.setting).items():
                found[digest] = pooled(found[digest][0], timing), found[digest][1] or noisy
            for network in group:
                self._record(target, network, *found[network.digest], speed)
            progress.update(first + len(group))

    def _meter(self, archs: Sequence[Architecture], setting: Setting) -> dict[str, tuple[Timing, bool]]:
        try:
            return dict(self.meter(archs, setting, self.noisy)) if archs else {}
        except NoisyMachine as error:
            kept = "what the search has evaluated and measured is kept: the same command resumes it"
            raise NoisyMachine(error.given, error.allowed, f"{in_full(error.instead)}; {kept}") from None

    def _is_near(self, target: Target, timing: Timing) -> bool:
        """Whether a time is within its limit, and so close to it that another measurement might say otherwise."""
        limits = [limit for cost, limit in self.search.budget.limits if cost in target.costs]
        return any(timing.high <= limit < timing.high * (1 + NEAR) for limit in limits)

    def _record(
        self, target: Target, network: Evaluation, timing: Timing | None, noisy: bool, speed: float | None = None
    ) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        for cost in target.costs:
            # What the search worked with: it may have learned times of units that the profile lacks.
            predicted = network.costs.get(cost)
            if predicted is None:
                predicted = target.model.predict(network.architecture)
            measurement = DeviceTime(
                digest=network.digest, cost=cost, predicted=predicted, measured=timing and timing.ms,
                low=timing and timing.low, high=timing and timing.high, rounds=timing.rounds if timing else 0, device=target.id, noisy=noisy,
                time=now, speed=speed,
            )  # fmt: skip
            self.search.store.append(self.search.path(MEASURED), measurement.to_dict())
            self.measurements.append(measurement)

    def check_any(self, records: Sequence[Evaluation]) -> None:
        """
        Raises:
            InputError: networks are within the budget by prediction, and none is when it is measured.
        """
        search = self.search
        if eligible(records, search.budget, search.objectives, self.refuted):
            return
        if not (tried := eligible(records, search.budget, search.objectives)):
            return
        digests = {record.digest for record in tried}
        over = [m for m in latest(self.measurements).values() if m.digest in digests and not m.within(search.budget)]
        nearest = min(over, key=lambda m: search.budget.over([m.cost]).excess({m.cost: m.high or 0.0}))
        raised = search.budget.widened({nearest.cost: nearest.high or 0.0})
        raise InputError(
            f"search {search.name}: none of {len(digests)} networks that were predicted to be within {search.budget} is so when it is "
            f"measured; the nearest takes {worded(nearest.cost, nearest.measured or 0.0)}, {nearest.low or 0.0:.4g} to {nearest.high or 0.0:.4g} "
            f"with 95 % confidence, where {nearest.predicted or 0.0:.4g} were predicted",
            "a budget that some network keeps on the device, or more evaluations",
            f"the same command with search.budget={raised} search.name=another",
        )

    def summary(self) -> list[str]:
        """Per device, a line: how many networks were measured, how many keep the budget, and how far predictions were off."""
        found = []
        for target in self.targets:
            own = [m for (_, cost), m in latest(self.measurements).items() if cost == target.costs[0]]
            if not target.here:
                found.append(
                    f"{target.model.device} is another device than this one: its times are predicted only ({len(own)} networks)"
                )
                continue
            words = [said for m in own if (said := m.said(self.search.budget)) in (WITHIN, OVER)]
            text = f"{len(own)} networks measured on {target.model.device}"
            if target.costs[0] in self.search.budget.names:
                text += f": {words.count(WITHIN)} within the budget, {words.count(OVER)} not"
            if found_off := accuracy_of(own):
                text += f"; predictions are off by {found_off.mape:.1%} on average, {found_off.bias:+.1%} in their mean (bias)"
            if words := changed_speed(own):
                text += f"; {words}"
            found.append(text + "; the machine was noisy" * any(m.noisy for m in own))
        return found


def in_full(advice: str) -> str:
    """Advice with the full name of the key that measures on a noisy machine, which every verb takes."""
    return re.sub(r"(?<![\w.])noisy=true", "search.noisy=true", advice)


def accuracy_of(measurements: Iterable[DeviceTime]) -> PredictionErrors | None:
    """How well predictions of whole networks agree with what was measured; None where nothing was both."""
    pairs = [(m.predicted, m.measured) for m in measurements if m.predicted and m.measured]
    if not pairs:
        return None
    predicted, measured = np.array(pairs).T
    return accuracy(predicted, measured)
