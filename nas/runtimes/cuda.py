"""Runs on a GPU of Nvidia: replayed from a CUDA graph where that is possible, and timed by events of the GPU itself."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

PERIOD = 0.01
"""Seconds of work between two events, at least: starting the first call is then a small part of the time."""

FIRST = 5
"""Calls that tell how many of them fill a `PERIOD`."""

WARM_UP = 0.2
"""Seconds of work after which the clock of the GPU has settled."""

IDLE = 0.1
"""Seconds without a measurement after which the GPU may have lowered its clock."""


class CudaRun:
    """Something that runs on a GPU; `nas.measuring.timing.SelfTimed`, since a call only starts the work.

    Args:
        run: starts the work once.
        device: it runs on.
        graph: whether it is replayed from a CUDA graph.
    """

    _measured: ClassVar[dict[torch.device, float]] = {}
    """When the last measurement on a device ended."""

    def __init__(self, run: Callable[[], object], device: str, graph: bool) -> None:
        self._run, self._device, self.graph = run, torch.device(device), graph
        self._repeats = 0

    def __call__(self) -> object:
        """The outputs, when the work is done."""
        y = self._run()
        torch.cuda.synchronize(self._device)
        return y

    def seconds(self, repeats: int) -> float:
        """Seconds of one call on the GPU, as the mean of `repeats` calls or of as many more as fill a `PERIOD`."""
        with torch.cuda.device(self._device):
            if time.perf_counter() - self._measured.get(self._device, -math.inf) > IDLE:
                self._warm_up()
            if not self._repeats:
                self._repeats = math.ceil(PERIOD / max(1e-9, self._timed(FIRST)))
            seconds = self._timed(max(repeats, self._repeats))
        self._measured[self._device] = time.perf_counter()
        return seconds

    def _timed(self, repeats: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(repeats):
            self._run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / repeats

    def _warm_up(self) -> None:
        until = time.perf_counter() + WARM_UP
        while time.perf_counter() < until:
            self._run()
            torch.cuda.synchronize()


def graphed(run: Callable[[], object], device: str) -> CudaRun:
    """`run` as a CUDA graph; as it is, where its operators cannot be captured (they wait for the GPU, or choose by its results).

    Args:
        run: starts work on the device, always of the same sizes and on the same memory.
        device: a CUDA device.
    """
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what libraries set up in their first calls cannot be captured
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                outputs = run()
        except RuntimeError:
            torch.cuda.synchronize()
            return CudaRun(run, device, graph=False)
        return CudaRun(Replay(graph, run, outputs), device, graph=True)


@dataclass(frozen=True)
class Replay:
    """Replays a captured graph.

    A graph knows addresses, and keeps none of the memory that it reads: weights and inputs live as long as `run`, which holds them.

    Args:
        graph: captured from `run`.
        run: what was captured.
        outputs: where the graph writes its results; returned by every call.
    """

    graph: torch.cuda.CUDAGraph
    run: Callable[[], object]
    outputs: object

    def __call__(self) -> object:
        self.graph.replay()
        return self.outputs
