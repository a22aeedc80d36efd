"""Small runs that are trained, searched and reported once, and copied for each test that damages or continues one; and what else files share."""

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command_line import Commands, Result, Runs, make_images, prepare
from tests.nas.image_folders import FAST

# Helpers whose failures say what was found, as those of tests do.
pytest.register_assert_rewrite("tests.nas.data_sets", "tests.nas.places")


@pytest.fixture(scope="session")
def nas() -> Iterator[Commands]:
    commands = Commands()
    yield commands
    commands.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a space and a configuration, and no run."""
    return prepare(tmp_path / "place")


@pytest.fixture(scope="session")
def runs(nas: Commands, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run on digits."""
    root = tmp_path_factory.mktemp("runs")
    return Runs(nas, prepare(root / "new"), root)


@pytest.fixture(scope="session")
def image_runs(nas: Commands, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run on the image files in `images`, beside its configuration."""
    root = tmp_path_factory.mktemp("image_runs")
    place = prepare(root / "new", 'name = "folder"\nroot = "images"', batch_size=16)
    make_images(place / "images")
    return Runs(nas, place, root)


@pytest.fixture
def after(runs: Runs, tmp_path: Path) -> Callable[[str], Path]:
    """`after(verb)` is a copy of the run on digits, as the verb left it."""

    def copy(verb: str) -> Path:
        return Path(shutil.copytree(runs[verb], tmp_path / verb))

    return copy


@pytest.fixture
def train(nas: Commands, tmp_path: Path) -> Callable[..., Result]:
    """The real command that trains on the images in the folder `d`, or another verb on them."""
    return lambda *more, verb="train": nas(verb, "run=r", "data=folder", "data.root=d", *FAST, *more, cwd=tmp_path)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Simulated rounds take less time than the collection of garbage before them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda: 0)
        yield
