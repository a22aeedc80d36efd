"""The documents say what the code does."""

import re
from pathlib import Path

import pytest

from nas.cli import VERBS
from nas.config import SECTIONS, config_from, load_config
from nas.reporting import FRONT_COLUMNS, TRIAL_COLUMNS
from search_spaces.named import load_space, space_names

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
