"""Small data sets, folders of noise above all, and what every part and split is asked."""

import gzip
import random
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from PIL import Image
from torch import Tensor

from nas.config import DataConfig
from nas.data import PARTS, Part, Split

LAW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def noise(seed: int, height: int = 10, width: int = 12) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def make_folder(root: Path, layout: dict[str, int], seed: int = 0) -> Path:
    """A folder of noise: `layout` says how many images each sub-folder has."""
    for name, count in layout.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            seed += 1
            noise(seed).save(root / name / f"{index:03}.png")
    return root


def make_same(root: Path, image: Image.Image, count: int) -> Path:
    """Files of one image that differ in bytes that PIL ignores, in two classes."""
    for name in ("a", "b"):
        (root / name).mkdir()
        for index in range(count):
            image.save(root / name / f"{index}.png")
            with (root / name / f"{index}.png").open("ab") as file:
                file.write(f"{name}{index}".encode())
    return root


def folder_config(root: Path, **changes: object) -> DataConfig:
    return DataConfig(**{"name": "folder", "root": str(root), "resolution": 8, **changes})  # type: ignore[arg-type]


def write_idx(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray, packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        values = values.astype(np.uint8)
        head = np.array([0x0800 + values.ndim, *values.shape], dtype=">u4").tobytes()
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(head + values.tobytes(), 1))
        else:
            (folder / name).write_bytes(head + values.tobytes())


def make_fashion(folder: Path, per_class: int = 6, test_per_class: int = 2, packed: bool = False) -> DataConfig:
    rng = np.random.default_rng(5)
    for prefix, count in (("train", per_class), ("t10k", test_per_class)):
        labels = np.repeat(np.arange(10), count)
        write_idx(folder, prefix, rng.integers(0, 256, (len(labels), 28, 28)), labels, packed)
    return DataConfig(name="fashion_mnist", root=str(folder), resolution=32)


def digits_config(**changes: object) -> DataConfig:
    return DataConfig(**{"name": "digits", "resolution": 16, **changes})  # type: ignore[arg-type]


def everything(part: Part, batch_size: int = 5, **options: object) -> tuple[Tensor, Tensor]:
    images, labels = zip(*part.batches(batch_size, **options), strict=True)  # type: ignore[arg-type]
    return torch.cat(images), torch.cat(labels)


def raw(part: Part, split: Split) -> Tensor:
    """The uint8 images of a part in order, recovered from its batches."""
    images, _ = everything(part)
    mean, std = (torch.tensor(x)[:, None, None] for x in (split.mean, split.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


def check_split(split: Split) -> None:
    """What every split promises."""
    for what in (split.parts, split.hashes):
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            assert not set(what[one]) & set(what[other])
    for part in PARTS:
        assert set(split.labels[part]) == set(range(len(split.classes)))


def global_states() -> list[object]:
    return [random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()]  # noqa: NPY002
