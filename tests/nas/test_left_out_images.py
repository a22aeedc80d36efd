"""What is left out of image folders, by the real command: it is counted and said, or refused."""

import resource
import shutil
from pathlib import Path

import pytest

from nas.config import DataConfig
from nas.data import make_split
from search_spaces.errors import InputError
from tests.command_line import Commands
from tests.nas.image_folders import FAST, PARTS, images, split_of


def test_an_image_is_what_pillow_opens(tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", "a", "b", each=40)
    for index in range(37):
        (root / f"a/{index}.png").rename(root / f"a/{index}.jfif")
    (root / "b/0.png").rename(root / "b/no_suffix")
    (root / "b/1.png").rename(root / "b/old.txt")
    (root / "b/2.png").rename(root / "b/UPPER.PNG")
    for name, content in {"a/notes.txt": b"words", "a/BM words.txt": b"BMW and others", "b/P1.csv": b"P1,P2\n1,2\n",
                          "a/Thumbs.db": b"\xd0\xcf\x11\xe0", ".DS_Store": b"", "b/._3.png": b"\0\x05\x16\x07", "b/x.svg": b"<svg/>",
                          "a/page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "readme": b"hello"}.items():  # fmt: skip
        (root / name).write_bytes(content)
    out = train().ok().out
    assert {len([id for ids in split_of(tmp_path).values() for id in ids if id.startswith(name)]) for name in "ab"} == {
        40
    }
    for line in (
        "2 *.txt of train: no image that Pillow reads",
        "1 *.csv of train: no image that Pillow reads",
        "1 *.db of train: no image that Pillow reads",
        "1 *.eps of train: no image that Pillow reads",  # whose reader would start a program
        "1 *.svg of train: no image that Pillow reads",
        "left out   ._3.png of train: hidden, such as b/._3.png",
        "left out   .DS_Store of train: hidden",
        "1 file without a suffix of train: beside the folders of the classes, such as readme",
    ):
        assert line in out, out


def test_a_class_whose_files_are_no_images_is_named(tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", "a", "b")
    (root / "c").mkdir()
    for index in range(5):
        (root / f"c/{index}.heic").write_bytes(b"\0\0\0\x18ftypheic not really")
    train().refused("class 'c' has no image in", "whatever its suffix")


def test_an_image_with_two_labels(tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", *PARTS)
    for index in range(5):
        shutil.copy(root / f"train/a/{index}.png", root / f"train/b/same{index}.png")
    shutil.copy(root / "test/a/0.png", root / "train/b/leak.png")
    given, _, instead = train().refused("6 images of data set folder have two labels")
    assert "train/a/3.png (a) = train/b/same3.png (b)" in given
    assert "test/a/0.png (a) = train/b/leak.png (b)" in given
    assert not (tmp_path / "r").exists()
    for setting in ("drop", "keep"):
        assert f"data.conflicts={setting}" in instead
    out = train("data.conflicts=drop").ok().out
    assert {part: len(ids) for part, ids in split_of(tmp_path).items()} == {"train": 15, "validation": 20, "test": 19}
    assert "11 images of train: the same image has another label elsewhere" in out
    assert "1 image of test: the same image has another label elsewhere, such as test/a/0.png" in out
    shutil.rmtree(tmp_path / "r")
    train("data.conflicts=keep").ok()
    assert {part: len(ids) for part, ids in split_of(tmp_path).items()} == {"train": 25, "validation": 20, "test": 20}


def test_images_of_two_labels_that_are_kept_are_divided_by_each_of_them(tmp_path: Path) -> None:
    root = images(tmp_path / "d", "a", each=20)
    shutil.copytree(root / "a", root / "b")
    for conflicts in ("keep", "drop", "error"):
        folder = DataConfig(name="folder", root=str(root), resolution=8, conflicts=conflicts)
        if conflicts == "keep":
            split = make_split(folder, 0)
            for part, labels in split.labels.items():
                assert labels.count(0) == labels.count(1) == {"train": 13, "validation": 3, "test": 4}[part]
        else:
            with pytest.raises(
                InputError, match="has 0 distinct images" if conflicts == "drop" else "20 images .* have two"
            ):
                make_split(folder, 0)


def test_many_images_with_two_labels_are_counted(tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", "a", "b", each=30)
    for index in range(25):
        shutil.copy(root / f"a/{index}.png", root / f"b/same{index}.png")
    given, _, _ = train().refused("25 images of data set folder have two labels")
    assert len(given.splitlines()) == 22
    assert given.endswith("and 5 more")


def test_what_is_no_image_is_not_read_whole(tmp_path: Path) -> None:
    """A film of 4 GiB, which would fill the memory."""
    root = images(tmp_path / "d", "a", "b")
    with (root / "a/film.mp4").open("wb") as file:
        file.truncate(4 * 2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    split = make_split(DataConfig(name="folder", root=str(root), resolution=8), 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert [entry["what"] for entry in split.reading["left_out"]] == ["*.mp4"]


def test_folders_and_files_that_may_not_be_read(tmp_path: Path, nas: Commands) -> None:
    root = images(tmp_path / "d", "a", "b", "c")
    arguments = ("train", "run=r", "data=folder", "data.root=d", *FAST)
    for path, says in (
        (root, "cannot be listed"),
        (root / "a", "cannot be listed"),
        (root / "a/3.png", "cannot be read"),
    ):
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            result = nas(*arguments, cwd=tmp_path, obedient=True)
        finally:
            path.chmod(mode)
        _, _, instead = result.refused(str(path), says)
        assert "make it readable" in instead
    nas(*arguments, cwd=tmp_path, obedient=True).ok()


def test_names_of_several_lines_stay_in_one(tmp_path: Path, train) -> None:
    images(tmp_path / "d", "a\nb", "c")
    out = train().ok().out
    assert "a\\nb 6" in out


def test_duplicates_are_counted_and_said(tmp_path: Path, train) -> None:
    root = images(tmp_path / "d", *PARTS)
    for index in range(4):
        shutil.copy(root / f"test/a/{index}.png", root / f"train/a/copy{index}.jpeg")
    out = train().ok().out
    assert "4 images of train: identical to an image of test or validation, such as train/a/copy0.jpeg" in out
