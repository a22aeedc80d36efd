"""Every way to type a command wrongly, and every way in which its files can be damaged: exit code 2, a message that says what to do,
and no file changed."""

import dataclasses
import gzip
import json
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest
from filelock import lock_descriptor

from nas import extract, load_config, report, retrain, search, train
from nas.cli import VERBS
from nas.config import SECTIONS
from nas.config.effective import configure
from nas.goals.budget import Budget
from nas.runs.store import RunStore
from search_spaces.counting import decimal, worded
from search_spaces.named import load_space, space_names
from tests.command_line import (
    HEAVY,
    SEARCH,
    SPACE,
    Commands,
    Runs,
    cold,
    contents,
    environment,
    make_images,
    results,
    study,
)

After = Callable[[str], Path]


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """Checks that every file in a folder stays as it is, and that none is added."""
    before = contents(folder)
    yield
    after = contents(folder)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    # A verb that has looked at a run leaves its lock, which is empty.
    assert [name for name in changed if name != "run/work/lock"] == []


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
    assert script.value == "nas.cli:main"
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


HUGE = """\
name = "huge"
about = "Many blocks with many options."
head = {{ part = "linear_head" }}

[block]
position = [{{ part = "none" }}, {{ part = "dpe", kernel_size = [3, 5] }}]
norm = [{{ part = "layer_norm" }}]
mixer = [{{ part = "identity" }}, {{ part = "depthwise_conv", kernel_size = [3, 5, 7] }}]
ffn = [{{ part = "mlp", ratio = [1, 2, 3] }}]
scale = [{{ part = "none" }}]

[[stages]]
width = [4]
depth = [{depth}]
embedding = [{{ part = "conv_stem", stride = 4 }}]
"""
"""36 ** depth networks."""


@pytest.mark.parametrize(
    ("depth", "words"),
    [(3, "46,656"), (198, "1.41e+308"), (199, "5.06e+309"), (256, "2.59e+398")],
)
def test_the_size_of_a_huge_space(depth: int, words: str, nas: Commands, place: Path) -> None:
    """A float ends at 1.8e308, and Python refuses to write integers of more than 4,300 digits."""
    (place / "huge.toml").write_text(HUGE.format(depth=depth))
    out = nas("spaces", "huge.toml", cwd=place).ok().out
    assert f"# {words} networks, {5 * depth} choices, 1 stage\n" in out


HUGE_RUN = ("config.toml", "space=huge.toml", "train.random_paths=0", "train.batch_size=1024")


def test_a_huge_space_is_trained(nas: Commands, place: Path) -> None:
    (place / "huge.toml").write_text(HUGE.format(depth=256))
    printed = nas("train", *HUGE_RUN, cwd=place).ok().out
    assert f"supernet of space huge ({worded(36**256)} networks, " in printed
    assert json.loads((place / "run" / "run.json").read_text())["space_size"] == decimal(36**256)


