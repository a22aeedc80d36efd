"""Timing on a GPU: how many calls lie between two events and when the GPU is warmed up, and on a GPU itself, graphs and their outputs."""

import copy
import random
from collections.abc import Callable

import pytest
import torch
from torch import nn

from nas.measuring.noise import measure
from nas.measuring.timing import SelfTimed
from nas.runtimes import Setting, cuda, make_runtime
from nas.runtimes.cuda import CudaRun, graphed
from search_spaces.named import load_space
from search_spaces.network import build
from search_spaces.testing import tame

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Gpu:
    """A GPU whose clock this process turns: work takes time on it, and nothing else does.

    Attributes:
        now: seconds since its start.
        calls: that were started.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.calls = 0.0, 0
        gpu = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing
                self.at = float("nan")

            def record(self) -> None:
                self.at = gpu.now

            def synchronize(self) -> None:
                """All work is done when it is started."""

            def elapsed_time(self, other: "Event") -> float:
                return 1e3 * (other.at - self.at)

        class Device:
            def __init__(self, device: torch.device) -> None:
                assert device == torch.device("cuda:0")

            def __enter__(self) -> None: ...

            def __exit__(self, *found: object) -> None: ...

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "device", Device)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        monkeypatch.setattr(cuda.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(CudaRun, "_measured", {})

    def work(self, seconds: float) -> Callable[[], None]:
        """What takes so long on it."""

        def run() -> None:
            self.now += seconds
            self.calls += 1

        return run


@pytest.mark.parametrize(("seconds", "calls"), [(1e-5, 1000), (1e-3, 10), (0.5, 1)])
def test_as_many_calls_as_fill_a_period(monkeypatch: pytest.MonkeyPatch, seconds: float, calls: int) -> None:
    gpu = Gpu(monkeypatch)
    run = CudaRun(gpu.work(seconds), "cuda:0", graph=True)
    assert run.seconds(1) == pytest.approx(seconds)
    before = gpu.calls
    assert run.seconds(1) == pytest.approx(seconds)
    assert gpu.calls - before == pytest.approx(calls, abs=1)
    before = gpu.calls
    assert run.seconds(5 * calls) == pytest.approx(seconds)
    assert gpu.calls - before == 5 * calls


def test_a_gpu_is_warmed_up_once_unless_it_was_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(monkeypatch)
    one, other = (CudaRun(gpu.work(1e-3), "cuda:0", graph=True) for _ in range(2))
    one.seconds(1)
    assert gpu.now > cuda.WARM_UP
    before = gpu.now
    other.seconds(1)
    one.seconds(1)
    assert gpu.now - before < cuda.WARM_UP
    gpu.now += 2 * cuda.IDLE
    before = gpu.now
    one.seconds(1)
    assert gpu.now - before > cuda.WARM_UP


@needs_gpu
def test_networks_are_replayed_from_graphs_on_a_gpu() -> None:
    space = load_space("images32").bind(3, 10, 32)
    for number in range(4):
        network = tame(build(space.sample(random.Random(number)), 0).eval())
        images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(number))
        with torch.inference_mode():
            expected = copy.deepcopy(network)(images)
        run = make_runtime("eager").prepare(network, (images,), Setting(device="cuda"))
        assert isinstance(run, CudaRun)
        assert run.graph
        torch.cuda.empty_cache()
        others = [
            torch.full((1 << size,), torch.nan, device="cuda") for size in range(8, 26)
        ]  # where nothing is held, nan is read
        for _ in range(2):
            assert (torch.as_tensor(run()).cpu() - expected).abs().max() <= 1e-2 * expected.abs().max()
        del others


@needs_gpu
def test_what_waits_for_the_gpu_runs_without_a_graph() -> None:
    x = torch.arange(8.0, device="cuda")
    run = graphed(lambda: x[: int(x.sum()) // 7], "cuda")
    assert not run.graph
    assert torch.equal(torch.as_tensor(run()).cpu(), torch.arange(4.0))
    assert graphed(lambda: x + 1, "cuda").graph


@needs_gpu
def test_twice_the_work_takes_twice_the_time_on_a_gpu() -> None:
    network = nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(4))).cuda()
    x = torch.randn(4096, 4096, device="cuda")

    @torch.inference_mode()
    def once() -> object:
        return network(x)

    @torch.inference_mode()
    def twice() -> object:
        return network(network(x))

    runs = {name: graphed(run, "cuda") for name, run in (("once", once), ("twice", twice))}
    assert all(isinstance(run, SelfTimed) for run in runs.values())
    timings = measure(runs, seed=0, noisy=True).timings
    assert timings["twice"].ms == pytest.approx(2 * timings["once"].ms, rel=0.1)
