"""Pipes, devices, folders, links and huge files in the place of every file that is read."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.hostile.case import add, case
from tests.hostile.paths import MORE
from tests.hostile.world import ON_IMAGES, World


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _itself(path: Path) -> None:
    path.symlink_to(path.name)


def _huge(path: Path) -> None:
    """A file of a terabyte that takes no space."""
    with open(path, "wb") as file:
        file.truncate(2**40)


def _terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


SORTS: dict[str, Callable[[Path], None]] = {
    "a pipe": _pipe,
    "a link to /dev/zero": _zero,
    "a folder": Path.mkdir,
    "a link to itself": _itself,
    "a file of a terabyte": _huge,
    "a link to the terminal": _terminal,
    "nothing": lambda path: None,
}

FAST = ("a pipe", "a link to /dev/zero")

OF_RUN: dict[str, tuple[str, ...]] = {
    "run.json": ("report", "run=R"),
    "split.json": ("extract", "run=R"),
    "space.toml": ("extract", "run=R"),
    "supernet.safetensors": ("extract", "run=R"),
    "searches/small/search.json": ("report", "run=R"),
    "searches/small/evaluations.jsonl": ("report", "run=R"),
    "searches/small/retrained.jsonl": ("report", "run=R"),
    "searches/small/references.jsonl": ("report", "run=R"),
    "searches/small/measured.jsonl": ("report", "run=R"),
    "study.db": MORE,
}
"""Files of a run, and a command that reads each."""

OF_NETWORK: dict[str, tuple[str, ...]] = {
    "net/config.json": ("cost", "net"),
    "net/model.safetensors": ("evaluate", "net", "data=digits", "data.resolution=8", "preprocess=data"),
}

TYPED: dict[str, tuple[str, ...]] = {
    "config.toml": ("train", "config.toml"),
    "mine.toml": ("spaces", "mine.toml"),
    "arch.json": ("cost", "arch.json"),
    "official.pth": ("convert", "official.pth", "--model", "transxnet_tiny"),
    "official.safetensors": ("convert", "official.safetensors", "--model", "transxnet_tiny"),
    "study.toml": ("study", "study.toml"),
    "rows.toml": ("ablate", "rows.toml"),
    "recipe.toml": ("recipes", "recipe.toml"),
    "profile.json": ("spaces", "digits", "search.profiles=profile.json"),
    "networks.jsonl": ("search", "run=R", "search=new", "search.networks=networks.jsonl"),
    "table.csv": ("search", "run=R", "search=new", "search.measured=table.csv"),
}
"""Files that a user types the name of, but a stranger made."""

ABSENT = (
    "net/config.json",
    "searches/small/retrained.jsonl",
    "searches/small/references.jsonl",
    "searches/small/measured.jsonl",
    "searches/small/evaluations.jsonl",
    "study.db",
)
"""Files of a run that need not be there."""


def codes_of(sort: str, name: str) -> tuple[int, ...]:
    """nas does without some files: net/config.json beside an arch.json, and study.db, which is made anew where it is no database."""
    if sort == "nothing":
        harmless = name in ABSENT
    elif name == "net/config.json":
        harmless = sort != "a file of a terabyte"
    else:
        harmless = name == "study.db" and sort == "a file of a terabyte"
    return (0,) if harmless else (2,)


def said_of(sort: str, name: str) -> str:
    """A file that is not there is named by what it would hold. A link to itself is not there."""
    held = {"searches/small/search.json": "no search", "supernet.safetensors": "no trained supernet"}
    return held.get(name, Path(name).name) if sort in ("nothing", "a link to itself") else Path(name).name


def stands_for(sort: str, name: str, words: Iterable[str]) -> None:
    def prepare(world: World) -> Iterable[str]:
        if name.startswith("net/"):
            world.with_network()
        elif not name.startswith(("config", "mine", "official", "arch", "recipe")):
            world.with_run()
        path = world.run / name if name in OF_RUN else world.desk / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        SORTS[sort](path)
        return words

    add(f"{name} is {sort}", prepare, codes=codes_of(sort, name), said=said_of(sort, name))


for sort in SORTS:
    for name, words in (OF_RUN | OF_NETWORK | TYPED).items():
        stands_for(sort, name, words)


@case("a checkpoint to resume from is a pipe", said="train.pt")
def checkpoint_pipe(world: World) -> Iterable[str]:
    world.with_run()
    (world.run / "supernet.safetensors").unlink()
    (world.run / "work").mkdir(exist_ok=True)
    os.mkfifo(world.run / "work" / "train.pt")
    return ("train", "run=R")


TRAIN = (*ON_IMAGES, "data.resolution=16")


@case("an image is a pipe", codes=(0,), made=("new/",))  # only files are images
def image_pipe(world: World) -> Iterable[str]:
    world.with_space().with_images()
    os.mkfifo(world.desk / "images" / "class0" / "pipe.png")
    return TRAIN


@case("two links to the same folder among the images")
def image_cycle(world: World) -> Iterable[str]:
    world.with_space().with_images()
    for name in ("round", "again"):
        world.link(f"images/class0/{name}", ".")
        world.link(f"images/{name}", ".")
    return TRAIN


@case("images below a thousand folders", codes=(0,), made=("new/",))
def deep_images(world: World) -> Iterable[str]:
    world.with_space().with_images()
    place = world.desk / "images" / "class0"
    for _ in range(40):
        place = place / ("d" * 40)
    place.mkdir(parents=True)
    return TRAIN


@case("the folder of images is a device")
def image_device(world: World) -> Iterable[str]:
    world.with_space().link("images", "/dev/zero")
    return TRAIN


@case("an idx file is a pipe")
def idx_pipe(world: World) -> Iterable[str]:
    (world.with_space().desk / "idx").mkdir()
    os.mkfifo(world.desk / "idx" / "train-images-idx3-ubyte")
    return ("train", "run=new", "space=space.toml", "data=fashion_mnist", "data.root=idx", "data.resolution=16")


@case("an idx file is a link to /dev/zero")
def idx_zero(world: World) -> Iterable[str]:
    world.with_space().link("idx/train-images-idx3-ubyte.gz", "/dev/zero")
    world.link("idx/train-labels-idx1-ubyte.gz", "/dev/zero")
    return ("train", "run=new", "space=space.toml", "data=fashion_mnist", "data.root=idx", "data.resolution=16")


def study(name: str, *statements: str) -> None:
    """A case with a study.db that Optuna made, and somebody changed."""

    def prepare(world: World) -> Iterable[str]:
        import optuna

        place = world.with_run().run / "study.db"
        place.unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{place}")
        optuna.create_study(study_name="small/nsga2", storage=storage)
        storage.remove_session()
        storage.engine.dispose()
        database = sqlite3.connect(place, isolation_level=None)
        database.execute("PRAGMA writable_schema = ON")
        for statement in ("BEGIN", *statements, "COMMIT"):
            database.execute(statement)
        database.close()
        return MORE

    add(f"study.db with {name}", prepare, codes=(0,))


LONG = " AND ".join(f"length(replace(hex(zeroblob({33_000_000 - i})),''00'',''1''))>0" for i in range(400))
"""A condition that takes twenty gigabytes and minutes."""

study(
    "a CHECK that takes twenty gigabytes",
    "UPDATE sqlite_master SET sql = substr(sql, 1, length(sql) - 1) || ', CHECK (" + LONG + "))' WHERE name = 'trials'",
)
study(
    "a million trials",
    "WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 1000000) "
    "INSERT INTO trials (number, study_id, state) SELECT n, 1, 'FAIL' FROM k",
)
