"""Latencies on this device: of one candidate while a family is scaled, and of all networks of a comparison in common rounds."""

import csv
import io

from nas.commands.bench import bench, measured
from nas.log import say
from nas.measuring.noise import NoisyMachine
from nas.networks.asked import Timed
from nas.networks.found import subjects
from nas.runs.store import RunStore
from nas.runtimes import make_runtime
from search_spaces.architecture import Architecture

RUNTIME = "eager"
"""What runs the networks, one image at a time."""

CANDIDATE = "work/candidate.json"

ERROR = 0.02
"""Half the width of a candidate's confidence interval, as a share of its median: stages are widened in steps of more."""


def latency_of(store: RunStore, arch: Architecture, threads: int, noisy: bool) -> float:
    """Milliseconds that a network takes for one image.

    Raises:
        NoisyMachine: something disturbs the machine, and `noisy` is false.
    """
    path = store.write_text(CANDIDATE, arch.to_json(indent=1) + "\n")
    asked = Timed(runtime=(RUNTIME,), batch=("1",), threads=threads, error=ERROR, seconds=30.0, noisy=noisy)
    runtime = make_runtime(RUNTIME)
    settings = [runtime.settled(setting) for setting in asked.settings()]
    [row] = measured(list(subjects([str(path)], asked)), {RUNTIME: runtime}, settings, asked).rows
    return row.timing.ms


def latencies(
    store: RunStore, paths: list[str], digests: list[str], out: str, threads: int, noisy: bool, needed: bool
) -> dict[str, float]:
    """Milliseconds of every network by its digest, measured side by side and kept in a file.

    Args:
        paths: of their architectures.
        out: the file in the store.
        needed: whether a noisy machine is an error. Otherwise the same command measures later.

    Returns:
        Empty where the machine was too noisy.

    Raises:
        NoisyMachine: as said.
    """
    if store.exists(out):
        known = {row["digest"]: float(row["ms"]) for row in csv.DictReader(io.StringIO(store.read_text(out)))}
        if set(digests) <= set(known):
            return known
    asked = Timed(runtime=(RUNTIME,), batch=("1",), threads=threads, noisy=noisy, out=str(store.path(out)))
    try:
        rows = bench(*paths, asked=asked)
    except NoisyMachine as error:
        if needed:
            raise
        say(f"latency is not measured: {error.given}. The same command measures it on a quiet machine, or noisy=true")
        return {}
    return {row.subject.arch.digest: row.timing.ms for row in rows if row.subject.arch is not None}


def was_noisy(store: RunStore, out: str) -> bool:
    """Whether the latencies of the file are of a noisy machine."""
    return any(row["noisy"] == "true" for row in csv.DictReader(io.StringIO(store.read_text(out))))
