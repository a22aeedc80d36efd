"""Every way to type a command wrongly: exit code 2, a message that says what to do, and no file changed."""

import dataclasses
import re
import shutil
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from nas import extract, load_config, report, retrain, search, train
from nas.cli import VERBS
from nas.config import SECTIONS
from nas.config.effective import configure
from search_spaces.named import space_names
from tests.command_line import HEAVY, Commands, Runs, cold, environment, results, study
from tests.nas.places import untouched, without_page

# Arguments: refused before anything heavy is imported


@pytest.mark.parametrize("arguments", [(), ("--help",), ("spaces",), *((verb, "--help") for verb in VERBS)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...], place: Path) -> None:
    with untouched(place):
        result = cold(*arguments, cwd=place).ok()
    assert not result.imported & set(HEAVY)
    assert {"nas", "tomllib"} <= result.imported
    assert result.err == ""
    if arguments == ("spaces",):
        words = space_names()
    elif len(arguments) < 2:
        words = ["--help", *(f"  {verb} " for verb in VERBS)]
    else:
        words = [f"nas {arguments[0]}"]
    assert all(word in result.out for word in words)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb in SECTIONS])
def test_help_explains_the_keys_of_its_verb_only(verb: str, place: Path) -> None:
    """Each with its default, its type and what it means."""
    lines = cold(verb, "--help", cwd=place).ok().out.splitlines()
    keys = {
        line.strip().partition("=")[0]: lines[n + 1] for n, line in enumerate(lines) if re.match(r"  [a-z_.]+=", line)
    }
    own = {field.name for field in dataclasses.fields(SECTIONS[verb])}
    assert own <= keys.keys()
    for key, meaning in keys.items():
        assert meaning.startswith("      "), key
        assert len(meaning.split()) >= 2, key
    foreign = {key for key in keys if "." in key and not key.startswith("data.")}
    assert foreign <= {"search.name", "search.budget", "search.objectives", "retrain.points"}  # which it reads too
    joined = " ".join(" ".join(lines).split())
    for field in dataclasses.fields(SECTIONS[verb]):
        assert field.metadata["meaning"] in joined, field.name
    assert max(map(len, lines)) <= 120


def test_help_is_fast(place: Path) -> None:
    """Prints the time; a bound would fail on a busy machine."""
    (script,) = metadata.entry_points(group="console_scripts", name="nas")
    assert script.value == "nas.cli:command"
    seconds = []
    for _ in range(3):
        clock = time.monotonic()
        subprocess.run([sys.executable, "-m", "nas.cli", "--help"], cwd=place, env=environment(), check=True, capture_output=True)  # fmt: skip
        seconds.append(time.monotonic() - clock)
    print(f"nas --help: median of three {statistics.median(seconds):.2f} s")  # noqa: T201


