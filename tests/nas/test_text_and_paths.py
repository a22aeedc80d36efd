"""Text in the encodings that editors write, under every locale, and paths that begin with `~`."""

import getpass
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nas import load_config, load_network
from nas.log import say
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from search_spaces.named import read_space, space_file
from search_spaces.textfiles import decode, expanded
from tests.command_line import HEAVY, SEARCH, SPACE, Commands, Runs, cold, contents, results
from tests.nas.places import untouched

After = Callable[[str], Path]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A terminal, and a file system encoding, that are not UTF-8."""


def mark(path: Path) -> None:
    """As Windows' Notepad saves a file: a byte-order mark, and CR LF at the ends of lines."""
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


# Encodings


def test_files_with_a_byte_order_mark(nas: Commands, place: Path, runs: Runs) -> None:
    for name in ("config.toml", "tiny.toml"):
        mark(place / name)
    assert cold("spaces", "tiny.toml", cwd=place).ok().out.startswith('name = "tiny"\n')
    nas("train", "config.toml", cwd=place).ok()
    expected = results(runs["train"])
    assert results(place) == expected  # the space too, without the mark
    for name in ("run.json", "space.toml", "split.json", "train.jsonl"):
        mark(place / "run" / name)
    nas("search", "run=run", cwd=place).ok()


def test_a_network_with_a_byte_order_mark(nas: Commands, after: After) -> None:
    place = after("extract")
    folder = min((place / "run" / SEARCH / "networks").iterdir())
    mark(folder / "arch.json")
    assert load_network(folder).arch.digest == folder.name
    for name in (f"{SEARCH}/evaluations.jsonl", "run.json"):
        mark(place / "run" / name)
    nas("report", "run=run", cwd=place).ok()
    nas("extract", "run=run", "verify=true", cwd=place).ok()


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-16", "it is saved as UTF-16, and only UTF-8 is read"),
        ("utf-16-le", "it has zero bytes, as text saved as UTF-16 has"),
        ("utf-16-be", "it has zero bytes, as text saved as UTF-16 has"),
        ("utf-32", "it is saved as UTF-32, and only UTF-8 is read"),
        ("latin-1", "'utf-8' codec can't decode byte 0xfc"),
    ],
)
def test_other_encodings_are_named(encoding: str, names: str, nas: Commands, runs: Runs, place: Path) -> None:
    (place / "other.toml").write_bytes(f"# für\n{SPACE}".encode(encoding))
    with untouched(place):
        for arguments in (
            ("spaces", "other.toml"),
            ("train", "other.toml"),
            ("train", "config.toml", "space=other.toml"),
        ):
            result = cold(*arguments, cwd=place) if arguments[0] == "spaces" else nas(*arguments, cwd=place)
            assert "fix other.toml" in result.refused("other.toml is not TOML: ", names)[2]
            assert not result.imported & set(HEAVY)
    folder = Path(shutil.copytree(min((runs["extract"] / "run" / SEARCH / "networks").iterdir()), place / "network"))
    (folder / "arch.json").write_bytes(("/* für */" + (folder / "arch.json").read_text()).encode(encoding))
    with pytest.raises(InputError, match=r"arch\.json is damaged"):
        load_network(folder, "weights.safetensors")


@pytest.mark.parametrize("name", ["run.json", "space.toml", "train.jsonl"])
def test_a_run_whose_files_were_saved_anew(name: str, nas: Commands, after: After) -> None:
    place = after("train")
    path = place / "run" / name
    path.write_bytes(path.read_text().encode("utf-16"))
    with untouched(place):
        if name == "train.jsonl":
            with pytest.raises(InputError, match="it is saved as UTF-16"):
                RunStore(place / "run").records(name)
        else:
            nas("search", "run=run", cwd=place).refused(f"run/{name}", "it is saved as UTF-16")


def test_line_ends_are_line_feeds() -> None:
    assert decode(b"\xef\xbb\xbfa\r\nb\rc\n") == "a\nb\nc\n"


# Locales


@pytest.mark.slow
def test_all_verbs_without_utf8(place: Path) -> None:
    """What is written is UTF-8, and what an ASCII terminal cannot show is escaped."""
    (place / "tiny.toml").write_text(f"# größe\n{SPACE}".replace("Four", "Größe →"), encoding="utf-8")
    (place / "weiß.toml").write_bytes((place / "tiny.toml").read_bytes())
    assert r"Gr\xf6\xdfe \u2192 mixers" in cold("spaces", "tiny.toml", cwd=place, **ASCII).ok().out
    settings = (place / "config.toml").read_text()
    (place / "config.toml").write_text(settings.replace('"run"', '"läufe/ß"').replace("tiny", "weiß"), encoding="utf-8")
    for verb in ("train", "search", "report"):
        cold(verb, "config.toml", cwd=place, **ASCII).ok()
    run = place / "läufe" / "ß"
    assert "größe" in (run / "space.toml").read_text(encoding="utf-8")
    assert '<meta charset="utf-8">' in (run / "report.html").read_text(encoding="utf-8")
    with untouched(place):
        cold("train", "config.toml", "space=ß.toml", cwd=place, **ASCII).refused("does not exist")
        cold("train", "config.toml", "seed=ß", cwd=place, **ASCII).refused("seed is")
    cold("train", "config.toml", cwd=place, PYTHONUTF8="1").ok()  # the same folder


