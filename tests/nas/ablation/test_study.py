"""`nas study`: one resumable command from the supernet to the verdicts, whose arithmetic is checked by hand."""

import csv
import dataclasses
import random
from pathlib import Path

import pytest

from nas.ablation.study.asked import Studied, parse, title_of
from nas.ablation.study.networks import DRAWN, FAMILY, FIXED, WINNER, check_same, difference, hand_designed, winners_of
from nas.ablation.study.table import Entry, best_of, ranking, verdicts
from nas.ablation.study.timing import Clock
from nas.ablation.study.writing import Comparison, text
from nas.commands.study import study
from nas.config.search import SearchConfig
from nas.goals.budget import Budget
from nas.measuring.noise import NoisyMachine
from nas.records import SAMPLER, Evaluation, Origin
from nas.runs.searches import RUNNING, Search
from nas.runs.store import RunStore
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.named import load_space, read_space, space_file
from search_spaces.scaling import candidates
from tests.command_line import ROOT, Commands, contents

STUDIES = ROOT / "tests" / "benchmarks" / "studies"
STUDY = (STUDIES / "tiny.toml").read_text()


def entry(name: str, kind: str, validation: list[float], test: list[float]) -> Entry:
    return Entry(
        name, kind, name, {"params": 1e6, "macs": 2e6}, None, dict(enumerate(validation)), dict(enumerate(test))
    )


ENTRIES = [
    entry("winner 1", WINNER, [0.80, 0.82, 0.81], [0.90, 0.90, 0.90]),
    entry("winner 2", WINNER, [0.84, 0.83, 0.82], [0.80, 0.81, 0.82]),
    entry("MAT", FAMILY, [0.70, 0.71, 0.72], [0.79, 0.79, 0.80]),
    entry("LinGlo", FAMILY, [0.60, 0.61, 0.62], [0.95, 0.70, 0.80]),
    entry("random 1", DRAWN, [0.70, 0.70, 0.70], [0.85, 0.85, 0.85]),
    entry("fixed ratio 0.5", FIXED, [0.90, 0.90, 0.90], [0.81, 0.83, 0.83]),
]


def test_verdicts_are_paired_differences_of_what_validation_chose() -> None:
    assert best_of(ENTRIES, WINNER).name == "winner 2"  # although the test says otherwise
    found = {verdict.against: verdict for verdict in verdicts(ENTRIES, "test")}
    strongest = found["the best of the families, MAT"]
    assert strongest.difference.mean == pytest.approx((0.01 + 0.02 + 0.02) / 3)
    assert strongest.decision == "better beyond the spread"
    assert strongest.words() == (
        "winner 2 against the best of the families, MAT: +1.67 ± 0.58 points, better beyond the spread"
    )
    assert found["LinGlo"].decision == "within the spread"
    assert found["fixed ratio 0.5"].decision == "worse beyond the spread"
    assert found["the best of the random networks, random 1"].difference.mean == pytest.approx(-0.04)
    everything = found["the mean of all random networks"]
    assert everything.difference.mean == pytest.approx(0.855 - 0.85)
    assert len(found) == 6


def test_the_ranking_is_of_the_networks_with_inherited_weights() -> None:
    inherited = [0.60, 0.61, None, None, 0.50, None]
    entries = [dataclasses.replace(one, inherited=score) for one, score in zip(ENTRIES, inherited, strict=True)]
    assert ranking(entries) == (1.0, 3)  # 0.81, 0.83 and 0.70 after retraining
    worst = [dataclasses.replace(entries[0], inherited=0.4), entries[1], entries[4]]
    assert ranking(worst) == (pytest.approx(1 / 3), 3)  # one pair of three is the wrong way round
    comparison = Comparison("macs=2M", "val", entries, False, {})
    assert comparison.words[-1].startswith("Kendall's tau between inherited and retrained top-1 of the 3 networks")
    assert "  60.00  " in text(comparison)[3]
    assert dataclasses.replace(comparison, guessing="none learned").words == [*comparison.words, "none learned"]


def test_one_seed_decides_nothing() -> None:
    few = [dataclasses.replace(one, test={0: one.test[0]}) for one in ENTRIES]
    assert {verdict.decision for verdict in verdicts(few, "test")} == {"one seed says nothing of the spread"}
    on_validation = verdicts(ENTRIES, "val")[0]
    assert on_validation.difference.mean == pytest.approx(0.12)


