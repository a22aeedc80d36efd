"""Data that name modules, programs and pickles. Whatever runs leaves a marker outside of the run folder."""

import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Iterable

from tests.hostile.case import add, case
from tests.hostile.world import World, put

COMMANDS = {
    "report": ("report", "run=R"),
    "extract": ("extract", "run=R"),
    "search": ("search", "run=R", "search=small", "search.evaluations=6"),
    "retrain": ("retrain", "run=R"),
    "train": ("train", "run=R"),
    "evaluate": ("evaluate", "net", "run=R", "part=val", "preprocess=data"),
}

MODULES = ("evil", "antigravity", "this", "os.path", "../evil", "evil;", "e" * 5000)
"""Modules that a run may name: one beside it, and some of the standard library that do something when they are imported."""


def in_run(world: World, module: str) -> None:
    world.with_run().with_network().evil_module()
    world.change("R/run.json", lambda identity: identity["config"].update(plugins=[module]))


for verb, words in COMMANDS.items():

    def plugin(world: World, words: Iterable[str] = words) -> Iterable[str]:
        in_run(world, "evil")
        return words

    def plugin_of_search(world: World, words: Iterable[str] = words) -> Iterable[str]:
        world.with_run().with_network().evil_module()
        world.change("R/searches/small/search.json", lambda about: about.update(plugins=["evil"]))
        return words

    # A report needs no plugin, and only some commands read a search.
    add(f"run.json names a plugin ({verb})", plugin, said="plugins=evil", codes=(0,) if verb == "report" else (2,))
    of_search = (2,) if verb in ("search", "extract", "retrain") else (0,)
    add(f"search.json names a plugin ({verb})", plugin_of_search, said="plugins=evil", codes=of_search)
for module in MODULES[1:]:

    def other_module(world: World, module: str = module) -> Iterable[str]:
        in_run(world, module)
        return COMMANDS["extract"]

    add(f"run.json names the plugin {module[:20]}", other_module, said=module[:40])


def named(
    name: str, file: str, keys: tuple[str, ...], value: object, words: Iterable[str], codes: tuple[int, ...] = (2,)
) -> None:
    """A case with a dotted name of a class somewhere in a JSON file of the run."""

    def prepare(world: World) -> Iterable[str]:
        def change(data: dict) -> None:  # type: ignore[type-arg]
            *path, last = keys
            for key in path:
                data = data[key]
            data[last] = value

        world.with_run().evil_module()
        world.change(f"R/{file}", change)
        return words

    add(name, prepare, codes=codes, said="split.json" if file == "split.json" else "evil")  # its digest is wrong first


named(
    "run.json names a class as the data source",
    "run.json",
    ("config", "data", "name"),
    "evil.Evil",
    COMMANDS["extract"],
)
named(
    "run.json names a class as the strategy",
    "run.json",
    ("config", "train", "strategy"),
    "evil.Evil",
    COMMANDS["search"],
    (0,),
)  # not needed
named(
    "run.json names a class as the sampler",
    "run.json",
    ("config", "search", "samplers"),
    ["evil.Evil"],
    ("search", "run=R", "search=new"),
)
named(
    "search.json names a class as the sampler",
    "searches/small/search.json",
    ("search", "samplers"),
    ["evil.Evil"],
    COMMANDS["search"],
)
named("split.json names a class as the data source", "split.json", ("name",), "evil.Evil", COMMANDS["extract"])


@case("a record names a class as the sampler", codes=(0,))
def sampler_of_record(world: World) -> Iterable[str]:
    world.with_run().evil_module()
    world.record(lambda record: record.update(origin={"kind": "sampler", "name": "evil.Evil"}))
    return COMMANDS["report"]


@case("a space names a class as a part", said="evil.Evil")
def part_of_space(world: World) -> Iterable[str]:
    from tests.command_line import SPACE

    world.evil_module()
    world.with_space(SPACE.replace('"layer_norm"', '"evil.Evil"'))
    return ("spaces", "space.toml")


@case("an architecture names a class as a part", said="evil.Evil")
def part_of_arch(world: World) -> Iterable[str]:
    world.with_network().evil_module()
    (world.desk / "net" / "config.json").unlink()
    world.change("net/arch.json", lambda arch: arch["head"].update(part="evil.Evil"))
    return ("cost", "net/arch.json")


