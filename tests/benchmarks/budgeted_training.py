"""Training a supernet for a budget beside training one for the whole space: seconds per step, shared weights, memory, and the accuracy of
the same feasible networks with inherited weights after equal wall time.

    python tests/benchmarks/budgeted_training.py [--seconds 300] [--space transxnet] [--share 0.1] [--out FOLDER]

The images are scikit-learn's handwritten digits, enlarged to 96 x 96 pixels and laid on coloured noise: 600 of them, 60 per class.
The budget is a share of the MACs of the space's largest network. Each row trains in a process of its own: a few steps give the seconds
per step and so the number of steps that fit into the wall time, which the schedule of the learning rate needs; then training starts
anew and ends when the time is over. Memory is the largest resident size of the process less its size before the supernet was made.

The 16 networks are drawn from the narrowed space as a search draws them (`SearchSpace.sample` within the budget); both supernets have
them. Each is evaluated on the same search-validation images with normalisation statistics of its own.

Prints a table, and writes rows.csv and networks.csv to the folder.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SIDE, EACH, CLASSES = 96, 60, 10
NETWORKS = 16
PROBED = 4
"""Steps that tell how long one takes; the first is left out, as much is made in it that is kept."""


def make_images(folder: Path) -> None:
    """600 digits as PNG files, one sub-folder per class."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
        for number, digit in enumerate(found.images[found.target == label][:EACH]):
            large = np.asarray(
                Image.fromarray((digit * 15).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            )
            colour = rng.integers(128, 256, 3)
            noise = rng.integers(0, 96, (SIDE, SIDE, 3))
            pixels = np.clip(noise + large[..., None] / 255 * colour, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{number}.png")


def arguments_of(options: argparse.Namespace, images: Path, run: str, budget: str) -> list[str]:
    """The settings of a run."""
    return [
        f"run={run}", f"space={options.space}", "data=folder", f"data.root={images}", f"data.resolution={SIDE}",
        f"train.batch_size={options.batch_size}", "train.processes=1", f"train.budget={budget}", "search.batch_size=32", f"seed={options.seed}",
    ]  # fmt: skip


def largest_macs(options: argparse.Namespace) -> int:
    """MACs of the largest network of the space for these images."""
    from search_spaces.costs.macs import macs
    from search_spaces.named import load_space

    space = load_space(options.space).bind(3, CLASSES, SIDE)
    return macs(space.largest(macs))


def draw_networks(options: argparse.Namespace, budget: str) -> list[str]:
    """JSON texts of feasible networks, different ones."""
    import random

    from nas.goals.budget import Budget
    from nas.goals.limiting import limits_of, narrow
    from search_spaces.limits import outside
    from search_spaces.named import load_space

    limits = Budget.parse(budget)
    space = narrow(load_space(options.space).bind(3, CLASSES, SIDE), limits)
    rng, excess = random.Random(options.seed), outside(limits_of(limits))
    found: dict[str, str] = {}
    while len(found) < min(NETWORKS, space.size):
        arch = space.sample(rng, excess)
        found[arch.digest] = arch.to_json()
    return list(found.values())


def resident(key: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


class Timed:
    """The steps of a run's training, timed one by one, without its files.

    Args:
        config: of the run.
        run: started.
    """

    def __init__(self, config: Any, run: Any) -> None:
        from nas.training.strategies import strategy_of

        self.config, self.run, self.settings, self.part = config, run, config.train, run.part("train")
        self.per_epoch = len(self.part) // self.settings.batch_size
        self.strategy = strategy_of(self.settings, run.space, config.seed)

    def begin(self, total: int) -> tuple[Any, Any]:
        """A fresh supernet, and its optimisation in so many steps."""
        from supernet.optimisation import Optimisation, Schedule
        from supernet.supernet import Supernet

        settings = self.settings
        supernet = Supernet(self.run.space, self.config.seed)
        warmup = min(round(settings.warmup_epochs * self.per_epoch), total // 5)
        schedule = Schedule(lr=settings.lr, warmup_steps=warmup, total_steps=total)
        return supernet, Optimisation(
            supernet, schedule, weight_decay=settings.weight_decay, clip=settings.clip, ema=settings.ema
        )

    def steps(self, supernet: Any, optimisation: Any, total: int, until: float) -> list[float]:
        """Seconds of each step; there are fewer than `total` where time is up before."""
        import torch

        from supernet.seeding import derive_seed
        from supernet.steps import Moment

        found: list[float] = []
        while len(found) < total and time.monotonic() < until:
            epoch = len(found) // self.per_epoch
            batches = self.part.batches(
                self.settings.batch_size, seed=derive_seed(self.config.seed, "batches"), epoch=epoch,
                augment=self.config.data.augment, drop_last=True,
            )  # fmt: skip
            for images, labels in batches:
                clock, step = time.monotonic(), len(found)
                torch.manual_seed(derive_seed(self.config.seed, "step", step))
                self.strategy.step(supernet.train(), images, labels, Moment(step, total, self.per_epoch))
                optimisation.step()
                found.append(time.monotonic() - clock)
                if len(found) == total or time.monotonic() >= until:
                    break
        return found


def train(options: argparse.Namespace, images: Path, budget: str, networks: list[str], place: Path) -> dict[str, Any]:
    """Trains in this process, once: its peak is that of the whole process."""
    import torch

    from nas import load_config
    from nas.machine.memory import need_of
    from nas.runs.run import start_run
    from nas.searching.evaluation import Evaluator
    from search_spaces.architecture import Architecture
    from search_spaces.counting import worded
    from search_spaces.registry import complete

    config = load_config(None, arguments_of(options, images, str(place / "run"), budget))
    run = start_run(config)
    timed = Timed(config, run)
    before = resident("VmRSS")
    probe = timed.steps(*timed.begin(PROBED), PROBED, float("inf"))
    total = max(PROBED, round(options.seconds / statistics.median(probe[1:])))
    supernet, optimisation = timed.begin(total)
    taken = timed.steps(supernet, optimisation, total, time.monotonic() + options.seconds)
    peak = resident("VmHWM") - before
    optimisation.use_averaged()
    evaluator = Evaluator.of(config, run.split, supernet.eval(), torch.device("cpu"))
    found = [evaluator(complete(Architecture.from_json(text))) for text in networks]
    identity = run.store.read_json("run.json")
    return {
        "budget": budget,
        "networks": worded(identity["space_size"]),
        "shared_weights": sum(p.numel() for p in supernet.parameters()),
        "seconds_per_step": statistics.median(taken),
        "steps": len(taken),
        "images_per_second": config.train.batch_size / statistics.median(taken),
        "peak_gib": peak / 2**30,
        "predicted_gib": need_of(config, run.space, torch.device("cpu"), run.split).total / 2**30,
        "top1": [accuracy.top1 for accuracy in found],
        "loss": [accuracy.loss for accuracy in found],
        "validation_images": found[0].images,
    }


def in_a_process(options: argparse.Namespace, job: dict[str, Any], place: Path) -> dict[str, Any]:
    """One row, or what comes before the rows, in a process of its own."""
    (place / "job.json").write_text(json.dumps(job))
    subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--job", str(place / "job.json")], check=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(options.threads)},
    )  # fmt: skip
    return json.loads((place / "job.json").read_text())


def work(options: argparse.Namespace, file: Path) -> None:
    """What a process does: its job is in a file, and so is its result."""
    from nas import machine

    job = json.loads(file.read_text())
    machine.prepare(options.threads, "cpu")
    if job["do"] == "prepare":
        images = Path(job["images"])
        make_images(images)
        budget = str(round(options.share * largest_macs(options)))
        result: dict[str, Any] = {"budget": budget, "networks": draw_networks(options, budget)}
    else:
        result = train(options, Path(job["images"]), job["budget"], job["networks"], Path(job["place"]))
    file.write_text(json.dumps(result))


COLUMNS = (
    "budget", "networks", "shared_weights", "seconds_per_step", "steps", "images_per_second", "peak_gib", "predicted_gib", "mean_top1",
    "best_top1", "mean_loss", "validation_images",
)  # fmt: skip


def write(folder: Path, rows: list[dict[str, Any]], networks: list[str]) -> None:
    """rows.csv: one row per training; networks.csv: one row per network and training."""
    from search_spaces.architecture import Architecture
    from search_spaces.costs.macs import macs
    from search_spaces.registry import complete

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "rows.csv", "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    archs = [complete(Architecture.from_json(text)) for text in networks]
    with open(folder / "networks.csv", "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["budget", "digest", "macs", "top1", "loss"])
        for row in rows:
            for arch, top1, loss in zip(archs, row["top1"], row["loss"], strict=True):
                lines.writerow([row["budget"], arch.digest, macs(arch), top1, loss])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=300, help="of training, for each row")
    parser.add_argument("--space", default="transxnet")
    parser.add_argument("--share", type=float, default=0.1, help="of the largest network's MACs that is the budget")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("budgeted_training"))
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        work(options, options.job)
        return
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(prefix="budgeted-training-") as root:
        place = Path(root)
        images = str(place / "images")
        made = in_a_process(options, {"do": "prepare", "images": images}, place)
        rows = []
        for name, budget in (("whole", "none"), ("budget", made["budget"])):
            (place / name).mkdir()
            job = {
                "do": "train",
                "images": images,
                "budget": budget,
                "networks": made["networks"],
                "place": str(place / name),
            }
            row = in_a_process(options, job, place)
            row |= {
                "mean_top1": statistics.mean(row["top1"]),
                "best_top1": max(row["top1"]),
                "mean_loss": statistics.mean(row["loss"]),
            }
            rows.append(row)
        write(options.out, rows, made["networks"])
    conditions = f"{SIDE} x {SIDE}, batch {options.batch_size}, {options.threads} threads, {options.seconds:g} s each"
    print(f"\nspace {options.space}, {conditions}")  # noqa: T201
    for key in COLUMNS:
        values = [f"{row[key]:,.4g}" if isinstance(row[key], float) else f"{row[key]:,}" if isinstance(row[key], int) else row[key] for row in rows]  # fmt: skip
        print(f"  {key:20}" + "".join(f"{value:>20}" for value in values))  # noqa: T201
    ahead = sum(after > before for before, after in zip(*(row["top1"] for row in rows), strict=True))
    print(f"  of {len(made['networks'])} networks, {ahead} are more accurate after training for the budget")  # noqa: T201


if __name__ == "__main__":
    main()
