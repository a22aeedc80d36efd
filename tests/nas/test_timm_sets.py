"""Data sets that timm opens: folders, tar files, torchvision's, and those without random access."""

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import IterableDataset

from nas.config import DataConfig
from nas.data import content_hash, load_part, make_split
from nas.data.sources import timm as timm_source
from search_spaces.errors import InputError
from tests.nas.data_sets import check_split, everything, folder_config, make_fashion, make_folder, noise, raw


def split_many_times(config: DataConfig) -> None:
    """Until every image has been in train or validation."""
    for seed in range(99):
        make_split(config, seed)


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
