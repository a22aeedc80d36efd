"""Data sources: those that come with nas keep the laws, the laws find what does not, and messages name what cannot be used."""

from pathlib import Path

import numpy as np
import pytest

from nas.config import DataConfig
from nas.data import make_split
from nas.data.arrays import Arrays
from nas.data.sources import source_of
from nas.dotted import file_names
from nas.testing.sources import SourceLaws
from search_spaces.errors import InputError
from tests.command_line import make_images


class TestDigits(SourceLaws):
    config = DataConfig(name="digits", resolution=8)


class TestRelations(SourceLaws):
    config = DataConfig(name="relations/400", resolution=32)


class TestFolder(SourceLaws):
    @pytest.fixture(autouse=True)
    def images(self, tmp_path: Path) -> None:
        root = make_images(tmp_path / "images")
        type(self).config = DataConfig(name="folder", root=str(root), resolution=8)


MINE = """\
import numpy as np

from nas.data.arrays import Arrays


class Colours(Arrays):
    names, in_channels, pads = ("dark", "light"), 3, True

    def read(self, part):
        if part == "validation":
            return None
        rng = np.random.default_rng(len(part))
        images = rng.integers(0, 100, (40, 6, 6, 3), dtype=np.uint8)
        images[20:] += 150
        return images, np.repeat([0, 1], 20)


class Forgetful(Colours):
    def pixels(self, items, part):
        return super().pixels([item._replace(hash=self.known[item.id]) for item in items], part)

    def pools(self):
        found = super().pools()
        self.known = {item.id: item.hash for pool in found.values() for item in pool or ()}
        return found

    def __init__(self, config):
        super().__init__(config)
        self.pools()


class Broken(Colours):
    def __init__(self, config):
        raise KeyError("no such thing")


class Nothing:
    pools = None
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_sources.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)


def laws_of(name: str) -> SourceLaws:
    return type("Laws", (SourceLaws,), {"config": DataConfig(name=f"my_sources.{name}", resolution=8)})()


def test_colours_in_arrays_are_padded_like_greys(mine: None) -> None:
    config = DataConfig(name="my_sources.Colours", resolution=8)
    source = source_of(config)
    assert isinstance(source, Arrays)
    items = source.pools()["train"] or []
    images, _ = source.read("train") or (np.empty(0), None)
    found = source.pixels(items[:3], "train").numpy()
    assert (found[:, 1:7, 1:7] == images[:3]).all()
    assert found.sum() == images[:3].sum()
    split = make_split(config, 0)
    assert (split.in_channels, split.classes) == (3, ("dark", "light"))
    assert split.reading["origins"]["validation"] == "cut from train"


def test_a_source_that_does_not_look_at_hashes_is_found_out(mine: None) -> None:
    laws = laws_of("Forgetful")
    laws.test_pixels_are_those_of_each_image_in_whatever_order()
    with pytest.raises(pytest.fail.Exception):
        laws.test_an_image_that_has_changed_is_noticed()


@pytest.mark.parametrize(
    ("name", "given", "instead"),
    [
        ("Colour", "unknown data set in my_sources 'Colour'", "data=my_sources.Colours"),
        ("Broken", "data=my_sources.Broken cannot be made (", "fix line 34 of "),
        ("Nothing", "data=my_sources.Nothing is no data set", "data=digits"),
    ],
)
def test_what_is_no_data_set(mine: None, name: str, given: str, instead: str) -> None:
    with pytest.raises(InputError) as error:
        source_of(DataConfig(name=f"my_sources.{name}"))
    assert given in error.value.given
    assert instead in error.value.instead
    assert "nas.data.source.Source" in error.value.allowed or name == "Colour"


def test_names_are_the_files(tmp_path: Path) -> None:
    assert file_names("data/sources") == ("digits", "fashion_mnist", "folder", "relations", "timm")
    for name in ("digit", "digits/more", "timm", "a..b", ""):
        with pytest.raises(InputError) as error:
            DataConfig(name=name)
        assert error.value.allowed == "digits, fashion_mnist, folder, relations, timm/NAME"
        assert "my_package.MySource" in error.value.instead
    assert DataConfig(name="my_package.Mine").name == "my_package.Mine"
