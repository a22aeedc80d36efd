"""What can be counted on a unit without running it, as features of its latency.

Amounts add up over a network: multiply-adds of each family of operators, bytes read and written, operator calls. Traits say where a unit
lies among others: its kind, its parts and their options, its sizes. Units with near traits take similar times for equal amounts.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from search_spaces.costs.operators import Counter
from search_spaces.registry import SkipInit
from search_spaces.units import NOTHING, Unit, make_unit, unit_inputs


class Features(NamedTuple):
    """A unit as a model of latency sees it.

    Args:
        amounts: numbers from 0 up that add up over a network. A unit whose amounts are all 0 takes no time.
        traits: numbers and words; a word counts as equal or different.
    """

    amounts: Mapping[str, float]
    traits: Mapping[str, float | str]


U = TypeVar("U", bound=Hashable)
"""A unit, or whatever stands for one."""

Describe = Callable[[U], Features]


@lru_cache(maxsize=100_000)
def unit_features(unit: Unit) -> Features:
    """Features of a unit, counted on the meta device and remembered.

    The unit is counted as it is trained. Its form for inference saves some calls, by the same rules for every unit of a kind.

    Raises:
        NotImplementedError: a part has an operator whose cost is not known.
    """
    with torch.device("meta"), SkipInit():
        module = make_unit(unit).eval()
        inputs = unit_inputs(unit)
    with torch.no_grad(), _Tally() as tally:
        module(*inputs)
    params = sum(parameter.numel() for parameter in module.parameters())
    families = {f"macs of {name}": float(macs) for name, macs in tally.families.items()}
    amounts = {"params": float(params), "macs": float(tally.macs), **families}
    amounts |= {"calls": float(tally.calls), "bytes": float(tally.nbytes)}
    return Features(amounts, _traits(unit) | {f"log {name}": math.log1p(value) for name, value in amounts.items()})


def _traits(unit: Unit) -> dict[str, float | str]:
    traits: dict[str, float | str] = {"kind": unit.kind, "log pixels": math.log(unit.height * unit.width)}
    traits |= {f"log channels {place}": math.log(dim) for place, dim in enumerate(unit.dims)}
    for place, part in enumerate((*unit.parts, unit.bias or NOTHING)):
        traits[f"part {place}"] = part.name
        for key, value in part.options:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            traits[f"{part.name} {key}"] = float(cast(float, value)) if number else str(value)
    return traits


_PRODUCTS = {"linear", "matmul", "bmm", "scaled_dot_product_attention"}

_VIEWS = {
    "size", "dim", "numel", "shape", "ndim", "stride", "get", "device", "dtype", "reshape", "view", "flatten", "unflatten", "permute", "transpose",
    "expand", "narrow", "squeeze", "unsqueeze", "movedim", "swapaxes", "unbind", "split", "chunk", "getitem", "T", "detach", "broadcast_to",
}  # fmt: skip
"""Operators that move no data, or rarely."""


class _Tally(Counter):
    """Counts multiply-adds by family of operators, calls, and bytes that calls read and write in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.families = {"dense convolutions": 0, "grouped convolutions": 0, "products": 0, "others": 0}
        self.calls = self.nbytes = 0

    def answer(self, func: Any, args: tuple, kwargs: dict) -> Any:
        before = self.macs
        result = super().answer(func, args, kwargs)
        name = getattr(func, "__name__", "").strip("_")
        self.families[_family(func, name, args, kwargs)] += self.macs - before
        if isinstance(result, Tensor) and name not in _VIEWS:
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            self.calls += 1
            self.nbytes += 4 * (result.numel() + sum(tensor.numel() for tensor in given))
        return result


def _family(func: Any, name: str, args: tuple, kwargs: dict) -> str:
    if func is F.conv2d:
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        channels = (args[0] if args else kwargs["input"]).shape[1]
        return "dense convolutions" if weight.shape[1] == channels else "grouped convolutions"
    return "products" if name in _PRODUCTS else "others"
