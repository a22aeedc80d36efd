"""A run's files as anybody may have written them: every value is of its type and range when it has been read, or the file is refused."""

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.config import Config, DataConfig
from nas.config.effective import run_config
from nas.data import load_part
from nas.data.ids import stays_inside
from nas.data.split import Split
from nas.runs.run import open_run
from nas.runs.searches import read_search, search_names
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from tests.command_line import SEARCH, Commands, Runs
from tests.search_spaces.test_outside_files import circle, endless, folder, nowhere, pipe


def read_all(place: Path) -> None:
    """Everything that a command reads of a run before it begins its work."""
    run = place / "run"
    store = RunStore.open(run)
    config: Config = run_config(store, str(run))
    opened = open_run(config, writes=False)
    for name in search_names(store):
        search = read_search(store, name)
        search.over(config)
        for records in (search.evaluations, search.retrainings, search.references, search.measurements):
            records()
    assert opened.split.parts["train"]


def changed(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes the value in a file of JSON."""
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value)))


def at(data: Any, *path: Any) -> Any:
    for key in path:
        data = data[key]
    return data


def put(*path: Any, value: Any) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        at(data, *path[:-1])[path[-1]] = value
        return data

    return change


def drop(*path: Any) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        del at(data, *path[:-1])[path[-1]]
        return data

    return change


LONG_NUMBER = 10**400
RUN_JSON: dict[str, Callable[[Any], Any]] = {
    "a list": lambda _: [], "text": lambda _: "run", "no config": drop("config"), "config": put("config", value=[]),
    "config.seed": put("config", "seed", value=-1), "config.data": drop("config", "data"),
    "config.data.name": put("config", "data", "name", value=3), "config.train.lr": put("config", "train", "lr", value="fast"),
    "config with an unknown key": put("config", "data", "sede={x}", value=1), "split_sizes": put("split_sizes", value={"train": 1}),
    "split_sizes.train": put("split_sizes", "train", value=0), "no classes": put("classes", value=[]), "classes": put("classes", 0, value=None),
    "a class that is no character": put("classes", 0, value="\ud800"), "space_name": put("space_name", value=None),
    "no space_name": drop("space_name"), "space_size": put("space_size", value="many"), "split_digest": put("split_digest", value="../../x"),
    "versions": put("versions", value=["torch"]), "machine": put("machine", value={}), "machine.cores": put("machine", "cores", value="2"),
    "command": put("command", value="nas train"), "commit": put("commit", value=7), "images.counts": put("images", "counts", "train", value=[1]),
    "images.counts.other": put("images", "counts", "other", value=[1]), "images.origins": drop("images", "origins"),
    "images.left_out": put("images", "left_out", value=[{"what": 1}]), "init": put("init", value={"shares": 3}), "files": put("files", value=[]),
    "a number of 400 digits": put("config", "seed", value=LONG_NUMBER),
}  # fmt: skip

SPLIT_JSON: dict[str, Callable[[Any], Any]] = {
    "a list": lambda _: [], "no parts": drop("parts"), "parts": put("parts", value=[]), "parts.train": put("parts", "train", value="digits"),
    "an id of numbers": put("parts", "train", 0, value=7), "an id that is a path": put("parts", "train", 0, value="../../../etc/passwd"),
    "an id of no index": put("parts", "train", 0, value="train/-1"), "an id of a long index": put("parts", "train", 0, value="train/" + "9" * 5000),
    "labels": put("labels", "test", 0, value=99), "labels below 0": put("labels", "test", 0, value=-1),
    "labels of floats": put("labels", "test", 0, value=0.5), "labels of truths": put("labels", "test", 0, value=True),
    "hashes": put("hashes", "test", 0, value="0"), "mean": put("mean", value=["0.5"]), "no mean": put("mean", value=[]),
    "std": put("std", value=[0.0]), "std that is large": put("std", value=[1e300]), "in_channels": put("in_channels", value=0),
    "in_channels that are many": put("in_channels", value=10**9), "resolution": put("resolution", value=10**9), "seed": put("seed", value="0"),
    "name": put("name", value=None), "classes": put("classes", value="abc"), "dropped": put("dropped", "train", value=-1),
}  # fmt: skip

SEARCH_JSON: dict[str, Callable[[Any], Any]] = {
    "a list": lambda _: [], "state": put("state", value="won"), "number": put("number", value=True), "search": put("search", value=None),
    "search.evaluations": put("search", "evaluations", value=-4), "search.samplers": put("search", "samplers", value=[["nsga2"]]),
    "search.budget": put("search", "budget", value={}), "retrain": put("retrain", value=[]), "costs": put("costs", value={}),
    "costs.name": put("costs", 0, "name", value="../x"), "costs.unit": drop("costs", 0, "unit"), "plugins": put("plugins", value="os"),
    "devices": put("devices", value={"latency_ms": []}), "starts": put("starts", value=[{"source": 3}]), "files": put("files", value={"a": 1}),
    "versions": put("versions", value=None), "machine": put("machine", value=[]),
}  # fmt: skip

EVALUATION: dict[str, Callable[[Any], Any]] = {
    "top1": put("top1", value="a"), "top1 of 2": put("top1", value=2), "loss": put("loss", value=-1), "images": put("images", value=0),
    "images below 0": put("images", value=-5), "n": put("n", value=-1), "n that is long": put("n", value=LONG_NUMBER),
    "trial": put("trial", value=1.5), "digest": put("digest", value="../../out/x"), "digest of another": put("digest", value="0123456789ab"),
    "costs": put("costs", "macs", value="5"), "a cost without end": put("costs", "macs", value=1e300), "a cost of no name": put("costs", "../x", value=1),
    "origin": put("origin", value={"kind": "sampler", "name": ["tpe"]}), "a name that is no character": put("origin", "name", value="\ud800"),
    "architecture": put("architecture", value=None), "no stages": put("architecture", "stages", value=[]),
    "deep": put("architecture", "head", "dropout", value=json.loads("[" * 900 + "]" * 900)),
    "wide": put("architecture", "stages", 0, "width", value=10**9), "against": put("against", value="x"),
}  # fmt: skip

RETRAINING: dict[str, Callable[[Any], Any]] = {
    "roles": put("roles", value=[3]), "init": put("init", value=[]), "seed": put("seed", value=-1), "test_images": put("test_images", value=0),
    "test_top1": put("test_top1", value=1.5), "test_loss": put("test_loss", value=None), "epochs": put("epochs", value="4"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which each test changes one file and puts it back."""
    place = tmp_path_factory.mktemp("strangers") / "place"
    return Path(shutil.copytree(runs["retrain"], place))


@pytest.fixture
def kept(whole: Path) -> Any:
    """Puts the files back that a test has changed."""
    before = {path: path.read_bytes() for path in (whole / "run").rglob("*.json*") if path.is_file()}
    yield whole
    for path, content in before.items():
        path.write_bytes(content)


def test_the_run_itself_is_read(whole: Path) -> None:
    read_all(whole)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (name, change)
        for name, table in (("run.json", RUN_JSON), ("split.json", SPLIT_JSON))
        for change in table.values()
    ],
    ids=[*(f"run-{name}" for name in RUN_JSON), *(f"split-{name}" for name in SPLIT_JSON)],
)
def test_run_and_split(name: str, change: Callable[[Any], Any], kept: Path) -> None:
    changed(kept / "run" / name, change)
    with pytest.raises(InputError):
        read_all(kept)


