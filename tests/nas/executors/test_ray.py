"""Work on a Ray cluster: what is shared, what is done again, and what ends."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

import nas.executors
from nas.executors import make_executor, workers_of
from nas.executors.guard import Words
from nas.testing import jobs
from search_spaces.errors import InputError
from search_spaces.named import check, read_space
from supernet.supernet import Supernet
from tests.command_line import ROOT, Commands, Runs, environment, results
from tests.nas.executors import light
from tests.nas.executors.test_processes import gone
from tests.nas.executors.test_shared import Held, logits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
WORDS = Words("play", "game.players=1")


@pytest.fixture
def two(ray_cluster: None) -> Iterator[Any]:
    """An executor with two actors."""
    from nas.executors.ray import Ray

    with closing(Ray(2, words=WORDS)) as executor:
        yield executor


def total(tensor: torch.Tensor, job: int) -> float:
    time.sleep(0.05)
    return float(tensor.sum()) + job


def test_an_actor_that_is_killed_costs_nothing_but_its_job(two: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Tensors arrive whole, an error as itself, and a killed actor's job is done by another."""
    held = Held(torch.arange(1000.0))
    found = two.map(held, total, range(12))
    got = [next(found)]
    os.kill(two.pids[0], signal.SIGKILL)
    got.extend(found)
    assert got == [499500.0 + job for job in range(12)]
    assert "has ended" in capsys.readouterr().err
    with pytest.raises(ValueError, match="as itself") as caught:
        list(two.map(held, light.fail, [1, "value"]))
    assert "light.py" in caught.value.__notes__[0]
    assert list(two.map(held, total, range(3))) == [499500.0 + job for job in range(3)]
    pids = two.pids
    two.close()
    assert gone(pids)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.executors, "find_spec", lambda _: None)
    for call in (lambda: make_executor("ray", 2), lambda: workers_of("ray", 0, cores=2)):
        with pytest.raises(InputError, match="Ray is not installed") as caught:
            call()
        assert 'pip install "hybrid-mixer-nas[ray]"' in caught.value.instead


def test_how_many_work() -> None:
    assert workers_of("processes", 3, cores=2) == workers_of("ray", 3, cores=2, gpus=True) == 3
    assert workers_of("processes", 0, cores=2) == 2
    assert workers_of("processes", 0, cores=2, gpus=True) == 1


@pytest.mark.slow
def test_a_job_that_ends_every_actor(two: Any) -> None:
    """It is given up, after the results of the jobs before it; the executor works on."""
    found = two.map(jobs.nothing, light.fail, [1, 2, "kill", 3])
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(InputError) as caught:
        next(found)
    assert "the processes that play were ended from outside" in caught.value.given
    assert "5 workers of the cluster in turn" in caught.value.given
    assert "game.players=1" in caught.value.instead
    assert list(two.map(jobs.nothing, light.fail, [1, 2])) == [1, 2]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_setup_that_ends_every_actor(two: Any) -> None:
    with pytest.raises(InputError, match="were ended from outside"):
        list(two.map(die, jobs.square, range(4)))
    assert list(two.map(jobs.nothing, jobs.square, range(4))) == [0, 1, 4, 9]


@pytest.mark.slow
def test_many_that_are_killed(ray_cluster: None) -> None:
    """At random moments, whatever they are doing, two at once too."""
    from nas.executors.ray import Ray

    rng, killed = random.Random(0), set[int]()
    held = Held(torch.arange(1000.0))
    with closing(Ray(3, words=WORDS)) as executor:
        for _ in range(3):
            got = []
            for result in executor.map(held, total, range(60)):
                got.append(result)
                if len(got) % 15 == 5:
                    alive = [pid for pid in executor.pids if pid not in killed]
                    for pid in rng.sample(alive, min(len(alive), rng.randint(1, 2))):
                        killed.add(pid)
                        os.kill(pid, signal.SIGKILL)
            assert got == [499500.0 + job for job in range(60)]
    assert len(killed) >= 9


@pytest.mark.slow
def test_a_supernet_gives_the_same_bits_on_a_cluster(two: Any) -> None:
    """Its weights are in memory once, and cannot be written by accident."""
    supernet = Supernet(check(read_space("digits")).bind(1, 10, 8), 3).eval()
    held = Held(supernet)
    with closing(make_executor("here", 1)) as here:
        expected = list(here.map(held, logits, range(6)))
    assert list(two.map(held, logits, range(6))) == expected
    assert set(two.map(held, aligned, range(4))) == {True}


