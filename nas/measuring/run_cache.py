"""What runs networks and units, prepared once and kept while memory allows.

    cache = RunCache(Setting(runtime="onnx"), seed=0, folder=Path("laptop.json.prepared"))
    runs = cache.runs([*archs, *units])

To export or to compile a module takes seconds, and to measure it takes a part of one. Whatever is to be compared is therefore prepared
before the first measurement, so that nothing but measurements lies between two of them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.machine.available import available
from nas.measuring.timing import SelfTimed
from nas.runtimes import Setting, keep_in, make_runtime, prepare_all
from search_spaces.architecture import Architecture
from search_spaces.costs.pieces import cost, unit_cost
from search_spaces.network import build
from search_spaces.units import Unit, make_unit, unit_inputs

Item = Architecture | Unit
Run = Callable[[], object]
Prepared = Callable[[int], None]
"""Is told how many of those to be measured together have been prepared."""

PARAMS = 100_000_000
"""Parameters that are in memory at once, at least, unless one network alone has more."""

BYTES, SHARE = 12, 0.5
"""Bytes that a parameter takes where a runtime keeps it beside its own arrangement of it, and the share of the free memory that is used."""


class Once:
    """A unit whose time is that of a single call among calls of others, as in a network.

    Called again and again, a unit finds its weights and its code in the nearest caches, and is a third faster than inside a network.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self) -> object:
        return self._run()

    def seconds(self, repeats: int) -> float:
        """Seconds of one call, whatever `repeats` is."""
        start = time.perf_counter()
        self._run()
        return time.perf_counter() - start


def room(device: str = "cpu") -> int:
    """Parameters for which there is memory on a device now, at least `PARAMS`."""
    free = available(torch.device(device))
    return max(PARAMS, 0 if free is None else int(SHARE * free.size / BYTES))


def params_of(item: Item) -> int:
    """Parameters of a network or of a unit."""
    return (unit_cost(item) if isinstance(item, Unit) else cost(item)).params


class RunCache:
    """Runs of networks and units with fresh weights.

    Runs stay in memory if their runtime is slow to prepare them. With another one they are made again each time, so that two measurements
    of one network also differ in where its memory lies.

    Args:
        setting: how they are run; it is settled here.
        seed: of weights and images.
        folder: of the files that the runtime makes of them; None keeps none.
        params: that are kept in memory at once; what is needed at once is, whatever it has.

    Attributes:
        slow: whether preparing takes so long that it should be over before the first measurement.

    Raises:
        InputError: the runtime is missing.
    """

    def __init__(self, setting: Setting, seed: int, folder: Path | None = None, params: int = PARAMS) -> None:
        self._runtime = make_runtime(setting.runtime)
        self._setting, self._seed, self._params = self._runtime.settled(setting), seed, params
        self._files = folder is not None and keep_in(self._runtime, folder)
        self.slow = self._files or bool(getattr(self._runtime, "slow", False))
        self._runs: dict[Item, Run] = {}

    def runs(self, chosen: Sequence[Item], prepared: Prepared = lambda number: None) -> list[Run]:
        """What runs each of the networks and units, in their order.

        Args:
            prepared: is told how many of them there are so far.

        Raises:
            InputError: the runtime cannot run one of them.
        """
        new = [item for item in dict.fromkeys(chosen) if item not in self._runs]
        self._make_room(chosen, new)
        found = {item: self._runs[item] for item in chosen if item in self._runs}
        for item, run in zip(new, self._made(new), strict=True):
            found[item] = run
            if self.slow:
                self._runs[item] = run
            prepared(len(found))
        return [found[item] for item in chosen]

    def is_quick_again(self, items: Sequence[Item]) -> bool:
        """Whether runs of these, which were prepared before, cost little time now."""
        return not self.slow or self._files or all(item in self._runs for item in items)

    def forget(self) -> None:
        """Gives the memory of all runs back. Files stay."""
        self._runs.clear()

    def _made(self, items: Sequence[Item]) -> Iterator[Run]:
        jobs = (self._job(item) for item in items)
        for item, run in zip(items, prepare_all(self._runtime, jobs, self._setting), strict=True):
            timed_by_itself: object = run
            once = isinstance(item, Unit) and not isinstance(timed_by_itself, SelfTimed)
            yield Once(run) if once else run

    def _job(self, item: Item) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """A module with fresh weights and its inputs, both from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            if isinstance(item, Unit):
                return make_unit(item).eval(), unit_inputs(item, self._setting.batch)
            images = torch.randn(self._setting.batch, item.in_channels, item.resolution, item.resolution)
            return build(item, self._seed).eval(), (images,)

    def _make_room(self, chosen: Sequence[Item], new: Sequence[Item]) -> None:
        """Forgets runs that are not asked for, the oldest first, until the new ones fit."""
        wanted, held = set(chosen), sum(map(params_of, (*self._runs, *new)))
        for item in [item for item in self._runs if item not in wanted]:
            if held <= self._params:
                return
            held -= params_of(item)
            del self._runs[item]
