"""Known starts: networks that samplers propose first, and parts of the architecture that are held fixed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas as verbs
from nas import load_config
from nas.config.search import SearchConfig
from nas.goals.roles import front_of
from nas.records import SAMPLER, eligible
from nas.runs.run import open_run
from nas.runs.searches import Search
from nas.runs.store import RunStore
from nas.searching.starting import Start, starts_of
from search_spaces.architecture import Architecture
from search_spaces.costs import costs_of
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.space import SearchSpace
from tests.command_line import Commands

After = Callable[[str], Path]


def config(*settings: str) -> Any:
    few = ("run=run", "space=tiny.toml", "data.resolution=8", "executor=here", "search.population=3", "search.batch=2")
    fixed = ("train.epochs=1", "train.batch_size=128", "train.random_paths=1", "train.checkpoint_steps=2")
    return load_config(None, [*few, *fixed, "search.calibration_images=64", "search.evaluations=4", *settings])


@pytest.fixture
def trained(after: After, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = after("train")
    monkeypatch.chdir(place)
    return place


def space_of_run() -> SearchSpace:
    return open_run(config(), writes=False).space


def macs(arch: Architecture) -> float:
    return costs_of(arch, ["macs"])["macs"]


def proposed(search: Search, sampler: str) -> list[str]:
    """The digests of a sampler's evaluations, in order."""
    return [e.digest for e in search.evaluations() if (e.origin.kind, e.origin.name) == (SAMPLER, sampler)]


def test_samplers_begin_with_the_starts(trained: Path) -> None:
    """Files and another search's Pareto front come first, in order, for every sampler but random search, which draws as before."""
    space = space_of_run()
    smallest, largest = space.smallest(macs), space.largest(macs)
    Path("mine.json").write_text(smallest.to_json())
    first = verbs.search(config("search.name=first", "search.samplers=nsga2,tpe"))
    wanted = front_of(eligible(first.evaluations(), first.budget, first.objectives), first.objectives)
    expected = list(dict.fromkeys([smallest.digest, *(e.digest for e in wanted)]))
    asked = ("search.name=known", "search.samplers=nsga2,tpe", "search.starts=mine.json,front:first,mine.json")
    known = verbs.search(config(*asked))
    for sampler in ("nsga2", "tpe"):
        assert proposed(known, sampler)[: len(expected)] == expected[:4]
    assert proposed(known, "random") == proposed(first, "random")
    about = json.loads(Path("run/searches/known/search.json").read_text())
    assert [start["digest"] for start in about["starts"]] == expected
    assert about["search"]["starts"] == [
        str(Path("mine.json").absolute()),
        "front:first",
        str(Path("mine.json").absolute()),
    ]

    before = {sampler: proposed(known, sampler) for sampler in ("nsga2", "tpe", "random")}

    # A search that is resumed has the starts that it began with, whatever has become of their sources.
    Path("mine.json").write_text(largest.to_json())
    verbs.search(config("search.name=first", "search.samplers=nsga2,tpe", "search.evaluations=6"))
    more = verbs.search(config(*asked, "search.evaluations=6"))
    for sampler, digests in before.items():
        assert len(digests) == 4
        assert proposed(more, sampler)[:4] == digests
        assert len(proposed(more, sampler)) == 6
    with pytest.raises(InputError, match=r"search known of run has search.starts="):
        verbs.search(config(*asked[:2], "search.starts=front:first"))
    with pytest.raises(InputError, match="'frist'") as caught:
        verbs.search(config("search.name=new", "search.starts=front:frist"))
    assert caught.value.instead == "search.starts=front:first"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["search.starts=missing.json"], ("missing.json is no file", "papers", "front:SEARCH")),
        (["search.starts=other.json"], ("other.json: s0.width is 17",)),
        (["search.starts=large.json", "search.budget={}"], ("is outside the budget of the search", "search.networks=")),
        (["search.starts=large.json", "search.fix=stages.0.depth=1"], ("s0.depth is 2", "stages.0.depth=1")),
        (["search.starts=front:nobody"], ("has no search",)),
        (["search.starts=front:mine", "search.name=mine"], ("front:mine, which is this search itself",)),
        (["search.starts=large.json", "search.samplers=random"], ("random search stays uniform",)),
        (["search.fix=stages.0.mixer=none"], ("stages.0.mixer", "cannot be 'none'", "d_mixer")),
        (["search.fix=stages.1.depth=1"], ("unknown choice", "stages.1.depth", "stages.0.depth")),
        (["search.fix=depth"], ("search.fix has 'depth'", "PATH=VALUE")),
    ],
)
def test_what_is_refused_leaves_no_search(settings: list[str], words: tuple[str, ...], trained: Path) -> None:
    space = space_of_run()
    largest = space.largest(macs)
    Path("large.json").write_text(largest.to_json())
    other = json.loads(largest.to_json())
    other["stages"][0]["width"] = 17
    Path("other.json").write_text(json.dumps(other))
    with pytest.raises(InputError) as caught:
        verbs.search(config(*(setting.format(round(macs(largest)) - 1) for setting in settings)))
    for word in words:
        assert word in str(caught.value)
    assert not Path("run/searches").exists()


