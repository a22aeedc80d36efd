"""The memory that training a supernet needs: `supernet.memory`'s estimate beside the true peak.

Each row is a process of its own that trains a few steps on random images and saves a checkpoint, as `nas train` does. Measured is
the largest resident size of the process (VmHWM; ru_maxrss starts at that of the parent) less its size before the supernet was made. The allocator is set as in every
command, so freed memory is kept and the peak of the process is the peak of its needs.

    python tests/benchmarks/training_memory.py [SPACE BATCH_SIZE [STEPS]]
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = (
    ("digits", 64), ("digits", 256), ("digits", 1024),
    ("images32", 64), ("images32", 256), ("images32", 1024),
    ("transxnet", 2), ("transxnet", 4),
)  # fmt: skip
STEPS = 6


def measure(name: str, batch_size: int, steps: int = STEPS, ema: float = 0.99, amp: str = "none") -> dict[str, Any]:
    """Trains in this process, once: its peak is that of the whole process."""
    import io

    import torch

    from nas import machine
    from search_spaces.named import load_space
    from supernet.memory import training_need
    from supernet.optimisation import Optimisation, Schedule
    from supernet.recipe import Recipe
    from supernet.steps import Moment
    from supernet.strategies.sandwich import Sandwich
    from supernet.supernet import Supernet

    machine.prepare(1, "cpu")
    space = load_space(name)
    need = training_need(space, batch_size, ema=bool(ema), paths=4)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    supernet = Supernet(space, 0)
    schedule = Schedule(lr=1e-3, warmup_steps=1, total_steps=steps)
    optimisation = Optimisation(supernet, schedule, weight_decay=0.05, clip=1.0, ema=ema)
    strategy = Sandwich(space, Sandwich.Options(), recipe=Recipe(amp=amp), seed=0)
    labels = torch.arange(batch_size) % space.num_classes
    for step in range(steps):
        images = torch.randn(batch_size, space.in_channels, space.resolution, space.resolution)
        images = images.contiguous(memory_format=torch.channels_last)
        torch.manual_seed(step)
        strategy.step(supernet.train(), images, labels, Moment(step + steps, 2 * steps, steps))
        optimisation.step()
    step_peak = _peak() - before
    buffer = io.BytesIO()
    torch.save(optimisation.state_dict(), buffer)
    content = buffer.getvalue()
    peak = _peak() - before
    return {"predicted": need.total, "measured": peak, "step": step_peak, "checkpoint": len(content)}


def _peak() -> int:
    """The largest resident size of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def row(name: str, batch_size: int, steps: int = STEPS, amp: str = "none") -> dict[str, Any]:
    """The same in a process of its own."""
    code = f"import json; from tests.benchmarks.training_memory import measure; print(json.dumps(measure({name!r}, {batch_size}, {steps}, amp={amp!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return json.loads(done.stdout)


def rows(which: tuple[tuple[str, int], ...] = ROWS, steps: int = STEPS) -> list[str]:
    """A line for every space and batch size."""
    lines = []
    for name, batch_size in which:
        found = row(name, batch_size, steps)
        lines.append(
            f"  {name:10} batch {batch_size:5}   predicted {found['predicted'] / 2**20:8.1f} MiB   "
            f"measured {found['measured'] / 2**20:8.1f} MiB   ratio {found['predicted'] / found['measured']:.2f}"
        )
        print(lines[-1], flush=True)  # noqa: T201
    return lines


if __name__ == "__main__":
    given = sys.argv[1:]
    rows(((given[0], int(given[1])),) if given else ROWS, int(given[2]) if len(given) > 2 else STEPS)
