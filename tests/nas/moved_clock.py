"""A clock that tests move, and times that vary on it."""

import math
import random
from collections.abc import Callable


class Machine:
    """A clock, and runs that move it."""

    def __init__(self) -> None:
        self.now, self.idle = 0.0, 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def cpu_clock(self) -> float:
        """That of a thread which has no core during `idle` seconds."""
        return self.now - self.idle

    def run(self, name: str, seconds: Callable[[int], float], waiting: float = 0.0) -> Callable[[], object]:
        """A run whose n-th call takes `seconds(n)`, of which a share is waiting."""
        count = 0

        def call() -> None:
            nonlocal count
            taken = seconds(count)
            self.now += taken
            self.idle += waiting * taken
            count += 1
            self.calls.append(name)

        return call


def noisy(seed: int, seconds: float, deviation: float) -> Callable[[int], float]:
    draw = random.Random(seed)
    return lambda _: seconds * math.exp(draw.gauss(0, deviation))
