"""Splitting a folder of images, with all its checks, beside decoding the same files and nothing else, both on all cores."""

import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from nas import machine
from nas.config import DataConfig
from nas.data import make_split

CLASSES = 10


def make(job: tuple[str, int]) -> None:
    """Writes one JPEG of about 300 x 300 pixels with coarse and fine structure, 20 to 30 KB as photographs have."""
    root, number = job
    rng = np.random.default_rng(number)
    height, width = map(int, rng.integers(260, 341, 2))
    coarse = Image.fromarray(rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    pixels += rng.integers(-8, 9, pixels.shape)
    path = Path(root, f"class{number % CLASSES}", f"{number:06}.jpg")
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=85)


def decode(path: str) -> None:
    """What a loop over Pillow does."""
    with Image.open(path) as image:
        image.convert("RGB")


def decode_some(paths: list[str]) -> None:
    for path in paths:
        decode(path)


def rows(count: int, repeats: int = 3) -> list[str]:
    """Images per second of both, alternately."""
    cores = machine.cores()
    with tempfile.TemporaryDirectory() as root, multiprocessing.get_context("spawn").Pool(cores) as pool:
        for label in range(CLASSES):
            os.mkdir(f"{root}/class{label}")
        pool.map(make, [(root, number) for number in range(count)], chunksize=100)
        paths = sorted(map(str, Path(root).rglob("*.jpg")))
        chunks = [paths[start : start + 16] for start in range(0, count, 16)]
        config = DataConfig(name="folder", root=root, resolution=32)

        def threads() -> None:
            with ThreadPoolExecutor(cores) as workers:
                list(workers.map(decode_some, chunks))

        ways = {
            "decoding alone, processes": lambda: pool.map(decode, paths, chunksize=16),
            "decoding alone, threads": threads,
            "split with all checks": lambda: make_split(config, 0),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                clock = time.perf_counter()
                way()
                rates[name].append(count / (time.perf_counter() - clock))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    split = medians.pop("split with all checks")
    found = [f"  {name:30} {rate:8,.0f} images/s" for name, rate in medians.items()]
    found.append(f"  {'split with all checks':30} {split:8,.0f} images/s")
    return [
        *found,
        f"  {count:,} files, {cores} cores: {split / max(medians.values()):.2f} of the faster   (target >= 0.8)",
    ]