BAD_ARGUMENTS = [
    # verb and good arguments, the bad one, what the message names, what it offers
    ("train", "sed=3", "unknown key 'sed'", "seed=3"),
    ("train", "tran.epochs=3", "unknown key 'tran.epochs'", "train.epochs=3"),
    ("train", "train.epoch=3", "unknown key 'train.epoch'", "train.epochs=3"),
    ("train", "epoch=3", "unknown key 'epoch'", "train.epochs=3"),
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
    ("spaces", "image32", "unknown space 'image32'", "space=images32"),
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
    assert offers in instead
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


# Places


def test_folders_that_are_no_runs_are_left_alone(nas: Commands, place: Path) -> None:
    (place / "run").mkdir()
    (place / "run" / "thesis.txt").write_text("not to be touched")
    with untouched(place):
        nas("train", "config.toml", cwd=place).refused("run is not empty")
        nas("train", "config.toml", "run=config.toml", cwd=place).refused("config.toml is not empty")
        given, _, _ = nas("train", "config.toml", "run=config.toml/run", cwd=place).refused("config.toml/run")
    assert "cannot be written" in given


def test_what_killed_processes_left_does_not_matter(nas: Commands, place: Path, runs: Runs) -> None:
    """Temporary files of a process that is gone are removed; a run that was killed while it was made is made again."""
    (place / "run").mkdir()
    gone, alive = 2**22 + 1, os.getpid()  # no process has a number that high
    for process in (gone, alive):
        (place / "run" / f".split.json.{process}.tmp").write_text("{")
    (place / "run" / "space.toml").write_text("name =")
    nas("train", "config.toml", cwd=place).ok()
    assert [path.name for path in (place / "run").glob(".*.tmp")] == [f".split.json.{alive}.tmp"]
    (place / "run" / f".split.json.{alive}.tmp").unlink()
    assert results(place) == results(runs["train"])


# Spaces


def tiny(old: str, new: str) -> str:
    assert SPACE.count(old) == 1, old
    return SPACE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "names", "offers", "fixed"),
    [
        ("depthwise_conv", "depthwise_con", ["token mixer 'depthwise_con'"], 'part = "depthwise_conv"', "depthwise_conv"),
        ('"mlp"', '"mpl"', ["channel mixer 'mpl'"], 'part = "mlp"', '"mlp"'),
        ("linear_head", "linear", ["head 'linear'"], 'part = "linear_head"', "linear_head"),
        ("kernel_size = [3, 5]", "kernel = [3, 5]", ["option", "'depthwise_conv'", "'kernel'"], "kernel_size = ...", "kernel_size = [3, 5]"),
        ("kernel_size = [3, 5]", 'kernel_size = "3"', ["depthwise_conv.kernel_size is '3'"], "kernel_size = 7", "kernel_size = 7"),
        ("kernel_size = [3, 5]", "kernel_size = [3, 4]", ["kernel_size is 4"], "kernel_size = 3", "kernel_size = 3"),
        ("kernel_size = [3, 5]", "kernel_size = []", ["kernel_size is []"], "leave kernel_size out, which takes its default", None),
        ("kernel_size = [3, 5]", "kernel_size = {a = 1}", ["kernel_size is {'a': 1}"], "kernel_size = 1", None),
        ("attention_ratio = [0.25, 0.5]", "attention_ratio = [0.01, 0.5]", ["stages.0.blocks", "attention_ratio 0.01 of 16 channels is 0"], "attention_ratio = 0.5", "attention_ratio = 0.5"),
        ("width = [16, 32]", "width = [32, 16]", ["stage 0.width is [32, 16]"], "width = [16, 32]", "width = [16, 32]"),
        ("depth = [1, 2]", 'depth = "deep"', ["stage 0.depth is 'deep'"], "depth = [1, 2]", "depth = [1, 2]"),
        ("depth = [1, 2]", f"depth = [1, {10**30}]", ["stage 0.depth is [1, 1000000"], "depth = [1]", "depth = [1]"),
        ("width = [16, 32]", f"width = [16, {10**400}]", ["bad.toml is not TOML: it has a number above 10^300"], "fix bad.toml", "width = [16]"),
        ("kernel_size = [3, 5]", f"kernel_size = [3, {10**30 + 1}]", ["'depthwise_conv' with 'kernel_size' = a number of more than 18 digits"], "fewer or smaller choices", "kernel_size = 3"),
        ("ratio = [1, 2]", f"ratio = [1, {10**400}]", ["bad.toml is not TOML: it has a number above 10^300"], "fix bad.toml", "ratio = 4.0"),
        ("ratio = [1, 2]", f"ratio = [1, 1{'0' * 5000}]", ["bad.toml is not TOML: Exceeds the limit"], "fix bad.toml", "ratio = 1"),
        ("depth = ", "dept = ", ["key in bad.toml: stage 0: 'dept'"], "depth = ...", "depth = "),
        ("about = ", "abuot = ", ["key in bad.toml: 'abuot'"], "about = ...", "about = "),
        ('norm = [{ part = "layer_norm" }]', "", ["lacks norm"], "norm = ...", 'norm = [{ part = "layer_norm" }]'),
        ("[[stages]]", "[[stage]]", ["key in bad.toml: 'stage'"], "stages = ...", "[[stages]]"),
        (SPACE[SPACE.index("[[stages]]") :], "", ["lacks stages"], "stages = ...", None),
        (SPACE[SPACE.index("[block]") :], "stages = []", ["bad.toml has no stages"], "[[stages]]", None),
        ('per_stage = ["ffn"]', 'per_stage = ["fnn"]', ["per_stage: 'fnn'"], 'per_stage = ["ffn"]', 'per_stage = ["ffn"]'),
        ('per_stage = ["ffn"]', 'per_stage = "ffn"', ["per_stage is 'ffn'"], 'per_stage = ["ffn"]', 'per_stage = ["ffn"]'),
        ('per_stage = ["ffn"]', "per_stage = 3", ["per_stage is 3"], 'per_stage = ["ffn"]', 'per_stage = ["ffn"]'),
        ('name = "tiny"', "name = = 3", ["bad.toml is not TOML"], "fix bad.toml", 'name = "tiny"'),
        ('name = "tiny"', 'name = "\xff"', ["bad.toml is not TOML"], "fix bad.toml", 'name = "tiny"'),
    ],
)  # fmt: skip
def test_bad_spaces(
    old: str, new: str, names: list[str], offers: str, fixed: str | None, nas: Commands, place: Path
) -> None:
    (place / "bad.toml").write_bytes(tiny(old, new).encode("latin-1"))
    with untouched(place):
        result = nas("train", "config.toml", "space=bad.toml", cwd=place)
    assert offers in result.refused(*names)[2]
    if fixed is not None:
        (place / "bad.toml").write_text(tiny(old, fixed))
        assert load_space(place / "bad.toml").size > 1


