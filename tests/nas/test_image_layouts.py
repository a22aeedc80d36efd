"""Which folder is which part or class, by the real command: known by its name, asked for, and never guessed."""

import re
import shutil
from pathlib import Path

import pytest

from nas.config import DataConfig
from nas.data import make_split
from nas.data.layout import like_a_part, part_named
from search_spaces.errors import InputError
from tests.command_line import Commands
from tests.nas.image_folders import identity, images, split_of


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
