"""Image folders as people have them: what is read, what is left out, what is refused, by the real command."""

import gc
import json
import os
import re
import resource
import shutil
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
from nas.data.layout import like_a_part, part_named
from nas.training import retraining
from search_spaces.errors import InputError
from tests.command_line import Commands, Result, contents

FAST = (
    "space=digits", "train.epochs=1", "train.batch_size=8", "search.evaluations=3", "retrain.points=1", "retrain.epochs=1",
    "retrain.inits=scratch", "retrain.jobs=1",
)  # fmt: skip


def images(root: Path, *folders: str, each: int = 10) -> Path:
    """Learnable 16 x 16 pictures, different in every folder."""
    classes = sorted({Path(folder).name for folder in folders})
    for number, folder in enumerate(folders):
        rng = np.random.default_rng(number)
        (root / folder).mkdir(parents=True)
        for index in range(each):
            pixels = rng.integers(0, 120, (16, 16, 3))
            pixels[..., classes.index(Path(folder).name) % 3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{index}.png")
    return root


PARTS = ("train/a", "train/b", "val/a", "val/b", "test/a", "test/b")


@pytest.fixture
def train(nas: Commands, tmp_path: Path) -> Callable[..., Result]:
    """Trains on the folder `d`."""
    return lambda *more, verb="train": nas(verb, "run=r", "data=folder", "data.root=d", *FAST, *more, cwd=tmp_path)


def split_of(place: Path) -> dict[str, list[str]]:
    return json.loads((place / "r" / "split.json").read_text())["parts"]


def identity(place: Path) -> dict:
    return json.loads((place / "r" / "run.json").read_text())


# 1. What can be known at the start is known at the start


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


# 2. Which folder is which part


@pytest.mark.parametrize(
    ("training", "validation", "testing"),
    [
        ("Training", "Validation", "Testing"),
        ("Train", "eval", "TEST"),
        ("train", "Val", "Test"),
        ("TRAINING", "DEV", "testing"),
        ("training", "Valid", "test"),
    ],
)
def test_parts_have_their_names_in_any_case(
    training: str, validation: str, testing: str, tmp_path: Path, train
) -> None:
    images(tmp_path / "d", *(f"{part}/{name}" for part in (training, validation, testing) for name in "ab"))
    out = train().ok().out
    parts = split_of(tmp_path)
    assert {name: {id.split("/")[0] for id in ids} for name, ids in parts.items()} == {
        "train": {training}, "validation": {validation}, "test": {testing}
    }  # fmt: skip
    assert identity(tmp_path)["classes"] == ["a", "b"]
    for part, folder in (("train", training), ("validation", validation), ("test", testing)):
        assert re.search(rf"{part} +20 images, from folder {folder}: a 10, b 10\n", out)


@pytest.mark.parametrize(
    ("folders", "says", "offers"),
    [
        (("train2017/a", "train2017/b", "val2017/a", "val2017/b"), "would have the classes train2017 and val2017", "data.layout=classes"),
        (("test_set/a", "test_set/b", "training_set/a", "training_set/b"), "would have the classes", "data.layout=classes"),
        (("cat", "dog", "test"), "would have the class test", "data.layout=classes if test is a class"),
        (("Train", "Test"), "would have the classes Test and Train", "data.layout=classes"),
        (("train/a", "train/b", "test-images/a", "test-images/b"), "test-images beside train is called like a part", "rename it to test"),
        (("train/a", "train/b", "cat", "dog"), "holds train and cat, dog: parts, or classes", "data.layout=classes"),
        (("set/train/a", "set/train/b", "set/test/a", "set/test/b"), "set would be a class, and holds test and train", "d/set"),
        (("a/train/x", "a/test/x", "b/train/x", "b/test/x"), "a would be a class, and holds test and train", "data.layout=classes"),
        (("train/a", "train/b", "Training/a", "Training/b"), "has Training and train", "rename or merge"),
        (("seg_train/x/a", "seg_train/x/b", "seg_test/x/a", "seg_test/x/b"), "would have the classes seg_test and seg_train", "data.layout=classes"),
        (("labeledTrain/a", "labeledTrain/b", "labeledTest/a", "labeledTest/b"), "would have the classes", "data.layout=classes"),
        (("train/a", "train/b", "PublicTest/a", "PrivateTest/a"), "PrivateTest beside train is called like a part", "rename it to test"),
        (("train/a", "train/b", "cat", "dog", "emu"), "holds train and cat, dog, emu: parts, or", "leaves cat, dog, emu out"),
        (("Test/a", "Test/b"), "has a part Test but no train", "put the training images"),
    ],
)  # fmt: skip
def test_a_layout_that_is_a_guess_is_refused(
    folders: tuple[str, ...], says: str, offers: str, tmp_path: Path, train
) -> None:
    images(tmp_path / "d", *folders)
    _, _, instead = train().refused(says)
    assert offers in instead
    assert not (tmp_path / "r").exists()
    if offers.startswith("data.layout=classes") and not folders[0].startswith(("train/", "a/")):
        train("data.layout=classes").ok()
    if offers.startswith("d/"):
        train(instead).ok()


def test_a_layout_can_be_said(tmp_path: Path, train) -> None:
    images(tmp_path / "d", "train/a", "train/b", "cat", "test_set/a", "test_set/b")
    train("data.layout=folders").refused("data.layout")
    out = train("data.layout=parts").ok().out
    assert identity(tmp_path)["classes"] == ["a", "b"]
    assert "left out   cat: beside the parts, such as cat" in out
    shutil.rmtree(tmp_path / "r")
    train("data.layout=classes").ok()
    assert identity(tmp_path)["classes"] == ["cat", "test_set", "train"]


def test_a_vehicle_may_be_called_train(tmp_path: Path, train) -> None:
    images(tmp_path / "d", "bus", "car", "train station")
    train().ok()
    images(tmp_path / "e", "bus", "car", "train")
    train("data.root=e", "data.layout=classes", "run=s").ok()


@pytest.mark.parametrize(
    "name", ["trainer", "train station", "testa", "evaluate", "validate", "developer", "contest", "testing ground"]
)
def test_names_that_are_no_parts(name: str) -> None:
    assert part_named(name) is None
    assert like_a_part(name) is None


def test_timm_is_told_of_parts_that_it_does_not_know(tmp_path: Path) -> None:
    images(tmp_path / "d", "Training/a", "Training/b", "Testing/a", "Testing/b")
    for name in ("timm/", "timm/torch/image_folder"):
        with pytest.raises(InputError, match=r"the part (Training|Testing), which timm does not know") as caught:
            make_split(DataConfig(name=name, root=str(tmp_path / "d")), 0)
        assert "data=folder" in caught.value.instead


def test_what_was_read_stands_in_the_report(tmp_path: Path, nas: Commands, train) -> None:
    images(tmp_path / "d", "Training/a", "Training/b", "TEST/a", "TEST/b")
    for index in range(3):
        (tmp_path / f"d/Training/a/{index}.txt").write_text("about it")
    train(verb="demo").ok()
    page = (tmp_path / "r/report.html").read_text()
    assert "<td>from folder Training</td>" in page
    assert "<td>cut from train</td>" in page
    assert "3 *.txt of train: no image that Pillow reads, such as Training/a/0.txt" in page
    again = train().ok().out  # there is nothing left to train
    assert "from folder Training" in again


# 3. Links


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


# 4. Pictures as a viewer shows them: the settings, by the real command (test_pictures.py has the rest)


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


# 5. What is left out is counted


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


# 9. Where the images are


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


# 13. Strips


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