def aligned(supernet: Supernet, _: int) -> bool:
    """As torch's own allocator does it, for kernels that round otherwise elsewhere."""
    return all(tensor.data_ptr() % 64 == 0 for tensor in supernet.state_dict().values() if tensor.numel() > 16)


@pytest.mark.slow
def test_nodes_that_differ(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import nas.executors.ray as module

    monkeypatch.setattr(module, "identity", lambda: {"torch": "1.0"})
    with pytest.raises(InputError, match=r"has torch .*, and this process has 1\.0"):
        list(two.map(jobs.nothing, jobs.square, [1]))
    monkeypatch.undo()
    about = {"pid": 1, "host": "elsewhere", "missing": "No module named 'nas'", "identity": {}}
    actor = module._Actor(two._actors[0].handle)
    with pytest.raises(InputError, match="cannot import this project") as caught:
        two._check(actor, about)
    assert "elsewhere" in caught.value.instead


@pytest.mark.slow
def test_a_node_that_leaves() -> None:
    """What its actors were doing is done by those of the other node."""
    script = """\
import logging, os, sys, time
from contextlib import closing
import ray
from ray.cluster_utils import Cluster
from nas.executors.ray import Ray

def where(_, job):
    time.sleep(0.2)
    return job, ray.get_runtime_context().get_node_id()

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, logging_level=logging.ERROR)
    def nothing(): pass
    with closing(Ray(3)) as executor:
        found = executor.map(nothing, where, range(60))
        got = []
        for result in found:
            got.append(result)
            if len({node for _, node in got}) == 2 and other is not None:
                cluster.remove_node(other, allow_graceful=False)
                other = None
        assert other is None, "only one node worked"
    assert [job for job, _ in got] == list(range(60)), got
    print("done")
    ray.shutdown()
    cluster.shutdown()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout.splitlines()
    assert "its job is done again" in done.stderr


SCRIPT = """\
import signal
from pathlib import Path
from nas.executors.ray import Ray
from nas.testing import jobs
from tests.nas.executors import light

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what it starts in the background
place = Path("place")
for _ in Ray(2).map(jobs.nothing, light.wait_for, [(n, place) for n in range(2)]):
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_actors_end_with_their_caller(number: signal.Signals, tmp_path: Path) -> None:
    """And the cluster of local cores with them. A script needs no guard."""
    (tmp_path / "place").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment(), text=True, start_new_session=True, stderr=subprocess.PIPE
    )  # fmt: skip
    while process.poll() is None and len(list((tmp_path / "place").glob("?-*"))) < 2:
        time.sleep(0.05)
    pids = [int(path.name[2:]) for path in (tmp_path / "place").glob("?-*")]
    assert len(pids) == 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does it: to all of them
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert gone(pids, 30)
    if number == signal.SIGINT:
        assert process.returncode in (1, -number)
        assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1:9", "does not answer"),
        ("nonsense", "cannot be used"),
        ("nonsense:12x", "cannot be used"),
    ],
)
def test_an_address_of_nothing(address: str, what: str) -> None:
    code = "from nas.executors import workers_of; workers_of('ray', 0, cores=1)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(RAY_ADDRESS=address), capture_output=True, text=True, check=False
    )
    assert f"InputError: executor=ray: RAY_ADDRESS={address} {what} (" in done.stderr
    assert "During handling" not in done.stderr


STARTS = """\
from contextlib import closing
from nas.executors import cluster, make_executor, workers_of
from nas.testing import jobs
from tests.nas.executors import light

starts = []
init = cluster.ray.init
cluster.ray.init = lambda **how: starts.append(how) or init(**how)
for jobs in (range(2), ()):
    workers = workers_of("ray", 0, cores=1)
    assert workers_of("ray", 0, cores=1) == workers
    with closing(make_executor("ray", workers)) as executor:
        print("found", list(executor.map(jobs.nothing, jobs.square, jobs)), len(starts))
    assert not cluster.ray.is_initialized()
"""


@pytest.mark.slow
def test_local_cores_are_started_once() -> None:
    """By the question how many there are; the executor takes them over, and ends them though it had no work."""
    done = subprocess.run(
        [sys.executable, "-c", STARTS], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("found")] == ["found [0, 1] 1", "found [] 2"]


@pytest.mark.slow
def test_a_search_and_its_retraining_on_a_cluster(nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """The files are those of the same commands in one process."""
    import shutil

    place = Path(shutil.copytree(runs["train"], tmp_path / "ray"))
    for verb in ("search", "extract", "retrain"):
        on_ray = [] if verb == "extract" else ["executor=ray", "jobs=2"]
        nas(verb, "config.toml", *on_ray, cwd=place).ok()
        assert results(place) == results(runs[verb])
