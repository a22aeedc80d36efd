"""Budgets of training, by real commands: what `nas spaces` shows of them, runs that have one, and searches that may not be looser."""

import json
import random
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch

from nas import load_config
from nas.config.parsing import config_from
from nas.goals.budget import Budget
from nas.goals.limiting import check_search, limits_of
from nas.machine.memory import need_of
from search_spaces.costs import cost_named
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.limits import outside
from search_spaces.named import check, load_space
from search_spaces.narrowing import narrowed
from search_spaces.space import SearchSpace
from tests.command_line import SPACE, Commands, contents, prepare, results
from tests.nas.test_inputs import limit, profile


@cache
def tiny() -> SearchSpace:
    return check(SearchSpace.from_toml(SPACE)).bind(1, 10, 8)


@cache
def tight() -> int:
    """A budget that leaves few of the networks, among them some with two blocks."""
    least, most = macs(tiny().smallest(macs)), macs(tiny().largest(macs))
    return round(least + 0.1 * (most - least))


@pytest.fixture(scope="module")
def trained(nas: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose training had a budget. It is shared: change nothing in it."""
    place = prepare(tmp_path_factory.mktemp("limited") / "place")
    nas("train", "config.toml", f"budget={tight()}", cwd=place).ok()
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


# nas spaces


def test_what_is_left_of_a_space_is_a_space(nas: Commands, place: Path) -> None:
    out = nas("spaces", "tiny.toml", f"budget={tight()}", "data.resolution=8", cwd=place).ok().out
    left = check(SearchSpace.from_toml(out))
    space = check(SearchSpace.from_toml(SPACE)).bind(3, 1000, 8)
    assert left == narrowed(space, {"macs": (None, tight())})
    assert left.size < space.size
    assert f"# before: {space.size:,} networks" in out
    assert f"# after:  {left.size:,} networks" in out
    assert "#   stage 0: width 32" in out
    (place / "left.toml").write_text(out)
    again = nas("spaces", "left.toml", f"budget={tight()}", cwd=place).ok().out
    assert check(SearchSpace.from_toml(again)) == left
    assert "# removed: nothing" in again
    whole = nas("spaces", "left.toml", cwd=place).ok().out
    assert f"# {left.size:,} networks" in whole


def test_what_a_time_on_a_device_leaves_of_a_space(nas: Commands, place: Path) -> None:
    (place / "pi5.json").write_text(json.dumps(profile()))
    shown = ("spaces", "tiny.toml", f"budget=latency_ms@pi5={limit():.6g}")
    nas(*shown, cwd=place).refused("latency_ms@pi5", "search.profiles")
    out = nas(*shown, "search.profiles=pi5.json", cwd=place).ok().out
    assert "# for images of 1 x 8 x 8 and 10 classes" in out  # for which the profile was made
    assert check(SearchSpace.from_toml(out)).size < tiny().size
    nas(*shown, "search.profiles=pi5.json", "data.resolution=16", cwd=place).refused(
        "is not known for", "units of space tiny"
    )


@pytest.mark.parametrize(
    ("budget", "words", "offered"),
    [
        ("1K", "macs is the binding limit", r"budget="),
        ("mcs=3M", "budget names 'mcs'", "budget=macs=3M"),
        ("macs=1G..", "macs is the binding limit, from below", "budget="),
        ("params=1K..,macs=20K", "no network", "budget="),
    ],
)
def test_budgets_that_leave_nothing(budget: str, words: str, offered: str, nas: Commands, place: Path) -> None:
    shown = ("spaces", "tiny.toml", "data.resolution=8")
    given, _, instead = nas(*shown, f"budget={budget}", cwd=place).refused(words)
    assert instead.startswith(offered)
    assert "search.budget" not in given + instead
    before = contents(place)
    _, _, other = nas("train", "config.toml", f"budget={budget}", cwd=place).refused()
    assert other.startswith("train.budget=")
    assert contents(place) == before
    if "mcs" not in budget:
        nas(*shown, instead, cwd=place).ok()


# Runs


def test_a_run_records_its_budget_and_both_spaces(trained: Path) -> None:
    identity = json.loads((trained / "run" / "run.json").read_text())
    left = narrowed(tiny(), {"macs": (None, tight())})
    for section in ("train", "search"):
        assert Budget.parse(identity["config"][section]["budget"]) == Budget.parse(str(tight()))
    assert identity["whole_space"] == {"digest": tiny().digest, "size": str(tiny().size)}
    assert (identity["space_digest"], identity["space_size"]) == (left.digest, str(left.size))
    assert check(SearchSpace.from_toml((trained / "run" / "space.toml").read_text())) == left
    assert (trained / "run" / "whole_space.toml").read_text() == SPACE


def test_a_run_without_a_budget_has_nothing_of_it(nas: Commands, place: Path) -> None:
    nas("train", "config.toml", cwd=place).ok()
    identity = json.loads((place / "run" / "run.json").read_text())
    assert "whole_space" not in identity
    assert not (place / "run" / "whole_space.toml").exists()
    assert (place / "run" / "space.toml").read_text() == SPACE
    before = results(place)
    shutil.rmtree(place / "run")
    nas("train", "config.toml", "budget=1G", "search.budget=none", cwd=place).refused("search.budget=none is looser")
    nas("train", "config.toml", "budget=1G", cwd=place).ok()
    # A budget that binds nothing trains the same weights.
    assert results(place)["supernet.safetensors"] == before["supernet.safetensors"]


def test_killed_training_within_a_budget_ends_as_if_never_killed(nas: Commands, trained: Path, tmp_path: Path) -> None:
    place, rng = prepare(tmp_path / "killed"), random.Random(0)
    for _ in range(3):
        nas("train", "config.toml", f"budget={tight()}", cwd=place, kill=rng.uniform(0.1, 1.5))
    # Nothing has to be typed again, and equal budgets are equal.
    again = ["config.toml"] if (place / "run" / "run.json").exists() else ["config.toml", f"budget={tight()}"]
    nas("train", *again, cwd=place).ok()
    nas("train", "config.toml", f"budget=macs={tight() / 1000}K", cwd=place).ok()
    assert results(place) == results(trained)


def test_another_budget_is_another_run(nas: Commands, run: Path) -> None:
    before = contents(run)
    for setting in ("train.budget=none", f"budget={tight() + 1}", "train.largest=2"):
        nas("train", "config.toml", setting, cwd=run).refused("was made with train.", "run=runs/new")
    (run / "other.toml").write_text(SPACE)
    assert (
        "is trained" in nas("train", "config.toml", "space=other.toml", cwd=run).ok().out
    )  # the same space, in another file
    (run / "other.toml").unlink()
    assert {k: v for k, v in contents(run).items() if k != "run/work/lock"} == {
        k: v for k, v in before.items() if k != "run/work/lock"
    }


def test_a_search_has_the_budget_of_training_and_may_have_a_tighter_one(nas: Commands, run: Path) -> None:
    nas("search", "run=run", "search=default", "evaluations=4", cwd=run).ok()
    tighter = f"macs={round(0.95 * tight())},params=1M"
    nas("search", "run=run", "search=tighter", "evaluations=4", f"budget={tighter}", cwd=run).ok()
    found = {
        name: [
            json.loads(line)
            for line in (run / "run" / "searches" / name / "evaluations.jsonl").read_text().splitlines()
        ]
        for name in ("default", "tighter")
    }
    settings = json.loads((run / "run" / "searches" / "default" / "search.json").read_text())["search"]
    assert settings["budget"] == str(Budget.parse(str(tight())))
    within = [
        r for r in found["default"] if r["origin"]["name"] != "hand_designed"
    ]  # whose cost is only near the winner's
    assert all(record["costs"]["macs"] <= tight() for record in within)
    # The largest network too: beyond the budget none was trained.
    largest = next(r for r in within if r["origin"] == {"kind": "baseline", "name": "largest"})
    assert largest["costs"]["macs"] == max(record["costs"]["macs"] for record in within)
    drawn = [r for r in found["tighter"] if r["origin"]["kind"] == "sampler"]
    assert all(record["costs"]["macs"] <= round(0.95 * tight()) for record in drawn)
    for verb in ("extract", "report"):
        nas(verb, "run=run", cwd=run).ok()


@pytest.mark.parametrize("budget", ["none", "params=1M", "macs=1G", "macs=1K..1G"])
def test_a_looser_search_is_refused(budget: str, nas: Commands, run: Path) -> None:
    before = contents(run)
    given, allowed, instead = nas("search", "run=run", f"budget={budget}", cwd=run).refused(
        "is looser than train.budget=", "for which the supernet was made"
    )
    assert "macs" in given
    assert "macs" in allowed
    assert contents(run) == before
    offered = instead.split(", or ")[0]
    nas("search", "run=run", offered, "evaluations=2", cwd=run).ok()


def test_a_cost_of_a_table_cannot_be_a_budget_of_training(nas: Commands, place: Path) -> None:
    arch = tiny().smallest(macs)
    (place / "phone.csv").write_text(f"digest,phone_ms\n{arch.digest},3.5\n")
    settings = ("train", "config.toml", "search.measured=phone.csv", "search.budget=phone_ms=4")
    nas(*settings, "train.budget=phone_ms=4", cwd=place).refused("phone_ms", "for the networks of a table only")


# Without commands


def test_which_searches_are_looser() -> None:
    def allowed(training: str, search: str) -> bool:
        try:
            check_search(Budget.parse(training), Budget.parse(search))
        except InputError as error:
            offered = error.instead.split(",")[0] if "," not in search + training else error.instead.split(", or ")[0]
            check_search(Budget.parse(training), Budget.parse(offered.removeprefix("search.budget=")))
            return False
        return True

    assert allowed("none", "none")
    assert allowed("none", "3M")
    assert allowed("3M", "3000K")
    assert allowed("3M", "macs=2M,params=1K")
    assert allowed("2M..4M", "3M..4M")
    assert not allowed("3M", "none")
    assert not allowed("3M", "params=1K")
    assert not allowed("3M", "3.1M")
    assert not allowed("macs=3M,params=1K", "3M")
    assert not allowed("2M..4M", "4M")
    assert not allowed("2M..4M", "1M..4M")
    assert not allowed("2M..4M", "1M")
    assert not allowed("2M..4M", "5M..")
    assert not allowed("macs=2M..4M,params=1M", "macs=1M,params=500K")
    assert allowed("2M..", "3M..4M")


def test_a_search_without_a_budget_takes_that_of_training() -> None:
    assert load_config(None, ["train.budget=3M"]).search.budget == "3M"
    assert load_config(None, ["train.budget=3M", "search.budget=2M"]).search.budget == "2M"
    assert load_config(None, ["train.budget=3M", "search.budget=none"]).search.budget == "none"
    assert load_config(None, []).search.budget == "none"
    base = load_config(None, ["train.budget=3M"])
    assert load_config(None, ["search.seed=1"], base=base).search.budget == "3M"
    assert config_from(base.to_dict()) == base


def test_training_within_a_budget_needs_less_memory() -> None:
    """The space is narrower, and no step runs its widest and deepest networks."""
    space = load_space("images32").bind(1, 10, 32)
    least, most = macs(space.smallest(macs)), macs(space.largest(macs))
    config = load_config(None, ["space=images32", f"train.budget={round(least + 0.1 * (most - least))}"])
    left = narrowed(space, limits_of(Budget.parse(config.train.budget)))
    device = torch.device("cpu")
    within, without = need_of(config, left, device), need_of(load_config(None, ["space=images32"]), space, device)
    assert within.activations < without.activations / 2
    assert within.total < without.total
    wider = need_of(load_config(None, [f"train.budget={config.train.budget}", "train.largest=2"]), left, device)
    assert within.activations < wider.activations < without.activations


def test_limits_are_those_of_the_budget() -> None:
    budget = Budget.parse("macs=2M..4M,params=1K..,activations=3M")
    assert limits_of(budget) == {
        "activations": (None, 3_000_000),
        "macs": (2_000_000, 4_000_000),
        "params": (1000, None),
    }
    excess = outside(limits_of(budget))
    costs = {name: cost_named(name) for name in budget.names}
    rng = random.Random(0)
    for _ in range(20):
        arch = tiny().sample(rng)
        assert (excess(arch) <= 0) == budget.allows({name: cost(arch) or 0 for name, cost in costs.items()})
