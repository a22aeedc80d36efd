"""`nas ablate`: rows are what was asked for, trained as `nas retrain` trains, resumed without repeating, and summed up by arithmetic."""

import csv
import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from nas import ablate, load_network
from nas.ablation.asked import parse
from nas.ablation.changes import changed
from nas.ablation.rows import Row
from nas.ablation.table import Spread, lines_of, said_of_guessing
from nas.ablation.training import Result
from nas.config import DataConfig
from nas.data import Split, load_part
from nas.runs.store import RunStore
from nas.searching.evaluation import evaluate
from search_spaces.architecture import Architecture, Part
from search_spaces.costs import BUILT_IN, costs_of
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.named import check
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from tests.command_line import ROOT, SPACE, Commands, cold, contents

TINY = complete(paper_network("transxnet_tiny").arch)


@pytest.fixture(scope="module")
def small() -> Any:
    """A network that trains in a moment."""
    return check(SearchSpace.from_toml(SPACE, "tiny.toml")).bind(1, 10, 8).smallest(macs)


def test_what_is_named_changes_and_nothing_else() -> None:
    found = changed(
        TINY,
        {
            "stages": {
                "all": {"mixer": {"attention_ratio": 0.25}},
                "2": {"mixer": {"attention_ratio": 0.75}, "depth": 10},
            }
        },
    )
    for s, (stage, before) in enumerate(zip(found.stages, TINY.stages, strict=True)):
        ratio = 0.75 if s == 2 else 0.25  # what is said of one stage goes before what is said of all
        assert {block.mixer.values()["attention_ratio"] for block in stage.blocks} == {ratio}
        assert len(stage.blocks) == (10 if s == 2 else len(before.blocks))
        block, old = stage.blocks[-1], before.blocks[-1]
        assert block.mixer.values() == old.mixer.values() | {"attention_ratio": ratio}
        assert (block.ffn, block.norm, block.position, block.scale) == (old.ffn, old.norm, old.position, old.scale)
        assert (stage.width, stage.embedding, stage.position_bias) == (
            before.width,
            before.embedding,
            before.position_bias,
        )
    assert changed(TINY, {}) == TINY


def test_the_rows_of_the_ablation_of_the_ratio_differ_in_nothing_else() -> None:
    """The file that comes with the project."""
    first, *others = parse([str(ROOT / "tests" / "benchmarks" / "ablations" / "ratio.toml")]).rows
    base = Architecture.from_json((ROOT / first.network).read_text())
    assert not first.changes
    assert {block.mixer.values()["attention_ratio"] for stage in base.stages for block in stage.blocks} == {0.5}
    assert len(others) == 7
    for row in others:
        arch = complete(changed(base, row.changes))
        assert macs(arch) > 0  # it can be built
        for stage, before in zip(arch.stages, base.stages, strict=True):
            assert (stage.width, stage.embedding, len(stage.blocks)) == (before.width, before.embedding, 1)
            [block], [old] = stage.blocks, before.blocks
            assert (block.norm, block.position, block.scale) == (old.norm, old.position, old.scale)
            ratio = {"attention_ratio": block.mixer.values()["attention_ratio"]}
            assert block.mixer.values() == old.mixer.values() | ratio
            assert (block.ffn == old.ffn) is ("scale 3" not in row.name)


def test_components_are_replaced_whole() -> None:
    found = changed(
        TINY,
        {
            "stages": {
                "0": {
                    "mixer": "pooling",
                    "position_bias": "none",
                    "blocks": {"1": {"ffn": {"part": "mlp", "ratio": 2}}},
                }
            }
        },
    )
    first = found.stages[0]
    assert {block.mixer for block in first.blocks} == {Part("pooling")}
    assert first.position_bias is None
    assert [block.ffn == Part.of("mlp", ratio=2) for block in first.blocks] == [
        b == 1 for b in range(len(first.blocks))
    ]
    assert found.stages[1:] == TINY.stages[1:]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stage": {}}, "'stage'"),
        ({"stages": {"4": {}}}, "stages.4 does not exist"),
        ({"stages": {"-1": {}}}, "stages.-1 does not exist"),
        ({"stages": {"0": {"mixr": {}}}}, "'mixr'"),
        ({"stages": {"0": {"width": 10**9}}}, "stages.0.width is '1000000000'"),
        ({"stages": {"0": {"depth": 10**6}}}, "stages.0.depth"),
        ({"stages": {"0": {"width": 1.5}}}, "stages.0.width is '1.5'"),
        ({"stages": {"0": 3}}, "stages.0 is '3'"),
        ({"stages": {"0": {"mixer": 3}}}, "stages.0.mixer is '3'"),
        ({"stages": {"0": {"blocks": {"9": {}}}}}, "stages.0.blocks.9 does not exist"),
    ],
)
def test_changes_that_cannot_be_made_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        changed(TINY, changes)
    assert said in error.value.given


def result(row: str, seed: int, validation: float, test: float | None) -> Result:
    return Result(
        row=row, seed=seed, identity="x", epochs=1, skipped_steps=0, validation_top1=validation, validation_loss=1.0, validation_images=10,
        test_top1=test, test_loss=None if test is None else 1.0, test_images=None if test is None else 10,
    )  # fmt: skip


