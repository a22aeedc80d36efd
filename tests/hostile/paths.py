"""Names from data that are paths, and links where files are written."""

import os
import shutil
from pathlib import Path

from nas.runs.store import RunStore
from tests.fuzzing.targets.runs import SEARCH
from tests.hostile.case import add, case
from tests.hostile.world import ON_IMAGES, World, put

HARMLESS = (0,)
"""Of a link that is replaced as a whole, or that nothing goes through: its target is left alone."""

MORE = ("search", "run=R", "search=small", "search.evaluations=6")
"""A search that resumes, and writes every file of a search."""


def digest_of(world: World) -> str:
    """The digest of the network that `nas extract` would choose."""
    import json

    return json.loads((world.search / "retrained.jsonl").read_text().splitlines()[0])["digest"]


def linked(name: str, *words: str, target: str = "precious.txt", codes: tuple[int, ...] = (2,)) -> None:
    """A case with a link to a file or folder of the user in the place of `name` in the run folder."""

    def prepare(world: World) -> tuple[str, ...]:
        world.with_run().link(f"R/{name}", world.outside / target)
        return words

    add(f"{name} is a link to {target} ({words[0]})", prepare, codes=codes)


for verb in (MORE, ("extract", "run=R"), ("retrain", "run=R")):
    linked("work/lock", *verb)
linked("work", *MORE, target="folder")
linked("work/clock.jsonl", *MORE, codes=HARMLESS)
linked("study.db", *MORE)
linked("study.db-journal", *MORE)
linked("searches", *MORE, target="folder")
linked(SEARCH, *MORE, target="folder")
for records in ("evaluations.jsonl", "measured.jsonl"):
    linked(f"{SEARCH}/{records}", *MORE)
linked("older", "report", "run=R", target="folder", codes=HARMLESS)
linked(f"{SEARCH}/networks", "extract", "run=R", target="folder")
for report_file in ("report.html", "front.csv", "trials.csv", "front.png"):
    linked(report_file, "report", "run=R")
for replaced in ("run.json", f"{SEARCH}/search.json", "split.json", "space.toml", "supernet.safetensors"):
    linked(replaced, *MORE)


@case("networks/DIGEST is a link to a folder of the user")
def network_folder(world: World) -> tuple[str, ...]:
    world.with_run().link(f"R/{SEARCH}/networks/{digest_of(world)}", world.outside / "folder")
    return ("extract", "run=R")


@case("a file in networks/DIGEST is a link")
def network_file(world: World) -> tuple[str, ...]:
    world.with_run()
    for name in ("weights.safetensors", "model.safetensors", "arch.json", "README.md", "card.json", "config.json"):
        world.link(f"R/{SEARCH}/networks/{digest_of(world)}/{name}", world.precious)
    return ("extract", "run=R")


@case("links below links to itself, and up, in the run folder")
def cycles(world: World) -> tuple[str, ...]:
    world.with_run().link("R/again", ".")
    world.link("R/up", "..")
    world.link(f"R/{SEARCH}/networks", "networks")
    return ("extract", "run=R")


@case("half-written files of a killed process behind a link are not removed", codes=HARMLESS)
def temporary_files(world: World) -> tuple[str, ...]:
    world.with_run().link("R/elsewhere", world.outside / "folder")
    world.link("R/work/elsewhere", world.outside / "folder")
    return MORE


@case("damaged lines are set aside through a link")
def damaged_lines(world: World) -> tuple[str, ...]:
    world.with_run().link(f"R/{SEARCH}/evaluations.jsonl.damaged", world.precious)
    with open(world.search / "evaluations.jsonl", "ab") as file:
        file.write(b"damaged\n")
    return MORE


@case("a checkpoint is a link to a file of the user")
def checkpoint_link(world: World) -> tuple[str, ...]:
    world.with_run().link("R/work/train.pt", world.precious)
    (world.run / "supernet.safetensors").unlink()
    return ("train", "run=R")


@case("train.jsonl is a link to a file of the user")
def training_log(world: World) -> tuple[str, ...]:
    world.with_run().link("R/train.jsonl", world.precious)
    (world.run / "supernet.safetensors").unlink()
    return ("train", "run=R")


@case("the folder of tensorboard is a link")
def tensorboard(world: World) -> tuple[str, ...]:
    world.with_run().link("R/tensorboard", world.outside / "folder")
    (world.run / "supernet.safetensors").unlink()
    return ("train", "run=R", "tensorboard=true")


@case("a run folder that the user typed may be a link", codes=(0,))
def run_by_link(world: World) -> tuple[str, ...]:
    world.with_run().link("mine", "R")
    return ("report", "run=mine")


@case("the folder for extracted networks holds a link in the place of one")
def extract_out(world: World) -> tuple[str, ...]:
    world.with_run().link(f"given/{digest_of(world)}", world.outside / "folder")
    return ("extract", "run=R", "out=given")


