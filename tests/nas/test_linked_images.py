"""Image folders with links, by the real command: every file is read once, and in one class."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nas.config import DataConfig
from nas.data import make_split
from search_spaces.errors import InputError
from tests.nas.image_folders import images, split_of


def test_links_are_followed_once(tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", "a", "b")
    (root / "a/me").symlink_to(".", target_is_directory=True)
    (root / "a/0first").symlink_to("deep", target_is_directory=True)
    shutil.copytree(
        root / "a", root / "a/deep", symlinks=True, ignore=lambda folder, names: {*names} - {"0.png", "1.png"}
    )
    for index in (0, 1):
        Image.effect_noise((16, 16), 20 + index).convert("RGB").save(root / f"a/deep/{index}.png")
    (root / "a/again.png").symlink_to("0.png")
    os.link(root / "a/1.png", root / "a/hard.png")
    (root / "a/broken.png").symlink_to("nowhere.png")
    (root / "a/loop.png").symlink_to("loop.png")
    os.mkfifo(root / "b/pipe.png")
    out = train().ok().out
    ids = sorted(id for part in split_of(tmp_path).values() for id in part)
    assert sum(id.startswith("a/") for id in ids) == 12
    assert {"a/deep/0.png", "a/deep/1.png", "a/0.png"} <= {*ids}  # their own paths, not those through links
    for line in (
        "left out   me of train: link to a folder that is read already, such as a/me",
        "left out   0first of train: link to a folder that is read already",
        "2 *.png of train: link to a file that is read already",
        "1 *.png of train: cannot be read (No such file or directory), such as a/broken.png",
        "1 *.png of train: no regular file, such as b/pipe.png",
    ):
        assert line in out, out


@pytest.mark.parametrize(
    "link",
    [
        lambda root: (root / "b/x.png").symlink_to("../a/3.png"),
        lambda root: os.link(root / "a/3.png", root / "b/x.png"),
        lambda root: (root / "c").symlink_to("a", target_is_directory=True),
        lambda root: (root / "b/all").symlink_to("..", target_is_directory=True),
    ],
)
def test_a_file_in_two_classes_is_refused(link: Callable[[Path], None], tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", "a", "b")
    link(root)
    given, _, instead = train().refused("are one file, in the classes")
    first, second = re.findall(r"(\S+/d/\S+\.png)", given)
    assert os.path.samefile(first, second)
    if found := re.fullmatch(r"remove the link (\S+)", instead):  # which is one, and never the image itself
        assert os.path.islink(found[1])
    assert not (tmp_path / "r").exists()


def test_folders_of_links_are_a_data_set(tmp_path: Path, train) -> None:
    """As people make subsets: every image a link to one that lies elsewhere, and a part that is a link itself."""
    images(tmp_path / "all", "train/a", "train/b", "test/a", "test/b")
    for name in "ab":
        (tmp_path / "d/train" / name).mkdir(parents=True)
        for index in range(10):
            (tmp_path / f"d/train/{name}/{index}.png").symlink_to(tmp_path / f"all/train/{name}/{index}.png")
    (tmp_path / "d/test").symlink_to(tmp_path / "all/test", target_is_directory=True)
    train().ok()
    assert {name: len(ids) for name, ids in split_of(tmp_path).items()} == {"train": 16, "validation": 4, "test": 20}


@pytest.mark.parametrize("name", ["timm/", "timm/torch/image_folder"])
def test_links_are_followed_once_by_timm_too(name: str, tmp_path: Path) -> None:
    """Which lists files through links again and again, some of them under another class."""
    root = images(tmp_path / "d", "a", "b")
    (root / "a/again.png").symlink_to("0.png")
    os.link(root / "a/1.png", root / "a/hard.png")
    split = make_split(DataConfig(name=name, root=str(root), resolution=8), 0)
    assert sum(map(len, split.parts.values())) == 20
    assert sum(entry["count"] for entry in split.reading["left_out"]) == 2
    (root / "b/all").symlink_to("../a", target_is_directory=True)
    if name == "timm/torch/image_folder":
        with pytest.raises(InputError, match="are one file, in the classes 'a' and 'b'"):
            make_split(DataConfig(name=name, root=str(root), resolution=8), 0)
