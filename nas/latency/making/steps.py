"""The steps that measure a profile: units and whole networks, in chunks that are put on one scale, and some of them a second time."""

import random
import statistics
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nas.latency.making.journal import Journal
from nas.latency.making.plan import ALL, HELD_OUT, NETWORKS, NONE, Plan, Roles
from nas.log import Progress
from nas.measuring.noise import DRIFT, NoisyMachine
from nas.measuring.profiling import UNIT_ERROR, chunks, companions, in_rounds, measure_some
from nas.measuring.run_cache import Item, RunCache, params_of, room
from nas.measuring.timing import Timing
from nas.runtimes import make_runtime
from search_spaces.costs.unit_times import representatives
from search_spaces.space_units import space_units
from search_spaces.units import Unit, units

K = TypeVar("K", bound=Hashable)

REFERENCE_UNITS, REFERENCE_NETWORKS = 16, 5
"""How many of the units and of the networks that were measured before are measured again beside each further chunk.

Not everything fits into memory at once, and a machine changes its speed by some per cent in the minutes between two chunks. The median
change of these says by how much, for all of the chunk alike.
"""

REPEATED_UNITS, REPEATED_NETWORKS, COMPOSED = 16, 6, 24
"""How many units are measured a second time, how many networks where each would have to be prepared again for minutes (elsewhere all of
them), and how many branches are measured whose time is composed of others.
"""

PASS_ERROR = 1.4
"""How much larger the error of a network's time may be in each of its two passes than in their mean.

A machine's speed changes by some per cent within minutes, for all networks alike. More rounds in one go cannot tell that; networks are
measured before the units and again after them, and the mean of both is taken.
"""


