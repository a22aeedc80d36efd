"""Splits, their leak-proofness, parts, batches and augmentation, and every data set that works without a network."""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from nas.config import DataConfig
from nas.data import FASHION_FOLDER, PARTS, Part, Split, content_hash, load_part, make_split
from nas.data import augment as augmentation
from nas.data import part as part_module
from nas.data.sources import timm as timm_source
from search_spaces.errors import InputError
from supernet.seeding import derive_seed

LAW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# Helpers


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


@pytest.fixture(scope="module")
def digits() -> Split:
    return make_split(digits_config(), 3)


def everything(part: Part, batch_size: int = 5, **options: object) -> tuple[Tensor, Tensor]:
    images, labels = zip(*part.batches(batch_size, **options), strict=True)  # type: ignore[arg-type]
    return torch.cat(images), torch.cat(labels)


def raw(part: Part, split: Split) -> Tensor:
    """The uint8 images of a part in order, recovered from its batches."""
    images, _ = everything(part)
    mean, std = (torch.tensor(x)[:, None, None] for x in (split.mean, split.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


def split_many_times(config: DataConfig) -> None:
    """Until every image has been in train or validation."""
    for seed in range(99):
        make_split(config, seed)


def check_split(split: Split) -> None:
    """What every split promises."""
    for what in (split.parts, split.hashes):
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            assert not set(what[one]) & set(what[other])
    for part in PARTS:
        assert set(split.labels[part]) == set(range(len(split.classes)))


def test_heavy_libraries_are_imported_only_when_needed():
    code = "import sys, nas.data; print({'sklearn', 'torchvision', 'timm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


# Augmentation


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


def global_states() -> list[object]:
    return [random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()]  # noqa: NPY002


def test_global_seed_determines_inside_and_restores_outside():
    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()  # noqa: NPY002

    before = global_states()
    with augmentation.global_seed(2**62 + 1):
        one = numbers()
    with pytest.raises(ZeroDivisionError), augmentation.global_seed(2**62 + 1):
        assert 1 / (numbers() != one)
    assert global_states() == before


# Splits


def test_a_split_is_a_function_of_its_seed(digits: Split):
    again = make_split(digits_config(augment="standard", workers=3), 3)
    assert again == digits
    assert again.digest == digits.digest
    other = make_split(digits_config(), 4)
    assert other.digest != digits.digest
    assert set(other.parts["test"]) != set(digits.parts["test"])


def test_digits_are_divided_by_class(digits: Split):
    check_split(digits)
    assert sum(map(len, digits.parts.values())) == 1797
    assert (digits.in_channels, digits.classes, digits.dropped) == (1, tuple("0123456789"), dict.fromkeys(PARTS, 0))
    counts = {part: Counter(digits.labels[part]) for part in PARTS}
    for label in range(10):
        total = sum(counts[part][label] for part in PARTS)
        assert abs(counts["test"][label] - 0.2 * total) <= 0.5
        assert abs(counts["validation"][label] - 0.2 * (total - counts["test"][label])) <= 0.5


def test_every_beginning_of_a_part_is_stratified(digits: Split):
    labels = np.array(digits.labels["train"])
    for end in range(1, len(labels)):
        for label in range(10):
            expected = end * np.mean(labels == label)
            assert abs(np.sum(labels[:end] == label) - expected) <= 5
    assert set(labels[:30].tolist()) == set(range(10))
    assert labels[:50].tolist() != sorted(labels[:50].tolist())


def test_a_split_survives_json(digits: Split):
    text = json.dumps(digits.to_dict(), indent=1)
    again = Split.from_dict(json.loads(text))
    assert again == digits
    assert again.digest == digits.digest
    assert len(digits.digest) == 12


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("hashes"),
        lambda d: d["parts"].pop("test"),
        lambda d: d["labels"]["train"].pop(),
        lambda d: d["labels"]["train"].__setitem__(0, 10),
        lambda d: d["hashes"]["train"].__setitem__(0, d["hashes"]["test"][0]),
        lambda d: d["parts"]["train"].__setitem__(0, d["parts"]["test"][0]),
        lambda d: d["parts"]["train"].__setitem__(0, d["parts"]["train"][1]),
        lambda d: d.update(mean=[0.1, 0.2]),
        lambda d: d.update(std=[0.0]),
        lambda d: d.update(seed=None),
        lambda d: d.update(parts=[1, 2, 3]),
        lambda d: [d[key].update(test=[]) for key in ("parts", "labels", "hashes")],
    ],
)
def test_a_damaged_split_is_refused(digits: Split, damage):
    table = json.loads(json.dumps(digits.to_dict()))
    damage(table)
    with pytest.raises(InputError, match=r"split\.json is damaged"):
        Split.from_dict(table)