@pytest.mark.parametrize(
    ("change", "given"),
    [
        (("budgets = [", "budget = ["), "budget"),
        (("winners = 2", "winners = 0"), "winners is 0"),
        (("winners = 2", "differ = 1.5"), "differ is 1.5"),
        (('budgets = ["macs=1M..2.4M"]', "budgets = []"), "no budget"),
        (("macs=1M..2.4M", "macs=2M,params=3K"), "macs=2M,params=3K"),
        (("macs=1M..2.4M", "macs=2M.."), "macs=2M.."),
        (('["macs=1M..2.4M"]', '["2M", "macs=2000K"]'), "two budgets are macs=2M"),
        (("noisy = true", 'part = "train"'), "train"),
        (("evaluations = 3", 'budget = "2M"'), "search.budget"),
        (("evaluations = 3", 'name = "mine"'), "search.name"),
        (('run = "runs/study-tiny"', ""), "no folder"),
        (("jobs = 1\n", "jbos = 1\n"), "jbos"),
        (("families = [", "familes = ["), "families=VALUE"),
    ],
)
def test_what_cannot_be_studied_is_refused(change: tuple[str, str], given: str, tmp_path: Path) -> None:
    assert change[0] in STUDY
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace(*change))
    with pytest.raises(InputError) as error:
        parse([str(file)])
    assert given in str(error.value)


def test_a_study_is_read_from_a_file_and_words(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY)
    asked, config = parse([str(file), "winners=4", "budgets=latency_ms=3,params=1M", "retrain.seeds=5", "run=there"])
    assert (asked.winners, config.retrain.seeds, config.run) == (4, 5, "there")
    assert [title_of(budget) for budget in asked.limits] == ["latency_ms=3", "params=1M"]
    assert title_of(Budget.parse("macs=3.8M..4M")) == "macs=3.8Mto4M"
    with pytest.raises(InputError, match="no file"):
        parse(["run=there"])
    with pytest.raises(InputError, match="instead: families=linglo"):
        parse([str(file), "familes=linglo"])
    with pytest.raises(InputError, match=r"search\.name"):
        parse([str(file), "search=mine"])
    assert Studied(budgets=("4M",)).part == "test"


@pytest.mark.parametrize("file", sorted(STUDIES.glob("*.toml")), ids=lambda file: file.stem)
def test_the_studies_that_come_with_the_project_can_be_read(file: Path) -> None:
    if file.stem.startswith("hybrids32"):
        assert read_space(file).size > 10**15
        return
    asked, config = parse([str(file)])
    assert asked.part == "test"
    space_file(str(ROOT / config.space) if config.space.endswith(".toml") else config.space)


def searched(folder: Path, archs: list[Architecture]) -> Search:
    """A search that evaluated these networks, each better than the next."""
    search = Search(RunStore(folder), "made", 0, SearchConfig(objectives=("top1", "macs")), None, RUNNING, (), {})
    for n, arch in enumerate(archs):
        record = Evaluation(
            n=n, origin=Origin(SAMPLER, "random"), trial=n, digest=arch.digest, architecture=arch, costs={"macs": macs(arch)},
            top1=0.9 - n / 100, loss=1.0, images=100,
        )  # fmt: skip
        search.store.append(search.path("evaluations.jsonl"), record.to_dict())
    return search


def test_winners_are_no_siblings(tmp_path: Path) -> None:
    space, rng = load_space("images32"), random.Random(3)
    best, other = space.sample(rng), space.sample(rng)
    sibling = space.mutate(best, rng, rate=0.0)
    assert 0 < difference(best, sibling) == difference(sibling, best) < 0.25 < difference(best, other)
    assert difference(best, best) == 0
    search = searched(tmp_path, [best, sibling, other])

    def digests(differ: float) -> list[str]:
        return [one.arch.digest for one in winners_of(search, 2, differ)]

    assert digests(0.25) == [best.digest, other.digest]
    assert digests(0.0) == [best.digest, sibling.digest]
    assert digests(1.0) == [best.digest]  # every network has a head in common with it
    store, was = RunStore(tmp_path / "study"), winners_of(search, 2, 0.0)
    check_same(store, "networks", was, 0.0)  # nothing is there yet
    for one in was:
        store.write_text(f"networks/{one.file}", one.arch.to_json())
    check_same(store, "networks", was, 0.0)
    with pytest.raises(InputError, match=f"is network {sibling.digest}, .* would be {other.digest}") as error:
        check_same(store, "networks", winners_of(search, 2, 0.25), 0.25)
    assert error.value.instead == "differ=0, or run=runs/new"


IMAGES = 3, 8, 32
"""Channels, classes and resolution."""