def test_a_part_is_held_fixed(trained: Path, nas: Commands) -> None:
    """All of the search, baselines too, is in the sub-space; the supernet and the study's parameters are those of the space."""
    space = space_of_run()
    search = verbs.search(config("search.fix=stages.0.mixer=d_mixer,stages.*.width=16"))
    assert search.name == "nobudget_top1-macs_nsga2-random_seed0_stages.0.mixer=d_mixer_stages.all.width=16"
    evaluations = search.evaluations()
    assert {e.origin.kind for e in evaluations} == {"baseline", "sampler"}
    for evaluation in evaluations:
        [stage] = evaluation.architecture.stages
        assert stage.width == 16
        assert {block.mixer.name for block in stage.blocks} == {"d_mixer"}
        assert space.contains(evaluation.architecture)
    assert search.settings.fix == ("stages.0.mixer=d_mixer", "stages.*.width=16")
    verbs.report(config())
    page = Path("run/report.html").read_text()
    assert "search.fix = [&quot;stages.0.mixer=d_mixer&quot;, &quot;stages.*.width=16&quot;]" in page
    verbs.search(config("search.fix=stages.0.mixer=d_mixer,stages.*.width=16", "search.evaluations=5"))
    with pytest.raises(InputError, match=r"is outside|no network"):
        verbs.search(config("search.fix=stages.0.width=32", f"search.budget={round(macs(space.smallest(macs)))}"))


def test_titles_tell_what_is_known() -> None:
    plain = SearchConfig()
    titles = {
        settings.title
        for settings in (
            plain,
            SearchConfig(fix=("stages.0.depth=1",)),
            SearchConfig(fix=("stages.*.depth=1",)),
            SearchConfig(starts=("papers",)),
            SearchConfig(starts=("front:a",)),
        )
    }
    assert len(titles) == 5
    assert plain.title == "nobudget_top1-macs_nsga2-random_seed0"


def test_starts_with_a_path_into_this_folder(trained: Path, nas: Commands) -> None:
    """A search without a name is found again by the file that it was begun with, from the same folder."""
    Path("net.json").write_text(space_of_run().smallest(macs).to_json())
    text = Path("config.toml").read_text().replace("[search]", '[search]\nstarts = ["net.json"]', 1)
    unnamed = [line for line in text.splitlines() if not line.startswith('name = "small"')]
    Path("starts.toml").write_text("\n".join(unnamed))
    nas("search", "starts.toml", cwd=trained).ok()
    [folder] = Path("run/searches").iterdir()
    assert "_starts-" in folder.name or len(folder.name) == 100
    nas("search", "run=run", "name=other", "evaluations=2", cwd=trained).ok()
    printed = nas("extract", "starts.toml", cwd=trained).ok().out
    assert f"searches/{folder.name}/networks/" in printed
    assert "searches/other/" not in printed
    nas("report", "starts.toml", cwd=trained).ok()


class AnyRun:
    """As much of a run as starts are resolved with."""

    def __init__(self, settings: SearchConfig, store: RunStore) -> None:
        self.config, self.store = type("Config", (), {"search": settings}), store


def test_the_papers_networks_that_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a paper's own space they are members; the budget leaves the small ones."""
    space = load_space("transxnet")
    run: Any = AnyRun(SearchConfig(starts=("papers",)), RunStore(tmp_path))
    found = starts_of(run, space, lambda _: -1.0)
    assert {start.source for start in found} >= {"transxnet_tiny", "transxnet_small", "transxnet_base"}
    assert all(space.contains(start.arch) for start in found)
    assert "are not of space transxnet" in capsys.readouterr().out
    small = starts_of(run, space, lambda arch: len(arch.stages[2].blocks) - len(found[0].arch.stages[2].blocks))
    assert 0 < len(small) < len(found)
    assert "outside the budget" in capsys.readouterr().out
    for start in small:
        assert Start.from_dict(json.loads(json.dumps(start.to_dict()))) == start
    sized = starts_of(run, space.bind(1, 10, 64), lambda _: -1.0)
    assert {(s.arch.in_channels, s.arch.num_classes, s.arch.resolution) for s in sized} == {(1, 10, 64)}


def test_the_search_of_another_run_is_not_there(tmp_path: Path) -> None:
    run: Any = AnyRun(SearchConfig(starts=("front:small",)), RunStore(tmp_path))
    with pytest.raises(InputError, match="has no search"):
        starts_of(run, load_space("digits"), lambda _: -1.0)
