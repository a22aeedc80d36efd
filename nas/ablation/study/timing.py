"""Latencies on this device: of one candidate while a family is scaled, and of all networks of a comparison in common rounds."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass

import nas
from nas import machine
from nas.config import Config
from nas.log import say
from nas.measuring.noise import NoisyMachine
from nas.measuring.profiling import measure_some
from nas.networks.asked import Timed
from nas.runs.disk import damaged_file
from nas.runs.store import RunStore
from nas.runs.tables import csv_rows
from nas.runtimes import Setting
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

ERROR, SECONDS = 0.02, 30.0
"""Of a candidate: half the width of the confidence interval as a share of the median, and the time limit. Stages are widened in steps of more."""


@dataclass(frozen=True)
class Clock:
    """How latencies are measured, as the profile of the device is.

    Args:
        noisy: times of a noisy machine are taken too.
    """

    runtime: str
    batch: int
    threads: int
    noisy: bool

    @classmethod
    def of(cls, config: Config, noisy: bool) -> "Clock":
        return cls(config.profile.runtime, config.profile.batch, config.threads or machine.cores(), noisy)

    def describe(self) -> str:
        """For people."""
        return f"median of a batch of {self.batch}, runtime {self.runtime}, {self.threads} thread{'s' * (self.threads > 1)}, form for inference"

    def of_candidate(self, arch: Architecture) -> float:
        """Milliseconds that a network with fresh weights takes for a batch.

        Raises:
            NoisyMachine: something disturbs the machine, the fourth time too.
        """
        setting = Setting(self.runtime, "cpu", self.threads, self.batch, "float32")
        machine.prepare(self.threads, "cpu")
        return measure_some([arch], setting, seed=0, error=ERROR, seconds=SECONDS, noisy=self.noisy).timings[0].ms

    def of_all(self, store: RunStore, files: Mapping[str, str], out: str, needed: bool) -> dict[str, float]:
        """Milliseconds of networks, measured side by side and kept in a file.

        Args:
            files: the architectures' paths by digest.
            out: the file in the store.
            needed: whether a noisy machine is an error. Otherwise the same command measures later.

        Returns:
            By digest; empty where the machine was too noisy.

        Raises:
            NoisyMachine: as said.
        """
        if store.exists(out):
            known = {digest: ms for digest, ms, _ in _rows(store, out)}
            if set(files) <= set(known):
                return known
        asked = Timed(
            runtime=(self.runtime,), batch=(str(self.batch),), threads=self.threads, noisy=self.noisy, out=str(store.path_to_write(out))
        )  # fmt: skip
        try:
            rows = nas.bench(*files.values(), asked=asked)
        except NoisyMachine as error:
            if needed:
                raise
            say(
                f"latency is not measured: {error.given}. The same command measures it on a quiet machine, or noisy=true"
            )
            return {}
        return {row.subject.arch.digest: row.timing.ms for row in rows if row.subject.arch is not None}


def was_noisy(store: RunStore, out: str) -> bool:
    """Whether the latencies of the file are of a noisy machine."""
    return any(noisy for _, _, noisy in _rows(store, out))


def _rows(store: RunStore, out: str) -> list[tuple[str, float, bool]]:
    """Digest, milliseconds and whether the machine was noisy, of each network in a file that `nas bench` wrote.

    Raises:
        InputError: the file is damaged.
    """
    try:
        rows = list(csv_rows(store.read_text(out)))
        found = [(row["digest"], float(row["ms"]), row["noisy"] == "true") for row in rows]
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise damaged_file(store.path(out), f"at {error}") from None
    for digest, ms, _ in found:
        if not isinstance(digest, str) or not 0 < ms < math.inf:
            raise damaged_file(store.path(out), "it has a time that is no finite number above 0")
    return found
