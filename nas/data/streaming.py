"""Batches of a torch `Dataset` whose items depend on their keys alone, in this process or from worker processes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

Chance = tuple[int, ...]
"""What the random transform of an image depends on beside its position: seed, epoch, and the number of the copy from 1 up."""


def streamed(
    images: Dataset[Any], keys: Iterable[list[Any]], workers: int, collate: Callable[[list[Any]], Any]
) -> Iterator[Any]:
    """One collated batch for each list of keys, in order.

    Args:
        workers: processes; 0 for this one.
    """
    yield from DataLoader(
        images,
        batch_sampler=keys,  # pyright: ignore[reportArgumentType] - any iterable of lists of keys will do
        num_workers=workers,
        collate_fn=collate,
        generator=torch.Generator(),  # or the loader draws from the global one
    )
