"""What a profile measures: of which device and space, which networks and units, and how exactly."""

from dataclasses import dataclass
from typing import Any

from nas.measuring.profiling import calibrating, spread_networks
from nas.runtimes import Setting
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

CALIBRATION, HELD_OUT, GIVEN = "calibration", "held_out", "given"
"""What a measured network is for: choosing the model, telling its error, or the user's own interest."""

ALL, NETWORKS, NONE = "all", "networks", "none"
"""Which units are measured: those that tell the time of every unit of the space, those of the networks that are measured, or none: the
model is then learned from whole networks alone, which saves hours with a runtime that takes long to prepare a unit."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a profile measures.

    Args:
        device: what costs will call the device.
        space: complete, bound to the channels, classes and resolution of the data.
        setting: how networks are run.
        calibration, held_out: number of networks that choose the model, and that tell its error.
        which: `ALL`, `NETWORKS` or `NONE`.
        networks: further architectures that are measured and shown.
        error: of a network's time, relative, at which its measurement ends.
        seconds: of measuring, about; None for as long as the error needs.
        noisy: whether times of a noisy machine are taken.
    """

    device: str
    space: SearchSpace
    setting: Setting
    calibration: int = 25
    held_out: int = 30
    which: str = ALL
    networks: tuple[Architecture, ...] = ()
    error: float = 0.01
    seconds: float | None = None
    noisy: bool = False
    seed: int = 0

    def to_dict(self, found: dict[str, Any]) -> dict[str, Any]:
        """What a journal is bound to.

        Args:
            found: the fingerprint of this device.
        """
        return {
            "device": self.device,
            "space": self.space.digest,
            "calibration": self.calibration,
            "held_out": self.held_out,
            "units": self.which,
            "networks": [arch.digest for arch in self.networks],
            "error": self.error,
            "seed": self.seed,
            "fingerprint": found,
        }


Roles = dict[str, tuple[Architecture, str]]
"""Architecture and role of the networks that are measured, by digest."""


def networks_of(plan: Plan) -> Roles:
    """The networks that are measured: those that are given, those for calibration and held-out ones, which are different.

    Raises:
        InputError: the space has too few networks.
    """
    count = plan.calibration + plan.held_out
    found = spread_networks(plan.space, min(count, plan.space.size), plan.seed)
    if len(found) < count:
        # The fewest that the settings allow are 3 for calibration and 2 held-out ones.
        calibration = max(3, min(len(found) - 2, len(found) * plan.calibration // count))
        fits = f"calibration={calibration} heldout={len(found) - calibration}"
        raise InputError(
            f"space {plan.space.name} gave {len(found)} different networks, and {plan.calibration} for calibration and "
            f"{plan.held_out} held-out ones are asked for",
            "no more than the space has, and 3 for calibration and 2 held-out ones at least",
            fits if len(found) >= 5 else "a space with more networks",
        )
    roles: Roles = {arch.digest: (arch, GIVEN) for arch in plan.networks}
    chosen = calibrating(found, plan.calibration, plan.seed)
    for arch in found:
        roles[arch.digest] = (arch, CALIBRATION if arch.digest in chosen else HELD_OUT)
    return roles
