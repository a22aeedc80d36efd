"""The section `extract` of the configuration. Standard library only."""

import re
from dataclasses import dataclass

from nas.config.keys import key
from nas.goals.picking import Picks
from search_spaces.errors import InputError, quoted

_LICENSE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.+-]{0,60}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractConfig:
    """What `nas extract` does."""

    pick: tuple[str, ...] = key(
        (),
        'which networks: best, knee (where the Pareto front bends), all (of the Pareto front), a DIGEST, or limits on costs ("macs<=1G", which is '
        "the best network within; several limits hold together). Empty takes retrain.points of the front, the baselines and random search's best",
    )
    out: str = key(
        "",
        "folder that gets one sub-folder per network; empty for the search's own networks/. The run is then only read",
    )
    verify: bool = key(False, "only check the files that are there, against the supernet and the recorded accuracy")
    merge: bool = key(
        False,
        "merge parallel branches that equal one convolution after training (RP-CPE): for inference, not for retraining; needs out. Outputs are equal up to rounding",
    )
    license: str = key("apache-2.0", "licence of the weights that the model card states, as the hub calls it")

    def __post_init__(self) -> None:
        Picks.parse(self.pick)
        if not _LICENSE.fullmatch(self.license):
            allowed = "letters, digits and . - as the hub names licences"
            raise InputError(f"extract.license is {quoted(self.license)}", allowed, "extract.license=apache-2.0")
