"""Supernets that start from a network trained before, beside supernets that start from fresh weights: accuracy after equal steps.

    python tests/benchmarks/starting.py [--out FOLDER] [--seeds 3] [--images 1024] [--epochs 0,3,6,12] [--tasks images]

The space is a small cousin of `transxnet` for 16 x 16 pixels. The network is its member of small widths and middle options, as TransXNet-T is
a member of `transxnet`. The images are Fashion-MNIST's. In the task `images` the network was trained on other images of the same ten
classes. In the task `classes` it was trained on the classes 5 to 9 (sandal to boot) and the supernet is trained on the classes 0 to 4
(T-shirt to coat), so that its classifier starts fresh.

Every row is a whole training of a supernet with a schedule of its own, as long as it says. Both kinds have the same seed, and so the same
fresh weights, batches and sub-networks. The accuracy is the mean top-1 of sub-networks with inherited weights and statistics of their own
on images that neither has seen: the smallest, the largest and random ones, the same in every row.

Rows that the folder has are not trained again. Writes starting.csv and starting.png, and prints the shortest training from the network that
reaches what the longest from fresh weights does.
"""

import argparse
import csv
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas.config import DataConfig, TrainConfig
from nas.data.sources.fashion_mnist import FashionMnist
from nas.log import Progress, say
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, WEIGHTS, load_network, save_tensors
from nas.searching.evaluation import evaluate
from nas.training.strategies import strategy_of
from search_spaces.architecture import Architecture
from search_spaces.named import check
from search_spaces.network import Network, build
from search_spaces.space import SearchSpace
from supernet.calibration import calibrate, recompute
from supernet.loop import Batches, fit
from supernet.offering import of_network
from supernet.optimisation import Optimisation
from supernet.recipe import Recipe
from supernet.seeding import derive_seed
from supernet.steps import LabelStep
from supernet.supernet import Supernet
from supernet.taking import take

SIDE, BATCH = 16, 64

SOURCE, SOURCE_EPOCHS = 10_000, 3
"""Images that the network was trained on, and passes over them."""

HELD_OUT, EVALUATED, CALIBRATION = 1000, 6, 512
"""Images and random sub-networks of an accuracy, and images of their statistics."""

STARTS = ("fresh", "network")

TASKS = {"images": (tuple(range(10)), tuple(range(10))), "classes": (tuple(range(5, 10)), tuple(range(5)))}
"""The classes of the network, and those of the supernet."""

FIELDS = ("images", "task", "seed", "start", "epochs", "steps", "top1")

SPACE = """
name = "transxnet16"
about = "A small cousin of transxnet for 16 x 16 pixels."
in_channels = 1
num_classes = 10
resolution = 16
head = { part = "linear_head", norm = "group_norm" }

[block]
position = { part = "dpe", kernel_size = [3, 5] }
norm = { part = "group_norm", eps = 1e-5 }
scale = { part = "none" }
ffn = { part = "ms_ffn", ratio = [2, 4], scales = [[3], [1, 3], [1, 3, 5]] }

[[stages]]
width = [16, 24]
depth = [1, 2]
embedding = { part = "conv_downsampling", kernel_size = 3, stride = 2 }
mixer = { part = "d_mixer", attention_ratio = [0.25, 0.5, 0.75], head_dim = 8, sr_ratio = 4, kernel_size = [3, 5], num_groups = 2 }

[[stages]]
width = [32, 48]
depth = [1, 2]
embedding = { part = "conv_downsampling", kernel_size = 3, stride = 2 }
mixer = { part = "d_mixer", attention_ratio = [0.25, 0.5, 0.75], head_dim = 8, sr_ratio = 2, kernel_size = [3, 5], num_groups = 2 }

[[stages]]
width = [64, 96]
depth = [1, 2]
embedding = { part = "conv_downsampling", kernel_size = 3, stride = 2 }
mixer = { part = "d_mixer", attention_ratio = [0.25, 0.5, 0.75], head_dim = 8, sr_ratio = 1, kernel_size = 3, num_groups = 2 }
"""


