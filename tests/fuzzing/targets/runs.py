"""Folders of finished runs, as somebody else may have changed them; read by `nas report` and by `nas extract`.

The run of the corpus was made on digits by tests/fuzzing/renewing.py. Its supernet is the one of its seed, untrained: code makes it, and the networks in it
were scored in it. What it says of the machine and of the command is written over.
"""

import json
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzzing.mutation import json_bytes, mutated, mutated_text, put_otherwise
from tests.fuzzing.target import Target

CORPUS = Path(__file__).parents[1] / "corpus" / "run"

SEARCH = "searches/small"

TABLES = ("run.json", f"{SEARCH}/search.json", "split.json")

LINES = ("evaluations.jsonl", "retrained.jsonl", "references.jsonl", "measured.jsonl")
"""Files of records of a search."""

PICTURE_EVERY = 20
"""The picture takes longer than all the rest of a report: one input in so many draws it."""


@cache
def base() -> dict[str, bytes]:
    """The files of the run by their names."""
    return {
        path.relative_to(CORPUS).as_posix(): path.read_bytes() for path in sorted(CORPUS.rglob("*")) if path.is_file()
    }


@cache
def heavy() -> dict[str, bytes]:
    """What only extraction reads, and code makes: the split of the images and the weights of the supernet."""
    from nas.config.parsing import recorded_config
    from nas.data import make_split
    from nas.runs.store import RunStore
    from nas.runs.weights import save_tensors
    from search_spaces.named import check
    from search_spaces.space import SearchSpace
    from supernet.supernet import Supernet

    config = recorded_config(json.loads(base()["run.json"]), "run")
    split = make_split(config.data, config.seed)
    space = check(SearchSpace.from_toml(base()["space.toml"].decode(), "space.toml"))
    space = space.bind(split.in_channels, len(split.classes), config.data.resolution)
    with tempfile.TemporaryDirectory() as name:
        store = RunStore(name)
        store.write_json("split.json", split.to_dict())
        save_tensors(store, "supernet.safetensors", Supernet(space, config.seed).state_dict(), {})
        return {path.name: path.read_bytes() for path in Path(name).iterdir()}


def _sealed(record: Any, rng: random.Random) -> bytes:
    """A record as a line with its own checksum, or now and then with a wrong one or with none."""
    import zlib

    body = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    kind = rng.randrange(8)
    if kind == 0 or not body.endswith(b"}") or not record:
        return body + b"\n"
    return b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body[:-1]) ^ (kind == 1))


def _mutated_lines(rng: random.Random, data: bytes) -> bytes:
    """Lines with changed records, of which one is moved, doubled, damaged or left out now and then."""
    lines = data.splitlines(keepends=True)
    spot = rng.randrange(len(lines))
    kind = rng.randrange(8)
    if kind == 0:
        lines[spot:spot] = [lines[spot]] * rng.choice((1, 2, 300))
    elif kind == 1:
        rng.shuffle(lines)
    elif kind == 2:
        return mutated_text(rng, data.decode())
    else:
        record = json.loads(lines[spot])
        record.pop("crc", None)
        lines[spot] = _sealed(mutated(rng, record), rng)
    return b"".join(lines)


def _make(rng: random.Random, folder: Path, files: dict[str, bytes], tables: tuple[str, ...]) -> str:
    files = dict(files)
    kind = rng.choice(("table", "table", "lines", "lines", "text", "place"))
    records = [f"{SEARCH}/{name}" for name in LINES if f"{SEARCH}/{name}" in files]
    name = rng.choice(records if kind == "lines" else tables)
    if kind == "table":
        files[name] = json_bytes(mutated(rng, json.loads(files[name])))
    elif kind == "lines":
        files[name] = _mutated_lines(rng, files[name])
    elif kind == "text":
        name = rng.choice((name, "space.toml"))
        files[name] = mutated_text(rng, files[name].decode())
    for other, content in files.items():
        path = folder / "run" / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if kind == "place":
        put_otherwise(rng, folder / "run" / rng.choice((*tables, *records, SEARCH, "searches")), 6)
    return f"{kind} of {name.rpartition('/')[2]}" if kind in ("table", "lines") else kind


def make_report(rng: random.Random, folder: Path) -> str:
    drawn = rng.randrange(PICTURE_EVERY) == 0
    kind = _make(rng, folder, base(), TABLES[:2])
    (folder / "drawn").write_text("yes" * drawn)
    return kind


def make_extract(rng: random.Random, folder: Path) -> str:
    words = rng.choice((["run=run"], ["run=run", "out=out"], ["run=run", "verify=true"]))
    (folder / "words.json").write_text(json.dumps(["extract", *words]))
    return _make(rng, folder, base() | heavy(), TABLES)


def report(folder: Path) -> None:
    from unittest.mock import patch

    import nas.reporting.write
    from nas.cli import run

    if (folder / "drawn").read_text():
        run(["report", "run=run"])
        return
    with patch.object(nas.reporting.write, "png", lambda *_, **__: b""):
        run(["report", "run=run"])


def extract(folder: Path) -> None:
    from nas.cli import run

    run(json.loads((folder / "words.json").read_text()))


def _ready(words: list[str], files: dict[str, bytes]) -> None:
    """Runs the command once on the run as it is."""
    import contextlib
    import io

    from nas.cli import run

    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        for other, content in files.items():
            path = Path(name, other)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        run([*words, f"run={name}"])


def ready_report() -> None:
    _ready(["report"], base())


def ready_extract() -> None:
    _ready(["extract"], base() | heavy())


REPORT = Target("report", make_report, report, share=12_000, few=200, ready=ready_report)

EXTRACT = Target("extract", make_extract, extract, share=4_000, few=80, ready=ready_extract)