# Budgets


def test_a_budget_that_no_network_meets(nas: Commands, after: After, place: Path) -> None:
    trained = after("train")
    with untouched(trained):
        given, allowed, instead = nas("search", "run=run", "budget=1K", cwd=trained).refused(
            "space tiny", "macs=1K", "macs is the binding limit"
        )
    least = int(re.findall(r"[\d,]+", allowed)[0].replace(",", ""))
    offered = Budget.parse(instead.removeprefix("search.budget=")).limit("macs")
    assert offered
    assert least <= offered <= 1.01 * least
    with untouched(place):  # and before anything is trained
        assert nas("train", "config.toml", "search.budget=1K", cwd=place).refused()[2] == instead
        assert nas("demo", "config.toml", "search.budget=1K", cwd=place).refused()[2] == instead
    nas("search", "run=run", instead, cwd=trained).ok()
    [path] = (trained / "run").rglob("evaluations.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert min(record["costs"]["macs"] for record in records) == least
    nas("search", "run=run", "budget=1K", cwd=trained).refused(given.split(" has ")[0])


# Data


def idx(values: bytes, *shape: int, magic: int | None = None) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic or 0x0800 + len(shape), *shape) + values


def make_fashion(root: Path) -> None:
    root.mkdir()
    for prefix, each in (("train", 8), ("t10k", 2)):
        labels = bytes(range(10)) * each
        images = b"".join(bytes([label * 20 + n % each]) * 784 for n, label in enumerate(labels))
        (root / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images, len(labels), 28, 28))
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels, len(labels)))


def test_folders_without_images(nas: Commands, place: Path) -> None:
    settings = ("train", "config.toml", "data=folder", "data.root=images")
    with untouched(place):
        nas(*settings, cwd=place).refused("images is not a folder")
    (place / "images").mkdir()
    with untouched(place):
        nas(*settings, cwd=place).refused("images is empty of images")
    make_images(place / "images", classes=2)
    (place / "images" / "class2").mkdir()
    (place / "images" / "class2" / "notes.txt").write_text("no image")
    with untouched(place):
        nas(*settings, cwd=place).refused("class 'class2' has no image in ", "images/class2")
        nas(*settings, "data.root=config.toml", cwd=place).refused("config.toml is not a folder")
    (place / "images" / "class2").rename(place / "images" / ".hidden")
    with untouched(place):
        _, _, instead = nas(*settings, cwd=place).refused("train.batch_size is 128")
    nas(*settings, instead, cwd=place).ok()


