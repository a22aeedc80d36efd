"""Image folders as people have them: what is damaged, lost, moved or too large, by the real command."""

import gc
import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas import retrain
from nas.config import DataConfig
from nas.config.parsing import load_config
from nas.data import load_part, make_split
from nas.training import retraining
from search_spaces.errors import InputError
from tests.command_line import Commands, contents
from tests.nas.image_folders import FAST, PARTS, identity, images, split_of

# What can be known at the start is known at the start


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "a web page": lambda path: path.write_bytes(b"<!DOCTYPE html><title>404</title>"),
    "a pointer of Git LFS": lambda path: path.write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    ),
    "half of it zeros": lambda path: path.write_bytes(path.read_bytes()[:200] + bytes(500)),
}


def test_a_damaged_test_image_is_found_before_anything_is_made(tmp_path: Path, train) -> None:
    images(tmp_path / "d", *PARTS)
    bad = tmp_path / "d/test/a/3.png"
    good = bad.read_bytes()
    for damage, make in DAMAGES.items():
        bad.write_bytes(good)
        make(bad)
        before = contents(tmp_path)
        _, _, instead = train(verb="demo").refused("d/test/a/3.png cannot be decoded")
        assert contents(tmp_path) == before, damage
        assert "remove it" in instead, damage
    bad.unlink()  # as told
    train(verb="demo").ok()
    assert len(split_of(tmp_path)["test"]) == 19


def test_all_damaged_images_are_listed_at_once(tmp_path: Path, train) -> None:
    images(tmp_path / "d", *PARTS)
    for part in ("train", "val", "test"):
        for index in range(7):
            cut(tmp_path / f"d/{part}/a/{index}.png")
        cut(tmp_path / f"d/{part}/b/0.png")
    given, _, _ = train().refused("24 of 60 images cannot be used")
    lines = given.splitlines()
    assert len(lines) == 22
    assert sum("cannot be decoded" in line for line in lines) == 20
    assert lines[-1] == "    and 4 more"
    assert not (tmp_path / "r").exists()