def test_the_table_is_mean_spread_and_paired_difference() -> None:
    rows = [Row(name, {"params": 1e6, "macs": 2e6}, model="m") for name in ("a", "b", "c")]
    scores = {"a": [0.5, 0.6, 0.7], "b": [0.6, 0.65, 0.75]}
    results = {
        (row, seed): result(row, seed, score - 0.1, score)
        for row, own in scores.items()
        for seed, score in enumerate(own)
    }
    first, second = lines_of(rows, results, 3, "test")  # c is not trained yet
    assert first.difference is None
    assert (first.spread.mean, first.spread.std) == (pytest.approx(0.6), pytest.approx(0.1))
    assert second.difference == Spread(pytest.approx(0.2 / 3), pytest.approx(statistics.stdev([0.1, 0.05, 0.05])))
    assert second.difference.percent("+") == "+6.67 ± 2.89"
    assert lines_of(rows, results, 1, "val")[1].spread == Spread(pytest.approx(0.5), None)
    other, _ = lines_of(rows, results, 3, "test", "b")
    assert other.difference is not None
    assert other.difference.mean == pytest.approx(-0.2 / 3)
    assert lines_of(rows, {("b", 0): results["b", 0]}, 3, "test")[0].difference is None  # no seed in common


def test_networks_that_guess_are_named() -> None:
    def said(scores: dict[str, list[float]], labels: list[int]) -> str:
        return said_of_guessing({name: dict(enumerate(own)) for name, own in scores.items()}, labels, "warmup_epochs")

    labels = [0] * 60 + [1] * 20 + [2] * 20  # one answer for all has 60 %, and 100 images tell that from 75 %
    words = said({"a": [0.6, 0.9, 0.1, 0.74], "b": [0.74], "c": [0.76, 0.99]}, labels)
    assert "as far as 100 images tell (at most 74.7 %): a with seeds 0, 2 and 3; b with seed 0." in words
    assert "(warmup_epochs)" in words
    assert said({"c": [0.76]}, labels) == ""
    assert said({"c": [0.76]}, labels[:80]) != ""  # three of four are of one class
    assert said({}, labels) == ""


@pytest.mark.parametrize("labels", [[0] * 4 + [1] * 4, [0] * 95 + [1] * 5, [0] * 10])
def test_nothing_is_said_where_the_best_network_could_not_be_told_from_a_guess(labels: list[int]) -> None:
    assert said_of_guessing({"a": {0: 1.0}, "b": {0: 0.1}}, labels, "warmup_epochs") == ""


def words(place: Path, *more: str) -> list[str]:
    return [
        str(place / "rows.toml"), f"run={place / 'run'}", "data=digits", "data.resolution=8", "epochs=1", "batch_size=256", "jobs=1", *more,
    ]  # fmt: skip


@pytest.fixture
def place(small: Any, tmp_path: Path) -> Path:
    (tmp_path / "arch.json").write_text(small.to_json())
    (tmp_path / "rows.toml").write_text(
        f'base = {json.dumps(str(tmp_path / "arch.json"))}\n[rows."as it is | *"]\n[rows.pooling]\nstages.all.mixer = "pooling"\n'
    )
    return tmp_path


