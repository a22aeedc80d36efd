"""Forward time of TransXNet-Tiny and HAT-Net-Tiny at 224 x 224 against the plain implementation (plain.py), in evaluation mode.

Each way runs in a process of its own, because the plain one has the C library's allocator as it comes:

    plain                the papers' operators written plainly, NCHW, default allocator
    network              our network as it is trained, channels-last, tuned allocator
    inference            its form for inference, channels-last, tuned allocator
    plain-compiled, inference-compiled
                         the same through torch.compile, which needs a C++ compiler and a minute a network and batch

The processes take turns, one forward each; medians are compared, and outputs have to agree to 1e-4.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EAGER = ("plain", "network", "inference")
COMPILED = ("plain", "plain-compiled", "inference-compiled")
NAMES = ("transxnet_tiny", "hat_net_tiny")
BATCHES = (1, 8)
TARGET = 1.5


def serve(way: str, threads: int, folder: Path) -> None:
    """Answers each line "NAME BATCH" with the seconds of one forward, and leaves its output in `folder`."""
    import torch

    from nas import machine
    from search_spaces.inference import inference_form
    from search_spaces.official import convert
    from tests.benchmarks import plain

    torch.set_num_threads(threads)
    label, (way, _, compiled) = way, way.partition("-")
    if way != "plain":
        machine.tune_allocator()
    networks = {}
    for name in NAMES:
        network = getattr(plain, name)().eval()
        plain.fill_by_rule(network)
        if way != "plain":
            network = convert(network.state_dict(), name).to(memory_format=torch.channels_last)
        network = inference_form(network) if way == "inference" else network
        networks[name] = torch.compile(network, dynamic=False) if compiled else network
    layout = torch.contiguous_format if way == "plain" else torch.channels_last
    generator = torch.Generator().manual_seed(0)
    images = {b: torch.randn(b, 3, 224, 224, generator=generator).contiguous(memory_format=layout) for b in BATCHES}
    for line in sys.stdin:
        name, batch = line.split()
        with torch.inference_mode():
            clock = time.perf_counter()
            y = networks[name](images[int(batch)])
            seconds = time.perf_counter() - clock
        torch.save(y, folder / f"{label}-{name}-{batch}.pt")
        print(seconds, flush=True)  # noqa: T201


def rows(repeats: int, ways: tuple[str, ...] = EAGER) -> list[str]:
    """The table of `ways`, the first of which is what the others are compared with, for one thread and two."""
    import torch

    if ways == COMPILED and not shutil.which(os.environ.get("CXX", "g++")):
        return ["  not run: torch.compile needs a C++ compiler"]
    lines = []
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as place:
            children = {
                way: subprocess.Popen(
                    [sys.executable, __file__, way, str(threads), place],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
                for way in ways
            }  # fmt: skip

            def ask(way: str, name: str, batch: int, children: dict = children) -> float:
                child = children[way]
                child.stdin.write(f"{name} {batch}\n")
                child.stdin.flush()
                return float(child.stdout.readline())

            for name in NAMES:
                for batch in BATCHES:
                    times = [[ask(way, name, batch) for way in ways] for _ in range(repeats + 2)][2:]
                    first, *others = (statistics.median(column) for column in zip(*times, strict=True))
                    y, *outputs = (torch.load(Path(place) / f"{way}-{name}-{batch}.pt") for way in ways)
                    worst = max(float((other - y).abs().max() / y.abs().max()) for other in outputs)
                    assert worst <= 1e-4, worst
                    lines.append(
                        f"  {name:15} batch {batch}  {threads} thread{'s' * (threads > 1):1}   {first * 1e3:7.1f} ms {ways[0]}"
                        + "".join(
                            f"{other * 1e3:9.1f} ms {way} ({first / other:.2f} times faster)"
                            for way, other in zip(ways[1:], others, strict=True)
                        )
                        + (f"   {others[0] / others[1]:.2f} times {ways[1]}" if ways == COMPILED else "")
                        + f"   largest difference {worst:.0e}"
                    )
            for child in children.values():
                child.communicate()
    return [*lines, f"  (target >= {TARGET} times)"]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