@case("config.json names another architecture of timm, a file and an address")
def addresses(world: World) -> Iterable[str]:
    cfg = {"url": "http://127.0.0.1:9/x.pth", "file": "/etc/passwd", "hf_hub_id": "somebody/something", "source": "url"}
    world.with_network().change("net/config.json", lambda config: config["pretrained_cfg"].update(cfg))
    return ("cost", "net")


@case("modules of the user's folder shadow the libraries", codes=(0,))
def shadows(world: World) -> Iterable[str]:
    world.with_run()
    for name in ("torch", "json", "nas", "sitecustomize", "optuna", "matplotlib", "numpy"):
        world.evil_module(name)
    return COMMANDS["report"]


@case("an EPS that is called an image")
def postscript(world: World) -> Iterable[str]:
    world.with_space().with_images().program("gs")
    text = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({world.marker}) (w) file closefile\nshowpage\n%%EOF\n"
    put(world.desk / "images" / "class0" / "0.png", text.encode())
    return ("train", "run=new", "space=space.toml", "data=folder", "data.root=images", "data.resolution=8")


@case("a repository of the user's folder has hooks", codes=(0,), made=("new/",))
def repository(world: World) -> Iterable[str]:
    subprocess.run(["git", "init", "-q", str(world.desk)], check=True)
    hook = world.desk / "hook.sh"
    put(hook, f"#!/bin/sh\necho was here > {world.marker}\n".encode())
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(world.desk), "config", "core.fsmonitor", str(hook)], check=True)
    world.with_space()
    return ("train", "run=new", "space=space.toml", "data=digits", "data.resolution=8", "epochs=1", "random_paths=0")


class Runs:
    """What a pickle calls when it is read."""

    def __init__(self, world: World) -> None:
        self.command = f"echo was here > {world.marker}"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (self.command,)


def pickled(world: World) -> bytes:
    return pickle.dumps({"state_dict": Runs(world)})


def archived(world: World) -> bytes:
    """A pickle where torch.save puts one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"module": Runs(world)}))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()


for form, content in (("a pickle", pickled), ("an archive with a pickle", archived)):

    def converted(world: World, content=content) -> Iterable[str]:  # type: ignore[no-untyped-def]
        put(world.desk / "official.pth", content(world))
        return ("convert", "official.pth", "--model", "transxnet_tiny")

    def weights(world: World, content=content) -> Iterable[str]:  # type: ignore[no-untyped-def]
        put(world.with_network().desk / "net" / "model.safetensors", content(world))
        return ("evaluate", "net", "data=digits", "data.resolution=8", "preprocess=data")

    def supernet(world: World, content=content) -> Iterable[str]:  # type: ignore[no-untyped-def]
        put(world.with_run().run / "supernet.safetensors", content(world))
        return COMMANDS["extract"]

    def checkpoint(world: World, content=content) -> Iterable[str]:  # type: ignore[no-untyped-def]
        put(world.with_run().run / "work" / "train.pt", content(world))
        (world.run / "supernet.safetensors").unlink()
        return COMMANDS["train"]

    def start(world: World, content=content) -> Iterable[str]:  # type: ignore[no-untyped-def]
        put(world.with_network().with_space().desk / "net" / "model.safetensors", content(world))
        return ("train", "run=new", "space=space.toml", "data=digits", "data.resolution=8", "init=net")

    add(f"a checkpoint to convert is {form}", converted)
    add(f"the weights of a network are {form}", weights)
    add(f"the weights of a supernet are {form}", supernet)
    add(f"a checkpoint to resume from is {form}", checkpoint)
    add(f"the weights to start from are {form}", start)


@case("damaged lines are set aside into a pipe", said="evaluations.jsonl.damaged")
def damaged_lines_into_a_pipe(world: World) -> Iterable[str]:
    world.with_run()
    os.mkfifo(world.search / "evaluations.jsonl.damaged")
    with open(world.search / "evaluations.jsonl", "ab") as file:
        file.write(b"damaged\n")
    return COMMANDS["search"]


@case("a settings file of matplotlib is a pipe", said="matplotlibrc")
def settings_of_matplotlib(world: World) -> Iterable[str]:
    world.with_run()
    os.mkfifo(world.desk / "matplotlibrc")
    return COMMANDS["report"]


@case("an image that timm lists is a pipe", said="no ordinary file")
def pipe_of_timm(world: World) -> Iterable[str]:
    world.with_images()
    os.mkfifo(next((world.desk / "images").iterdir()) / "pipe.png")
    return ("train", "run=new", "space=digits", "data=timm/", "data.root=images", "train.batch_size=2")
