"""The strategy of a run: by name, by a dotted path with options of its own, and what is said of one that cannot be used."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas.config import RetrainConfig, TrainConfig
from nas.training.strategies import strategy_of
from search_spaces.errors import InputError
from supernet.recipe import Recipe
from supernet.strategies.sandwich import Sandwich
from supernet.strategies.single_path import SinglePath
from supernet.testing import small_space
from tests.command_line import Commands

OWN = '''\
"""Sharpened labels: a strategy of somebody else."""

from dataclasses import dataclass

import torch.nn.functional as F

from supernet.strategies.single_path import SinglePath


class Sharp(SinglePath):
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        temperature: float = 1.0
        distill: float = 0.0

    def step(self, supernet, images, labels, moment):
        (arch,) = self.draw(moment)
        loss = F.cross_entropy(supernet(images, arch) / self.options.temperature, labels)
        loss.backward()
        return {"loss": loss.detach(), "distilled": loss.detach() * self.options.distill}


class Unfinished(SinglePath.__mro__[1]):
    def draw(self, moment):
        return []


class Other:
    def draw(self, moment):
        return []
'''


def test_keys_are_options() -> None:
    settings = TrainConfig(random_paths=3, distill=0.25, largest_only_epochs=1.5)
    found = strategy_of(settings, small_space(), 7)
    assert isinstance(found, Sandwich)
    assert found.options == Sandwich.Options(random_paths=3, distill=0.25, largest_only_epochs=1.5)
    assert (found.paths, found.seed, found.recipe, found.fit) == (5, 7, settings, None)
    assert isinstance(strategy_of(TrainConfig(strategy="single_path"), small_space(), 0), SinglePath)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": "single_path", "distill": 0.25}, ("train.distill is 0.25", "single_path has no such option")),
        ({"strategy": "single_path", "options": ("paths=2",)}, ("paths", "no options")),
        ({"options": ("distill=0.25",)}, ("options without a key of their own", "instead: train.distill=0.25")),
        ({"options": ("sharpness=2",)}, ("sharpness", "random_paths")),
    ],
)
def test_options_that_the_strategy_has_not(settings: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        strategy_of(replace(TrainConfig(), **settings), small_space(), 0)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("name", ["sandwitch", "options"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="sandwich"):
        TrainConfig(strategy=name)
    with pytest.raises(InputError, match="OPTION=VALUE"):
        TrainConfig(options=(name,))


def test_runs_by_other_strategies(nas: Commands, place: Path) -> None:
    """Single-path within a budget, and a class of somebody else; a run keeps its strategy."""
    (place / "theirs.py").write_text(OWN)
    path = {"PYTHONPATH": str(place)}
    nas(
        "train",
        "config.toml",
        "run=one",
        "strategy=single_path",
        "train.random_paths=2",
        "train.budget=150K",
        cwd=place,
    ).ok()
    (line,) = [json.loads(line) for line in (place / "one/train.jsonl").read_text().splitlines()]
    assert line["loss"] > 0
    assert "loss_largest" not in line
    nas("train", "run=one", "strategy=sandwich", cwd=place).refused("train.strategy", "single_path")

    own = ("config.toml", "run=two", "strategy=theirs.Sharp", "train.distill=0.5", "train.random_paths=2")
    nas("train", *own, "train.options=temperature=2", cwd=place, env=path).ok()
    (line,) = [json.loads(line) for line in (place / "two/train.jsonl").read_text().splitlines()]
    assert line["distilled"] == pytest.approx(line["loss"] / 2, abs=1e-6)

    for name, said in (
        ("theirs.Sharpe", "Sharp"), ("theirs.Other", "inherits supernet.strategy.Strategy"), ("theirs.Unfinished", "no paths and no step"),
        ("nowhere.Sharp", "cannot be imported"),
    ):  # fmt: skip
        nas("train", "config.toml", "run=three", f"strategy={name}", cwd=place, env=path).refused(
            "train.strategy", said
        )
        assert not (place / "three").exists()
    nas("train", *own[:1], "run=three", *own[2:], "train.options=temperature=warm", cwd=place, env=path).refused(
        "temperature", "'warm'"
    )


@pytest.mark.parametrize(("rate", "epochs", "learned"), [("1e-9", 1, False), ("0.02", 3, True)])
def test_a_supernet_that_learned_nothing(nas: Commands, place: Path, rate: str, epochs: int, learned: bool) -> None:
    """The user is told at the end of training, whenever a search would choose by chance, and in the report."""
    args = (f"train.epochs={epochs}", "train.batch_size=32", "train.warmup_epochs=0", f"train.lr={rate}")
    for command in (
        ("train", "config.toml", *args),
        ("train",),
        ("search", "evaluations=2", "population=2"),
        ("report",),
    ):
        verb, *more = command
        said = [nas(verb, *more, "run=one", cwd=place).ok().out]
        if verb == "report":
            said.append((place / "one/report.html").read_text())
        for words in ("learned next to nothing", "guessing among 10 classes has 2.30", "init=FOLDER"):
            assert all((words in text) == (not learned) for text in said), said


def test_both_sections_have_the_recipe() -> None:
    """What trains a supernet trains a stand-alone network."""
    shared = {item.name for item in dataclasses.fields(Recipe)}
    for section in (TrainConfig, RetrainConfig):
        assert issubclass(section, Recipe)
        fields = {item.name: item for item in dataclasses.fields(section)}
        assert shared <= fields.keys()
        assert all(fields[name].metadata["meaning"] for name in shared)
    both = {item.name for item in dataclasses.fields(TrainConfig)} & {
        item.name for item in dataclasses.fields(RetrainConfig)
    }
    assert both == shared | {"processes"}  # of one training, and of each of many