@pytest.mark.parametrize("change", SPLIT_JSON.values(), ids=SPLIT_JSON)
def test_a_split_is_refused_for_itself(change: Callable[[Any], Any], whole: Path) -> None:
    """Not only because its digest differs from that in run.json, which a stranger can change too."""
    data = change(json.loads((whole / "run/split.json").read_text()))
    with pytest.raises(InputError, match=r"split\.json is damaged"):
        Split.from_dict(data)


def test_a_split_of_other_channels(whole: Path) -> None:
    data = json.loads((whole / "run/split.json").read_text())
    split = Split.from_dict(data | {"in_channels": 3, "mean": data["mean"] * 3, "std": data["std"] * 3})
    with pytest.raises(InputError, match="3 channels, and those of data set digits have 1"):
        load_part(DataConfig(name="digits", resolution=split.resolution), split, "train")


@pytest.mark.parametrize("change", SEARCH_JSON.values(), ids=SEARCH_JSON)
def test_a_search(change: Callable[[Any], Any], kept: Path) -> None:
    changed(kept / "run" / SEARCH / "search.json", change)
    with pytest.raises(InputError, match=r"search\.json is damaged"):
        read_all(kept)


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name, table in (("evaluations", EVALUATION), ("retrained", RETRAINING)) for change in table.values()],
    ids=[*(f"evaluation-{name}" for name in EVALUATION), *(f"retraining-{name}" for name in RETRAINING)],
)  # fmt: skip
def test_records(name: str, change: Callable[[Any], Any], kept: Path) -> None:
    """With checksums of their own: a stranger can compute them."""
    path = kept / "run" / SEARCH / f"{name}.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    record = json.loads(first)
    del record["crc"]
    body = json.dumps(change(record)).encode()[:-1]
    path.write_bytes(b"".join([b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)), *others]))
    with pytest.raises(InputError, match=r"line [12] of"):
        read_all(kept)


