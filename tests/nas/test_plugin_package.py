"""A package outside the checkout with one file for each kind of thing that people add: it is installed, and takes part in a run, without
an edit here. Its files are the blocks of the documents, as they stand there.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import CONFIG, ROOT, SPACE, Commands, environment
from tests.foreign_parts import PARTS

KINDS = {"gated_conv", "parallel", "climber", "pairs", "threads", "stripes", "cheapest"}
"""The files: a mixer, a cost, a sampler, a strategy, an executor, a data source and a section."""

PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "my-plugins"
version = "1"

[tool.setuptools]
packages = ["my_plugins"]
"""


def files() -> dict[str, str]:
    """The files of the package by name, from the documents."""
    found = {"gated_conv": re.findall(r"```python\n(.*?)```", read("search_spaces"), flags=re.DOTALL)[0]}
    return found | dict(re.findall(r"`my_plugins/(\w+)\.py`.*?```python\n(.*?)```", read("nas"), flags=re.DOTALL))


def read(folder: str) -> str:
    return (ROOT / folder / "README.md").read_text()


def write(place: Path) -> Path:
    """The package in a folder; returns the folder."""
    package = place / "my_plugins"
    package.mkdir(parents=True)
    (place / "pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").write_text("")
    (package / "foreign.py").write_text(PARTS)
    for name, text in files().items():
        (package / f"{name}.py").write_text(text)
    return place


def prepare(place: Path) -> Path:
    """A configuration of a run in which all of them take part."""
    place.mkdir()
    mixer = '{ part = "global_attention", head_dim = 8 }'
    assert mixer in SPACE
    ours = '{ part = "gated_conv", kernel_size = [3, 5] }, { part = "einsum_window", side = [2, 4] }, { part = "running_sum" }'
    (place / "tiny.toml").write_text(SPACE.replace(mixer, ours))
    config = CONFIG.format(data='name = "my_plugins.stripes.Stripes"', batch_size=64)
    config = config.replace("random_paths = 1\n", "").replace(
        "[train]\n", '[train]\nstrategy = "my_plugins.pairs.Pairs"\n'
    )
    config = config.replace(
        "[search]\n",
        '[search]\nsamplers = ["my_plugins.climber.Climber"]\nobjectives = ["top1", "steps"]\nbudget = "steps=4"\n',
    )
    top = 'plugins = ["my_plugins.gated_conv", "my_plugins.foreign", "my_plugins.parallel"]\nexecutor = "my_plugins.threads.Threads"\n'
    (place / "config.toml").write_text(top + config + '\n[report]\nsections = ["my_plugins.cheapest.Cheapest"]\n')
    return place


def test_the_documents_have_one_file_for_each_kind() -> None:
    assert files().keys() == KINDS
    for name, text in files().items():
        assert len(text.splitlines()) <= 40, name


def check_run(nas: Commands, place: Path, path: Path) -> None:
    """Trains, searches and reports with everything that the package has, and looks for what each of its files did."""
    env = {"PYTHONPATH": str(path)}
    for verb in ("train", "search", "report"):
        nas(verb, "config.toml", cwd=place, env=env).ok()
    run = place / "run"
    identity = json.loads((run / "run.json").read_text())
    assert identity["classes"] == ["horizontal", "vertical"]
    assert identity["config"]["train"]["strategy"] == "my_plugins.pairs.Pairs"
    steps = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()]
    assert all("loss" in step for step in steps)
    evaluated = [json.loads(line) for line in (run / "searches/small/evaluations.jsonl").read_text().splitlines()]
    climbed = [line for line in evaluated if line["origin"]["name"] == "my_plugins.climber.Climber"]
    assert len(climbed) == 4
    assert all(line["costs"]["steps"] <= 4 for line in climbed)
    for mixer in ("gated_conv", "einsum_window", "running_sum"):
        assert mixer in (run / "space.toml").read_text()
    page = (run / "report.html").read_text()
    assert "<h2>The cheapest network of the Pareto front</h2>" in page
    assert page.index("<h2>Networks</h2>") < page.index("<h2>The cheapest network") < page.index("<h2>How fast each")
    assert "steps" in page


def test_a_package_beside_the_checkout_takes_part_in_a_run(nas: Commands, tmp_path: Path) -> None:
    check_run(nas, prepare(tmp_path / "place"), write(tmp_path / "package"))


@pytest.mark.slow
def test_an_installed_package_takes_part_in_a_run(nas: Commands, tmp_path: Path) -> None:
    source, target = write(tmp_path / "package"), tmp_path / "installed"
    pip = [sys.executable, "-W", "ignore", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--target", str(target), str(source)]
    done = subprocess.run([*pip, *offline], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in (target / "my_plugins").glob("*.py")} - {"__init__", "foreign"} == KINDS
    check_run(nas, prepare(tmp_path / "place"), target)


@pytest.mark.slow
def test_the_package_keeps_all_laws(tmp_path: Path) -> None:
    """By the block of the document, in a folder without this checkout's tests."""
    place = write(tmp_path / "package")
    laws = re.findall(r"```python\n(.*?)```", read("nas"), flags=re.DOTALL)[-1]
    (place / "test_laws.py").write_text(laws)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_laws.py"]
    env = environment(PYTHONPATH=str(place))
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 80


@pytest.mark.parametrize(
    ("word", "given", "instead"),
    [
        ("data=my_plugins.stripes.Stripe", "unknown data set in my_plugins.stripes 'Stripe'", "Stripes"),
        ("data=my_plugins.stripe.Stripes", "module 'my_plugins.stripe' cannot be imported", "PYTHONPATH=FOLDER"),
        ("data=my_plugins.pairs.Pairs", "data=my_plugins.pairs.Pairs is no data set", "data=digits"),
        ("train.strategy=my_plugins.pairs.Pair", "unknown strategy in my_plugins.pairs 'Pair'", "Pairs"),
    ],
)
def test_a_name_that_is_none_is_refused_before_training(
    word: str, given: str, instead: str, nas: Commands, tmp_path: Path
) -> None:
    place, path = prepare(tmp_path / "place"), write(tmp_path / "package")
    told = nas("train", "config.toml", word, cwd=place, env={"PYTHONPATH": str(path)}).refused(given)
    assert instead in told[2]
    assert not (place / "run").exists() or not os.listdir(place / "run")
