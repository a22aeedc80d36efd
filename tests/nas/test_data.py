"""Splits, their leak-proofness, parts and batches."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.config import DataConfig
from nas.data import PARTS, Split, content_hash, load_part, make_split
from nas.data import part as part_module
from search_spaces.errors import InputError
from tests.nas.data_sets import (
    LAW,
    check_split,
    digits_config,
    everything,
    folder_config,
    global_states,
    make_folder,
    raw,
    write_idx,
)


@pytest.fixture(scope="module")
def digits() -> Split:
    return make_split(digits_config(), 3)


def test_heavy_libraries_are_imported_only_when_needed():
    code = "import sys, nas.data; print({'sklearn', 'torchvision', 'timm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


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
