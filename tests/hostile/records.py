"""Values in run.json, split.json, search.json and records that cannot be, and that would fail late."""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from tests.hostile.case import add, case
from tests.hostile.world import World, put

REPORT = ("report", "run=R")
EXTRACT = ("extract", "run=R")

BAD_NUMBERS: dict[str, object] = {
    "a text": "a",
    "NaN": math.nan,
    "infinite": math.inf,
    "a list": [],
    "nothing": None,
    "true": True,
}


def record(
    name: str, change: Callable[[Any], object], *, file: str = "evaluations.jsonl", codes: tuple[int, ...] = (2,)
) -> None:
    """A case with a changed record, whose checksum is right."""

    def prepare(world: World) -> Iterable[str]:
        world.with_run().record(change, file)
        return REPORT

    add(f"{file}: {name}", prepare, codes=codes)


for key, file in (
    ("top1", "evaluations.jsonl"), ("loss", "evaluations.jsonl"), ("images", "evaluations.jsonl"), ("n", "evaluations.jsonl"), ("trial", "evaluations.jsonl"),
    ("test_top1", "retrained.jsonl"), ("validation_top1", "retrained.jsonl"), ("test_images", "retrained.jsonl"), ("seed", "retrained.jsonl"),
    ("test_top1", "references.jsonl"), ("test_images", "references.jsonl"), ("rounds", "measured.jsonl"),
):  # fmt: skip
    for what, value in (BAD_NUMBERS | {"-1": -1, "10^4000": 10**4000}).items():
        record(f"{key} is {what}", lambda data, key=key, value=value: data.update({key: value}), file=file)
for key, value in (
    ("top1", 2),
    ("top1", 1.0001),
    ("images", 0),
    ("loss", -0.5),
    ("costs", {"macs": math.nan}),
    ("costs", {"macs": -1}),
    ("costs", []),
    ("costs", {}),
):
    harmless = value in ({"macs": -1}, {})  # costs that a plugin registers may be negative, and a network may have none
    record(
        f"{key} is {value}",
        lambda data, key=key, value=value: data.update({key: value}),
        codes=(0,) if harmless else (2,),
    )
record("no architecture", lambda data: data.pop("architecture"))
record(
    "an architecture of 100,000 blocks",
    lambda data: data["architecture"]["stages"][0].update(blocks=data["architecture"]["stages"][0]["blocks"] * 100_000),
)
record("an origin of another kind", lambda data: data["origin"].update(kind="admin"))
record("the name of an origin is a table", lambda data: data["origin"].update(name={"a": 1}))
record("another network's digest", lambda data: data.update(digest="0123456789ab"))
record("test_images is 0", lambda data: data.update(test_images=0), file="retrained.jsonl")
record("roles are numbers", lambda data: data.update(roles=[1, 2]), file="retrained.jsonl")
record("a cost is a text", lambda data: data.update(cost=1), file="measured.jsonl")
record("the model is a path", lambda data: data.update(model="../../x"), file="references.jsonl", codes=(0,))


@case("a trial is there twice", codes=(0,))
def twice(world: World) -> Iterable[str]:
    path = world.with_run().search / "evaluations.jsonl"
    put(path, path.read_bytes() * 2)
    return REPORT


@case("every line of records a hundred times", codes=(0,))
def many(world: World) -> Iterable[str]:
    path = world.with_run().search / "evaluations.jsonl"
    put(path, path.read_bytes() * 100)
    return REPORT


@case("a line of records of fifty megabytes")
def long_line(world: World) -> Iterable[str]:
    put(world.with_run().search / "evaluations.jsonl", b'{"a":"' + b"a" * (50 * 2**20) + b'"}\n')
    return REPORT


TEXTS: dict[str, bytes] = {
    "a number of 5,000 digits": b'{"format": 2, "seed": ' + b"9" * 5000 + b"}",
    "lists inside each other": b"[" * 100_000,
    "tables inside each other": b'{"a":' * 100_000,
    "one key twice": b'{"format": 2, "format": 2, "config": {}}',
    "UTF-16": '{"format": 2}'.encode("utf-16"),
    "NaN": b'{"format": NaN}',
    "a text": b'"run"',
    "a list": b"[]",
    "null": b"null",
    "an empty table": b"{}",
    "no bytes": b"",
    "a zero byte": b"\0",
    "half of a surrogate pair": b'{"format": "\\ud800"}',
    "an old format": b'{"format": 1}',
    "a format of another type": b'{"format": [2]}',
}

LAYOUTS = {("R/run.json", "an empty table"): "layout None", ("R/run.json", "a format of another type"): "layout [2]"}
"""What is said of a run whose format is the first thing that is wrong."""