def test_families_that_were_scaled_stay_when_the_machine_gets_noisy(tmp_path: Path) -> None:
    store, asked, noisy = RunStore(tmp_path), list[Architecture](), True

    def last_mixer(arch: Architecture) -> str:
        return arch.stages[-1].blocks[-1].mixer.name

    def timed(arch: Architecture) -> float:
        asked.append(arch)
        if noisy and last_mixer(arch) != last_mixer(asked[0]):
            raise NoisyMachine("the machine is too noisy", "a quiet one", "close other programs")
        return macs(arch) / 1e6

    budget, families = Budget.parse("latency_ms=4"), ("linglo", "hat_net")
    with pytest.raises(InputError, match="HAT-Net: the machine is too noisy") as error:
        hand_designed(store, "networks", families, budget, IMAGES, timed)
    assert error.value.instead == "close other programs"
    noisy, before = False, list(asked)
    found = hand_designed(store, "networks", families, budget, IMAGES, timed)
    assert [one.kind for one in found] == [FAMILY, FAMILY, FIXED]
    assert all(3.5e6 < macs(one.arch) <= 4e6 for one in found)
    assert len(before) == len(set(before))  # no network is measured twice
    assert last_mixer(found[0].arch) not in map(last_mixer, asked[len(before) :])


def test_a_candidate_is_measured_in_the_runtime_of_the_profile() -> None:
    arch = candidates("linglo", *IMAGES)[0]
    assert 0 < Clock("eager", batch=1, threads=1, noisy=True).of_candidate(arch) < 1e4
    with pytest.raises(InputError, match="steam"):
        Clock("steam", batch=1, threads=1, noisy=True).of_candidate(arch)


def test_a_family_without_a_network_within_the_budget_can_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="EMSNet: no network of family emsnet costs at most 10,000") as error:
        hand_designed(RunStore(tmp_path), "networks", ("emsnet", "mat"), Budget.parse("macs=10K"), IMAGES, macs)
    assert error.value.instead.endswith(", or families=mat without it")


def test_a_family_that_there_is_not_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    asked, config = parse([str(tmp_path / "study.toml"), f"run={tmp_path / 'run'}", "families=linglo,vit"])
    with pytest.raises(InputError, match="unknown family 'vit'") as error:
        study(asked, config)
    assert error.value.instead.startswith("families=")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_whole_study_resumes_and_trains_nothing_twice(nas: Commands, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    first = nas("study", "study.toml", "run=run", "part=val", cwd=tmp_path)
    assert first.code == 0, first.err
    place = tmp_path / "run" / "macs=1Mto2.4M"
    store = RunStore(place / "trained")
    assert {line["test_top1"] for line in store.records("ablation.jsonl")} == {None}
    trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.safetensors")}
    second = nas("study", "study.toml", "run=run", cwd=tmp_path)
    assert second.code == 0, second.err
    assert {path: path.stat().st_mtime_ns for path in trained if "trained" in path.parts} == {
        path: time for path, time in trained.items() if "trained" in path.parts
    }
    before = contents(place / "trained" / "rows")
    third = nas("study", "study.toml", "run=run", cwd=tmp_path)
    assert third.code == 0, third.err
    assert contents(place / "trained" / "rows") == before
    assert len(store.records("ablation.jsonl")) == 2 * 2 * 6  # once for validation and once with the test
    rows = list(csv.DictReader((tmp_path / "run" / "study.csv").read_text().splitlines()))
    assert [row["kind"] for row in rows] == ["winner"] * 2 + ["family", "fixed ratio"] + ["random"] * 2
    for row in rows:
        assert len(row["test_top1_by_seed"].split()) == 2
        assert 1e6 <= float(row["macs"]) <= 2.4e6
        assert float(row["latency_ms"]) > 0
        of_the_space = row["kind"] in ("winner", "random")
        assert of_the_space == bool(row["inherited_validation_top1"])
        assert row["latency_noisy"] in ("true", "false")
        file = place / "networks" / f"{row['network'].replace(' ', '-').replace('.', '_').lower()}.json"
        arch = Architecture.from_json(file.read_text())
        assert (arch.digest, macs(arch)) == (row["digest"], int(row["macs"]))
    page = (tmp_path / "run" / "study.md").read_text()
    assert "against the best of the families, LinGlo" in page
    assert "split" in page
    assert "No better than guessing, as far as 80 images tell" in page  # after one epoch
    assert "A longer warm-up for all (retrain.warmup\\_epochs)" in page
    more = nas("study", "study.toml", "run=run", "winners=3", cwd=tmp_path)
    assert more.code == 0, more.err
    assert len(list((place / "trained" / "rows").iterdir())) == 8