class Steps:
    """The steps of a profile; each begins with what the journal has."""

    def __init__(self, plan: Plan, journal: Journal, show: bool, folder: Path) -> None:
        self.plan, self.journal, self.show = plan, journal, show
        self.setting = make_runtime(plan.setting.runtime).settled(plan.setting)
        self.known, self.room = space_units(plan.space), room(self.setting.device)
        self.cache = RunCache(self.setting, plan.seed, folder, self.room)

    def prepare(self, roles: Roles, keep: bool = True) -> None:
        """Everything that is to be measured, before the first measurement, where the runtime takes long for it: between two measurements
        that are compared the machine should have no time to change its speed.

        Args:
            keep: in memory, as far as it fits there, and not only in files.
        """
        if not self.cache.slow:
            return
        needed = self._needed_units(roles)
        items: list[Item] = [*needed, *self._composed(set(needed)), *(arch for arch, _ in roles.values())]
        keep = keep and sum(map(params_of, items)) <= self.room
        progress = self._progress("prepared", len(items), 0)
        done = 0
        for chunk in chunks(items, params_of):
            self.cache.runs(chunk, lambda number, before=done: progress.update(before + number) if progress else None)
            done += len(chunk)
            if not keep:
                self.cache.forget()

    def measure_units(self, roles: Roles) -> None:
        """Every unit that is needed and not measured yet."""
        needed = self._needed_units(roles)
        left = [unit for unit in needed if unit not in self.journal.units]
        # In random order, so that what disturbs one chunk disturbs no kind or stage alone.
        random.Random(f"units {self.plan.seed}").shuffle(left)
        with_progress = self._progress("units", len(needed), len(needed) - len(left))
        for chunk in chunks(left, params_of, self.room):
            self.journal.add_units(
                self._measure_units(chunk, needed, len(left), 0.5, with_progress, self.journal.units)
            )

    def _needed_units(self, roles: Roles) -> list[Unit]:
        """The units that are measured, each once."""
        return [] if self.plan.which == NONE else representatives(self.wanted(roles))

    def _composed(self, measured: Collection[Unit]) -> list[Unit]:
        """Some units whose time is composed of others', and is compared with a measurement of their own."""
        composed = [unit for unit in self.known if unit not in measured] if self.plan.which == ALL else []
        return random.Random(f"composed {self.plan.seed}").sample(composed, min(COMPOSED, len(composed)))

    def wanted(self, roles: Roles) -> list[Unit]:
        """The units whose time the profile tells, each once."""
        used = (unit for arch, _ in roles.values() for _, unit in units(arch))
        return list(dict.fromkeys((*self.known, *used) if self.plan.which != NETWORKS else used))

    def measure_networks(self, roles: Roles) -> None:
        """Every network that is not measured yet, those of all roles mixed."""
        left = [digest for digest in roles if digest not in self.journal.networks]
        random.Random(f"order {self.plan.seed}").shuffle(left)
        progress = self._progress("networks", len(roles), len(roles) - len(left))
        for chunk in chunks(left, lambda digest: params_of(roles[digest][0]), self.room):
            timings = self._measure_networks(roles, chunk, self.journal.networks, len(left), progress)
            self.journal.add_networks(timings)

    def measure_again(self, roles: Roles) -> None:
        """Networks and some units a second time, and some branches whose time is composed."""
        if self.journal.repeats:
            return
        rng = random.Random(f"again {self.plan.seed}")
        measured = list(self.journal.units)
        chosen = rng.sample(measured, min(REPEATED_UNITS, len(measured))) + self._composed(self.journal.units)
        networks = list(roles)
        if not self.cache.is_quick_again([arch for arch, _ in roles.values()]):
            held_out = [digest for digest, (_, role) in roles.items() if role == HELD_OUT]
            networks = rng.sample(held_out, min(REPEATED_NETWORKS, len(held_out)))
        rng.shuffle(networks)
        again: dict[str, Timing] = {}
        progress = self._progress("again", len(chosen) + len(networks), 0)
        for chunk in chunks(chosen, params_of, self.room):
            timings = self._measure_units(chunk, measured, len(chosen), 0.1, progress, {})
            again |= {str(unit): timing for unit, timing in timings.items()}
        second: dict[str, Timing] = {}
        for digests in chunks(networks, lambda digest: params_of(roles[digest][0]), self.room):
            second |= self._measure_networks(roles, digests, second, len(networks), progress)
        self.journal.add_repeats(again | second)

    @property
    def change(self) -> float:
        """By what share networks took longer when they were measured again: the median. 0 where none were."""
        first, second = self.journal.networks, self.journal.repeats
        ratios = [second[digest].ms / timing.ms for digest, timing in first.items() if digest in second]
        return statistics.median(ratios) - 1 if ratios else 0.0

    def check_level(self) -> None:
        """Whether the device was as fast at the end as at the start, which of a profile that was interrupted may be days ago.

        Raises:
            NoisyMachine: it was not, and the plan does not take that. What was measured is discarded: it does not fit together.
        """
        change = self.change
        if self.plan.noisy or abs(change) <= DRIFT:
            return
        self.journal.remove()
        raise NoisyMachine(
            f"networks take {abs(change):.0%} {'more' if change > 0 else 'less'} time when they are measured again: the device has changed its "
            "speed, and what was measured is discarded",
            f"a machine whose speed changes by no more than {DRIFT:.0%} from the first to the last measurement",
            "the same command again; noisy=true measures all the same, and says so",
        )

    def _measure_units(
        self,
        chunk: Sequence[Unit],
        known: Sequence[Unit],
        total: int,
        share: float,
        progress: Progress | None,
        measured: Mapping[Unit, Timing],
    ) -> dict[Unit, Timing]:
        """As `_measure`, among enough other units of `known`, and on the scale of those that were measured before."""
        references = companions(chunk, list(measured), self.plan.seed, len(chunk) + REFERENCE_UNITS)
        others = [*references, *companions([*chunk, *references], known, self.plan.seed)]
        found = self._measure([*chunk, *others], total, UNIT_ERROR, share, progress, len(chunk))
        return on_scale({unit: found[unit] for unit in chunk}, [(measured[unit], found[unit]) for unit in references])

    def _measure_networks(
        self, roles: Roles, chunk: Sequence[str], measured: Mapping[str, Timing], total: int, progress: Progress | None
    ) -> dict[str, Timing]:
        """As `_measure`, by digest, on the scale of those that were measured before."""
        quickest = sorted(measured, key=lambda digest: measured[digest].ms)
        references = [digest for digest in quickest if digest not in chunk][:REFERENCE_NETWORKS]
        archs = [roles[digest][0] for digest in (*chunk, *references)]
        found = dict(
            zip(
                (*chunk, *references),
                self._measure(archs, total, PASS_ERROR, 0.2, progress, len(chunk)).values(),
                strict=True,
            )
        )
        return on_scale(
            {digest: found[digest] for digest in chunk}, [(measured[digest], found[digest]) for digest in references]
        )

    def _measure(
        self,
        chunk: Sequence[Any],
        total: int,
        looser: float,
        share: float,
        progress: Progress | None = None,
        counted: int | None = None,
    ) -> dict[Any, Timing]:
        """Times of some units or architectures.

        Args:
            looser: times the plan's error.
            share: of the plan's seconds that goes to `total` such things.
            progress: gets how many are prepared and measured.
            counted: how many of them count as measured; all by default.
        """
        counted = len(chunk) if counted is None else counted
        done = progress.first if progress else 0

        def prepared(number: int) -> None:
            if progress:
                progress.update(min(done, progress.total - 1), prepared=number)

        plan = self.plan
        seconds = None if plan.seconds is None else in_rounds(counted, total, share * plan.seconds)
        measured = measure_some(
            chunk, self.setting, seed=plan.seed, error=looser * plan.error, seconds=seconds, noisy=plan.noisy, prepared=prepared,
            cache=self.cache,
            level=True,
        )  # fmt: skip
        self.journal.add_noise(measured.noise)
        if progress:
            progress.first = done + counted
            progress.update(progress.first)
        return dict(zip(chunk, measured.timings.values(), strict=True))

    def _progress(self, what: str, total: int, done: int) -> Progress | None:
        return Progress(f"profile: {what}", total, done) if self.show and done < total else None


def on_scale(found: Mapping[K, Timing], references: Sequence[tuple[Timing, Timing]]) -> dict[K, Timing]:
    """Timings as they would have been when the references were measured for the first time.

    Args:
        found: what was measured beside the references now.
        references: of each, its timing then and its timing now; with none, timings stay as they are.
    """
    change = statistics.median(then.ms / now.ms for then, now in references) if references else 1.0
    return {
        key: replace(timing, ms=change * timing.ms, low=change * timing.low, high=change * timing.high)
        for key, timing in found.items()
    }