for file, words in (
    ("R/run.json", REPORT),
    ("R/searches/small/search.json", REPORT),
    ("R/split.json", EXTRACT),
    ("net/config.json", ("cost", "net")),
):
    for what, content in TEXTS.items():

        def other_text(
            world: World, file: str = file, words: tuple[str, ...] = words, content: bytes = content
        ) -> Iterable[str]:
            if file.startswith("net"):
                world.with_network()
            else:
                world.with_run()
            put(world.desk / file, content)
            return words

        add(f"{file} is {what}", other_text, said=LAYOUTS.get((file, what), ""))


@case("run.json with a byte-order mark", codes=(0,))
def marked(world: World) -> Iterable[str]:
    path = world.with_run().run / "run.json"
    put(path, b"\xef\xbb\xbf" + path.read_bytes())
    return REPORT


def table(
    file: str, path: tuple[str | int, ...], value: object, words: tuple[str, ...], codes: tuple[int, ...] = (2,)
) -> None:
    """A case with another value in a table of the run; without the value where it is `...`."""

    def prepare(world: World) -> Iterable[str]:
        def change(data: Any) -> None:
            *above, last = path
            for key in above:
                data = data[key]
            if value is ...:
                del data[last]
            else:
                data[last] = value

        world.with_run().change(f"R/{file}", change)
        return words

    shown = "missing" if value is ... else json.dumps(value)[:24]
    add(f"{file}: {'.'.join(map(str, path))} is {shown} ({words[0]})", prepare, codes=codes)


for key in (
    "config",
    "classes",
    "split_sizes",
    "space_size",
    "images",
    "versions",
    "machine",
    "space_name",
    "command",
    "commit",
):
    for value in (..., 7, {}):
        spare = (key, value) in (("images", ...), ("images", {}), ("versions", {}))
        table("run.json", (key,), value, REPORT, codes=(0,) if spare else (2,))
table("run.json", ("classes",), [{"a": 1}] * 3, REPORT)
table("run.json", ("space_size",), "9" * 5000, REPORT, codes=(0,))
table("run.json", ("split_sizes", "train"), -5, REPORT)
table("run.json", ("space_digest",), 7, EXTRACT)
table("run.json", ("split_digest",), ..., EXTRACT)
for path, value in (
    (("labels", "train", 0), -1), (("labels", "train", 0), 10**6), (("labels", "train", 0), "a"), (("hashes", "train", 0), 7), (("parts", "train"), ...),
    (("parts", "train", 0), 7), (("mean",), [math.nan]), (("std",), [0.0]), (("std",), []), (("classes",), []), (("resolution",), 10**9), (("in_channels",), 10**9),
    (("in_channels",), "1"), (("seed",), -1), (("name",), "x"), (("parts", "validation"), []), (("dropped",), 3),
):  # fmt: skip
    table("split.json", path, value, EXTRACT)
for path, value in (
    (("costs",), 7), (("costs",), [1]), (("costs", 0, "name"), {}), (("costs", 0, "about"), 7), (("number",), "a"), (("number",), True), (("state",), []),
    (("search", "objectives"), ["top1", "evil"]), (("search", "objectives"), 7), (("search", "budget"), "macs=" + "9" * 5000), (("search",), ...), (("retrain",), 7),
    (("search", "population"), -1), (("search", "evaluations"), 10**12), (("devices",), 7), (("devices",), {"latency_ms@laptop": 7}), (("plugins",), 7), (("files",), 7),
):  # fmt: skip
    table(
        "searches/small/search.json", path, value, REPORT, codes=(0,) if value == ["top1", "evil"] else (2,)
    )  # an objective may be a plugin's


def _many_values(line: bytes, size: int) -> bytes:
    return line * (size // len(line))


for what, content in {
    "lists in every line": _many_values(b'{"a":[' + b"[]," * 30_000 + b"[]]}\n", 64 * 2**20),
    "lists in one line": b'{"a":[' + b"[]," * 1_000_000 + b"[]]}\n",
    "small tables": _many_values(b'{"a":1}\n', 48 * 2**20),
}.items():

    def before_and_after(world: World, content: bytes = content) -> Iterable[str]:
        path = world.with_run().search / "evaluations.jsonl"
        put(path, path.read_bytes() + content)
        return REPORT

    add(f"evaluations.jsonl: {what}, behind good ones", before_and_after)


@case("a split.json of ninety megabytes of lists")
def lists_for_images(world: World) -> Iterable[str]:
    put(world.with_run().run / "split.json", b"[" + b"[]," * (30 * 2**20) + b"[]]")
    return EXTRACT


@case("an architecture of 4,096 different blocks")
def different_blocks(world: World) -> Iterable[str]:
    def change(data: Any) -> None:
        stage = data["stages"][0]
        stage["blocks"] = [
            stage["blocks"][0] | {"norm": {"part": "layer_norm", "eps": 1e-6 * (1 + number)}} for number in range(4096)
        ]

    world.with_network().change("net/arch.json", change)
    return ("cost", "net/arch.json")
