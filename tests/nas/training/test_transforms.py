"""timm's transforms by a recipe, for arrays and for files: each image by random numbers of its own, whatever batch or process it is in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nas.config import DataConfig, RetrainConfig
from nas.data import Part, load_part, make_split
from nas.data.transforms import Transforms
from search_spaces.errors import InputError


def made(**keys: Any) -> Transforms:
    return Transforms.of(RetrainConfig(augment="timm", **keys))


def everything(part: Part, size: int, **options: Any) -> Tensor:
    found = [images for images, _ in part.batches(size, **{"seed": 3, "augment": "timm", **options})]
    return torch.cat(found)


@pytest.fixture(params=["arrays", "files"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DataConfig:
    """Grey images of digits, or files of coloured noise that are all the same."""
    if request.param == "arrays":
        return DataConfig(name="digits", resolution=16)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(24):
            pixels[0, 0] = number, ord(label), 0  # no two files are equal
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    return DataConfig(name="folder", root=str(tmp_path), resolution=16)


STRONG = {"aa": "rand-m9-mstd0.5-inc1", "scale": (0.3, 1.0), "reprob": 0.5, "remode": "pixel"}


def test_an_image_does_not_depend_on_its_batch(config: DataConfig) -> None:
    part = load_part(config, make_split(config, 0), "train", 20, transforms=made(**STRONG))
    whole = everything(part, 20)
    assert torch.equal(everything(part, 7), whole)
    assert torch.equal(everything(part, 5, first=2), whole[10:])
    assert not torch.equal(everything(part, 20, epoch=1), whole)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    everything(part, 20)
    assert torch.equal(torch.get_rng_state(), before)
    halves = [everything(part, 10, shard=(number, 2)) for number in (0, 1)]
    rebuilt = torch.cat([halves[0][:5], halves[1][:5], halves[0][5:], halves[1][5:]])
    assert torch.equal(rebuilt, whole)


def test_a_process_that_decodes_makes_no_difference(config: DataConfig) -> None:
    split = make_split(config, 0)
    here = load_part(config, split, "train", 20, transforms=made(**STRONG))
    there = load_part(replace(config, workers=1), split, "train", 20, transforms=made(**STRONG))
    assert torch.equal(everything(here, 6), everything(there, 6))


@pytest.mark.parametrize("augment", ["timm", "standard"])
def test_shards_that_are_mirrored_have_both_images_of_a_pair(config: DataConfig, augment: str) -> None:
    """So that mixing a shard with its reverse mixes the images that mixing the batch with its reverse mixes."""
    part = load_part(config, make_split(config, 0), "train", 20, transforms=made(**STRONG))
    options: dict[str, Any] = {"seed": 3, "augment": augment, "drop_last": True}
    (whole, labels) = next(part.batches(14, **options))
    mixed = whole + 0.5 * whole.flip(0)
    found = []
    for number in range(3):
        images, own = next(part.batches(14, **options, shard=(number, 3), mirrored=True))
        found.append((images + 0.5 * images.flip(0), own))
    sizes = [len(own) for _, own in found]
    assert sorted(sizes) == [4, 4, 6]
    first = torch.cat([images[: len(own) // 2] for images, own in found])
    last = torch.cat([images[len(own) // 2 :] for images, own in reversed(found)])
    assert torch.equal(torch.cat([first, last]), mixed)
    assert torch.equal(torch.cat([own[: len(own) // 2] for _, own in found]), labels[:7])
    with pytest.raises(ValueError, match="not mirrored"):
        part.batches(15, **options, mirrored=True)


def test_copies_of_an_image_are_augmented_differently(config: DataConfig) -> None:
    part = load_part(config, make_split(config, 0), "train", 21, transforms=made(**STRONG))
    plain, repeated = everything(part, 7), everything(part, 7, repeats=3)
    assert repeated.shape == plain.shape
    assert torch.equal(repeated[::3], plain[:7])  # the first copy is that of a pass without copies
    assert not torch.equal(repeated[1], repeated[0])
    assert not torch.equal(repeated[2], repeated[1])
    labels = [own for _, own in part.batches(7, seed=3, repeats=3)]
    assert all((own.view(-1, 1) == own[0]).any() for own in labels)
    assert torch.equal(torch.cat(labels)[1::3], torch.cat(labels)[::3])


def test_share_of_erased_images(config: DataConfig) -> None:
    """Without other changes, an image that is not erased is itself."""
    plain = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "hflip": 0.0, "color_jitter": 0.0}
    split = make_split(config, 0)
    before = everything(load_part(config, split, "train", 24, transforms=made(**plain)), 8)
    part = load_part(config, split, "train", 24, transforms=made(**plain, reprob=0.5, remode="const"))
    passes = [everything(part, 8, epoch=0)]
    changed = (passes[0] != before).flatten(1).any(1)
    assert 4 <= int(changed.sum()) <= 20
    erased = (passes[0] == 0).all(1) & (before != 0).any(1)
    assert torch.equal(erased.flatten(1).any(1), changed)
    assert torch.equal(passes[0][~changed], before[~changed])


def test_grey_images_stay_grey_and_keep_their_channel() -> None:
    config = DataConfig(name="digits", resolution=16)
    part = load_part(config, make_split(config, 0), "train", 12, transforms=made(**STRONG))
    assert everything(part, 12).shape == (12, 1, 16, 16)
    plain = everything(part, 12, seed=None)
    assert torch.equal(
        plain, everything(load_part(config, make_split(config, 0), "train", 12), 12, seed=None, augment="none")
    )


def test_what_timm_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="is no augmentation of timm") as error:
        made(aa="rnd-m9")
    assert error.value.instead == "retrain.aa=rand-m9-mstd0.5-inc1"
