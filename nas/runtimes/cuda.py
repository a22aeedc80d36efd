"""Runs on a GPU of Nvidia: replayed from a CUDA graph where that is possible, and timed by events of the GPU itself."""

import time
from collections.abc import Callable

import torch

REPLAYS = 50
"""Calls between two events, at least: starting the first of them is then a small part of the time."""

WARM_UP = 0.2
"""Seconds of work after which the clock of the GPU has settled."""


class CudaRun:
    """Something that runs on a GPU; `nas.measuring.timing.SelfTimed`, since a call only starts the work.

    Args:
        run: starts the work once.
        device: it runs on.
        graph: whether it is replayed from a CUDA graph.
    """

    def __init__(self, run: Callable[[], object], device: str, graph: bool) -> None:
        self._run, self._device, self.graph = run, torch.device(device), graph
        self._warm = False

    def __call__(self) -> object:
        """The outputs, when the work is done."""
        y = self._run()
        torch.cuda.synchronize(self._device)
        return y

    def seconds(self, repeats: int) -> float:
        """Seconds of one call on the GPU, as the mean of `REPLAYS` or more."""
        with torch.cuda.device(self._device):
            if not self._warm:
                self._warm_up()
            repeats = max(repeats, REPLAYS)
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
        self._warm = True


def graphed(run: Callable[[], object], device: str) -> CudaRun:
    """`run` as a CUDA graph; as it is, where its operators cannot be captured (they wait for the GPU, or choose by its results).

    Args:
        run: starts work on the device, always of the same sizes and on the same memory.
        device: a CUDA device.
    """
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(
            stream
        ):  # as capture needs it: what libraries set up in their first calls is not captured
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                kept = run()
        except RuntimeError:
            torch.cuda.synchronize()
            return CudaRun(run, device, graph=False)

        def replay() -> object:
            graph.replay()
            return kept

        return CudaRun(replay, device, graph=True)
