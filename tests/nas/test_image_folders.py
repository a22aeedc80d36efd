"""Folders of images: how they are divided, what search opens of them, and what is wrong with them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data import PARTS, load_part, make_split
from search_spaces.errors import InputError
from tests.nas.data_sets import check_split, everything, folder_config, make_folder, noise, raw


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