@settings(LAW, max_examples=25)
@given(
    train=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60),
    test=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=20),
    fraction=st.sampled_from([0.05, 0.3, 0.7, 0.95]),
    seed=st.integers(0, 2**31),
)
def test_identical_images_never_cross_parts(tmp_path: Path, train, test, fraction: float, seed: int):
    """Images are drawn from 41 contents, so train and test share many and repeat some."""
    floor = [(label, 100 + 10 * label + place) for label in range(10) for place in range(3)]
    pools = {"train": floor[0::3] + floor[1::3] + train, "t10k": floor[2::3] + test}
    for prefix, members in pools.items():
        images = np.stack([np.full((28, 28), content) for _, content in members])
        write_idx(tmp_path, prefix, images, np.array([label for label, _ in members]))
    config = DataConfig(
        name="fashion_mnist", root=str(tmp_path), resolution=4, validation_fraction=fraction, conflicts="keep"
    )
    split = make_split(config, seed)
    check_split(split)
    assert split == make_split(config, seed)
    assert len(split.parts["test"]) == len(pools["t10k"])
    test_contents = {content for _, content in pools["t10k"]}
    kept = [f"train/{i}" for i, (_, content) in enumerate(pools["train"]) if content not in test_contents]
    assert sorted(split.parts["train"] + split.parts["validation"]) == sorted(kept)
    assert split.dropped == {"train": len(pools["train"]) - len(kept), "validation": 0, "test": 0}


def test_hashes_are_of_content_and_shape():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert content_hash(image) == content_hash(np.asfortranarray(image))
    assert content_hash(image) != content_hash(image.reshape(4, 3))
    assert content_hash(b"abc") == "ba7816bf8f01cfea"


# Parts and batches


def test_digits_are_resized_and_normalised_by_train(digits: Split):
    part = load_part(digits_config(), digits, "train")
    images, labels = everything(part)
    assert images.shape == (len(part), 1, 16, 16)
    assert images.dtype == torch.float32
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert labels.tolist() == part.labels.tolist() == list(digits.labels["train"])
    assert (part.num_classes, part.in_channels, part.resolution) == (10, 1, 16)
    from sklearn.datasets import load_digits

    whole = load_digits().images[int(digits.parts["train"][0].split("/")[1])]
    ours = raw(part, digits)[0, 0].to(torch.float64).numpy()
    places = np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7)  # of the new pixels' centres among the old
    weights = np.maximum(0, 1 - abs(places[:, None] - np.arange(8)))
    np.testing.assert_allclose(ours, weights @ np.rint(whole * 255 / 16) @ weights.T, atol=0.51)


