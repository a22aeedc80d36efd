"""Devices whose times are known, in place of measuring one, and a space for their profiles."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from nas.measuring.noise import Measurement, Noise
from nas.measuring.timing import Timing
from search_spaces.units import Unit, units

QUIET = Noise(
    spread=1.0, drift=0.0, waiting=0.0, unsettled=0.0, error=0.01, load=None, cores=2, reference_ms=0.5
)  # fmt: skip


class Device:
    """A device whose times are known: in place of `measure_some`.

    Args:
        unit: milliseconds that a unit adds to a network.
        alone: milliseconds of a unit that is measured alone.
        base: milliseconds of every network.
    """

    def __init__(self, unit: Callable[[Unit], float], alone: Callable[[Unit], float], base: float = 0.5) -> None:
        self.unit, self.alone, self.base = unit, alone, base

    def __call__(self, chosen: Sequence[Any], *_: Any, **settings: Any) -> Measurement[int]:
        found = {}
        for position, item in enumerate(chosen):
            if isinstance(item, Unit):
                ms = self.alone(item)
            else:
                ms = self.base + sum(self.unit(unit) for _, unit in units(item))
            found[position] = Timing(ms, ms, ms, 1.0, 15, 0.0)
        return Measurement(found, QUIET, False)


def truth(unit: Unit) -> float:
    """Milliseconds by the name of the part, which no sum of counted quantities tells."""
    part = unit.parts[len(unit.parts) // 2]
    return random.Random(part.name).uniform(0.02, 0.1) * (1 + unit.dims[0] * unit.height * unit.width / 2000)


def noise(unit: Unit) -> float:
    return random.Random(str(unit)).uniform(0.01, 0.5)


COMPOSED = """\
name = "composed"
about = "Branches in more combinations than are measured."
in_channels = 1
num_classes = 10
resolution = 16
head = { part = "linear_head", norm = "layer_norm" }

[block]
position = [{ part = "none" }]
norm = [{ part = "layer_norm" }, { part = "batch_norm" }]
scale = [{ part = "none" }, { part = "layer_scale" }]
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5, 7] }]
ffn = [{ part = "mlp", ratio = [1, 2, 3, 4] }]

[[stages]]
width = [16]
depth = [1, 2]
embedding = { part = "conv_stem", stride = 2 }
"""
