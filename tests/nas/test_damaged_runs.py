"""Every file of a run, damaged: it is named and kept, and what can be made again is made again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import SEARCH, Commands, Runs
from tests.nas.places import tiny, untouched

After = Callable[[str], Path]


def set_format(text: str) -> str:
    return json.dumps(json.loads(text) | {"format": 99})


@pytest.mark.parametrize(
    ("file", "damage", "names"),
    [
        ("run.json", set_format, "another version of nas (layout 99)"),
        ("run.json", lambda text: text[:100], "run/run.json is damaged"),
        ("run.json", lambda text: "", "run/run.json is damaged"),
        ("run.json", lambda text: "\xff\xff", "run/run.json is damaged"),
        ("run.json", lambda text: "[]", "run/run.json is damaged"),
        ("run.json", lambda text: '{"format": 1}', "run/run.json is damaged"),
        ("run.json", lambda text: text.replace('"epochs"', '"epoch"', 1), "unknown key"),
        ("split.json", lambda text: None, "run/split.json is damaged (No such file"),
        ("split.json", lambda text: text[:100], "run/split.json is damaged"),
        ("split.json", lambda text: "{}", "split.json is damaged"),
        ("split.json", lambda text: text.replace('"seed": 0', '"seed": 1'), "run/split.json is not what the run was made with"),
        ("space.toml", lambda text: None, "run/space.toml is damaged (No such file"),
        ("space.toml", lambda text: text.replace("[16, 32]", "[16, 48]"), "run/space.toml is not what the run was made with"),
        ("space.toml", lambda text: text.replace("depthwise_conv", "depthwise"), "'depthwise'"),
        ("space.toml", lambda text: text[:60], "space.toml is not TOML"),
    ],
)  # fmt: skip
def test_damaged_descriptions(
    file: str, damage: Callable[[str], str | None], names: str, nas: Commands, after: After
) -> None:
    place = after("train")
    path = place / "run" / file
    changed = damage(path.read_text())
    assert changed != path.read_text()
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed.encode("latin-1"))
    with untouched(place):
        for verb in ("train", "search"):
            if not (verb == "train" and names == "unknown key"):  # to which the command's own configuration is enough
                nas(verb, "config.toml", cwd=place).refused(names)


def halve(path: Path) -> bytes:
    """Cuts a file in two, and returns what it was."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return content


def test_a_truncated_supernet_is_named_and_kept(nas: Commands, after: After) -> None:
    for verb, next_verb in (("train", "search"), ("search", "extract")):
        place = after(verb)
        halve(place / "run" / "supernet.safetensors")
        with untouched(place):
            nas(next_verb, "config.toml", cwd=place).refused("run/supernet.safetensors cannot be read")


def test_the_supernet_of_another_space_is_named(nas: Commands, after: After, runs: Runs, place: Path) -> None:
    path = place / "tiny.toml"
    path.write_text(tiny("width = [16, 32]", "width = [16]"))
    nas("train", "config.toml", cwd=place).ok()
    other = after("train")
    shutil.copy(place / "run" / "supernet.safetensors", other / "run")
    with untouched(other):
        nas("search", "config.toml", cwd=other).refused("run/supernet.safetensors does not fit")


@pytest.mark.parametrize("damage", ["", "\xff", '{"n": 0', '{"n": 0}'])
def test_a_damaged_line_is_named_and_made_again(damage: str, nas: Commands, after: After) -> None:
    """Readers refuse it. The verb that made the record sets the line aside and makes the same record again, and no other."""
    place = after("report")
    for name, verb, readers in (
        ("evaluations.jsonl", "search", ("extract", "report")),
        ("retrained.jsonl", "retrain", ("report",)),
    ):
        path = place / "run" / SEARCH / name
        lines = path.read_bytes().splitlines(keepends=True)
        line = damage.encode("latin-1") + b"\n"
        path.write_bytes(b"".join((*lines[:2], line, *lines[3:])))
        with untouched(place):
            for reader in readers:
                _, _, instead = nas(reader, "config.toml", cwd=place).refused(
                    f"line 3 of run/{SEARCH}/{name} is damaged"
                )
                assert instead.startswith(f"nas {verb} run=run search=small, which sets it aside")
        done = nas(verb, "config.toml", cwd=place).ok()
        assert f"line 3 of run/{SEARCH}/{name} is damaged: set aside in {name}.damaged" in done.out
        assert path.read_bytes() == b"".join((*lines[:2], *lines[3:], lines[2]))
        assert path.with_name(f"{name}.damaged").read_bytes() == line
        nas("report", "config.toml", cwd=place).ok()


def test_a_damaged_search_is_not_closed(nas: Commands, after: After) -> None:
    """Nothing would make the record again: it is refused, nothing is written, and the search can be resumed."""
    place = after("search")
    for name in ("evaluations.jsonl", "measured.jsonl"):
        path = place / "run" / "searches" / "small" / name
        sound = path.read_bytes() if path.exists() else b""
        path.write_bytes(sound + b'{"n":0,\n')
        with untouched(place):
            refused = nas("search", "run=run", "search=small", "close=true", cwd=place).refused(f"{name} is damaged")
        assert refused[2].startswith("nas search run=run search=small, which sets it aside")
        nas("search", "run=run", "search=small", cwd=place).ok()
        assert path.read_bytes() == sound
    nas("search", "run=run", "search=small", "close=true", cwd=place).ok()


@pytest.mark.parametrize(("old", "new"), [(b'"n":', b'"m":'), (b'"kind":"', b'"kind":"x')])
def test_a_line_of_another_version_is_named(old: bytes, new: bytes, nas: Commands, after: After) -> None:
    """Lines without a checksum are read as earlier versions wrote them, and never set aside."""
    place = after("search")
    path = place / "run" / SEARCH / "evaluations.jsonl"
    lines = [line[: line.rindex(b',"crc":')] + b"}\n" for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(lines))
    nas("extract", "config.toml", cwd=place).ok()
    lines[2] = lines[2].replace(old, new, 1)
    path.write_bytes(b"".join(lines))
    with untouched(place):
        for verb in ("search", "extract", "report"):
            nas(verb, "config.toml", cwd=place).refused(f"line 3 of run/{SEARCH}/evaluations.jsonl")


def test_a_torn_last_line_is_mended(nas: Commands, after: After, runs: Runs) -> None:
    for verb, name in (("search", "evaluations.jsonl"), ("retrain", "retrained.jsonl")):
        place = after(verb)
        path = place / "run" / SEARCH / name
        content = path.read_bytes()
        path.write_bytes(content[:-40])
        nas("report", "run=run", cwd=place).ok()
        nas(verb, "config.toml", cwd=place).ok()
        assert path.read_bytes() == content
