"""Hours and memory of training by ImageNet's configurations on one device, from steps that are measured on generated image files.

    python tests/benchmarks/retraining.py --device cuda --part 128 --workers 16
    python tests/benchmarks/retraining.py --configs transxnet,searched_1g --device cpu --part 8 --seconds 30

Each network of a configuration (those of its paper, or one drawn at random within its budget) is trained by its recipe on JPEG files of ImageNet's
usual size, through the real loader, for some seconds. A batch is cut into parts of --part images; one part is measured with the update behind it.
hours are those of the whole recipe over the 1,281,167 images of ImageNet-1K at the measured rate. Several devices were not measured.
"""

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nas import machine
from nas.config.parsing import load_config
from nas.config.recipes import IMAGENET
from nas.data import make_split
from nas.goals.budget import Budget
from nas.log import say
from nas.runs.store import RunStore
from nas.training.estimate import Estimate, measured, part_of, say_estimates
from nas.training.jobs import Job, ReferenceJob
from nas.training.network import Training
from search_spaces.feasible import FeasibleSampler
from search_spaces.named import load_space

IMAGES = 1_281_167
SIZE = (500, 375)
"""Of ImageNet's images, usually."""


def make_images(root: Path, count: int) -> Path:
    """Coloured noise of a low frequency, whose files are about as large as photographs."""
    rng = np.random.default_rng(0)
    for part, number in (("train", count), ("test", 8)):
        for label in ("a", "b"):
            (root / part / label).mkdir(parents=True)
            for index in range(number // 2):
                coarse = rng.integers(0, 256, (94, 125, 3), dtype=np.uint8)
                Image.fromarray(coarse).resize(SIZE).save(root / part / label / f"{index}.jpg", quality=90)
    return root


def estimates(name: str, root: Path, folder: Path, options: argparse.Namespace) -> Iterator[Estimate]:
    """Those of the networks of a configuration."""
    typed = [f"run={folder}", f"data.root={root}", f"data.workers={options.workers}", "data.validation_fraction=0.1"]
    config = load_config(f"imagenet/{name}.toml", [*typed, *options.changes])
    parts = max(1, config.retrain.batch_size // options.part)
    config = replace(config, retrain=part_of(replace(config.retrain, grad_accum_steps=parts)))
    store, split = RunStore(folder), make_split(config.data, 0)
    store.write_json("split.json", split.to_dict())
    jobs: list[Job | ReferenceJob] = [
        ReferenceJob(config, name, reference.removeprefix("timm/"), {}, 0) for reference in config.retrain.references
    ]
    if not jobs:
        space = load_space(config.space).bind(3, len(split.classes), config.data.resolution)
        most = Budget.parse(config.search.budget).limit("macs")
        assert most is not None
        arch = FeasibleSampler(space, [("macs", 0.9 * most, most)]).sample(random.Random(0))
        jobs = [Job(config, name, arch.digest, (), arch, {}, "scratch", 0)]
    device = machine.prepare(1, options.device)
    for job in jobs:
        training = Training.of(job, store, split, device)
        found = measured(training, f"{name} {job.digest.removeprefix('timm/')}", options.seconds)
        yield replace(found, in_all=found.in_all // len(training.part) * IMAGES)
        del training
        if device.type == "cuda":
            torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", default=",".join(sorted(path.stem for path in IMAGENET.glob("*.toml"))))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--part", type=int, default=128, help="images that run at once")
    parser.add_argument("--images", type=int, default=1024, help="generated training images")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each network")
    parser.add_argument("changes", nargs="*", help="keys of the configuration, such as retrain.amp=bf16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        images = make_images(Path(root) / "images", options.images)
        for name in options.configs.split(","):
            found = list(estimates(name, images, Path(root) / name, options))
            config = load_config(f"imagenet/{name}.toml", options.changes)
            say_estimates(found, config.retrain, machine.prepare(1, options.device))
            say()


if __name__ == "__main__":
    main()
