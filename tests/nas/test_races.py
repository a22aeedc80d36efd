"""Searches that race their candidates: records, resumption, several processes, and what an estimate may not do."""

import json
import operator
import random
import shutil
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas as verbs
import nas.searching.racing
import nas.searching.searching
from nas import load_config
from nas.goals.selection import selected
from nas.measuring.fingerprint import fingerprint
from nas.records import BASELINE, SAMPLER, Evaluation, Origin, eligible
from nas.runs.run import open_run
from nas.runs.searches import FINISHED, Search, evaluated_before, read_search
from nas.runs.store import RunStore
from nas.runtimes import Setting
from nas.searching.evaluation import Evaluator, Raced
from nas.searching.races import OUTCOMES, Job, Races
from nas.searching.racing import Race
from search_spaces.errors import InputError
from tests.nas.test_inputs import profile

WHOLE = 287
"""Images of search-validation."""


def config(*settings: str) -> Any:
    few = ("run=run", "space=tiny.toml", "data.resolution=8", "executor=here", "search.population=4", "search.batch=3")
    fixed = ("train.epochs=1", "train.batch_size=128", "train.random_paths=1", "train.checkpoint_steps=2")
    search = ("search.calibration_images=64", "search.batch_size=16", "search.evaluations=16", "search.samplers=nsga2")
    return load_config(None, [*few, *fixed, *search, *settings])


