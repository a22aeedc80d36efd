"""A run has one supernet and any number of searches: each keeps its own records, and no network is evaluated twice."""

import json
import random
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import nas as verbs
import nas.searching.evaluation
import nas.searching.searching
from nas import load_config
from nas.config.search import SearchConfig
from nas.goals.budget import Budget
from nas.records import SAMPLER, Evaluation
from nas.runs.run import open_run
from nas.runs.searches import read_search, search_names
from nas.runs.store import RunStore
from search_spaces.costs import costs_of
from search_spaces.errors import InputError

After = Callable[[str], Path]


class Counted:
    """Evaluations that were computed, by digest; stops after so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.digests: Counter[str] = Counter()
        self.stop_after: int | None = None
        monkeypatch.setattr(nas.searching.searching, "score", self)

    def __call__(self, evaluator: nas.searching.evaluation.Evaluator, arch: Any) -> nas.searching.evaluation.Accuracy:
        if self.stop_after is not None and sum(self.digests.values()) >= self.stop_after:
            raise KeyboardInterrupt
        self.digests[arch.digest] += 1
        return evaluator(arch)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def config(*settings: str) -> Any:
    few = ("run=run", "space=tiny.toml", "data.resolution=8", "executor=here", "search.population=3", "search.batch=2")
    fixed = ("train.epochs=1", "train.batch_size=128", "train.random_paths=1", "train.checkpoint_steps=2")
    retrain = ("retrain.points=1", "retrain.epochs=1", "retrain.inits=scratch", "search.calibration_images=64")
    return load_config(None, [*few, *fixed, *retrain, *settings])


@pytest.fixture
def trained(after: After, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = after("train")
    monkeypatch.chdir(place)
    return place


def middle_budget() -> str:
    """MACs between the smallest and the largest network of the space."""
    run = open_run(config(), writes=False)
    least, most = (costs_of(arch)["macs"] for arch in extremes(run.space))
    return str(round((least + most) / 2))


def extremes(space: Any) -> tuple[Any, Any]:
    def macs(arch: Any) -> float:
        return costs_of(arch, ["macs"])["macs"]

    return space.smallest(macs), space.largest(macs)


def test_four_searches_of_one_supernet(trained: Path, counted: Counted) -> None:
    """Two budgets, a third objective, another sampler; one is interrupted half-way and closed. All are extracted and retrained, and one
    report shows them.
    """
    small = middle_budget()
    verbs.search(config(f"search.budget={small}", "search.evaluations=6"))
    first = sum(counted.digests.values())

    counted.stop_after = first + 5
    second = config("search.evaluations=50", "search.name=second")
    with pytest.raises(KeyboardInterrupt):
        verbs.search(second)
    counted.stop_after = None
    store = RunStore("run")
    assert read_search(store, "second").state == "running"
    with pytest.raises(InputError, match="has not finished"):
        verbs.extract(second)
    before = sum(counted.digests.values())
    verbs.search(config("search.evaluations=50", "search.name=second", "search.close=true"))
    assert sum(counted.digests.values()) - before <= 1  # the hand-designed network
    closed = read_search(store, "second")
    assert closed.state == "closed"
    per_sampler = Counter(e.origin.name for e in closed.evaluations() if e.origin.kind == SAMPLER)
    assert max(per_sampler.values()) - min(per_sampler.values()) <= 2  # the samplers advance side by side

    third = config(f"search.budget={small}", "search.objectives=top1,macs,params", "search.evaluations=6")
    verbs.search(third)
    fourth = config("search.samplers=tpe", "search.evaluations=6")
    verbs.search(fourth)
    assert max(counted.digests.values()) == 1

    names = search_names(store)
    assert len(names) == 4
    searches = [read_search(store, name) for name in names]
    scores: dict[str, tuple[float, float]] = {}
    for search in searches:
        for e in search.evaluations():
            assert scores.setdefault(e.digest, (e.top1, e.loss)) == (e.top1, e.loss)
    assert set(scores) == set(counted.digests)

    everything = replace(config(), search=SearchConfig())  # which names none, so all are meant
    verbs.extract(everything)
    verbs.retrain(everything)
    page = verbs.report(everything).read_text()
    for search in searches:
        assert search.name in page
        folders = {path.name for path in Path("run", search.folder, "networks").iterdir()}
        assert {r.digest for r in search.retrainings()} == folders
        front = [e.digest for e in search.evaluations() if e.origin.kind == SAMPLER]
        assert folders & set(front)
    retrained: dict[tuple[str, int], float] = {}
    for search in searches:
        for r in search.retrainings():
            assert retrained.setdefault((r.digest, r.seed), r.test_loss) == r.test_loss
            assert Path("run", search.folder, "networks", r.digest, "retrained-scratch-0.safetensors").exists()
    check_studies(Path("run"))


def check_studies(run: Path) -> None:
    """Every trial of study.db is an evaluated network: its parameters decode to it, and its values are its objectives."""
    store = RunStore(run)
    space = open_run(config(), writes=False).space
    storage = optuna.storages.RDBStorage(f"sqlite:///{run / 'study.db'}")
    try:
        seen = 0
        for name in search_names(store):
            search = read_search(store, name)
            for sampler in search.settings.samplers:
                own = [e for e in search.evaluations() if e.origin.kind == SAMPLER and e.origin.name == sampler]
                study = optuna.load_study(study_name=f"{name}/{sampler}", storage=storage)
                assert len(study.trials) == len(own) > 0
                for trial, e in zip(study.trials, own, strict=True):
                    check_trial(trial, e, search, space)
                    seen += 1
                if len({e.top1 for e in own}) > 1:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", UserWarning)  # that low values count as good: they are -top1
                        assert optuna.importance.get_param_importances(study, target=lambda trial: -trial.values[0])
        assert seen
    finally:
        storage.engine.dispose()


def check_trial(trial: Any, e: Evaluation, search: Any, space: Any) -> None:
    labels = {g.name: [",".join(map(str, c)) if isinstance(c, tuple) else c for c in g.choices] for g in space.genes}
    genes = tuple(labels[g.name].index(trial.params[g.name]) if g.name in trial.params else 0 for g in space.genes)
    arch = space.decode(genes)
    assert arch.digest == e.digest == trial.user_attrs["digest"]
    assert set(trial.params) == {space.genes[i].name for i in space.active(genes)}
    assert trial.values == [objective.of(e) for objective in search.objectives]
    known = {cost: value for cost, value in costs_of(arch).items() if cost in e.costs}
    assert known == dict(e.costs)
    for name, limit in search.budget.limits:
        assert trial.constraints[name] == pytest.approx(e.costs[name] / limit - 1)


def test_settings_are_compared_as_values(trained: Path, counted: Counted) -> None:
    budget = Budget.parse(middle_budget())
    macs = budget.limit("macs")
    assert macs
    verbs.search(config(f"search.budget={budget}", "search.evaluations=3"))
    computed = dict(counted.digests)
    lines = list(Path("run").rglob("evaluations.jsonl"))
    before = [path.read_bytes() for path in lines]
    for same in (f"macs={int(macs)}", f"{macs / 1000}K", f"{macs / 10**6}M"):
        verbs.search(config(f"search.budget={same}", "search.evaluations=3"))
    assert list(Path("run").rglob("evaluations.jsonl")) == lines
    assert [path.read_bytes() for path in lines] == before
    assert dict(counted.digests) == computed
    with pytest.raises(InputError, match=r"search\.population=3, not 4"):
        verbs.search(config(f"search.budget={budget}", "search.evaluations=3", "search.population=4"))


def test_names_say_what_a_search_is() -> None:
    assert SearchConfig().title == "nobudget_top1-macs_nsga2-random_seed0"
    settings = SearchConfig(
        budget="params=100K,macs=2000K", objectives=("loss", "params"), samplers=("tpe", "my.Own"), seed=3
    )
    assert settings.title == "macs2M-params100K_loss-params_tpe-own-random_seed3"
    assert settings.title == SearchConfig(
        budget="macs=2M,params=100000", objectives=("loss", "params"), samplers=("tpe", "my.Own", "random"), seed=3
    ).title  # fmt: skip
    assert SearchConfig(name="mine", budget="3M").title == "mine"
    long = [
        SearchConfig(budget="macs=1234567,params=7654321", samplers=(f"{'package' * 12}.Own", s)) for s in ("tpe", "gp")
    ]
    assert len({settings.title for settings in long}) == 2
    assert all(SearchConfig(name=settings.title) for settings in long)
    for bad in ("a/b", "../x", ".hidden", "x" * 101, "a b"):
        with pytest.raises(InputError) as error:
            SearchConfig(name=bad)
        SearchConfig(name=error.value.instead.removeprefix("search.name="))


def test_progress_counts_what_a_search_has_done_before(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where networks beside those of samplers are evaluated first."""
    resumed: list[int] = []

    class Watched(nas.searching.searching.Progress):
        def resume(self, done: int) -> None:
            resumed.append(done)
            super().resume(done)

        def update(self, done: int, images: int = 0, **numbers: float) -> None:
            assert images == 0 or done > 6
            super().update(done, images, **numbers)

        def due(self, done: int) -> bool:
            return True

    run = open_run(config(), writes=False)
    middle = run.space.sample(random.Random(5))
    del run
    Path("given.json").write_text(middle.to_json())
    verbs.search(config("search.evaluations=3", "search.name=one"))
    monkeypatch.setattr(nas.searching.searching, "Progress", Watched)
    verbs.search(config("search.evaluations=5", "search.name=one", "search.networks=given.json"))
    assert max(resumed) >= 6
    given = [e for e in read_search(RunStore("run"), "one").evaluations() if e.origin.kind == "given"]
    assert len(given) == 1