@case("the folder for a report holds a link in the place of its table")
def report_out(world: World) -> tuple[str, ...]:
    world.with_run().link("given/front.csv", world.precious)
    return ("report", "run=R", "out=given")


for name in (
    "../../out/x",
    "..",
    "/etc",
    "a/b",
    "0123456789AB",
    "１２３４５６７８９０１２",
    "0123456789ab\n",
    "0" * 13,
    "",
    "0123456789ab",
):

    def wrong_digest(world: World, name: str = name) -> tuple[str, ...]:
        world.with_run().record(lambda record: record.update(digest=name))
        return ("extract", "run=R")

    def typed_digest(world: World, name: str = name) -> tuple[str, ...]:
        world.with_run()
        return ("retrain", "run=R", f"digest={name}")

    add(f"a record has the digest {name!a}", wrong_digest)
    if name:
        add(f"the digest {name!a} is typed", typed_digest)


@case("a record has the digest of another folder, where it would be written", said="digest")
def digest_up(world: World) -> tuple[str, ...]:
    world.with_run().record(lambda record: record.update(digest="../../../../outside/folder"))
    return ("extract", "run=R", "digest=../../../../outside/folder")


for name in ("../../x", "/tmp/x", "a/b", ".", "..", "a" * 300, "a\nb", "a\x1b[2Jb", "", "C:\\x", "con", "=1+1", "~"):

    def search_name(world: World, name: str = name) -> tuple[str, ...]:
        world.with_run()
        return ("search", "run=R", "search.evaluations=1", f"search.name={name}")

    codes = (
        (0,) if name in ("", "con") else (2,)
    )  # the next number is the name, or a name as good as any but on Windows
    add(f"the search name {ascii(name)[:30]} is typed", search_name, said="search.name", codes=codes)


@case("a folder of searches has a name with control characters", codes=HARMLESS)
def search_folder(world: World) -> tuple[str, ...]:
    world.with_run()
    shutil.copytree(world.search, world.run / "searches" / "a\x1b[2J\r\nb")
    return ("report", "run=R")


for image in (
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "a\0b",
    "C:\\x.png",
    "class0/../../secret.png",
    "x" * 5000,
    "",
):

    def image_name(world: World, image: str = image) -> tuple[str, ...]:
        """A run on image files whose split names another file. Its digest is that of the changed split."""
        run_on_images(world, image)
        return ("search", "run=R", "search=new", "search.evaluations=1")

    add(f"split.json names the image {ascii(image)[:40]}", image_name)


def run_on_images(world: World, image: str) -> None:
    """Makes the run one on image files, of which the first of validation has another name."""
    import dataclasses
    import json

    from nas.config.parsing import recorded_config
    from nas.data import make_split

    world.with_run().with_images()
    put(world.desk / "secret.png", (world.desk / "images" / "class0" / "0.png").read_bytes())
    identity = json.loads((world.run / "run.json").read_text())
    identity["config"]["data"].update(name="folder", root=str(world.desk / "images"))
    identity["config"]["train"]["batch_size"] = 2
    split = make_split(recorded_config(identity, "R").data, 0)
    split = dataclasses.replace(split, parts={**split.parts, "validation": (image, *split.parts["validation"][1:])})
    RunStore(world.run).write_json("split.json", split.to_dict())
    shutil.rmtree(world.run / "searches")
    _bound_to(world, identity, split)


def _bound_to(world: World, identity: dict, split: object) -> None:  # type: ignore[type-arg]
    """Writes run.json and the supernet for another split."""
    from typing import Any

    from nas.runs.weights import save_tensors
    from search_spaces.named import check
    from search_spaces.space import SearchSpace
    from supernet.supernet import Supernet

    known: Any = split
    store = RunStore(world.run)
    space = check(SearchSpace.from_toml(store.read_text("space.toml"), "space.toml"))
    space = space.bind(known.in_channels, len(known.classes), identity["config"]["data"]["resolution"])
    identity.update(split_digest=known.digest, space_digest=space.digest, classes=list(known.classes))
    store.write_json("run.json", identity)
    save_tensors(store, "supernet.safetensors", Supernet(space, 0).state_dict(), {})


@case("a relative path of a link in images leads out of the data")
def image_link(world: World) -> tuple[str, ...]:
    world.with_space().with_images()
    world.link("images/class0/link.png", "/etc/passwd")
    return (*ON_IMAGES, "data.resolution=8")


@case("a path begins with a user that does not exist")
def nobody(world: World) -> tuple[str, ...]:
    return ("report", "run=~nobody-of-this-name/x")


@case("a folder of the user's is called like an option", codes=(2,))
def option_folder(world: World) -> tuple[str, ...]:
    (world.desk / "-rf").mkdir()
    return ("report", "run=-rf")


@case("the folder for temporary files does not exist", codes=HARMLESS)
def no_temporary(world: World) -> tuple[str, ...]:
    world.with_run()
    world.env["TMPDIR"] = str(Path(os.sep, "nonexistent"))
    return ("report", "run=R")