class Images(NamedTuple):
    """Normalised images (n, 1, h, w) and their labels (n)."""

    pixels: Tensor
    labels: Tensor

    def batches(self, seed: int) -> Batches:
        """In another order in each pass; a last batch that is not full is left out."""

        def of(epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
            generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
            order = torch.randperm(len(self.labels), generator=generator)
            for number in range(first, len(self.labels) // BATCH):
                own = order[number * BATCH : (number + 1) * BATCH]
                yield self.pixels[own], self.labels[own]

        return Batches(BATCH, len(self.labels) // BATCH, of)


@dataclass(frozen=True)
class Task:
    """What a network and then a supernet are trained on. No image is in two of them.

    Args:
        source: of the network.
        train, held_out: of the supernet.
        classes: of the network.
        space: of the supernet.
    """

    source: Images
    train: Images
    held_out: Images
    classes: int
    space: SearchSpace


def task_of(name: str, seed: int, images: int) -> Task:
    """
    Args:
        seed: of which images are whose.
        images: that the supernet is trained on.
    """
    found = FashionMnist(DataConfig(name="fashion_mnist", resolution=28)).read("train")
    assert found is not None, "Fashion-MNIST has a part train"
    pixels, labels = torch.from_numpy(found[0].copy()), torch.from_numpy(found[1].astype("int64"))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derive_seed(seed, "images")))

    def chosen(where: Tensor, classes: Sequence[int], first: int, count: int) -> Images:
        where = where[torch.isin(labels[where], torch.tensor(classes))][first : first + count]
        small = F.interpolate(pixels[where, None].float() / 255, size=(SIDE, SIDE), mode="area")
        return Images((small - 0.286) / 0.33, torch.searchsorted(torch.tensor(classes), labels[where]))

    old, new = TASKS[name]
    before, after = order.chunk(2)
    return Task(
        chosen(before, old, 0, SOURCE), chosen(after, new, 0, images), chosen(after, new, images, HELD_OUT), len(old),
        check(SearchSpace.from_toml(SPACE)).bind(1, len(new), SIDE),
    )  # fmt: skip


class Shown:
    """Watches a training: shows its progress, and keeps nothing."""

    def __init__(self, title: str) -> None:
        self.title = title

    def begin(self, optimisation: Optimisation, total: int) -> None:
        self.progress = Progress(self.title, total, 0)

    def report(self, report) -> None:
        self.progress.update(report.step, report.images, loss=next(iter(report.losses.values())))

    def save(self, optimisation: Optimisation) -> None:
        """Nothing: rows are short."""


def source_arch(space: SearchSpace) -> Architecture:
    """The member of the smallest widths, and of the middle or the larger option everywhere else."""
    return space.decode(tuple(0 if gene.chosen == "width" else len(gene.choices) // 2 for gene in space.genes))


def source_network(folder: Path, task: Task, seed: int) -> Network:
    """The network that was trained before; it is trained now if the folder does not have it."""
    store = RunStore(folder)
    if not store.exists(ARCH):
        network = build(source_arch(task.space.bind(1, task.classes, SIDE)), derive_seed(seed, "network"))
        recipe = Recipe(epochs=SOURCE_EPOCHS, batch_size=BATCH)
        fit(network, task.source.batches(seed), LabelStep(recipe), recipe, seed=seed, watcher=Shown(folder.name))
        recompute(network, [task.source.pixels[:1024]])
        save_tensors(store, WEIGHTS, network.state_dict(), {"digest": network.arch.digest})
        store.write_text(ARCH, network.arch.to_json(indent=1))
    return load_network(folder)


def accuracy(supernet: Supernet, task: Task) -> float:
    """Mean top-1 of sub-networks with inherited weights."""
    rng = random.Random(0)
    archs = [supernet.smallest(), supernet.largest(), *(task.space.sample(rng) for _ in range(EVALUATED))]
    held_out = list(zip(*(part.split(250) for part in task.held_out), strict=True))
    supernet.eval()
    found = []
    for arch in archs:
        buffers = calibrate(supernet, arch, task.train.pixels[:CALIBRATION].split(256))
        with torch.no_grad():
            found.append(evaluate(lambda x, arch=arch, buffers=buffers: supernet(x, arch, buffers), held_out).top1)
    return statistics.mean(found)


def trained(task: Task, seed: int, network: Network | None, epochs: int, title: str) -> float:
    """The accuracy of a supernet after a whole training, of which an eighth warms up; as it starts for 0 epochs."""
    supernet = Supernet(task.space, derive_seed(seed, "supernet"))
    if network is not None:
        take(supernet, of_network(network, task.space))
    if epochs:
        recipe = TrainConfig(batch_size=BATCH, epochs=epochs, warmup_epochs=epochs / 8)
        strategy = strategy_of(recipe, task.space, seed)
        fit(supernet, task.train.batches(seed), strategy.step, recipe, seed=seed, watcher=Shown(title))
    return accuracy(supernet, task)


Row = tuple[str, int, str, int]
"""Task, seed, start and epochs."""


def read(file: Path, images: int) -> dict[Row, float]:
    """The rows that are there for so many images."""
    if not file.exists():
        return {}
    with file.open(newline="") as lines:
        return {
            (row["task"], int(row["seed"]), row["start"], int(row["epochs"])): float(row["top1"])
            for row in csv.DictReader(lines)
            if int(row["images"]) == images
        }


def append(file: Path, images: int, row: Row, top1: float) -> None:
    new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.writer(lines)
        if new:
            writer.writerow(FIELDS)
        writer.writerow((images, *row, row[-1] * (images // BATCH), f"{top1:.5f}"))


def spread(rows: dict[Row, float], task: str, start: str, epochs: int) -> tuple[float, float]:
    """Mean and standard deviation over the seeds, in percent; no deviation for one seed."""
    found = [100 * top1 for (name, _, how, long), top1 in rows.items() if (name, how, long) == (task, start, epochs)]
    return statistics.mean(found), statistics.stdev(found) if len(found) > 1 else 0.0


def draw(rows: dict[Row, float], tasks: Sequence[str], epochs: Sequence[int], per_epoch: int, file: Path) -> None:
    """Top-1 against steps, one panel per task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(tasks), figsize=(4.8 * len(tasks), 3.6), sharey=True, squeeze=False)
    steps = [count * per_epoch for count in epochs]
    for panel, task in zip(panels[0], tasks, strict=True):
        for start, label in zip(STARTS, ("fresh weights", "a trained network"), strict=True):
            mean, deviation = zip(*(spread(rows, task, start, count) for count in epochs), strict=True)
            panel.errorbar(steps, mean, yerr=deviation, marker="o", markersize=4, capsize=3, label=f"from {label}")
        panel.set(title=f"other {task}", xlabel="training steps of the supernet")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("mean top-1 of sub-networks, %")
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("starting"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1024, help="that a supernet is trained on")
    parser.add_argument("--epochs", default="0,3,6,12", help="lengths of training, in passes over them")
    parser.add_argument("--tasks", default="images", help=f"of {', '.join(TASKS)}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks, epochs = options.tasks.split(","), sorted(map(int, options.epochs.split(",")))
    file, per_epoch = options.out / "starting.csv", options.images // BATCH
    options.out.mkdir(parents=True, exist_ok=True)
    rows = read(file, options.images)
    for seed in range(options.seeds):
        for name in tasks:
            task = task_of(name, seed, options.images)
            network = source_network(options.out / f"network-{name}-{seed}", task, seed)
            for count in epochs:
                for start in STARTS:
                    row = (name, seed, start, count)
                    if row in rows:
                        continue
                    title = f"{name}, seed {seed}, {start}, {count} epochs"
                    rows[row] = trained(task, seed, network if start == "network" else None, count, title)
                    append(file, options.images, row, rows[row])
                    say(f"{title}: top-1 {rows[row]:.4f}")
    draw(rows, tasks, epochs, per_epoch, options.out / "starting.png")
    for name in tasks:
        goal, _ = spread(rows, name, "fresh", epochs[-1])
        for count in epochs:
            words = [
                f"{start} {mean:.1f} ± {sd:.1f} %"
                for start in STARTS
                for mean, sd in [spread(rows, name, start, count)]
            ]
            say(f"{name:8} {count * per_epoch:5} steps: {', '.join(words)}")
        enough = [count for count in epochs if spread(rows, name, "network", count)[0] >= goal]
        found = f"{enough[0] * per_epoch} of {epochs[-1] * per_epoch} steps" if enough else "never"
        say(f"{name}: the fresh supernet's {goal:.1f} % after {found}")


if __name__ == "__main__":
    main()