@pytest.mark.parametrize("augment", ["none", "light", "standard"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_resumed_pass_goes_on_bit_by_bit(digits: Split, augment: str, drop_last: bool):
    part = load_part(digits_config(), digits, "validation", limit=67)
    options = {"seed": 7, "epoch": 2, "augment": augment, "drop_last": drop_last}
    whole = list(part.batches(10, **options))
    assert len(whole) == part.steps(10, drop_last) == (6 if drop_last else 7)
    for first in range(len(whole) + 2):
        rest = list(part.batches(10, first=first, **options))
        assert len(rest) == max(0, len(whole) - first)
        for (images, labels), (images2, labels2) in zip(whole[first:], rest, strict=True):
            assert torch.equal(images, images2)
            assert torch.equal(labels, labels2)


def test_passes_differ_by_seed_and_epoch_and_leave_global_random_numbers_alone(digits: Split):
    part = load_part(digits_config(), digits, "validation", limit=40)
    before = global_states()
    plain, labels = everything(part)
    passes = [everything(part, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert global_states() == before
    orders = {tuple(images.sum((1, 2, 3)).tolist()) for images, _ in passes} | {tuple(plain.sum((1, 2, 3)).tolist())}
    assert len(orders) == 4
    for images, order in passes:  # the same images, each with its label
        key = {tuple(image.flatten().tolist()): label for image, label in zip(plain, labels.tolist(), strict=True)}
        assert [key[tuple(image.flatten().tolist())] for image in images] == order.tolist()
    light, _ = everything(part, seed=0, augment="light")
    assert not torch.equal(light, passes[0][0])
    assert torch.equal(everything(part, augment="standard")[0], plain)  # without a seed nothing is augmented


def test_batches_are_channels_last(tmp_path: Path, digits: Split):
    config = folder_config(make_folder(tmp_path, {"a": 4, "b": 4}))
    colour = load_part(config, make_split(config, 0), "train")
    grey = load_part(digits_config(), digits, "test", limit=9)
    for part in (colour, grey):
        for augment in ("none", "standard"):
            for images, _ in part.batches(2, seed=0, augment=augment):
                assert images.is_contiguous(memory_format=torch.channels_last)
                assert images.stride()[1] == 1  # also for one channel, where is_contiguous cannot tell


def make_same(root: Path, image: Image.Image, count: int) -> Path:
    """Files of one image that differ in bytes that PIL ignores, in two classes."""
    for name in ("a", "b"):
        (root / name).mkdir()
        for index in range(count):
            image.save(root / name / f"{index}.png")
            with (root / name / f"{index}.png").open("ab") as file:
                file.write(f"{name}{index}".encode())
    return root


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


@pytest.mark.parametrize("augment", ["none", "light", "standard"])
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_shards_are_the_batch(digits: Split, augment: str, shards: int):
    """Without overlap, in order, each image as it is in the whole batch; also a batch that is not full, and a resumed pass."""
    part = load_part(digits_config(), digits, "validation", limit=67)
    options = {"seed": 7, "epoch": 2, "augment": augment, "first": 1}
    whole = list(part.batches(10, **options))
    cut = [list(part.batches(10, **options, shard=(number, shards))) for number in range(shards)]
    for (images, labels), *parts in zip(whole, *cut, strict=True):
        sizes = [len(found) for _, found in parts]
        assert max(sizes) - min(sizes) <= 1
        assert torch.equal(torch.cat([found for found, _ in parts]), images)
        assert torch.equal(torch.cat([found for _, found in parts]), labels)


def test_requests_that_make_no_sense(digits: Split):
    part = load_part(digits_config(), digits, "test", limit=9)
    for options in ({"batch_size": 0}, {"batch_size": 2, "first": -1}):
        with pytest.raises(ValueError, match="batch_size is"):
            part.batches(**options)
    for shard in ((2, 2), (-1, 2), (0, 3)):
        with pytest.raises(ValueError, match="shard is"):
            part.batches(2, shard=shard)
    with pytest.raises(InputError, match="fill no batch"):
        part.batches(10, drop_last=True)
    with pytest.raises(InputError, match=r"data\.augment=standard"):
        part.batches(2, augment="standart")
    with pytest.raises(InputError, match=r"data\.augment=standard"):
        part.batches(2, augment="timm")
    with pytest.raises(ValueError, match="limit"):
        load_part(digits_config(), digits, "test", limit=0)
    with pytest.raises(InputError, match="instead: validation"):
        load_part(digits_config(), digits, "validate")
    with pytest.raises(InputError, match="at 16 pixels, not of digits at 8"):
        load_part(digits_config(resolution=8), digits, "test")
    with pytest.raises(InputError, match="not of folder"):
        load_part(folder_config(Path("x"), resolution=16), digits, "test")
    with pytest.raises(InputError, match=r"data\.augment=standard"):
        make_split(digits_config(augment="timm"), 0)
    with pytest.raises(InputError, match="no test part of its own"):
        make_split(digits_config(test_fraction=0.0), 0)


def test_a_limit_takes_the_first_images(digits: Split):
    whole, few = (load_part(digits_config(), digits, "train", limit) for limit in (None, 20))
    assert len(few) == 20
    assert torch.equal(everything(few)[0], everything(whole)[0][:20])


# Fashion-MNIST


@pytest.mark.parametrize("packed", [False, True])
def test_fashion_is_padded_in_the_middle(tmp_path: Path, packed: bool):
    config = make_fashion(tmp_path, packed=packed)
    split = make_split(config, 0)
    check_split(split)
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 50, "validation": 10, "test": 20}
    assert all(id.startswith("test/") for id in split.parts["test"])
    images = raw(load_part(config, split, "test"), split)
    assert not torch.cat([images[..., :2], images[..., -2:]]).any()
    inside = images[:, 0, 2:30, 2:30].numpy()
    assert {content_hash(image) for image in inside} == set(split.hashes["test"])
    odd = DataConfig(name="fashion_mnist", root=str(tmp_path), resolution=29)
    odd_split = make_split(odd, 0)
    assert raw(load_part(odd, odd_split, "train"), odd_split).shape == (50, 1, 29, 29)
    small = DataConfig(name="fashion_mnist", root=str(tmp_path), resolution=14)
    small_split = make_split(small, 0)
    shrunk = raw(load_part(small, small_split, "train"), small_split)
    assert shrunk.shape == (50, 1, 14, 14)
    assert shrunk.float().mean().item() == pytest.approx(inside.mean(), rel=0.05)


@pytest.mark.parametrize("end", ["garbage", "gone"])
def test_search_does_not_open_the_test_files_of_fashion(tmp_path: Path, end: str):
    config = make_fashion(tmp_path)
    split = make_split(config, 0)
    for path in tmp_path.glob("t10k*"):
        path.write_bytes(b"garbage") if end == "garbage" else path.unlink()
    assert len(load_part(config, split, "train")) == 50
    assert len(load_part(config, split, "validation")) == 10
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte"):
        load_part(config, split, "test")


def test_a_changed_image_of_fashion_is_noticed(tmp_path: Path):
    config = make_fashion(tmp_path)
    split = make_split(config, 0)
    index = int(split.parts["validation"][0].split("/")[1])
    path = tmp_path / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[16 + index * 784] ^= 1
    path.write_bytes(content)
    assert len(load_part(config, split, "train")) == 50
    with pytest.raises(InputError, match=f"train/{index} of data set fashion_mnist has changed since .* validation"):
        load_part(config, split, "validation")
    make_fashion(tmp_path, per_class=1)
    with pytest.raises(InputError, match="is gone"):
        load_part(config, split, "train")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train-images-idx3-ubyte", None, "apt-get install dataset-fashion-mnist"),
        ("t10k-labels-idx1-ubyte", None, "apt-get install dataset-fashion-mnist"),
        ("train-images-idx3-ubyte", lambda old: old[:-1], "46944 bytes? .*|header announces 47040"),
        ("train-images-idx3-ubyte", lambda old: old + b"x", "header announces 47040"),
        ("train-images-idx3-ubyte", lambda old: old[:9], "begins with 00000803"),
        ("train-images-idx3-ubyte", lambda old: b"", "begins with nothing"),
        ("train-images-idx3-ubyte", lambda old: b"\0\0\x08\x01" + old[4:], "begins with 00000801"),
        ("train-images-idx3-ubyte", lambda old: old[:15] + b"\x1b" + old[16:], "60 x 28 x 27"),
        ("train-images-idx3-ubyte", lambda old: old[:4] + bytes(4) + old[8:16], "0 x 28 x 28"),
        ("train-labels-idx1-ubyte", lambda old: old[:7] + b"\x3b" + old[8:-1], "60 images and .* has 59 labels"),
        ("train-labels-idx1-ubyte", lambda old: old[:-1] + b"\x0a", "label 10"),
        ("train-images-idx3-ubyte.gz", lambda old: gzip.compress(old)[:-20], "cannot be read"),
        ("train-images-idx3-ubyte.gz", lambda old: old, "cannot be read"),
    ],
)
def test_bad_files_of_fashion_are_named(tmp_path: Path, name: str, content, says: str):
    config = make_fashion(tmp_path)
    plain = tmp_path / name.removesuffix(".gz")
    old = plain.read_bytes()
    plain.unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content(old))
    with pytest.raises(InputError, match=says) as caught:
        make_split(config, 0)
    assert str(tmp_path / name.removesuffix(".gz")) in str(caught.value)