@pytest.mark.parametrize("damage", [b"", b"no image at all", "half"])
def test_damaged_images_are_named(damage: bytes | str, nas: Commands, place: Path) -> None:
    make_images(place / "images" / "test", seed=1)
    image = make_images(place / "images" / "train") / "class1" / "3.png"
    content = image.read_bytes()
    image.write_bytes(damage if isinstance(damage, bytes) else content[: len(content) // 2])
    with untouched(place):
        result = nas("train", "config.toml", "data=folder", "data.root=images", cwd=place)
    result.refused("images/train/class1/3.png")


@pytest.mark.parametrize(
    ("file", "change", "names"),
    [
        ("train-images-idx3-ubyte", lambda data: None, ["train-images-idx3-ubyte does not exist"]),
        ("t10k-labels-idx1-ubyte", lambda data: None, ["t10k-labels-idx1-ubyte does not exist"]),
        ("train-images-idx3-ubyte", lambda data: data[:-100], ["train-images-idx3-ubyte", "header announces 62720"]),
        ("t10k-images-idx3-ubyte", lambda data: data[:7], ["t10k-images-idx3-ubyte begins with 00000803"]),
        ("train-labels-idx1-ubyte", lambda data: b"", ["train-labels-idx1-ubyte begins with nothing"]),
        ("train-labels-idx1-ubyte", lambda data: idx(data[8:], 80, magic=0x0D01), ["begins with 00000d01"]),
        ("train-labels-idx1-ubyte", lambda data: idx(data[9:], 79), ["has 80 images", "has 79 labels"]),
        ("train-labels-idx1-ubyte", lambda data: data[:-1] + b"\x0a", ["label 10"]),
    ],
)
def test_damaged_idx_files_are_named(
    file: str, change: Callable[[bytes], bytes | None], names: list[str], nas: Commands, place: Path
) -> None:
    make_fashion(place / "files")
    path = place / "files" / file
    changed = change(path.read_bytes())
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    with untouched(place):
        result = nas("train", "config.toml", "data=fashion_mnist", "data.root=files", cwd=place)
    assert "data.root=PATH" in result.refused("files/", *names)[2]


def test_idx_files_may_be_packed_and_may_not_be_cut(nas: Commands, place: Path) -> None:
    settings = ("train", "config.toml", "data=fashion_mnist", "data.root=files", "train.batch_size=16")
    make_fashion(place / "files")
    plain = place / "files" / "train-images-idx3-ubyte"
    packed = gzip.compress(plain.read_bytes())
    plain.unlink()
    with_gz = plain.with_name(plain.name + ".gz")
    with_gz.write_bytes(packed[:-20])
    with untouched(place):
        nas(*settings, cwd=place).refused("train-images-idx3-ubyte.gz cannot be read")
    with_gz.write_bytes(packed)
    nas(*settings, cwd=place).ok()


# Runs that are not there yet, or are others


def test_the_order_of_the_verbs(nas: Commands, after: After, interrupted: Path) -> None:
    trained, searched = after("train"), after("search")
    with untouched(interrupted):
        for verb in ("search", "extract", "retrain", "report"):
            nas(verb, "run=run", "search.budget=900K", cwd=interrupted).refused()
        _, _, instead = nas("search", "run=run", cwd=interrupted).refused("run holds no trained supernet")
        assert instead == "nas train run=run"
    with untouched(trained):
        for verb in ("extract", "retrain"):
            _, _, instead = nas(verb, "run=run", cwd=trained).refused("run has no search")
            assert instead == "nas search run=run"
        nas("report", "run=run", cwd=trained).refused()
    with untouched(searched):
        _, _, instead = nas("retrain", "run=run", "retrain.epochs=2", cwd=searched).refused("run has not extracted")
        assert instead == "nas extract run=run search=small"


def test_an_unknown_digest(nas: Commands, after: After) -> None:
    place = after("search")
    for verb in ("extract", "retrain"):
        with untouched(place):
            _, _, instead = nas(verb, "run=run", "digest=0a1b2c3d4e5f", cwd=place).refused("'0a1b2c3d4e5f' names 0")
    nas("extract", "run=run", instead, cwd=place).ok()
    assert [path.name for path in (place / "run" / SEARCH / "networks").iterdir()] == [instead.removeprefix("digest=")]


OTHER_SETTINGS = [
    ("train", "seed=1", 'seed=0, not 1', "seed=0 or run=runs/new"),
    ("train", "space=digits", 'space="tiny.toml", not "digits"', "space=tiny.toml or run=runs/new"),
    ("train", "data.resolution=16", "data.resolution=8, not 16", "data.resolution=8 or run=runs/new"),
    ("train", "data=fashion_mnist", 'data.name="digits", not "fashion_mnist"', "data.name=digits or run=runs/new"),
    ("train", "train.epochs=2", "train.epochs=1, not 2", "train.epochs=1 or run=runs/new"),
    ("search", "seed=1", "search.seed=0, not 1", "search.seed=0, or search.name=another"),
    ("search", "train.lr=0.1", "train.lr=0.002, not 0.1", "train.lr=0.002 or run=runs/new"),
    ("search", "population=9", "search.population=2, not 9", "search.population=2, or search.name=another"),
    ("search", "budget=900K", 'search.budget="none", not "900K"', "search.budget=none, or search.name=another"),
    ("search", "objectives=loss", 'search.objectives=["top1", "macs"]', "search.objectives=top1,macs, or search.name=another"),
    ("extract", "search.budget=900K", 'search.budget="none", not "900K"', "search.budget=none, or search.name=another"),
    ("extract", "data.augment=none", 'data.augment="light", not "none"', "data.augment=light or run=runs/new"),
    ("retrain", "epochs=2", "retrain.epochs=1, not 2", "retrain.epochs=1"),
    ("retrain", "train.epochs=2", "train.epochs=1, not 2", "train.epochs=1 or run=runs/new"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "other", "names", "offers"), OTHER_SETTINGS, ids=[f"{v} {o}" for v, o, *_ in OTHER_SETTINGS]
)
def test_other_settings_are_another_run(
    verb: str, other: str, names: str, offers: str, nas: Commands, runs: Runs
) -> None:
    place = runs["report"]
    with untouched(place):
        _, _, instead = nas(verb, "config.toml", other, cwd=place).refused("run ", names)
        assert instead == offers
        if verb in ("train", "search"):  # there is nothing left to do, and it is accepted
            nas(verb, "config.toml", re.split(" or |, or ", offers)[0], cwd=place).ok()


def test_another_path_to_the_same_space_is_the_same_run(nas: Commands, after: After) -> None:
    place = after("train")
    (place / "copy.toml").write_text(SPACE)
    nas("train", "config.toml", "space=copy.toml", cwd=place).ok()


# Damaged files


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


@pytest.fixture(scope="module")
def interrupted_run(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose training was ended with ctrl-C after a checkpoint."""
    for _ in range(5):  # until a key was pressed in time
        place = tmp_path_factory.mktemp("interrupted") / "place"
        shutil.copytree(runs.before("train"), place)
        process = subprocess.Popen(
            [sys.executable, "-m", "nas.cli", "train", "config.toml"],
            cwd=place, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        while process.poll() is None and not (place / "run" / "work" / "train.pt").exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        if process.returncode:
            assert process.returncode == 130, err
            assert err.endswith("nas: interrupted; the same command resumes\n")
            assert "Traceback" not in err
            return place
    raise AssertionError("training was always faster")


@pytest.fixture
def interrupted(interrupted_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(interrupted_run, tmp_path / "interrupted"))


def test_interrupted_training_goes_on(nas: Commands, interrupted: Path, runs: Runs) -> None:
    assert "resuming from step" in nas("train", "config.toml", cwd=interrupted).ok().out
    assert results(interrupted) == results(runs["train"])


def test_a_checkpoint_of_other_weights_is_named_and_kept(nas: Commands, interrupted: Path) -> None:
    """As an earlier version of a part would have left it."""
    import torch

    checkpoint = interrupted / "run" / "work" / "train.pt"
    state = torch.load(checkpoint)
    state["module"] = {name: tensor[None] for name, tensor in state["module"].items()}
    torch.save(state, checkpoint)
    with untouched(interrupted):
        nas("train", "config.toml", cwd=interrupted).refused("run/work/train.pt does not fit")


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named_and_kept(keep: float, nas: Commands, interrupted: Path, runs: Runs) -> None:
    checkpoint = interrupted / "run" / "work" / "train.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(keep * len(content))])
    with untouched(interrupted):
        _, _, instead = nas("train", "config.toml", cwd=interrupted).refused("checkpoint run/work/train.pt is damaged")
    assert instead.startswith("rm run/work/train.pt")
    if keep == 0.5:
        checkpoint.unlink()
        nas("train", "config.toml", cwd=interrupted).ok()
        assert results(interrupted) == results(runs["train"])


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


def test_one_process_a_run(nas: Commands, runs: Runs) -> None:
    place = runs["report"]
    with open(place / "run" / "work" / "lock") as held, untouched(place):
        assert lock_descriptor(held.fileno(), blocking=False)
        for verb in ("train", "search", "extract", "retrain", "demo"):
            nas(verb, "config.toml", cwd=place).refused("run is in use by another process")
    nas("train", "config.toml", cwd=place).ok()


def test_a_process_may_open_a_run_twice(nas: Commands, place: Path) -> None:
    """`run = train(config)`, then `search(config)`: the run is held until nothing refers to it."""
    stores = [RunStore(place / "run"), RunStore(place / "other" / ".." / "run")]
    (place / "other").mkdir()
    RunStore.lock(stores[0])
    RunStore.lock(stores[1])
    while stores:
        nas("train", "config.toml", cwd=place).refused("run is in use by another process")
        stores.pop()
    nas("train", "config.toml", cwd=place).ok()


# A disk that is full


FULL = [
    # the command, bytes there are for a file, the file that does not fit
    ("train", 3_000, "split.json"),
    ("train", 100_000, "supernet.safetensors"),
    ("search", 3_000, "evaluations.jsonl"),
    ("search", 90_000, "study.db"),
    ("extract", 10_000, "weights.safetensors"),
    ("retrain", 10_000, "/retrained-scratch-0.safetensors"),
    ("report", 30_000, "front.png"),
]


@pytest.mark.parametrize(("verb", "limit", "file"), FULL, ids=[f"{verb} {file}" for verb, _, file in FULL])
def test_a_full_disk(verb: str, limit: int, file: str, nas: Commands, runs: Runs, tmp_path: Path) -> None:
    place = Path(shutil.copytree(runs.before(verb), tmp_path / "place"))
    old = results(place)
    # One checkpoint would be larger than all that.
    settings = ["config.toml", *(["train.checkpoint_steps=999"] if verb == "train" else [])]
    given, _, instead = nas(verb, *settings, cwd=place, limit=limit).refused(file)
    assert "run/" in given
    assert "run the same command again: it resumes where it stopped" in instead
    if verb == "retrain":  # it has begun, with this recipe
        del old[f"{SEARCH}/search.json"]
    assert {name: value for name, value in results(place).items() if name in old} == old
    assert not list(place.rglob(".*.tmp"))
    for lines in (place / "run").rglob("*.jsonl"):
        assert lines.read_bytes().endswith(b"\n") or not lines.read_bytes()
    nas(verb, *settings, cwd=place).ok()
    expected = results(runs[verb])
    if verb == "train":
        expected["run.json"]["config"]["train"]["checkpoint_steps"] = 999  # type: ignore[index]
    assert results(place) == expected
    if verb == "search":
        assert study(place) == study(runs[verb])


def test_a_full_disk_leaves_the_last_checkpoint(nas: Commands, interrupted: Path, runs: Runs) -> None:
    checkpoint = interrupted / "run" / "work" / "train.pt"
    with untouched(interrupted):
        result = nas("train", "config.toml", cwd=interrupted, limit=checkpoint.stat().st_size - 1)
        result.refused("run/work/train.pt", "the previous file, if any, is intact")
    nas("train", "config.toml", cwd=interrupted).ok()
    assert results(interrupted) == results(runs["train"])


def test_a_full_disk_leaves_the_last_report(nas: Commands, after: After, runs: Runs) -> None:
    place = after("report")
    with untouched(place):
        nas("report", "run=run", cwd=place, limit=1_000).refused("run/front.csv", "is intact")
    nas("report", "run=run", cwd=place).ok()
    assert results(place) == results(runs["report"])


# Training that diverges


def test_retraining_that_diverges(nas: Commands, after: After) -> None:
    """Exit code 1, what to change, and no network of numbers that are none; then the change is accepted."""
    place = after("extract")
    settings = ("retrain", "config.toml", "checkpoint_steps=2")
    before = contents(place / "run" / SEARCH / "networks")
    result = nas(*settings, "lr=1e30", "clip=0", cwd=place)
    assert (result.code, "Traceback" in result.err) == (1, False)
    assert result.err.splitlines()[-1].endswith("ended with a loss that is not finite: lower retrain.lr")
    assert contents(place / "run" / SEARCH / "networks") == before
    nas(*settings, "lr=0.001", "clip=1", cwd=place).ok()


# All verbs at once


def without_page(place: Path) -> dict[str, object]:
    """Of `results`, all but the page, which says what was typed."""
    return {name: value for name, value in results(place).items() if name != "report.html"}


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


# Plugins


MIXER = '''
"""The mean of all positions, added to each."""

from dataclasses import dataclass

from torch import Tensor, nn
import torch

from search_spaces.registry import TokenMixer, register


@register("mean_mixer")
class MeanMixer(TokenMixer):
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        start: float = 1.0

    examples = (Options(), Options(start=0.5))

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.weight = nn.Parameter(torch.full((dim,), options.start))

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean((2, 3), keepdim=True) * self.weight[:, None, None]
'''


def test_a_mixer_of_ones_own(nas: Commands, place: Path) -> None:
    """From one file and a line in a space, through all verbs."""
    (place / "plugins").mkdir()
    (place / "plugins" / "my_mixers.py").write_text(MIXER)
    (place / "own.toml").write_text(tiny('"depthwise_conv", kernel_size = [3, 5]', '"mean_mixer", start = [0.5, 1.0]'))
    settings = ("config.toml", "space=own.toml", 'plugins=["my_mixers"]')
    with untouched(place):
        nas("train", *settings, cwd=place).refused("plugin 'my_mixers' cannot be imported")
        nas("train", "config.toml", "space=own.toml", cwd=place).refused("unknown token mixer 'mean_mixer'")
    result = cold("train", *settings, cwd=place, PYTHONPATH=str(place / "plugins")).ok()
    assert "torch" in result.imported  # so it would have been seen where it must not be
    for verb in ("search", "extract", "retrain", "report"):
        nas(verb, "run=run", "plugins=my_mixers", cwd=place, env={"PYTHONPATH": str(place / "plugins")}).ok()
    [lines] = (place / "run").glob("searches/*/evaluations.jsonl")
    assert "mean_mixer" in lines.read_text()
    with untouched(place):
        _, _, instead = nas("search", "run=run", cwd=place).refused("run needs the module my_mixers")
        assert instead == "nas search run=run plugins=my_mixers"
        nas("search", "run=run", "plugins=my_mixers", cwd=place).refused("plugin 'my_mixers' cannot be imported")
    (place / "plugins" / "my_mixers.py").write_text("import torch\n\nclass MeanMixer\n")
    with untouched(place):
        nas("search", "run=run", "plugins=my_mixers", cwd=place, env={"PYTHONPATH": str(place / "plugins")}).refused(
            "my_mixers.py, line 3: "
        )
