"""Measures again, in a fresh process, every network that the searches of a run call feasible on this device.

    python tests/benchmarks/delivered.py RUN [--tolerance 0.02] [--error 0.01] [--out FILE.csv] [--noisy]

Run it an hour after the searches: what the device has become since then (warmer, busier, other clocks) is part of the question. A network
holds when the median of the new measurement is within its limits, widened by the tolerance. The exit code is 1 when one does not hold.
Forty networks of images32 at 32 x 32 take about a minute on one quiet core.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nas import machine
from nas.budget import Budget
from nas.delivery import Target, accuracy_of, targets_of
from nas.log import Progress, say
from nas.parsing import config_from
from nas.plugins import import_plugins
from nas.profiling import measure_networks
from nas.records import WITHIN, DeviceTime, eligible, latest
from nas.searches import Search, read_search, search_names
from nas.store import RunStore
from nas.timing import Timing
from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Claim:
    """A network that a search calls feasible on this device."""

    search: str
    budget: Budget
    target: Target
    arch: Architecture
    then: DeviceTime

    def holds(self, now: Timing, tolerance: float) -> bool:
        """Whether a new measurement is within the limits, widened by the tolerance."""
        most, least = self.budget.limit(self.then.cost), self.budget.floor(self.then.cost)
        return (most is None or now.ms <= most * (1 + tolerance)) and (
            least is None or now.ms >= least * (1 - tolerance)
        )


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
    timings: dict[tuple[str, str], Timing] = {}
    for target in {claim.target.id: claim.target for claim in claims}.values():
        assert target.setting is not None
        archs = list({c.arch.digest: c.arch for c in claims if c.target.id == target.id}.values())
        progress = Progress(f"measuring on {target.model.device}", len(archs))
        found = measure_networks(archs, target.setting, seed=1, error=asked.error, noisy=asked.noisy, progress=progress)
        timings |= {(target.id, digest): timing for digest, timing in found.items()}
    _tell(claims, timings, asked.tolerance)
    if asked.out:
        _write(Path(asked.out), claims, timings, asked.tolerance)
    return 0 if all(c.holds(timings[c.target.id, c.arch.digest], asked.tolerance) for c in claims) else 1


def _tell(claims: list[Claim], timings: dict[tuple[str, str], Timing], tolerance: float) -> None:
    say(
        f"{'search':40}  {'network':12}  {'budget':>16}  {'predicted':>9}  {'then':>8}  {'now':>8}  {'now/then':>8}  holds"
    )
    for claim in claims:
        now, then = timings[claim.target.id, claim.arch.digest], claim.then
        say(
            f"{claim.search[:40]:40}  {claim.arch.digest}  {claim.budget.spelt(then.cost):>16}  {then.predicted or 0.0:9.3f}  "
            f"{then.measured or 0.0:8.3f}  {now.ms:8.3f}  {now.ms / (then.measured or now.ms):8.3f}  "
            f"{'yes' if claim.holds(now, tolerance) else 'NO'}"
        )
    for name in dict.fromkeys(claim.search for claim in claims):
        own = [claim for claim in claims if claim.search == name]
        kept = sum(c.holds(timings[c.target.id, c.arch.digest], tolerance) for c in own)
        say(f"{name}: {kept} of {len(own)} ({kept / len(own):.0%}) within the budget and {tolerance:.0%}")
        if found := accuracy_of(claim.then for claim in own):
            say(f"{name}: predictions were off by {found.mape:.1%} on average, bias {found.bias:+.1%}")


def _write(path: Path, claims: list[Claim], timings: dict[tuple[str, str], Timing], tolerance: float) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            [
                "search",
                "digest",
                "cost",
                "budget",
                "predicted",
                "then",
                "then_time",
                "now",
                "now_low",
                "now_high",
                "holds",
            ]
        )
        for claim in claims:
            now, then = timings[claim.target.id, claim.arch.digest], claim.then
            table.writerow([
                claim.search, claim.arch.digest, then.cost, claim.budget.spelt(then.cost), then.predicted, then.measured, then.time, now.ms,
                now.low, now.high, "true" if claim.holds(now, tolerance) else "false",
            ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
