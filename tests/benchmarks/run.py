"""`make bench`: what the project claims about speed, as ratios of two ways measured side by side in one run.

Each pair is timed alternately, in one process with one thread unless its file says otherwise, and medians are compared; nothing here
is a test with a time limit.

    supernet step    forward and backward of an architecture on borrowed slices, over the same stand-alone network; batch 64
    cost lookup      fvcore's count of a network, over ours of the same, with equal MACs
    forward          TransXNet-Tiny and HAT-Net-Tiny at 224 x 224, plain implementation over ours (forward.py)
    compiled         the same behind torch.compile, both ways; ten minutes, only with --only compiled
    reading          splitting a folder of 20,000 images with all checks, over decoding them alone, on all cores (reading.py)
    samplers         share of the Pareto front that each sampler finds on tables of evaluated networks (samplers.py)
    bulk             costs of many architectures and sampling within limits, over one at a time and over rejection (bulk.py)
    memory           peak of a training step of each part, straightforward over ours (memory.py)
    processes        images per second of supernet training, two processes over one (processes.py)
"""

import argparse
import logging
import math
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis

from nas import machine
from nas.measuring.timing import FEWEST, time_interleaved
from search_spaces.architecture import Architecture
from search_spaces.costs import pieces
from search_spaces.named import load_space
from search_spaces.network import build
from supernet.supernet import Supernet

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from tests.benchmarks import bulk, forward, memory, processes, reading, samplers

SPACES = ("digits", "images32")


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    clock = time.perf_counter()
    call()
    return time.perf_counter() - clock


def interleaved(one: Callable[[], Any], other: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median seconds of both, called in rounds of random order."""
    rounds = max(FEWEST, repeats)
    found = time_interleaved({0: one, 1: other}, seed=0, rounds=rounds, most=rounds)
    return found[0].ms / 1e3, found[1].ms / 1e3


def fvcore_macs(arch: Architecture) -> int:
    """fvcore's count on the stand-alone network, with the handler for fused attention that it lacks."""

    def attention(inputs: list[Any], outputs: list[Any]) -> int:
        query, key, value = (value.type().sizes() for value in inputs[:3])
        return math.prod(query[:-2]) * query[-2] * key[-2] * (query[-1] + value[-1])

    images = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    analysis = FlopCountAnalysis(build(arch).eval(), images)
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def supernet_step(repeats: int, batch_size: int = 64) -> list[str]:
    """Rows for the supernet's overhead."""
    rows, ratios = [], []
    for name in SPACES:
        space = load_space(name)
        supernet = Supernet(space).train()
        rng = random.Random(0)
        members = [("smallest", supernet.smallest()), ("largest", supernet.largest())]
        members += [(f"random {index}", space.sample(rng)) for index in range(4)]
        images = torch.randn(batch_size, space.in_channels, space.resolution, space.resolution)
        images = images.contiguous(memory_format=torch.channels_last)
        for label, arch in members:
            network = supernet.extract(arch).train()

            def shared(arch: Architecture = arch, supernet: Supernet = supernet, images: torch.Tensor = images) -> None:
                supernet(images, arch).sum().backward()

            def alone(network: torch.nn.Module = network, images: torch.Tensor = images) -> None:
                network(images).sum().backward()

            ours, theirs = interleaved(shared, alone, repeats)
            ratios.append(ours / theirs)
            rows.append(
                f"  {name:10} {label:9} {pieces.cost(arch).macs / 1e6:7.2f} M MACs   {ours * 1e3:8.2f} ms shared "
                f"{theirs * 1e3:8.2f} ms alone   {ours / theirs:5.3f}"
            )
    rows.append(f"  median ratio {statistics.median(ratios):.3f}   (target <= 1.05)")
    return rows


def cost_lookup(networks: int) -> list[str]:
    """Rows for the cost of a network."""
    rows = []
    for name in SPACES:
        space = load_space(name)
        rng = random.Random(1)
        members = [space.sample(rng) for _ in range(networks)]
        reference = [timed(lambda arch=arch: fvcore_macs(arch)) for arch in members]
        equal = all(fvcore_macs(arch) == pieces.cost(arch).macs for arch in members[:5])
        first, blocks, known = [], [], []
        for arch in members:
            pieces.part_cost.cache_clear()
            pieces.piece_cost.cache_clear()
            first.append(timed(lambda arch=arch: pieces.cost(arch)))
            pieces.piece_cost.cache_clear()
            blocks.append(timed(lambda arch=arch: pieces.cost(arch)))
            known.append(statistics.median(timed(lambda arch=arch: pieces.cost(arch)) for _ in range(5)))
        seconds = statistics.median(reference)
        rows.append(f"  {name:10} fvcore {seconds * 1e3:.1f} ms per network, MACs equal: {equal}")
        for label, times, target in (
            ("blocks known", known, ">= 10,000"),
            ("blocks new, their parts known", blocks, ">= 100"),
            ("nothing known", first, ""),
        ):
            ours = statistics.median(times)
            rows.append(
                f"    {label:30} {ours * 1e6:10.1f} us   {seconds / ours:10,.0f} times faster   {target and f'(target {target})'}"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument(
        "--only",
        choices=("step", "cost", "forward", "compiled", "reading", "samplers", "bulk", "memory", "processes"),
        nargs="*",
        default=[],
    )
    options = parser.parse_args()
    only = options.only or ("step", "cost", "forward", "reading", "samplers", "bulk", "memory", "processes")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    os.environ["HYBRID_MIXER_NAS_CACHE"] = "off"  # what is new is counted, not read from another run
    tuned = machine.tune_allocator()
    about = machine.describe(1)
    print(  # noqa: T201
        f"{about['cpu']}, {about['cores']} cores, 1 thread, torch {torch.__version__}, allocator {'tuned' if tuned else 'as it is'}"
    )
    for name, title, rows in (
        ("step", "supernet step over stand-alone step, forward and backward, batch 64", lambda: supernet_step(options.repeats)),
        ("cost", "cost of a network", lambda: cost_lookup(options.networks)),
        ("forward", "forward at 224 x 224: plain (default allocator, NCHW) over ours", lambda: forward.rows(options.repeats)),
        ("compiled", "the same, compiled", lambda: forward.rows(options.repeats, forward.COMPILED)),
        ("reading", "a folder of image files of about 300 x 300", lambda: reading.rows(options.images)),
        ("samplers", "share of the feasible front's hypervolume, 5 seeds", lambda: samplers.rows(samplers.tables(), samplers.QUICK, 5)),
        ("bulk", f"costs of {bulk.MANY:,} architectures, and {bulk.SAMPLES:,} samples within {bulk.BAND:.0%} of a cost", bulk.rows),
        ("memory", f"peak memory of a training step of a part, {memory.DIM} channels, {memory.SIDE} x {memory.SIDE}, batch {memory.BATCH}: ours, straightforward", memory.rows),
        ("processes", "supernet training by two processes, each with half of every batch", lambda: processes.rows(processes.Job("images32", 64, 6, 4))),
    ):  # fmt: skip
        if name in only:
            print("\n".join(["", title, *rows()]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