@pytest.mark.skipif(not Path(FASHION_FOLDER).is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_real_fashion_mnist():
    config = DataConfig(name="fashion_mnist", resolution=32)
    split = make_split(config, 0)
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 48000, "validation": 12000, "test": 10000}
    assert len(set(Counter(split.labels["train"]).values())) == 1
    part = load_part(config, split, "validation", limit=100)
    assert set(Counter(part.labels.tolist()).values()) <= set(range(8, 13))


# Folders


def test_a_folder_of_classes_is_divided(tmp_path: Path):
    make_folder(tmp_path, {"cat": 10, "dog/young": 3, "dog/old": 4, ".hidden": 2}, seed=10)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    config = folder_config(tmp_path)
    split = make_split(config, 1)
    check_split(split)
    assert split.classes == ("cat", "dog")
    assert (len(split.mean), len(split.std), split.in_channels) == (3, 3, 3)
    assert sorted(sum(split.parts.values(), ())) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("[cd]*/**/*.png")
    )
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    shutil.move(tmp_path, moved)
    part = load_part(folder_config(moved), split, "train")
    assert everything(part)[0].shape == (len(part), 3, 8, 8)
    expected = np.asarray(Image.open(moved / split.parts["train"][0]).resize((8, 8), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(raw(part, split)[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("validation", [None, "val", "validation"])
def test_the_parts_of_a_folder_are_kept_and_its_duplicates_dropped(tmp_path: Path, validation: str | None):
    make_folder(tmp_path, {f"{part}/{name}": 6 for part in ("train", "test") for name in "ab"}, seed=20)
    for index in (0, 1, 2):
        shutil.copy(tmp_path / f"test/a/00{index}.png", tmp_path / f"train/a/leak{index}.png")
    if validation:
        make_folder(tmp_path, {f"{validation}/a": 2, f"{validation}/b": 2}, seed=100)
        shutil.copy(tmp_path / "test/b/000.png", tmp_path / validation / "b/leak.png")
        shutil.copy(tmp_path / validation / "a/000.png", tmp_path / "train/a/leak.png")
    shutil.copy(tmp_path / "train/b/000.png", tmp_path / "train/b/twin.png")
    config = folder_config(tmp_path, validation_fraction=0.4, test_fraction=0.0)
    for seed in range(20):
        split = make_split(config, seed)
        check_split(split)
        assert {id.split("/")[0] for id in split.parts["test"]} == {"test"}
        assert len(split.parts["test"]) == 12
        assert not any("leak" in id for ids in split.parts.values() for id in ids)
        twins = {"train/b/000.png", "train/b/twin.png"}
        assert any(twins <= set(split.parts[part]) for part in PARTS)
        if validation:
            assert {id.split("/")[0] for id in split.parts["validation"]} == {validation}
            assert split.dropped == {"train": 4, "validation": 1, "test": 0}
        else:
            assert split.dropped == {"train": 3, "validation": 0, "test": 0}
            assert 2 <= split.labels["validation"].count(1) <= 3  # 0.4 of 7, the twins together


def test_mean_and_std_are_those_of_train(tmp_path: Path):
    for part, grey in (("train", 60), ("val", 255), ("test", 0)):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(4):
                levels = np.full((8, 8, 3), grey, dtype=np.uint8)
                levels[..., 1] = index * 20
                levels[0, 0, 0] = index + (100 if name == "a" else 0)
                Image.fromarray(levels).save(tmp_path / part / name / f"{index}.png")
    config = folder_config(tmp_path)
    split = make_split(config, 0)
    green = np.array([0, 20, 40, 60]) / 255
    assert split.mean[1:] == pytest.approx((green.mean(), 60 / 255), abs=1e-6)
    assert split.std[1:] == pytest.approx((green.std(), 1 / 255), abs=1e-6)  # blue is constant
    images, _ = everything(load_part(config, split, "train"))
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    images, _ = everything(load_part(config, split, "test"))
    assert images.mean((0, 2, 3))[2].item() == pytest.approx(-60, abs=1e-2)


@pytest.mark.parametrize(
    ("name", "own", "end"),
    [
        (name, own, end)
        for name in ("folder", "timm/torch/image_folder", "timm/")
        for own in (False, True)
        for end in ("garbage", "gone")
        if name == "folder" or own or end == "garbage"  # timm counts files, so none may go from where train is
    ],
)
def test_search_does_not_open_the_test_images_of_a_folder(tmp_path: Path, name: str, own: bool, end: str):
    parts = ("train/", "test/") if own else ("",)
    make_folder(tmp_path, {f"{part}{label}": 5 for part in parts for label in "ab"})
    config = folder_config(tmp_path, name=name)
    split = make_split(config, 0)
    files = sorted(tmp_path.glob("train/**/*.png" if own else "**/*.png"))
    test = {
        tmp_path / id if name == "folder" else sorted(tmp_path.glob("test/**/*.png") if own else files)[int(id[-1])]
        for id in split.parts["test"]
    }
    assert len(test) == len(split.parts["test"])
    if end == "gone" and name != "folder":
        shutil.rmtree(tmp_path / "test")
    for path in test:
        if end == "garbage":
            path.write_bytes(b"garbage")
        else:
            path.unlink(missing_ok=True)
    for part in ("train", "validation"):
        assert len(everything(load_part(config, split, part), seed=0, augment="light")[0]) == len(split.parts[part])
    says = r"\d\.png has changed since" if end == "garbage" else "cannot be read|cannot open|is gone|has changed"
    with pytest.raises(InputError, match=says):
        load_part(config, split, "test")


@pytest.mark.parametrize("part", ["train", "test", "val"])
@pytest.mark.parametrize("damage", [lambda old: old[:-40], lambda old: b"", lambda old: b"no image"])
def test_a_corrupt_image_is_named(tmp_path: Path, part: str, damage):
    make_folder(tmp_path, {"train/a": 5, "train/b": 5, "test/a": 1, "test/b": 2, "val/a": 1, "val/b": 2})
    bad = tmp_path / part / "b/001.png"
    bad.write_bytes(damage(bad.read_bytes()))
    with pytest.raises(InputError, match=rf"{part}/b/001\.png cannot be decoded") as caught:
        make_split(folder_config(tmp_path), 0)
    assert "remove it" in caught.value.instead
    bad.unlink()  # as told
    check_split(make_split(folder_config(tmp_path), 0))


def test_a_changed_or_missing_image_is_named(tmp_path: Path):
    config = folder_config(make_folder(tmp_path, {"a": 5, "b": 5}))
    split = make_split(config, 0)
    path = tmp_path / split.parts["validation"][0]
    noise(999).save(path)
    with pytest.raises(InputError, match=f"{path} has changed since the split put it into validation") as caught:
        load_part(config, split, "validation")
    assert "run=runs/new" in caught.value.instead
    path.unlink()
    with pytest.raises(InputError, match=f"{path} cannot be read"):
        load_part(config, split, "validation")
    assert len(load_part(config, split, "train")) > 0


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        (None, "is not a folder"),
        ({}, "is empty of images"),
        ({"": 3}, "has no folder of a class, but 000.png itself"),
        ({"a": 5}, "one class only, 'a'"),
        ({"a": 5, "b": 0}, "class 'b' has no image in .*/b"),
        ({"a": 5, "b": 2}, "class 'b' of data set folder has 2 distinct images"),
        ({"train/a": 5, "train/b": 5, "test/a": 1, "test/c": 1}, "class 'c' of test .* is not in train"),
        ({"train/a": 5, "train/b": 5, "val/a": 1, "val/c": 1}, "class 'c' of validation .* is not in train"),
        ({"train/a": 5, "train/b": 5, "val/a": 1, "val/b": 0}, "class 'b' has no image in .*val/b"),
        ({"train/a": 5, "train/b": 5, "train/c": 5, "test/a": 1, "test/b": 1}, "class 'c' .* has no image in test"),
        ({"train/a": 5, "train/b": 5, "test": 2}, "test holds no folder of a class"),
        ({"test/a": 5, "test/b": 5}, "has a part test but no train"),
        ({"train/a": 5, "train/b": 5, "val/a": 5, "val/b": 5, "validation/a": 5}, "has val and validation"),
    ],
)
def test_bad_folders_are_named(tmp_path: Path, layout: dict[str, int] | None, says: str):
    root = tmp_path / "set"
    if layout is not None:
        make_folder(root, layout).mkdir(exist_ok=True)
    with pytest.raises(InputError, match=says) as caught:
        make_split(folder_config(root), 0)
    assert "set" in caught.value.given


@pytest.mark.parametrize("part", ["", "train/", "test/"])
def test_a_class_whose_name_is_not_utf8_is_named(tmp_path: Path, part: str):
    parts = ("train/", "test/") if part else ("",)
    make_folder(tmp_path, {f"{name}{label}": 5 for name in parts for label in "ab"})
    latin = os.fsdecode(os.fsencode(tmp_path / part) + b"/caf\xe9")
    try:
        shutil.copytree(tmp_path / part / "b", latin)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    with pytest.raises(InputError, match=r"'caf.*' .* is not UTF-8") as caught:
        make_split(folder_config(tmp_path), 0)
    str(caught.value).encode()  # it can be printed


def test_a_class_that_test_has_entirely_is_named(tmp_path: Path):
    make_folder(tmp_path, {"train/a": 5, "train/b": 3, "test/a": 2})
    shutil.copytree(tmp_path / "train/b", tmp_path / "test/b")
    with pytest.raises(InputError, match="class 'b' of data set folder has 0 distinct images"):
        make_split(folder_config(tmp_path), 0)


def test_images_of_every_mode_become_colours(tmp_path: Path):
    make_folder(tmp_path, {"a": 5, "b": 5})
    deep = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "a/deep.png")
    noise(1, 8, 8).convert("L").save(tmp_path / "a/grey.jpg")
    noise(2, 8, 8).convert("RGBA").save(tmp_path / "a/alpha.png")
    noise(3, 8, 8).convert("P").save(tmp_path / "a/palette.png", transparency=b"\x10\x20")
    noise(4, 8, 8).convert("CMYK").save(tmp_path / "b/cmyk.tiff")
    noise(5, 8, 8).save(tmp_path / "b/capital.PNG")
    config = folder_config(tmp_path)
    split = make_split(config, 0)
    assert sum(map(len, split.parts.values())) == 16
    part = next(part for part in PARTS if "a/deep.png" in split.parts[part])
    image = raw(load_part(config, split, part), split)[split.parts[part].index("a/deep.png")]
    np.testing.assert_array_equal(image.numpy(), np.stack([deep >> 8] * 3))


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


def test_parts_too_large_for_memory_are_decoded_in_every_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = folder_config(make_folder(tmp_path, {"a": 9, "b": 9}))
    split = make_split(config, 0)
    small = load_part(config, split, "train")
    monkeypatch.setattr(part_module, "MEMORY_LIMIT", 100)
    large = load_part(config, split, "train")
    for options in ({}, {"seed": 1}, {"seed": 1, "augment": "standard", "first": 1}):
        for ours, theirs in zip(everything(large, **options), everything(small, **options), strict=True):
            assert torch.equal(ours, theirs)
    (tmp_path / split.parts["train"][0]).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        everything(large)
    everything(small)


# timm


def test_timm_reads_folders_and_tar_files(tmp_path: Path):
    root = make_folder(tmp_path / "set", {"train/a": 5, "train/b": 5, "val/a": 2, "val/b": 2, "test/b": 2, "test/a": 1})
    parts = []
    for name in ("timm/", "timm/torch/image_folder", "folder"):
        config = folder_config(root, name=name)
        split = make_split(config, 0)
        check_split(split)
        assert {part: len(ids) for part, ids in split.parts.items()} == {"train": 10, "validation": 4, "test": 3}
        assert split.classes == ("a", "b")
        images, labels = everything(load_part(config, split, "test"))
        parts.append(sorted(zip(labels.tolist(), images.sum((1, 2, 3)).tolist(), strict=True)))
        assert sorted(split.hashes["test"]) == sorted(
            content_hash(path.read_bytes()) for path in root.glob("test/*/*.png")
        )
    assert parts[0] == parts[1] == parts[2]
    with tarfile.open(tmp_path / "set.tar", "w") as file:
        file.add(root / "train", "train")
    config = folder_config(tmp_path / "set.tar", name="timm/")
    split = make_split(config, 0)
    check_split(split)
    assert split.classes == ("a", "b")
    assert len(load_part(config, split, "train")) == 6


def test_timm_labels_are_matched_by_name(tmp_path: Path):
    root = make_folder(tmp_path, {"train/a": 5, "train/b": 5, "val/b": 2, "test/a": 2, "test/b": 2})
    config = folder_config(root, name="timm/")
    with pytest.raises(InputError, match=r"class 'a' .* has no image in validation"):
        make_split(config, 0)  # timm itself would call b class 0
    make_folder(root, {"test/c": 1})
    with pytest.raises(InputError, match=r"class 'c' of split test .* is not in train"):
        make_split(config, 0)


def test_timm_reaches_torchvision(tmp_path: Path):
    make_fashion(tmp_path / "MNIST" / "raw", per_class=4)
    config = DataConfig(name="timm/torch/mnist", root=str(tmp_path), resolution=8)
    split = make_split(config, 0)
    check_split(split)
    assert {part: len(ids) for part, ids in split.parts.items()} == {"train": 30, "validation": 10, "test": 20}
    assert split.classes[7] == "7 - seven"
    for path in (tmp_path / "MNIST" / "raw").glob("t10k*"):
        path.write_bytes(b"garbage")
    part = load_part(config, split, "validation")
    assert everything(part)[0].shape == (10, 3, 8, 8)
    with pytest.raises(InputError, match="cannot open data set timm/torch/mnist, split test"):
        load_part(config, split, "test")


class Stream(IterableDataset):
    """Like timm's IterableImageDataset: images one after another, without random access."""

    def __init__(self, split: str, unlabelled: bool = False) -> None:
        self.first, self.count = {"train": (0, 24), "test": (24, 6)}[split]
        self.unlabelled = unlabelled

    def __iter__(self):
        for index in range(self.first, self.first + self.count):
            yield noise(index), -1 if self.unlabelled else np.int64(index % 2 + 5)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_sets_without_random_access_are_kept_in_memory(monkeypatch: pytest.MonkeyPatch, unlabelled: bool):
    from timm.data import dataset_factory

    asked = []

    def create_dataset(name: str, root: str | None, split: str) -> Stream:
        asked.append((name, root, split))
        if split not in ("train", "test"):
            raise ValueError(f"Unknown split {split!r}")
        return Stream(split, unlabelled and split == "test")

    monkeypatch.setattr(dataset_factory, "create_dataset", create_dataset)
    monkeypatch.setitem(sys.modules, "webdataset", sys)  # any module will do
    config = DataConfig(name="timm/wds/some/Set", resolution=8)
    split = make_split(config, 0)
    check_split(split)
    assert split.classes == ("5", "6")
    assert {id.split("/")[0] for id in split.parts["test"]} == {"train" if unlabelled else "test"}
    assert {asked[0], *asked} >= {("wds/some/Set", None, name) for name in ("train", "validation", "test")}
    asked.clear()
    part = load_part(config, split, "train")
    assert {split for _, _, split in asked} == {"train"}
    for id, label, image in zip(split.parts["train"], part.labels, raw(part, split), strict=True):
        index = int(id.split("/")[1])
        assert label == index % 2
        expected = noise(index).resize((8, 8), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected))
    with pytest.raises(InputError, match=r"data\.augment=standard"):
        make_split(DataConfig(name="timm/wds/some/Set", resolution=8, augment="timm"), 0)
    monkeypatch.setattr(Stream, "__iter__", lambda self: iter([(noise(77), 5)]))
    with pytest.raises(InputError, match=r"has changed|is gone"):
        load_part(config, split, "train")


