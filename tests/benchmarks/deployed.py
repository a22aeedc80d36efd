"""One image through a sub-network inside the supernet, and through the same network extracted, folded and compiled.

    python tests/benchmarks/deployed.py [--out FILE.csv] [--spaces images32 transxnet] [--sample 3] [--no-compile] [--rounds 30]

For random members of each space (at 64 pixels and 10 classes where the space is for larger images), in one process with one thread, called
in rounds of random order:

    supernet    `supernet(image, arch, buffers)`, on borrowed slices
    extracted   the network with its own weights, as it is trained
    inference   its form for inference, channels-last
    compiled    that form behind torch.compile, for one image; needs a C++ compiler
    onnx        that form exported, in ONNX Runtime

The time is that of the processor (`time.process_time`), which other processes on the machine change less than they change the clock on the
wall; both are written. Medians; `times` is supernet over the way. The target is 2 for `compiled`. Outputs have to agree to 1e-4. About two
minutes on a quiet core, most of them compiling.
"""

import argparse
import csv
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import torch
from torch import Tensor

from nas import machine
from nas.log import Progress, say
from nas.runtimes import Setting, make_runtime
from search_spaces.architecture import Architecture
from search_spaces.inference import inference_form
from search_spaces.named import load_space
from search_spaces.testing import no_shape_checks, noise, tame
from supernet.calibration import calibrate
from supernet.supernet import Supernet

TARGET = 2.0
LARGEST_SIDE, CLASSES = 64, 10
Run = Callable[[], object]


def supernet_of(name: str) -> Supernet:
    """A supernet with random weights, in evaluation mode."""
    space = load_space(name)
    supernet = Supernet(space.bind(3, CLASSES, min(space.resolution, LARGEST_SIDE)))
    return tame(supernet).eval()  # type: ignore[return-value]


@torch.inference_mode()
def ways(supernet: Supernet, arch: Architecture, compiled: bool) -> Iterator[tuple[str, Run]]:
    """What runs one image, by way."""
    size = (3, arch.resolution, arch.resolution)
    image = noise(1, *size)
    buffers = calibrate(supernet, arch, [noise(8, *size, seed=1)])
    network = supernet.extract(arch, buffers).eval()
    fast, last = inference_form(network), image.contiguous(memory_format=torch.channels_last)
    expected = supernet(image, arch, buffers)
    runs: dict[str, Run] = {
        "supernet": lambda: supernet(image, arch, buffers),
        "extracted": lambda: network(image),
        "inference": lambda: fast(last),
    }
    for name in ("compiled", "onnx")[not compiled :]:
        runtime = make_runtime(name)
        runs[name] = runtime.prepare(network, (image,), runtime.settled(Setting(name)))
    for name, run in runs.items():
        found = torch.as_tensor(run())
        assert isinstance(found, Tensor)
        assert (found - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max())), name
    yield from runs.items()


@torch.inference_mode()
def times(runs: dict[str, Run], rounds: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds of each way: of the processor, and on the wall."""
    rng, found = random.Random(0), {name: [] for name in runs}
    for number in range(rounds + 3):
        for name in rng.sample(list(runs), len(runs)):
            wall, own = time.perf_counter(), time.process_time()
            runs[name]()
            passed = (time.process_time() - own, time.perf_counter() - wall)
            if number >= 3:  # the first rounds fill caches
                found[name].append(passed)
    return {
        name: tuple(1e3 * statistics.median(column) for column in zip(*passes, strict=True))
        for name, passes in found.items()
    }  # type: ignore[return-value]


def rows(spaces: list[str], sample: int, compiled: bool, rounds: int) -> Iterator[dict[str, str]]:
    """A row for each network and way."""
    progress = Progress("networks", len(spaces) * sample)
    for place, name in enumerate(spaces):
        supernet, rng = supernet_of(name), random.Random(0)
        for number in range(sample):
            arch = supernet.space.sample(rng)
            with no_shape_checks():
                found = times(dict(ways(supernet, arch, compiled)), rounds)
            for way, (own, wall) in found.items():
                yield {
                    "space": name, "digest": arch.digest, "resolution": str(arch.resolution), "way": way, "cpu_ms": f"{own:.3f}",
                    "wall_ms": f"{wall:.3f}", "times": f"{found['supernet'][0] / own:.2f}",
                }  # fmt: skip
            progress.update(place * sample + number + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a .csv file")
    parser.add_argument("--spaces", nargs="+", default=["images32", "transxnet", "hat_net"])
    parser.add_argument("--sample", type=int, default=3, help="members of each space")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    machine.prepare(1, "cpu")
    found = []
    for row in rows(given.spaces, given.sample, not given.no_compile, given.rounds):
        found.append(row)
        say("  ".join(row.values()))
    for way in dict.fromkeys(row["way"] for row in found):
        ratios = [float(row["times"]) for row in found if row["way"] == way]
        target = f", target {TARGET:g}" * (way == "compiled")
        say(f"{way:10} {min(ratios):.2f} to {max(ratios):.2f} times faster than in the supernet{target}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with given.out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
