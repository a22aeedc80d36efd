"""The documents say what the code does."""

import importlib
import os
import random
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.cli import VERBS
from nas.config import SECTIONS, DataConfig
from nas.config.parsing import config_from, load_config
from nas.reporting import FRONT_COLUMNS, TRIAL_COLUMNS
from search_spaces.costs import cost_named, temporary_costs
from search_spaces.named import load_space, space_names
from search_spaces.registry import KINDS, parts

ROOT = Path(__file__).resolve().parent.parent


def test_results_readme_has_a_line_for_every_column() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    for columns in (FRONT_COLUMNS, TRIAL_COLUMNS):
        for name, meaning in columns.items():
            assert f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |" in text, name


def test_readme_names_every_verb_and_space_and_set_up_command() -> None:
    text = (ROOT / "README.md").read_text()
    for verb in VERBS:
        assert f"nas {verb}" in text, verb
    for name in space_names():
        assert f"`{name}`" in text, name
    assert re.findall(r"^make \w+", text, flags=re.MULTILINE) == ["make demo", "make test"]


def test_readme_overrides_are_accepted() -> None:
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^nas (\w+)((?: [\w./]+=\S+)+)", text, flags=re.MULTILINE)
    assert len(commands) >= 5
    for verb, overrides in commands:
        load_config(None, overrides.split(), section=verb if verb in SECTIONS else None)


def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block that describes architectures and cost; the one that trains is the command line's own test."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        if "train(" not in block and "load_network" not in block:
            exec(block, names)
    assert {"arch", "network"} <= names.keys()


def blocks_of(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL)


def test_every_part_has_a_row() -> None:
    text = (ROOT / "search_spaces" / "README.md").read_text()
    rows = {line.split("|")[1].split(":")[0].strip(): "" for line in text.splitlines() if line.startswith("| ")}
    for line in text.splitlines():
        if line.startswith("| "):
            rows[line.split("|")[1].split(":")[0].strip()] += line
    for kind in KINDS:
        for name, part in parts(kind).items():
            if part.__module__.startswith("search_spaces."):
                assert f"`{name}`" in rows[kind], (kind, name)


def written(folder: Path) -> dict[str, str]:
    """Writes the example of search_spaces/README.md as it stands: the file, its use, and the laws. Returns the environment to run it in."""
    for name, text in zip(
        ("my_mixers", "use", "test_my_mixers"), blocks_of(ROOT / "search_spaces" / "README.md"), strict=True
    ):
        (folder / f"{name}.py").write_text(text)
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}


def test_adding_a_part_is_one_file(tmp_path: Path) -> None:
    env = written(tmp_path)
    result = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "'macs': " in result.stdout


@pytest.mark.slow
def test_the_laws_run_on_a_part_that_was_added(tmp_path: Path) -> None:
    env = written(tmp_path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not export",
        "test_my_mixers.py",
    ]  # as those of our parts
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed
    assert int(passed[1]) >= 50


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("nas.data.sources", "Stripes"),
        ("nas.executors", "Reversed"),
        ("nas.reporting.sections", "Cheapest"),
        ("nas.samplers", "Stubborn"),
        ("search_spaces.costs", "energy"),
    ],
)
def test_the_example_in_a_docstring_runs(module: str, name: str) -> None:
    """The indented lines of the package's docstring from its first import to the end of the example."""
    text = importlib.import_module(module).__doc__ or ""
    blocks = re.findall(r"^(?:    .*\n|\n)+", text, flags=re.MULTILINE)
    (block,) = (block for block in blocks if f"class {name}" in block or f"def {name}" in block)
    assert len(block.strip().splitlines()) < 25
    found: dict[str, object] = {"__name__": f"example_of_{name.lower()}"}
    with temporary_costs():
        exec(textwrap.dedent(block), found)
        CHECKS[name](found[name])


CHECKS: dict[str, Callable[[Any], object]] = {
    "Stripes": lambda source: source(DataConfig(name="digits", resolution=8)).pools()["train"][399],
    "Reversed": lambda executor: check_executor_class(executor),
    "Cheapest": lambda section: section().order + len(section().title),
    "Stubborn": lambda sampler: optuna.create_study(sampler=sampler(seed=1)).ask().suggest_categorical("x", (1, 2)),
    "energy": lambda cost: cost_named("energy_mj")(load_space("digits").sample(random.Random(0))) + 0.0,
}
"""What makes something of each example."""


def check_executor_class(executor: Any) -> None:
    done = executor(workers=2)
    assert list(done.map(lambda: 10, lambda state, job: state + job, range(3))) == [10, 11, 12]
    done.close()


def test_decisions_are_numbered_and_short() -> None:
    text = (ROOT / "DECISIONS.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [int(section.split(".")[0]) for section in sections] == list(range(1, len(sections) + 1))
    assert max(len(section.strip().splitlines()) for section in sections) <= 11


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/config.toml")), ids=lambda path: path.parent.name)
def test_committed_configurations_are_valid(path: Path) -> None:
    config = load_config(path)
    assert config_from(config.to_dict()) == config
    assert load_space(config.space).name == config.space
