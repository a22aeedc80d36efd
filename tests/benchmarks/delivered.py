"""Measures again, in a fresh process, every network that the searches of a run call feasible on this device.

    python tests/benchmarks/delivered.py RUN [--tolerance 0.02] [--error 0.01] [--out FILE.csv] [--noisy]

Run it an hour after the searches: what the device has become since then (warmer, busier, other clocks) is part of the question. A network
holds when the median of the new measurement is within its limits, widened by the tolerance. Three networks of the device's profile are
measured beside: where the device as a whole has become slower, `level` says by what factor, and the last column judges the network at the
speed that the device had when it was profiled. The exit code is 1 when a network does not hold, and 2 when the machine is too noisy to tell.
Forty networks of images32 at 32 x 32 take about a minute on one quiet core.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nas import machine
from nas.config.parsing import config_from
from nas.goals.budget import Budget
from nas.log import Progress, say
from nas.measuring.delivery import accuracy_of
from nas.measuring.noise import NoisyMachine
from nas.measuring.profiling import measure_networks
from nas.measuring.targets import Target, targets_of
from nas.measuring.timing import Timing
from nas.plugins import import_plugins
from nas.records import eligible
from nas.records.device_times import WITHIN, DeviceTime, latest
from nas.runs.searches import Search, read_search, search_names
from nas.runs.store import RunStore
from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Claim:
    """A network that a search calls feasible on this device."""

    search: str
    budget: Budget
    target: Target
    arch: Architecture
    then: DeviceTime

    def holds(self, ms: float, tolerance: float) -> bool:
        """Whether a time is within the limits, widened by the tolerance."""
        most, least = self.budget.limit(self.then.cost), self.budget.floor(self.then.cost)
        return (most is None or ms <= most * (1 + tolerance)) and (least is None or ms >= least * (1 - tolerance))


@dataclass(frozen=True)
class Judged:
    """A claim beside a new measurement.

    Args:
        level: time of the profile's networks now over that when they were profiled.
    """

    claim: Claim
    now: Timing
    level: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the new time is within the limits, widened by the tolerance."""
        return self.claim.holds(self.now.ms, self.tolerance)

    @property
    def holds_at_level(self) -> bool:
        """The same at the speed that the device had when it was profiled."""
        return self.claim.holds(self.now.ms / self.level, self.tolerance)


def claims_of(search: Search) -> Iterator[Claim]:
    """The networks of a finished search that may win and were measured within its limits."""
    evaluations, budget = search.evaluations(), search.budget
    names = [objective.name for objective in search.objectives if objective.is_cost]
    winners = {e.digest: e.architecture for e in eligible(evaluations, budget, search.objectives, search.refuted())}
    known = latest(search.measurements())
    for target in targets_of(search.settings, budget, names):
        cost = target.costs[0]
        if not target.here or cost not in budget.names:
            continue
        for digest, arch in winners.items():
            then = known.get((digest, cost))
            if then and then.said(budget) == WITHIN:
                yield Claim(search.name, budget, target, arch, then)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run with searches under limits on the latency of this device")
    parser.add_argument("--tolerance", type=float, default=0.02, help="share by which limits are widened")
    parser.add_argument(
        "--error", type=float, default=0.01, help="half width of the confidence interval over the median"
    )
    parser.add_argument("--out", help="CSV file with a row for each network")
    parser.add_argument("--noisy", action="store_true", help="measure on a noisy machine too")
    asked = parser.parse_args()
    store = RunStore.open(asked.run)
    config = config_from({**store.read_json("run.json")["config"], "run": asked.run})
    import_plugins(config)
    machine.prepare(1, "cpu")
    searches = [read_search(store, name) for name in search_names(store)]
    claims = [claim for search in searches if search.finished for claim in claims_of(search)]
    if not claims:
        say(f"{asked.run}: no search calls a network feasible on this device")
        return 1
    judged = []
    for target in {claim.target.id: claim.target for claim in claims}.values():
        assert target.setting is not None
        own = [claim for claim in claims if claim.target.id == target.id]
        archs = {arch.digest: arch for arch in [*(c.arch for c in own), *(arch for arch, _ in target.compared)]}
        progress = Progress(f"measuring on {target.model.device}", len(archs))
        try:
            found = measure_networks(
                list(archs.values()), target.setting, seed=1, error=asked.error, noisy=asked.noisy, progress=progress
            )
        except NoisyMachine as error:
            say(f"{asked.run}: {error}", sys.stderr)
            return 2
        level = target.speed(found) or 1.0
        say(f"{target.model.device}: level {level:.3f}; {changed_words(level)}")
        judged += [Judged(claim, found[claim.arch.digest], level, asked.tolerance) for claim in own]
    _tell(judged, asked.tolerance)
    if asked.out:
        _write(Path(asked.out), judged)
    return 0 if all(one.holds for one in judged) else 1


def changed_words(level: float) -> str:
    """What a level means."""
    return f"the networks of the profile take {abs(level - 1):.1%} {'more' if level > 1 else 'less'} time than when it was made"


def _tell(judged: list[Judged], tolerance: float) -> None:
    say(
        f"{'search':20}  {'network':12}  {'budget':>10}  {'predicted':>9}  {'then':>8}  {'now':>8}  {'now/then':>8}  holds  at the profile's speed"
    )
    for one in judged:
        claim, then = one.claim, one.claim.then
        say(
            f"{claim.search[:20]:20}  {claim.arch.digest}  {claim.budget.spelt(then.cost):>10}  {then.predicted or 0.0:9.3f}  "
            f"{then.measured or 0.0:8.3f}  {one.now.ms:8.3f}  {one.now.ms / (then.measured or one.now.ms):8.3f}  "
            f"{'yes' if one.holds else 'NO':5}  {'yes' if one.holds_at_level else 'NO'}"
        )
    for name in dict.fromkeys(one.claim.search for one in judged):
        own = [one for one in judged if one.claim.search == name]
        kept, level = sum(one.holds for one in own), sum(one.holds_at_level for one in own)
        say(
            f"{name}: {kept} of {len(own)} ({kept / len(own):.0%}) within the budget and {tolerance:.0%}; {level} of {len(own)} at the "
            "profile's speed"
        )
        if found := accuracy_of(one.claim.then for one in own):
            say(f"{name}: predictions were off by {found.mape:.1%} on average, bias {found.bias:+.1%}")


def _write(path: Path, judged: list[Judged]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([
            "search", "digest", "cost", "budget", "predicted", "then", "then_time", "now", "now_low", "now_high", "level", "holds",
            "holds_at_level",
        ])  # fmt: skip
        for one in judged:
            claim, then = one.claim, one.claim.then
            table.writerow([
                claim.search, claim.arch.digest, then.cost, claim.budget.spelt(then.cost), then.predicted, then.measured, then.time,
                one.now.ms, one.now.low, one.now.high, one.level, str(one.holds).lower(), str(one.holds_at_level).lower(),
            ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
