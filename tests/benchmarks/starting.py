"""Supernets that start from a network trained before, beside supernets that start from fresh weights: accuracy after equal steps.

    python tests/benchmarks/starting.py [--out FOLDER] [--seeds 3] [--images 2000]

The space is a small cousin of `transxnet` for 16 x 16 pixels; the network is its member of small widths and full depth, as TransXNet-T is
in `transxnet`. The images are Fashion-MNIST's. In the task `images` the network was trained on other images of the same ten classes; in the
task `classes` on the classes 5 to 9 (sandal to boot), and the supernet is trained on the classes 0 to 4 (T-shirt to coat), so that its
classifier starts fresh.

Every row is a whole training of a supernet with its own schedule of so many steps, on `--images` images: both kinds of supernet have the
same seed, and so the same fresh weights, batches and sub-networks. Its accuracy is the mean top-1 of sub-networks with inherited weights and
statistics of their own on 2,000 further images: the smallest, the largest, and eight random ones, the same in every row.

Rows that the folder has are not trained again. Writes starting.csv and starting.png to the folder, and prints the fewest steps after which
supernets that started from the network reach what fresh ones have after all steps.
"""

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
from supernet.recipe import Recipe
from supernet.seeding import derive_seed
from supernet.steps import LabelStep
from supernet.supernet import Supernet
from supernet.taking import take

SIDE, BATCH = 16, 64
EVALUATED = 4
"""Random sub-networks of which the accuracy is a mean, beside the smallest and the largest."""

HELD_OUT, SOURCE = 500, 10000
SHARES = (0.125, 0.25, 0.5, 1)
"""Lengths of training, as shares of the longest."""

TASKS = {"images": (tuple(range(10)), tuple(range(10))), "classes": (tuple(range(5, 10)), tuple(range(5)))}
"""The classes of the network, and those of the supernet."""

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
        """In another order in each pass; the last batch is left out if it is not full."""

        def of(epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
            generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
            order = torch.randperm(len(self.labels), generator=generator)
            for number in range(first, len(self.labels) // BATCH):
                own = order[number * BATCH : (number + 1) * BATCH]
                yield self.pixels[own], self.labels[own]

        return Batches(BATCH, len(self.labels) // BATCH, of)


@dataclass(frozen=True)
class Task:
    """The images of a network, and those that a supernet is trained and evaluated on; none of them is in two."""

    source: Images
    train: Images
    held_out: Images
    space: SearchSpace


def task_of(name: str, seed: int, images: int) -> Task:
    """
    Args:
        seed: of which images are whose.
        images: that the supernet is trained on.
    """
    found = FashionMnist(DataConfig(name="fashion_mnist", resolution=28)).read("train")
    assert found is not None
    pixels, labels = torch.from_numpy(found[0].copy()), torch.from_numpy(found[1].astype("int64"))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derive_seed(seed, "images")))
    old, new = TASKS[name]
    half = len(order) // 2

    def chosen(where: Tensor, classes: Sequence[int]) -> Images:
        where = where[torch.isin(labels[where], torch.tensor(classes))]
        small = F.interpolate(pixels[where, None].float() / 255, size=(SIDE, SIDE), mode="area")
        return Images((small - 0.286) / 0.33, torch.searchsorted(torch.tensor(classes), labels[where]))

    source, mine = chosen(order[:half], old), chosen(order[half:], new)
    source = Images(*(x[:SOURCE] for x in source))
    train, held_out = slice(images), slice(images, images + HELD_OUT)
    space = check(SearchSpace.from_toml(SPACE)).bind(1, len(new), SIDE)
    return Task(source, Images(*(x[train] for x in mine)), Images(*(x[held_out] for x in mine)), space)


class Quiet:
    """Watches a training and says nothing."""

    def begin(self, optimisation: object, total: int) -> None: ...
    def report(self, report: object) -> None: ...
    def save(self, optimisation: object) -> None: ...


def source_arch(space: SearchSpace) -> Architecture:
    """The member of small widths and of the middle or largest option everywhere else."""
    genes = [
        0 if gene.chosen == "width" else len(gene.choices) - 1 if len(gene.choices) < 3 else 1 for gene in space.genes
    ]
    return space.decode(tuple(genes))


def source_network(folder: Path, task: Task, classes: int, seed: int, epochs: int) -> Network:
    """The network that was trained before; trained now if the folder does not have it."""
    store = RunStore(folder)
    if not store.exists(ARCH):
        network = build(source_arch(task.space.bind(1, classes, SIDE)), derive_seed(seed, "network"))
        recipe = Recipe(epochs=epochs, batch_size=BATCH)
        fit(network, task.source.batches(seed), LabelStep(recipe), recipe, seed=seed, watcher=Quiet())
        recompute(network, [task.source.pixels[:1024]])
        save_tensors(store, WEIGHTS, network.state_dict(), {})
        store.write_text(ARCH, network.arch.to_json(indent=1))
    return load_network(folder)


def accuracy(supernet: Supernet, task: Task) -> float:
    """Mean top-1 of sub-networks."""
    space, rng = task.space, random.Random(0)
    archs = [supernet.smallest(), supernet.largest(), *(space.sample(rng) for _ in range(EVALUATED))]
    held_out = [(x, y) for x, y in zip(*(part.split(500) for part in task.held_out), strict=True)]
    supernet.eval()
    found = []
    for arch in archs:
        buffers = calibrate(supernet, arch, task.train.pixels[:256].split(256))
        with torch.no_grad():
            found.append(evaluate(lambda x, arch=arch, buffers=buffers: supernet(x, arch, buffers), held_out).top1)
    return statistics.mean(found)


def trained(task: Task, seed: int, network: Network | None, epochs: int) -> float:
    """The accuracy of a supernet after a whole training of so many epochs, of which an eighth warms up; without any for 0."""
    supernet = Supernet(task.space, derive_seed(seed, "supernet"))
    if network is not None:
        take(supernet, of_network(network, task.space))
    if epochs:
        recipe = TrainConfig(batch_size=BATCH, epochs=epochs, warmup_epochs=epochs / 8)
        strategy = strategy_of(recipe, task.space, seed)
        fit(supernet, task.train.batches(seed), strategy.step, recipe, seed=seed, watcher=Quiet())
    return accuracy(supernet, task)