def test_a_search_closed_before_anything_is_evaluated(trained: Path, counted: Counted) -> None:
    counted.stop_after = 1
    wanted = config("search.name=early")
    with pytest.raises(KeyboardInterrupt):
        verbs.search(wanted)
    with pytest.raises(InputError, match="has evaluated no network within its budget"):
        verbs.search(config("search.name=early", "search.close=true"))


def test_networks_that_the_user_gives(trained: Path, counted: Counted) -> None:
    """They are evaluated, shown, extracted and never win; a network of another space is refused with what does not fit."""
    space = open_run(config(), writes=False).space
    smallest, largest = extremes(space)
    Path("mine.json").write_text(largest.to_json())
    verbs.search(config("search.networks=mine.json", "search.evaluations=3", "search.name=given"))
    search = read_search(RunStore("run"), "given")
    [record] = [e for e in search.evaluations() if e.origin.kind == "given"]
    assert (record.digest, record.origin.name) == (largest.digest, str(Path("mine.json").absolute()))
    assert largest.digest in verbs.extract(config("search.name=given"))
    verbs.search(config("search.networks=mine.json", "search.evaluations=4", "search.name=given"))
    assert [e.digest for e in search.evaluations() if e.origin.kind == "given"] == [largest.digest]
    other = json.loads(smallest.to_json())
    other["stages"][0]["width"] = 17
    Path("other.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"s0.width"):
        verbs.search(config("search.networks=other.json", "search.name=refused"))