@pytest.fixture
def trained(after: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    place = after("train")
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def hasty(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are dropped on little evidence: after one epoch of training, networks do not agree on what is easy."""
    monkeypatch.setattr(nas.searching.racing, "PRECISION", 2.0)
    monkeypatch.setattr(nas.searching.racing, "FINE", 2.0)
    monkeypatch.setattr(nas.searching.racing, "Z", 0.5)


def searched(name: str, *settings: str) -> tuple[Search, list[Evaluation]]:
    verbs.search(config(f"search.name={name}", *settings))
    search = read_search(RunStore.open("run"), name)
    return search, search.evaluations()


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"run/searches/{name}/evaluations.jsonl").read_text().splitlines()]


def test_what_is_shared_changes_no_byte(trained: Path) -> None:
    for name, way in (("one", "plain"), ("other", "exact")):
        Path("run/searches").mkdir(exist_ok=True)
        searched(name, f"search.evaluation={way}", "search.evaluations=5")
        if name == "one":
            Path("run/searches/one").rename("one")  # or the other would take over its evaluations
    assert Path("one/evaluations.jsonl").read_bytes() == Path("run/searches/other/evaluations.jsonl").read_bytes()
    assert "against" not in lines("other")[0]
    run = open_run(config(), writes=False)
    before = {
        way: evaluated_before(run.store, config(f"search.evaluation={way}").search).keys()
        for way in ("plain", "exact", "fast")
    }
    digests = {line["digest"] for line in lines("other")}
    assert before == {"plain": set(), "exact": digests, "fast": digests}  # plain is what exact is compared with
    Path("one").rename("run/searches/one")
    for way in ("plain", "exact"):
        assert evaluated_before(run.store, config(f"search.evaluation={way}").search).keys() == digests


def test_baselines_need_no_answers_of_others(trained: Path) -> None:
    search, found = searched("fast", "search.evaluation=fast", "search.evaluations=2")
    Path(f"run/searches/fast/{OUTCOMES}").unlink()
    races, asked = Races(search.store, search, WHOLE, 1, 8), []
    run = open_run(config("search.evaluation=plain"), writes=False)
    evaluator = Evaluator.of(run.config, run.split, run.supernet().eval(), run.device)

    def evaluate(jobs: list[Job]) -> list[Raced]:
        asked.extend(arch.digest for arch, _ in jobs)
        return [evaluator.race(*job) for job in jobs]

    told = [record for record in found if record.origin.kind == SAMPLER]
    for record in told:
        races.told(record)
    arch = found[0].architecture
    assert races.jobs([(Origin(BASELINE, "smallest"), arch)], evaluate) == [(arch, None)]
    assert asked == []
    races.jobs([(Origin(SAMPLER, "nsga2"), arch)], evaluate)
    assert set(asked) == {record.digest for record in told}


def test_shared_maps_are_of_one_order_of_the_images(trained: Path) -> None:
    run = open_run(config(), writes=False)
    plain, shared = (Evaluator.of(run.config, run.split, run.supernet().eval(), run.device, n) for n in (0, 1 << 28))
    arch, draw, nothing = run.space.sample(random.Random(0)), np.random.default_rng(0), np.zeros((0, 1))
    for order in (draw.permutation(WHOLE).astype(np.int32) for _ in range(2)):
        race = Race(order, (), nothing, nothing, (), ("top1",), nas.searching.racing.Z, nas.searching.racing.PRECISION)
        expected = plain.race(arch, race).outcome
        for _ in range(3):  # maps are kept from the second time on
            outcome = shared.race(arch, race).outcome
            assert expected
            assert outcome
            assert np.array_equal(outcome.losses, expected.losses)
    assert shared.cache
    assert shared.cache.units_kept


def test_a_race_is_recorded_and_an_estimate_never_wins(hasty: None, capsys: pytest.CaptureFixture[str]) -> None:
    search, found = searched("fast", "search.evaluation=fast", "search.seed=1")
    assert any(record.is_estimate for record in found)
    count = sum(record.is_estimate for record in found)
    assert f"{count} of {len(found)} evaluations are estimates of dropped candidates" in "".join(capsys.readouterr())
    full = {(record.origin, record.digest): record for record in found if not record.is_estimate}
    assert {record.digest for record in found} > {digest for _, digest in full}
    for record in found:
        assert record.against is not None
        if not record.is_estimate:
            assert record.images == WHOLE
            continue
        assert WHOLE / 8 <= record.images <= nas.searching.racing.LATEST * WHOLE
        rival = full[record.origin, record.against]  # of the same sampler
        assert rival.n < record.n
        assert rival.costs["macs"] <= record.costs["macs"]
        assert Evaluation.from_dict(json.loads(json.dumps(record.to_dict()))) == record
        if record.digest not in {digest for _, digest in full}:  # another sampler's evaluation of it may be whole
            with pytest.raises(InputError, match="evaluated in full"):
                selected(search, 5, record.digest, "run")
    winners = eligible(found, search.budget, search.objectives)
    assert winners
    assert not any(record.is_estimate for record in winners)
    assert not any(chosen.record.is_estimate for chosen in selected(search, 5, "", "run").values())
    # A network that was validated in full has the accuracy of the plain procedure, whatever the order of the images.
    run = open_run(config("search.evaluation=plain"), writes=False)
    evaluator = Evaluator.of(run.config, run.split, run.supernet().eval(), run.device)
    for record in [record for record in found if not record.is_estimate][-3:]:
        accuracy = evaluator(record.architecture)
        assert abs(accuracy.top1 - record.top1) * WHOLE <= 1
        assert accuracy.loss == pytest.approx(record.loss, rel=1e-5)
    # As little evidence as here is right two times in three about who is worse, with each of seeds 0 to 4. With seeds 1, 3 and 4, but not with 0
    # and 2, it also says more than one guess for all of these networks would, even the best one, which nobody knows.
    dropped = [record for record in found if record.is_estimate]
    truth = [evaluator(record.architecture).top1 for record in dropped]
    rivals = [full[record.origin, str(record.against)].top1 for record in dropped]
    assert sum(map(operator.lt, truth, rivals)) > len(dropped) * 2 / 3
    errors = [abs(record.top1 - true) for record, true in zip(dropped, truth, strict=True)]
    assert statistics.mean(errors) < statistics.mean(abs(true - statistics.median(truth)) for true in truth)
    assert evaluated_before(run.store, run.config.search) == {}


def test_a_search_that_is_cut_off_anywhere_ends_as_if_it_had_not_been(
    hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched("whole", "search.evaluation=fast")
    whole = lines("whole")
    assert any(line["against"] for line in whole)
    jobs = part = 0

    def stopping(evaluator: Evaluator, job: Job) -> Raced:
        nonlocal jobs
        jobs += 1
        if jobs % 13 == 0:
            raise KeyboardInterrupt
        return evaluator.race(*job)

    with monkeypatch.context() as patch:
        patch.setattr(nas.searching.searching, "raced", stopping)
        for part in range(9):
            if part == 2:
                Path(f"run/searches/cut/{OUTCOMES}").unlink()
            if part == 3:
                with open(f"run/searches/cut/{OUTCOMES}", "a") as file:
                    file.write('{"digest":"damaged"}\n')
            try:
                searched("cut", "search.evaluation=fast")
                break
            except KeyboardInterrupt:
                continue
    assert part >= 3
    assert lines("cut") == whole


def test_a_flipped_bit_costs_one_evaluation(
    hasty: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the network whose answers it was in, once later candidates are compared with it."""
    done: list[str] = []

    def counted(evaluator: Evaluator, job: Job) -> Raced:
        done.append(job[0].digest)
        return evaluator.race(*job)

    searched("fast", "search.evaluation=fast", "search.evaluations=9")
    folder, path = Path("run/searches/fast"), Path(f"run/searches/fast/{OUTCOMES}")
    shutil.copytree(folder, "before")
    monkeypatch.setattr(nas.searching.searching, "raced", counted)
    searched("fast", "search.evaluation=fast")
    sound, new = lines("fast"), list(done)
    assert new
    shutil.rmtree(folder)
    shutil.copytree("before", folder)
    outcomes = path.read_bytes().splitlines(keepends=True)
    flipped = bytearray(outcomes[1])
    flipped[len(flipped) // 2] ^= 1
    of_no_use = b'{"digest":"0123456789ab","hits":"","losses":"not base 64"}\n'
    path.write_bytes(b"".join((outcomes[0], flipped, *outcomes[2:], of_no_use)))
    done.clear()
    capsys.readouterr()
    searched("fast", "search.evaluation=fast")
    assert sorted(done) == sorted([json.loads(outcomes[1])["digest"], *new])
    assert lines("fast") == sound
    assert f"{OUTCOMES} has 2 damaged lines" in capsys.readouterr().out
    assert path.read_bytes().startswith(b"".join((outcomes[0], *outcomes[2:])))
    assert path.with_name(f"{OUTCOMES}.damaged").read_bytes() == flipped


@pytest.mark.slow
def test_more_evaluations_go_on_as_one_search(hasty: None) -> None:
    searched("whole", "search.evaluation=fast")
    for evaluations in (9, 13, 16):
        searched("raised", "search.evaluation=fast", f"search.evaluations={evaluations}")
    kept = [
        [line | {"n": 0, "crc": ""} for line in lines(name) if line["origin"]["kind"] == "sampler"]
        for name in ("whole", "raised")
    ]
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_two_processes_decide_the_same(hasty: None) -> None:
    searched("one", "search.evaluation=fast")
    searched("two", "search.evaluation=fast", "executor=processes", "search.jobs=2")
    assert lines("one") == lines("two")
    assert any(line["against"] for line in lines("one"))


def test_no_race_under_a_limit_that_is_measured_here(trained: Path) -> None:
    """A rival that is found over the limit at the end would have dropped networks that win without it."""
    here = {"setting": asdict(Setting()), "fingerprint": fingerprint(Setting())}
    Path("here.json").write_text(json.dumps(profile(device="laptop") | here))
    Path("there.json").write_text(json.dumps(profile(device="phone")))
    limited = ("search.profiles=here.json,there.json", "search.evaluation=fast", "search.evaluations=1")
    for cost in ("latency_ms@laptop", "latency_ms"):
        with pytest.raises(InputError, match=f"a limit on {cost}, which is measured on this machine") as caught:
            searched("new", *limited, f"search.budget={cost}=100")
        assert caught.value.instead == "search.evaluation=exact"
    assert not Path("run/searches").exists()
    # No network can be found over a limit that is not measured.
    search, _ = searched("phone", *limited, "search.budget=latency_ms@phone=100")
    assert search.state == FINISHED
    with pytest.raises(InputError, match="a limit on latency_ms@laptop") as caught:
        searched("phone", *limited, "search.budget=latency_ms@laptop=100")
    assert caught.value.instead == "search.evaluation=exact search.name=another"
