"""Image folders as people have them, made of small pictures, and what a run on one has written."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

FAST = (
    "space=digits", "train.epochs=1", "train.batch_size=8", "search.evaluations=3", "retrain.points=1", "retrain.epochs=1",
    "retrain.inits=scratch", "retrain.jobs=1",
)  # fmt: skip


def images(root: Path, *folders: str, each: int = 10) -> Path:
    """Learnable 16 x 16 pictures, different in every folder."""
    classes = sorted({Path(folder).name for folder in folders})
    for number, folder in enumerate(folders):
        rng = np.random.default_rng(number)
        (root / folder).mkdir(parents=True)
        for index in range(each):
            pixels = rng.integers(0, 120, (16, 16, 3))
            pixels[..., classes.index(Path(folder).name) % 3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{index}.png")
    return root


PARTS = ("train/a", "train/b", "val/a", "val/b", "test/a", "test/b")


def split_of(place: Path) -> dict[str, list[str]]:
    return json.loads((place / "r" / "split.json").read_text())["parts"]


def identity(place: Path) -> dict:
    return json.loads((place / "r" / "run.json").read_text())