def test_a_reader_that_has_seen_enough(place: Path) -> None:
    """As in `nas spaces | head`: no traceback, and nothing from the interpreter's last flush."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nas.cli", "spaces"], cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_a_space_is_shown(place: Path) -> None:
    assert "networks" in cold("spaces", "tiny.toml", cwd=place).ok().out


BAD_ARGUMENTS = [
    # verb and good arguments, the bad one, what the message names, what it offers
    ("train", "sed=3", "unknown key 'sed'", "seed=3"),
    ("train", "tran.epochs=3", "unknown key 'tran.epochs'", "train.epochs=3"),
    ("train", "train.epoch=3", "unknown key 'train.epoch'", "train.epochs=3"),
    ("train", "epoch=3", "unknown key 'epoch'", "instead: epochs=3"),
    ("search", "budgt=2M", "unknown key 'budgt'", "instead: budget=2M"),  # and not train.budget, which a search does not read
    ("search", "search.budgt=2M", "unknown key 'search.budgt'", "instead: search.budget=2M"),
    ("train", "objctives=top1,macs", "unknown key 'objctives'", "instead: search.objectives=top1,macs"),
    ("search", "resolutio=64", "unknown key 'resolutio'", "instead: data.resolution=64"),
    ("search", "workrs=2", "unknown key 'workrs'", "instead: data.workers=2"),
    ("retrain", "bugdet=3M", "unknown key 'bugdet'", "instead: train.budget=3M"),
    ("demo", "rot=3", "unknown key 'rot'", "instead: data.root=3"),
    ("train", "evaluations=3", "unknown key 'evaluations'", "search.evaluations=3"),
    ("retrain", "budget=3M", "unknown key 'budget'", "train.budget=3M"),
    ("train", "budget=5X", "train.budget is '5X'", "train.budget=3M"),
    ("train", "budget=0", "train.budget is '0'", "train.budget=3M"),
    ("train", "budget=-3M", "train.budget is '-3M'", "train.budget=3M"),
    ("train", "budget=4M..2M", "no macs can be at least 4M and at most 2M", "train.budget=macs=2M..4M"),
    ("train", "largest=0.5", "train.largest is 0.5", "train.largest=1"),
    ("train", "data.name.x=digits", "unknown key 'data.name.x'", "data.name=digits"),
    ("train", "=3", "argument '=3'", "run=VALUE"),
    ("train run=new", "seed", "argument 'seed'", "seed=VALUE"),
    ("train", "train.epochs=many", "train.epochs is 'many'", "train.epochs=40"),
    ("train", "train.epochs=1.5", "train.epochs is 1.5", "train.epochs=40"),
    ("train", "epochs=true", "train.epochs is True", "train.epochs=40"),
    ("train", "train.lr=fast", "train.lr is 'fast'", "train.lr=0.002"),
    ("train", "train.lr=nan", "train.lr is nan", "train.lr=0.002"),
    ("train", "retrain.lr=inf", "retrain.lr is inf", "retrain.lr=0.002"),
    ("train", "extract.verify=1", "extract.verify is 1", "extract.verify=false"),
    ("train", "train.epochs=0", "train.epochs is 0", "train.epochs=1"),
    ("train", "train.lr=-1", "train.lr is -1", "train.lr=0"),
    ("train", "data.resolution=2", "data.resolution is 2", "data.resolution=4"),
    ("train", "train.ema=1", "train.ema is 1", "train.ema=0.2"),
    ("train", "train.distill=2", "train.distill is 2", "train.distill=0.5"),
    ("train", "data.validation_fraction=0", "data.validation_fraction is 0", "data.validation_fraction=0.2"),
    ("train", "data.augment=ligth", "'ligth'", "data.augment=light"),
    ("train", "train.amp=bf61", "'bf61'", "train.amp=bf16"),
    ("train", "seed=-1", "seed is -1", "seed=0"),
    ("train", "run=", "run is empty", "run=runs/mine"),
    ("train", "data=digit", "unknown data set 'digit'", "data=digits"),
    ("train", "data=folder", "data=folder without a folder", "data.root=PATH"),
    ("train", "space=image32", "unknown space 'image32'", "space=images32"),
    ("train", "space=missing.toml", "missing.toml does not exist", "space=digits"),
    ("train", "search.budget=5X", "search.budget is '5X'", "search.budget=3M"),
    ("train", "search.budget=0", "search.budget is '0'", "search.budget=3M"),
    ("train", "search.budget=1e400M", "search.budget is '1e400M'", "search.budget=none"),
    ("train", "search.budget=1e999999999", "search.budget is '1e999999999'", "search.budget=none"),
    ("train", "search.budget=1000000001G", "search.budget is '1000000001G'", "search.budget=none"),
    ("train", f"search.budget={'1' * 5000}", "search.budget is '1111", "search.budget=none"),
    ("train", f"search.evaluations={'1' * 400}", "search.evaluations is '1111", "search.evaluations=100"),
    ("train", f"train.epochs={'1' * 5000}", "train.epochs is '1111", "train.epochs=40"),
    ("train", f"train.lr={'1' * 400}", "train.lr is '1111", "train.lr=0.002"),
    ("train", f"threads={'1' * 400}", "threads is '1111", "threads=1"),
    ("train", "threads=5000", "threads is 5000", "threads=1"),
    ("train", "search.budget=nan", "search.budget is 'nan'", "search.budget=3M"),
    ("train", "search.budget=macs=2M,macs=3M", "search.budget is 'macs=2M,macs=3M'", "search.budget=macs=3M"),
    ("train", "search.budget=macs=", "search.budget is 'macs='", "search.budget=3M"),
    ("train", "search.samplers=nsga2,nsga2", "'nsga2', 'nsga2'", "search.samplers=nsga2,random"),
    ("train", "search.samplers=nsga4", "unknown search.samplers 'nsga4'", "search.samplers=nsga3"),
    ("train", "search.samplers=[1]", "unknown search.samplers '1'", "search.samplers="),
    ("train", "search.objectives=macs", "search.objectives are ['macs']", "search.objectives=top1,macs"),
    ("train", "search.objectives=[]", "search.objectives are []", "search.objectives=top1,macs"),
    ("train", "search.options=many", "search.options has 'many'", "search.options=tpe.n_startup_trials=20"),
    ("train", "search.name=a/b", "search.name is 'a/b'", "search.name=a-b"),
    ("train", "search.batch=0", "search.batch is 0", "search.batch=1"),
    ("train", "executor=thread", "unknown executor 'thread'", "executor=here"),
    ("train", "retrain.inits=inherit", "unknown init 'inherit'", "retrain.inits=inherited"),
    ("train", "retrain.inits=[]", "retrain.inits are []", "retrain.inits=scratch"),
    ("train", "missing.toml", "config file missing.toml", ""),
    ("train", "runs/mine", "argument 'runs/mine'", "run=runs/mine"),
    ("train seed=1", "config.toml", "argument 'config.toml'", "config.toml before all key=value"),
    ("search", "epochs=3", "unknown key 'epochs'", "train.epochs=3"),
    ("search", "budget=5X", "search.budget is '5X'", "search.budget=3M"),
    ("retrain", "epochs=0", "retrain.epochs is 0", "retrain.epochs=1"),
    ("extract", "verify=1", "extract.verify is 1", "extract.verify=false"),
    ("demo", "search.budget=5X", "search.budget is '5X'", "search.budget=3M"),
    ("spaces", "image32", "unknown space 'image32'", "nas spaces images32"),
    ("spaces digits", "images32", "arguments ['digits', 'images32']", "nas spaces digits"),
    ("spaces", "budget=3M", "arguments ['budget=3M']", "nas spaces digits"),
    ("spaces digits", "budgt=3M", "unknown key 'budgt'", "budget=3M"),
    ("spaces digits", "budget=5X", "train.budget is '5X'", "train.budget=3M"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("good", "bad", "names", "offers"), BAD_ARGUMENTS, ids=[bad[:40] for _, bad, _, _ in BAD_ARGUMENTS]
)
def test_bad_arguments(good: str, bad: str, names: str, offers: str, place: Path) -> None:
    verb, *arguments = good.split()
    with untouched(place):
        result = cold(verb, *arguments, bad, cwd=place)
    _, _, instead = result.refused(names)
    assert not result.imported & set(HEAVY)
    assert result.out == ""
    assert offers in f"instead: {instead}"
    if re.fullmatch(r"[\w.]+=[\w.,/\"\[\]]+", instead) and verb != "spaces" and "VALUE" not in instead:
        # What is offered is accepted, for another verb of the same arguments (this one may need a run).
        kept = [bad] if bad == "data=folder" else []
        assert configure("train", [*arguments, *kept, instead])


def test_an_unknown_verb(place: Path) -> None:
    result = cold("trian", "run=new", cwd=place)
    assert result.refused("unknown verb 'trian'")[2] == "nas train"
    assert not result.imported & set(HEAVY)


@pytest.mark.parametrize(
    ("text", "names", "offers"),
    [
        ("epochs = = 3", "config file bad.toml is not TOML", "fix bad.toml"),
        (f"seed = {'1' * 5000}", "config file bad.toml is not TOML: Exceeds the limit", "fix bad.toml"),
        (b"\xff\xfe\x00", "config file bad.toml is not TOML", "fix bad.toml"),
        ("sed = 3", "config file bad.toml: unknown key 'sed'", "seed=VALUE"),
        ("[tran]\nepochs = 3", "config file bad.toml: unknown key 'tran'", "[train]"),
        ("[train]\nepoch = 3", "config file bad.toml: unknown key 'train.epoch'", "train.epochs=VALUE"),
        ("[train]\nepochs = 'many'", "config file bad.toml: train.epochs is 'many'", "train.epochs=40"),
        ("train = 3", "config file bad.toml: train is 3", "[train]"),
        ("[train]\nepochs = 0", "train.epochs is 0", "train.epochs=1"),
        ("space = 'digit'", "unknown space 'digit'", "space=digits"),
        (None, "config file bad.toml", "a key=value argument"),
    ],
)
def test_bad_config_files(text: str | bytes | None, names: str, offers: str, place: Path) -> None:
    if text is None:
        (place / "bad.toml").mkdir()
    else:
        (place / "bad.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with untouched(place):
        result = cold("train", "bad.toml", cwd=place)
    assert offers in result.refused(names)[2]
    assert not result.imported & set(HEAVY)


def test_arguments_complete_a_config_file(place: Path) -> None:
    """A file may leave out what only its user knows."""
    path = place / "own.toml"
    path.write_text("[data]\nname = 'folder'\n[train]\nepochs = 3")
    [config] = configure("train", [str(path), "data.root=images", "epochs=4"])
    assert (config.data.name, config.data.root, config.train.epochs) == ("folder", "images", 4)


@pytest.mark.parametrize("verb", ["search", "extract", "retrain", "report"])
@pytest.mark.parametrize("run", ["missing", "config.toml"])
def test_verbs_that_need_a_run_say_so(verb: str, run: str, place: Path) -> None:
    with untouched(place):
        result = cold(verb, f"run={run}", cwd=place)
    assert result.refused(f"{run} holds no run", "run.json")[2] == f"nas train run={run}"
    assert not result.imported & set(HEAVY)


# All verbs at once


def test_the_demo_is_all_verbs(nas: Commands, place: Path, runs: Runs) -> None:
    assert "report: run/report.html" in nas("demo", "config.toml", cwd=place).ok().out
    found = results(place)
    assert without_page(place) == without_page(runs["report"])
    nas("demo", "config.toml", cwd=place).ok()
    assert results(place) == found


def test_the_verbs_in_python(image_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files, in one process, with every shape checked; what a verb returned may be kept."""
    place = Path(shutil.copytree(image_runs.before("train"), tmp_path / "place"))
    monkeypatch.chdir(place)
    config = load_config("config.toml")
    kept = [verb(config) for verb in (train, search, extract, retrain, report)]
    assert kept[-1] == Path("run", "report.html")
    assert without_page(place) == without_page(image_runs["report"])
    assert study(place) == study(image_runs["report"])