@pytest.mark.parametrize(
    ("encoding", "errors", "shown"),
    [
        ("ascii", "strict", rb"gr\xf6\xdfe \udcff"),
        ("ascii", "surrogateescape", rb"gr\xf6\xdfe \udcff"),
        ("latin-1", "strict", rb"gr" + b"\xf6\xdf" + rb"e \udcff"),
        ("utf-8", "strict", "größe \\udcff".encode()),
        ("utf-8", "surrogateescape", "größe ".encode() + b"\xff"),
    ],
)
def test_names_that_a_terminal_cannot_show(encoding: str, errors: str, shown: bytes) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding, errors)
    say("größe \udcff", stream)
    assert buffer.getvalue() == shown + b"\n"


# Home


def test_paths_from_home(nas: Commands, place: Path, tmp_path: Path, runs: Runs) -> None:
    """In arguments, where the shell has left it, and in files: configuration, space, run and the folders of what is written."""
    home = tmp_path / "home"
    home.mkdir()
    (place / "tiny.toml").rename(home / "tiny.toml")
    text = (place / "config.toml").read_text()
    (home / "config.toml").write_text(text.replace('"run"', '"~/runs/mine"').replace("tiny.toml", "~/tiny.toml"))
    (place / "config.toml").unlink()
    env = {"HOME": str(home)}
    assert "46,656 networks" not in cold("spaces", "~/tiny.toml", cwd=place, **env).ok().out
    nas("train", "~/config.toml", cwd=place, env=env).ok()
    nas("search", "run=~/runs/mine", cwd=place, env=env).ok()
    nas("extract", "run=~/runs/mine", "out=~/models", cwd=place, env=env).ok()
    printed = nas("report", "run=~/runs/mine", cwd=place, env=env).ok().out
    assert f"report: {home}/runs/mine/report.html" in printed
    assert sorted(path.name for path in home.iterdir()) == ["config.toml", "models", "runs", "tiny.toml"]
    assert list(place.iterdir()) == []
    (network, *_) = sorted(path.name for path in (home / "models").iterdir())
    assert network in contents(home / "models")


def test_paths_from_home_in_python(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(runs["extract"], tmp_path / "place")
    network = min((tmp_path / "place" / "run" / SEARCH / "networks").iterdir())
    assert load_network(f"~/place/run/{SEARCH}/networks/{network.name}").arch.digest == network.name
    assert load_network(Path(f"~/place/run/{SEARCH}/networks") / network.name).arch.digest == network.name
    assert load_config("~/place/config.toml").train.epochs == 1
    assert read_space("~/place/tiny.toml") == read_space(tmp_path / "place" / "tiny.toml")
    assert space_file(Path("~/place/tiny.toml")) == tmp_path / "place" / "tiny.toml"
    assert RunStore("~").folder == tmp_path
    user = getpass.getuser()
    assert expanded(f"~{user}/x") == Path(f"~{user}/x").expanduser()
    assert expanded("a/~/b") == Path("a/~/b")
    assert expanded("./~") == expanded(expanded("./~")) == Path.cwd() / "~"


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "run=~nobody-here/mine"),
        ("train", "space=~nobody-here/a.toml"),
        ("train", "~nobody-here/a.toml"),
        ("spaces", "~nobody-here/a.toml"),
        ("search", "run=~nobody-here"),
    ],
)
def test_an_unknown_user(arguments: tuple[str, ...], place: Path) -> None:
    with untouched(place):
        result = cold(*arguments, cwd=place)
    _, _, instead = result.refused("begins with ~nobody-here, and there is no user 'nobody-here'")
    assert instead.startswith("./~nobody-here")


def test_an_unknown_user_of_other_paths(nas: Commands, runs: Runs, place: Path) -> None:
    (place / "a.toml").write_text('run = "~nobody-here/mine"')
    with untouched(place):
        nas("train", "a.toml", cwd=place).refused("there is no user 'nobody-here'")
        nas("convert", "~nobody-here/a.pth", "--model", "transxnet_tiny", cwd=place).refused("no user 'nobody-here'")
    with untouched(runs["report"]):
        nas("extract", "run=run", "out=~nobody-here/models", cwd=runs["report"]).refused("no user 'nobody-here'")
    with pytest.raises(InputError, match="no user 'nobody-here'"):
        load_network("~nobody-here/network")


def test_a_converted_network_from_home(nas: Commands, place: Path, tmp_path: Path) -> None:
    """The file and the folder; what is not found is named as the path that was meant."""
    given, _, _ = nas(
        "convert", "~/a.pth", "--model", "transxnet_tiny", "--out", "~/b", cwd=place, env={"HOME": str(tmp_path)}
    ).refused("is no file")
    assert given.startswith(f"{tmp_path}/a.pth")


def test_the_results_of_a_run_do_not_name_home(nas: Commands, place: Path, tmp_path: Path) -> None:
    """`space=~/tiny.toml` stays as it was typed, so that the run moves with its home."""
    shutil.copy(place / "tiny.toml", tmp_path / "tiny.toml")
    nas("train", "config.toml", "space=~/tiny.toml", cwd=place, env={"HOME": str(tmp_path)}).ok()
    assert json.loads((place / "run" / "run.json").read_text())["config"]["space"] == "~/tiny.toml"
    nas("search", "run=run", cwd=place, env={"HOME": "/nowhere"}).ok()
