"""Augmentation of batches and of single images, and what evaluation makes of an image."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from nas.data import augment as augmentation
from nas.data import content_hash, load_part, make_split
from search_spaces.errors import InputError
from supernet.seeding import derive_seed
from tests.nas.data_sets import LAW, everything, folder_config, global_states, make_folder, make_same, noise


@pytest.mark.parametrize("kind", ["light", "standard"])
@LAW
@given(
    count=st.integers(1, 5), side=st.integers(4, 24), channels=st.sampled_from([1, 3]), seed=st.integers(0, 2**63 - 1)
)
def test_augmentation_of_a_batch_is_that_of_each_image(kind: str, count: int, side: int, channels: int, seed: int):
    source = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, side, side, channels), dtype=torch.uint8, generator=source)
    fill = torch.randint(0, 256, (channels,), dtype=torch.uint8, generator=source)
    draws = augmentation.draw(kind, count, side, source)
    out = augmentation.apply(pixels, draws, fill)
    assert out.is_contiguous()
    pad = side // 8
    for index in range(count):
        top, left = draws.crop[index].tolist()
        assert 0 <= min(top, left) <= max(top, left) <= 2 * pad
        padded = np.zeros((side + 2 * pad, side + 2 * pad, channels), dtype=np.uint8)
        padded[pad : pad + side, pad : pad + side] = pixels[index].numpy()
        naive = padded[top : top + side, left : left + side].copy()
        if draws.flip[index]:
            naive = naive[:, ::-1].copy()
        y, x, height, width = draws.box[index].tolist()
        assert 0 <= y <= y + height <= side
        assert 0 <= x <= x + width <= side
        naive[y : y + height, x : x + width] = fill.numpy()
        np.testing.assert_array_equal(out[index].numpy(), naive)


def test_the_draws_have_the_frequencies_that_they_claim():
    draws = augmentation.draw("standard", 20000, 32, torch.Generator().manual_seed(1))
    erased = draws.box[:, 2] > 0
    assert erased.float().mean().item() == pytest.approx(augmentation.ERASE_PROBABILITY, abs=0.02)
    assert draws.flip.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(erased, draws.box[:, 3] > 0)
    share = (draws.box[erased, 2] * draws.box[erased, 3]).float() / 32**2
    assert share.mean().item() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.01)
    assert 0.01 < share.min().item() < 0.03
    assert 0.29 < share.max().item() < 0.37
    assert set(draws.crop.flatten().tolist()) == set(range(9))
    light = augmentation.draw("light", 100, 32, torch.Generator())
    assert not light.flip.any()
    assert not light.box.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_augmentation_is_the_same_on_a_gpu():
    pixels = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8)
    fill = torch.tensor([1, 2, 3], dtype=torch.uint8)
    draws = augmentation.draw("standard", 64, 32, torch.Generator())
    here, there = augmentation.apply(pixels, draws, fill), augmentation.apply(pixels.cuda(), draws, fill.cuda())
    assert torch.equal(here, there.cpu())


def test_batched_augmentation_knows_no_other_kind():
    with pytest.raises(ValueError, match="'timm'"):
        augmentation.draw("timm", 1, 8, torch.Generator())


@LAW
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), unique=True))
def test_derived_seeds_differ(keys: list[tuple[int, int, int]]):
    seeds = {derive_seed("order", *key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_global_seed_determines_inside_and_restores_outside():
    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()  # noqa: NPY002

    before = global_states()
    with augmentation.global_seed(2**62 + 1):
        one = numbers()
    with pytest.raises(ZeroDivisionError), augmentation.global_seed(2**62 + 1):
        assert 1 / (numbers() != one)
    assert global_states() == before


@pytest.mark.parametrize("augment", ["light", "standard", "timm"])
def test_each_image_of_each_pass_is_augmented_by_its_own_random_numbers(tmp_path: Path, augment: str):
    config = folder_config(make_same(tmp_path, noise(0, 32, 32), 10), augment=augment, resolution=32)
    part = load_part(config, make_split(config, 0), "train")
    for batch_size in (1, 4):
        passes = [
            everything(part, batch_size, seed=seed, epoch=epoch, augment=augment)[0]
            for seed, epoch in ((0, 0), (0, 1), (1, 0))
        ]
        different = {content_hash(image.numpy()) for images in passes for image in images}
        assert len(different) > 0.7 * 3 * len(part)  # of 81 crops, a few meet again


def test_erased_and_padded_pixels_have_their_colours(tmp_path: Path):
    image = Image.new("RGB", (16, 16), (200, 100, 50))
    image.paste((240, 140, 90), (8, 0, 16, 16))  # so that no pixel has the mean colour
    make_same(tmp_path, image, 40)
    config = folder_config(tmp_path, resolution=16)
    split = make_split(config, 0)
    part = load_part(config, split, "train")
    black = ((0 - torch.tensor(split.mean)) / torch.tensor(split.std))[:, None, None]
    images, _ = everything(part, seed=1, augment="standard")
    is_black = (images - black).abs().amax(1) < 1e-3
    is_mean = (images * torch.tensor(split.std)[:, None, None]).abs().amax(1) < 0.51 / 255
    assert 0 < is_black.float().mean() < 0.3
    assert 0 < is_mean.flatten(1).any(1).float().mean() < 1


def test_evaluation_crops_the_middle_of_large_images():
    image = noise(0, 100, 200)
    small = augmentation.evaluation_transform(32)(image)
    np.testing.assert_array_equal(
        small.permute(1, 2, 0).numpy(), np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))
    )
    large = augmentation.evaluation_transform(70)(image)
    resized = np.asarray(image.resize((160, 80), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(large.permute(1, 2, 0).numpy(), resized[5:75, 45:115])
    assert large.dtype == torch.uint8


@settings(LAW, max_examples=60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    resolution=st.sampled_from([4, 16, 32, 63, 64, 70, 96, 224, 225]),
)
def test_evaluation_is_timms_to_the_pixel(width: int, height: int, resolution: int):
    from timm.data.transforms_factory import create_transform

    assume(max(width, height) <= augmentation.ASPECT * min(width, height))
    crop, mode = (0.875, "center") if resolution >= 64 else (1.0, "squash")
    theirs = create_transform(resolution, interpolation="bicubic", crop_pct=crop, crop_mode=mode, normalize=False)
    image = noise(width, height, width)
    assert torch.equal(augmentation.evaluation_transform(resolution)(image), theirs(image))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
def test_timm_augmentation_depends_on_neither_workers_nor_global_random_numbers(tmp_path: Path):
    make_folder(tmp_path, {"a": 9, "b": 9})
    configs = [folder_config(tmp_path, augment="timm", workers=workers, resolution=16) for workers in (0, 2)]
    split = make_split(configs[0], 0)
    assert make_split(configs[1], 0) == split
    alone, helped = (load_part(config, split, "train") for config in configs)
    options = {"seed": 3, "augment": "timm"}
    before = global_states()
    whole = list(alone.batches(4, **options))
    assert global_states() == before
    torch.manual_seed(5)
    random.seed(5)
    for part, first in ((helped, 0), (alone, 1), (helped, 2), (alone, 3)):
        rest = list(part.batches(4, first=first, **options))
        for (images, labels), (images2, labels2) in zip(whole[first:], rest, strict=True):
            assert torch.equal(images, images2)
            assert torch.equal(labels, labels2)
    assert not torch.equal(everything(alone, epoch=1, **options)[0], torch.cat([images for images, _ in whole]))
    shards = zip(*(alone.batches(4, **options, shard=(number, 3)) for number in range(3)), strict=True)
    for (images, _), parts in zip(whole, shards, strict=True):
        assert torch.equal(torch.cat([found for found, _ in parts]), images)
    (first_image, first_label), *_ = alone.batches(1, **options)
    assert torch.equal(first_image[0], whole[0][0][0])  # content depends on no batch size either
    assert first_label[0] == whole[0][1][0]
    assert not torch.equal(everything(alone)[0], everything(alone, **options)[0])
    light = [everything(part, seed=3, augment="light")[0] for part in (alone, helped)]
    assert torch.equal(*light)
    path = tmp_path / split.parts["train"][0]
    path.write_bytes(b"garbage")
    for part in (alone, helped):
        with pytest.raises(InputError, match=f"{path} has changed"):
            list(part.batches(4, **options))