def test_retrained_weights_outlive_a_test_image_that_is_gone(
    tmp_path: Path, nas: Commands, train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes while a network is trained, after all was found right; once it is back, that network is not trained again."""
    images(tmp_path / "d", *PARTS)
    train().ok()
    for verb in ("search", "extract"):
        nas(verb, "run=r", cwd=tmp_path).ok()
    gone = tmp_path / "d" / split_of(tmp_path)["test"][0]
    content, original = gone.read_bytes(), retraining._train

    def train_then_lose(*arguments):
        found = original(*arguments)
        gone.unlink()
        return found

    def weights() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("retrained-*")}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retraining, "_train", train_then_lose)
    with pytest.raises(InputError, match="cannot be read"):
        retrain(load_config(None, ["run=r", "data=folder", "data.root=d", *FAST]))
    gc.collect()  # the run's lock, which the error's traceback held
    kept = weights()
    assert len(kept) == 1
    nas("retrain", "run=r", cwd=tmp_path).refused(gone.name, "cannot be read")  # and now before anything is trained
    assert weights() == kept
    gone.write_bytes(content)  # as told
    nas("retrain", "run=r", cwd=tmp_path).ok()
    found = [
        json.loads(line)
        for line in (next((tmp_path / "r/searches").glob("*/retrained.jsonl"))).read_text().splitlines()
    ]
    assert len({record["digest"] for record in found}) == len(found) == len(list((tmp_path / "r").rglob("retrained-*")))
    assert weights().items() >= kept.items()
    assert not list((tmp_path / "r/work/retrain").rglob("*.trained.json"))


def test_missing_test_images_are_named_before_retraining(tmp_path: Path, nas: Commands, train) -> None:
    images(tmp_path / "d", *PARTS)
    train().ok()
    for verb in ("search", "extract"):
        nas(verb, "run=r", cwd=tmp_path).ok()
    for index in (1, 2, 3):
        (tmp_path / f"d/test/a/{index}.png").unlink()
    changed = tmp_path / "d/val/b/0.png"
    content = changed.read_bytes()
    changed.write_bytes(content + b"x")
    nas("retrain", "run=r", cwd=tmp_path).refused("val/b/0.png has changed")
    assert not (tmp_path / "r/work/retrain").exists()
    changed.write_bytes(content)
    before = contents(tmp_path / "r")
    given, _, _ = nas("retrain", "run=r", cwd=tmp_path).refused("3 of 20 images cannot be used")
    assert given.count("cannot be read") == 3
    assert contents(tmp_path / "r") == before


# Pictures as a viewer shows them: the settings, by the real command (test_pictures.py has the rest)


@pytest.mark.parametrize("background", ["whit", "#12345", "#12345g", "", "255"])
def test_a_colour_that_is_none(background: str, tmp_path: Path, train) -> None:
    images(tmp_path / "d", "a", "b")
    assert train(f"data.background={background}").refused("data.background")[2] == "data.background=white"


def test_a_transparent_drawing_is_learnable_by_the_real_command(tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", "a", "b")
    for index in range(10):
        layer = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
        layer.paste((0, 0, 0, 255), (4, 4, 12, 12))
        layer.putpixel((5 + index % 6, 5), (index, 0, 0, 255))
        layer.save(root / f"a/{index}.png")
    train().ok()
    split = json.loads((tmp_path / "r/split.json").read_text())
    assert min(split["mean"]) > 0.4  # white, where it was black
    assert split["decoding"] == 2
    train("data.background=black").refused("data.background", "white")


# Where the images are


def test_a_run_finds_its_images_from_anywhere(tmp_path: Path, nas: Commands, train) -> None:
    images(tmp_path / "d", *PARTS)
    train().ok()
    assert identity(tmp_path)["config"]["data"]["root"] == str(tmp_path / "d")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    nas("search", f"run={tmp_path}/r", cwd=elsewhere).ok()
    (tmp_path / "d").rename(tmp_path / "moved")
    _, _, instead = nas("extract", f"run={tmp_path}/r", cwd=elsewhere).refused(f"{tmp_path / 'd'}", "does not exist")
    assert instead.startswith("data.root=PATH")
    nas("extract", f"run={tmp_path}/r", "data.root=../moved", cwd=elsewhere).ok()
    home = nas("retrain", f"run={tmp_path}/r", "data.root=~/moved", cwd=elsewhere, env={"HOME": str(tmp_path)})
    home.ok()


def test_a_home_folder_as_root(tmp_path: Path, nas: Commands) -> None:
    images(tmp_path / "d", "a", "b")
    nas("train", "run=r", "data=folder", "data.root=~/d", *FAST, cwd=tmp_path, env={"HOME": str(tmp_path)}).ok()
    assert identity(tmp_path)["config"]["data"]["root"] == str(tmp_path / "d")


def test_an_older_run_of_image_files_is_refused(tmp_path: Path, nas: Commands, train) -> None:
    """Its images were decoded in another way; a run without files goes on."""
    images(tmp_path / "d", *PARTS)
    train().ok()
    for path, drop in ((tmp_path / "r/split.json", ("decoding",)), (tmp_path / "r/run.json", ("images",))):
        table = json.loads(path.read_text())
        for key in drop:
            del table[key]
        for key in ("layout", "conflicts", "background", "white"):
            table.get("config", {}).get("data", {}).pop(key, None)
        path.write_text(json.dumps(table))
    nas("search", "run=r", cwd=tmp_path).refused("decoded image files in another way", "run=runs/new")


# Strips


def test_a_strip_costs_little_memory(tmp_path: Path, nas: Commands) -> None:
    root = images(tmp_path / "d", "a", "b")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (3, 20_000, 3), dtype=np.uint8)).save(
        root / "a/strip.png"
    )
    folder = DataConfig(name="folder", root=str(root), resolution=224)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    split = make_split(folder, 0)
    for part in ("train", "validation", "test"):
        load_part(folder, split, part)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB; it was 2.6 GB


def test_a_picture_too_large_to_be_one_is_named(tmp_path: Path, train, monkeypatch: pytest.MonkeyPatch) -> None:
    """400 million pixels in a few hundred bytes."""
    root = images(tmp_path / "d", "a", "b")
    Image.new("1", (20_000, 20_000)).save(root / "a/bomb.png")
    train().refused("a/bomb.png has too many pixels", "data.most_pixels")


# All at once


def test_the_order_of_threads_changes_nothing(tmp_path: Path) -> None:
    images(tmp_path / "d", *PARTS, each=40)
    folder = DataConfig(name="folder", root=str(tmp_path / "d"), resolution=16)
    splits = [make_split(folder, 0) for _ in range(3)]
    assert splits[0] == splits[1] == splits[2]
    batches = [torch.cat([x for x, _ in load_part(folder, splits[0], "test").batches(7)]) for _ in range(3)]
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[1], batches[2])