def test_an_ablation_from_a_file(place: Path, small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """On search-validation first, the test images unread; then the test, then more rows and seeds: nothing is trained twice."""
    ablate(parse(words(place, "part=val")))
    store = RunStore(place / "run")
    trained = {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*.safetensors")}
    assert len(trained) == 2
    assert [line["test_top1"] for line in store.records("ablation.jsonl")] == [None, None]
    assert "the test images are unread" in (place / "run" / "ablation.md").read_text()
    assert re.search(r"guessing, as far as 28[0-9] images tell", capsys.readouterr().out)  # those of search-validation
    lines = ablate(parse(words(place)))
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert len(store.records("ablation.jsonl")) == 4
    before = contents(place / "run" / "rows")
    capsys.readouterr()
    again = ablate(parse(words(place, "against=pooling")))
    assert "retrain row" not in capsys.readouterr().err
    assert contents(place / "run" / "rows") == before
    assert [line.top1 for line in again] == [line.top1 for line in lines]
    more = ablate(parse(words(place, str(place / "arch.json"), "seeds=2")))
    assert [len(line.seeds) for line in more] == [2, 2, 2]
    assert more[2].top1 == more[0].top1  # the same network under another name
    assert more[1].row.costs == costs_of(more[1].row.arch, BUILT_IN)
    split = Split.from_dict(store.read_json("split.json"))
    test = load_part(DataConfig(name="digits", resolution=8), split, "test")
    for number, line in enumerate(more):
        for seed in line.seeds:
            network = load_network(place / "run" / "rows" / str(number), f"trained-{seed}.safetensors")
            assert network.arch == line.row.arch
            assert evaluate(network, test.batches(256)).top1 == line.top1[seed]
    [first, second, third] = csv.DictReader((place / "run" / "ablation.csv").read_text().splitlines())
    assert (first["row"], first["difference_mean"], third["difference_mean"]) == ("as it is | *", "", "0.0")
    assert float(second["top1_mean"]) == pytest.approx(statistics.fmean(more[1].top1))
    assert first["split"] == split.digest
    assert "| as it is \\| \\* |" in (place / "run" / "ablation.md").read_text()
    assert "epochs=1" in (place / "run" / "ablation.html").read_text()
    guessed = f"No better than guessing, as far as {len(split.labels['test'])} images tell"  # after five steps
    assert guessed in capsys.readouterr().out
    for name in ("ablation.md", "ablation.html"):
        assert guessed in (place / "run" / name).read_text()


def test_a_folder_keeps_to_its_rows_images_and_recipe(place: Path) -> None:
    ablate(parse(words(place)))
    before = contents(place / "run")
    for more, said in (
        (("epochs=2",), "retrain.epochs=1, not 2"),
        (("data.augment=none",), 'data.augment="light", not "none"'),
        (("seed=1",), "seed=0, not 1"),
        (("against=x",), "unknown row 'x'"),
    ):
        with pytest.raises(InputError) as error:
            ablate(parse(words(place, *more)))
        assert said in error.value.given
    with pytest.raises(InputError, match="instead: sample=3"):
        parse(words(place, "sampel=3"))
    text = (place / "rows.toml").read_text()
    (place / "rows.toml").write_text(text.replace('"pooling"', '"none"'))
    with pytest.raises(InputError, match="and now it would be"):
        ablate(parse(words(place)))
    (place / "rows.toml").write_text(text.replace('"pooling"', '{ part = "h_mhsa", head_dim = 1000 }'))
    with pytest.raises(InputError, match="row 'pooling'"):
        ablate(parse(words(place)))
    assert contents(place / "run") == before


@pytest.mark.parametrize("text", ["[[row]]\nnetwork = 'mat_1'", "[ROWS.one]\nnetwork = 'mat_1'"])
def test_a_file_of_rows_in_another_form_is_told_the_form(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.toml").write_text(text)
    with pytest.raises(InputError, match="is no table of nas ablate") as error:
        parse([str(tmp_path / "rows.toml"), f"run={tmp_path / 'run'}"])
    assert error.value.instead.startswith('[rows."ratio 0.25"]')


def test_a_file_of_rows_may_name_plugins(tmp_path: Path) -> None:
    (tmp_path / "rows.toml").write_text(
        "plugins = ['json']\nagainst = 'one'\n[rows.one]\nnetwork = 'mat_1'\n[data]\nname = 'digits'"
    )
    asked = parse([str(tmp_path / "rows.toml"), f"run={tmp_path / 'run'}"])
    assert asked.config.plugins == ("json",)
    assert [row.name for row in asked.rows] == ["one"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run=a",), "given no row"),
        (("mat_1",), "given no folder"),
        (("mat_1", "mat_1", "run=a"), "two rows are called 'mat_1'"),
        (("mat_1", "run=a", "part=tset"), "unknown part 'tset'"),
        (("mat_1", "run=a", "epohcs=3"), "'epohcs'"),
        (("mat_1", "run=a", "sample=3"), "without a space"),
        (("mat_1", "run=a", "space=nowhere"), "'nowhere'"),
        (("rows.toml", "run=a"), "config file rows.toml"),
        (("mat_1", "run=a", "retrain.references=timm/resnet18"), "references beside rows"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        parse(list(arguments))
    assert said in error.value.given


def test_arguments_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    result = cold("ablate", "mat_1", "run=a", "part=tset", cwd=tmp_path)
    result.refused("'tset'", "part=test")
    assert not result.imported & {"torch", "timm", "numpy"}


@pytest.mark.slow
def test_members_of_a_space_and_a_model_of_timm(nas: Commands, tmp_path: Path) -> None:
    """Killed while it trains, an ablation ends as one that was left alone does."""
    arguments = (
        "ablate",
        "space=transxnet_ratio_tied",
        "timm/test_resnet",
        "data=digits",
        "data.resolution=16",
        "epochs=1",
        "batch_size=128",
    )
    killed = nas(*arguments, "run=killed", "jobs=1", cwd=tmp_path, kill=8.0)
    assert killed.code != 0
    nas(*arguments, "run=killed", cwd=tmp_path).ok()
    whole = nas(*arguments, "run=whole", cwd=tmp_path).ok()
    records = [
        {line["row"]: line for line in RunStore(tmp_path / run).records("ablation.jsonl")}
        for run in ("killed", "whole")
    ]
    assert records[0] == records[1]
    ratios = ("0.0", "0.25", "0.5", "0.75", "1.0")
    assert set(records[0]) == {"timm/test_resnet", *(f"mixer.attention_ratio={ratio}" for ratio in ratios)}
    assert all(math.isfinite(line["test_loss"]) for line in records[0].values())
    assert "±" not in whole.out.partition("top-1: mean")[0]  # one seed has no spread
    assert torch.get_num_threads() == 1
