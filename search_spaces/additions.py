"""Options that parts were given after networks had been written down, and the value that stands for leaving them out.

An architecture leaves such an option out where it has this value. So older files are still read, and networks that do not use the
option keep their text and their digest. Standard library only, because architectures are read without torch.

An option is entered here when it is added to a part that exists; its default must be the value here, which registering checks.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

ADDED: dict[tuple[str, str], bool | int | float | str] = {
    ("hat_stem", "activation"): "silu",
    ("inverted_residual", "activation"): "silu",
    ("rp_cpe_ffn", "diverse"): False,
    ("c_mhsa", "kernel_size"): 3,
    ("ems", "dynamic_ratio"): 0.5,
    ("ems", "global_ratio"): 0.5,
    ("ems", "split"): True,
    ("ems", "local_kernel_size"): 3,
    ("d_mixer", "local"): "idconv",
    ("d_mixer", "overlap"): True,
    ("d_mixer", "enhancer"): "ste",
}
"""(part, option): the value that is left out."""


@cache
def added(part: str) -> Mapping[str, bool | int | float | str]:
    """The options of a part that are left out at a value, and that value."""
    return MappingProxyType({option: value for (name, option), value in ADDED.items() if name == part})


def is_left_out(part: str, option: str, value: object) -> bool:
    """Whether an architecture leaves this option out at this value."""
    left = ADDED.get((part, option))
    return left is not None and type(value) is type(left) and value == left