@pytest.mark.parametrize(
    ("name", "modules", "says"),
    [
        ("timm/hfds/user/set", ["datasets"], "pip install datasets"),
        ("timm/hfids/user/set", ["datasets"], "pip install datasets"),
        ("timm/wds/set", ["webdataset"], "pip install webdataset"),
        ("timm/tfds/set", ["tensorflow", "tensorflow_datasets"], "pip install tensorflow tensorflow-datasets"),
        ("timm/hfd/user/set", [], "data=timm/hfds/NAME"),
        ("timm/torch", [], "data=timm/torch/NAME"),
        ("timm/torch/cifar10", [], "data.root=PATH"),
    ],
)
def test_what_timm_lacks_is_named(monkeypatch: pytest.MonkeyPatch, name: str, modules: list[str], says: str):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as caught:
        make_split(DataConfig(name=name), 0)
    assert says in caught.value.instead


@pytest.mark.parametrize(
    ("name", "layout", "says"),
    [
        ("timm/torch/cifar10", {"a": 1}, "download=True"),
        ("timm/torch/nonsense", {"a": 1}, "cannot open data set timm/torch/nonsense"),
        ("timm/", None, "is no folder"),
        ("timm/", {"a": 0}, "cannot open data set timm/, split train"),
        ("timm/", {"a": 4}, "has the labels"),
        ("timm/", {"test/a": 4}, "has a part test but no train"),
    ],
)
def test_what_timm_cannot_open_is_named(tmp_path: Path, name: str, layout: dict[str, int] | None, says: str):
    root = tmp_path / "set"
    if layout is not None:
        make_folder(root, layout)
    with pytest.raises(InputError, match=says):
        make_split(folder_config(root, name=name), 0)


def test_a_corrupt_image_is_not_replaced_by_its_neighbour(tmp_path: Path):
    """timm's ImageDataset skips what it cannot decode; a split must not."""
    make_folder(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "002.png").write_bytes(b"garbage")
    for name in ("timm/", "timm/torch/image_folder"):
        with pytest.raises(InputError, match=r"a/002\.png cannot be decoded"):
            split_many_times(folder_config(tmp_path, name=name))


def test_sets_that_do_not_fit_into_memory_are_refused():
    with pytest.raises(InputError, match="GiB at resolution"):
        timm_source._fits_memory(2**60, DataConfig(name="timm/wds/set"))