@pytest.mark.parametrize(
    "line",
    [b'{"n":NaN}\n', b"[" * 3000 + b"]" * 3000 + b"\n", b'{"n":1,"n":2}\n', b"1" * 5000 + b"\n", b"x" * (2**24 + 9)],
)
def test_lines_that_are_no_records(line: bytes, kept: Path) -> None:
    path = kept / "run" / SEARCH / "evaluations.jsonl"
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(InputError, match="damaged"):
        read_all(kept)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a/b.png", True), ("a b/ü.png", True), ("...", True), ("a/..b", True), ("..", False), ("a/../b", False), ("/a", False), ("", False),
        ("a\0", False), ("../a", False), ("a/..", False), ("a\\..\\b", os.sep == "/"), ("C:b", os.sep == "/"),
    ],
)  # fmt: skip
def test_names_of_images(name: str, inside: bool) -> None:
    assert stays_inside(name) is inside


NAMES = ("run/run.json", "run/split.json", f"run/{SEARCH}/search.json", f"run/{SEARCH}/evaluations.jsonl")


@pytest.mark.parametrize("make", [folder, endless, circle, nowhere])
@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_none(make: Callable[[Path], None], name: str, kept: Path) -> None:
    path = kept / name
    if path.name == "search.json" and make in (circle, nowhere):
        pytest.skip("a search without search.json is none")
    path.unlink()
    make(path)
    try:
        with pytest.raises(InputError):
            read_all(kept)
    finally:
        path.rmdir() if make is folder else path.unlink()


# With the real command


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_keeps_nobody_waiting(name: str, nas: Commands, after: Callable[[str], Path]) -> None:
    place = after("search")
    (place / name).unlink()
    pipe(place / name)
    nas("extract" if name == "run/split.json" else "report", "run=run", cwd=place).refused("no ordinary file")


@pytest.mark.parametrize("words", [("sede={x}{0}",), ("run=" + "x" * 5000,), ("seed=0x" + "f" * 5000, "\x1b[2J={}")])
def test_arguments(words: tuple[str, ...], nas: Commands, place: Path) -> None:
    given, _, instead = nas("train", "config.toml", *words, cwd=place).refused()
    assert len(given) < 1000
    assert given.isprintable()
    assert instead.isprintable()
