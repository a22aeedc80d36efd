"""Latencies on this device: of one candidate while a family is scaled, and of all networks of a comparison in common rounds."""

import csv
import io

import torch

import nas
from nas import machine
from nas.log import say
from nas.measuring.noise import NoisyMachine, measure
from nas.networks.asked import Timed
from nas.runs.store import RunStore
from nas.runtimes import Setting, make_runtime
from search_spaces.architecture import Architecture
from search_spaces.network import build

RUNTIME = "eager"
"""What runs the networks, one image at a time."""

ERROR, SECONDS = 0.02, 30.0
"""Of a candidate: half the width of the confidence interval as a share of the median, and the time limit. Stages are widened in steps of more."""


def latency_of(arch: Architecture, threads: int, noisy: bool) -> float:
    """Milliseconds that a network with fresh weights takes for one image.

    Raises:
        NoisyMachine: something disturbs the machine, and `noisy` is false.
    """
    runtime = make_runtime(RUNTIME)
    setting = runtime.settled(Setting(RUNTIME, "cpu", threads, 1, "float32"))
    machine.prepare(threads, "cpu")
    image = torch.randn(
        1, arch.in_channels, arch.resolution, arch.resolution, generator=torch.Generator().manual_seed(0)
    )
    run = runtime.prepare(build(arch, seed=0).eval(), (image,), setting)
    return measure({RUNTIME: run}, seed=0, error=ERROR, seconds=SECONDS, noisy=noisy).timings[RUNTIME].ms


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
        rows = nas.bench(*paths, asked=asked)
    except NoisyMachine as error:
        if needed:
            raise
        say(f"latency is not measured: {error.given}. The same command measures it on a quiet machine, or noisy=true")
        return {}
    return {row.subject.arch.digest: row.timing.ms for row in rows if row.subject.arch is not None}


def was_noisy(store: RunStore, out: str) -> bool:
    """Whether the latencies of the file are of a noisy machine."""
    return any(row["noisy"] == "true" for row in csv.DictReader(io.StringIO(store.read_text(out))))
