"""MACs of any module by three counters (this project's, fvcore's and torch's), by kind of operator, and why they differ.

fvcore is imported here and nowhere else in the package: it is a development dependency, and may be missing.
"""

import logging
import warnings
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import resolve_name
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from search_spaces.costs.activations import held
from search_spaces.costs.memory import state_bytes
from search_spaces.costs.operators import COUNTED, Counter, is_free, meta
from search_spaces.errors import InputError
from search_spaces.registry import allocate

CONVOLUTION, PRODUCT, ATTENTION = "convolutions", "linear layers and matrix products", "fused attention"
NORM, POOLING, SAMPLING, OTHER = "norms", "average pooling", "sampling", "other operators"

_KINDS = (
    ("conv", CONVOLUTION), ("attention", ATTENTION), ("norm", NORM), ("pool", POOLING), ("grid_sample", SAMPLING),
    ("upsample", SAMPLING), ("interpolate", SAMPLING), ("linear", PRODUCT), ("mm", PRODUCT), ("matmul", PRODUCT), ("einsum", PRODUCT),
)  # fmt: skip
"""A part of an operator's name, and the kind that it is of; the first that fits. All three counters use torch's names."""

INSTALL = "pip install fvcore"


def kind_of(operator: str) -> str:
    """The kind of an operator of torch, by its name."""
    return next((kind for part, kind in _KINDS if part in operator), OTHER)


@dataclass(frozen=True)
class Count:
    """MACs for one image.

    Args:
        kinds: by kind of operator; kinds without MACs are left out.
        borrowed: of our count, operators that this project has not classified and MACs that torch's counter gave for them.
        skipped: of fvcore's count, operators that ran and that it does not know.
    """

    kinds: Mapping[str, int]
    borrowed: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.kinds.values())


class _ByKind(Counter):
    """Counts as `Counter` does, by kind. Every operator is run, because a foreign module may depend on the strides of what it gets.

    What `Counter` cannot count is counted by torch's counter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: Counts[str] = Counts()
        self.borrowed: Counts[str] = Counts()

    def answer(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Runs an operator, and counts it."""
        if func in COUNTED:
            try:
                _, macs = COUNTED[func](*args, **kwargs)
            except (TypeError, ValueError):  # a form of the operator that no part uses, such as padding="same"
                return self._borrow(func, args, kwargs)
            self.macs += macs
            self.kinds[kind_of(getattr(func, "__name__", ""))] += macs
        elif not is_free(func):
            return self._borrow(func, args, kwargs)
        return func(*args, **kwargs)

    def _borrow(self, func: Any, args: tuple, kwargs: dict) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = func(*args, **kwargs)
        found = _halved(counter)
        self.macs += sum(found.values())
        self.kinds.update(found)
        self.borrowed[resolve_name(func) or getattr(func, "__name__", str(func))] += sum(found.values())
        return result


def our_count(module: nn.Module, x: Tensor) -> Count:
    """By the conventions of `search_spaces.costs.operators`.

    Args:
        module: in evaluation mode, on the meta device as x is.
        x: one image, (1, c, h, w).
    """
    with torch.no_grad(), _ByKind() as counter:
        module(x)
    return Count(dict(counter.kinds), dict(counter.borrowed))


def counted(
    name: str, make: Callable[[], nn.Module], size: Sequence[int], allowed: str, instead: str
) -> tuple[nn.Module, dict[str, float], Count]:
    """A network on the meta device, its built-in costs, and its MACs by kind of operator.

    Args:
        name: what messages call it.
        make: makes it, in evaluation mode.
        size: of one image, (1, c, h, w).
        allowed, instead: of the message.

    Raises:
        InputError: the network does not run without values, or not on such an image.
    """
    try:
        network = _on_meta(make).requires_grad_(False)
        ours = our_count(network, meta(*size))
        kept, maps = state_bytes(network), held(network, meta(*size))
    except (MemoryError, InputError):
        raise
    except Exception as error:  # whatever the code of a model raises
        raise InputError(
            f"{name} does not run on the meta device, where it is counted, with an image of {size[2]} x {size[3]} "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'})",
            allowed,
            instead,
        ) from error
    params = sum(parameter.numel() for parameter in network.parameters())
    return network, {"params": params, "macs": ours.total, "activations": maps, "memory": kept + maps}, ours


def _on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"):
            return make()
    except (RuntimeError, NotImplementedError):  # code that reads values while it makes a network
        return make().to("meta")


def torch_count(module: nn.Module, x: Tensor) -> Count:
    """Half the FLOPs of torch's FlopCounterMode. Arguments as of `our_count`."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(x)
    return Count(_halved(counter))


def _halved(counter: FlopCounterMode) -> Counts[str]:
    found: Counts[str] = Counts()
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        found[kind_of(str(operator))] += int(flops) // 2
    return found


def fvcore_count(module: nn.Module, x: Tensor) -> Count | None:
    """What fvcore counts with the handlers that it comes with; None where it is not installed.

    It traces the module, which needs memory behind tensors: the module is moved to the CPU, with zeros as weights.

    Args:
        module: in evaluation mode, of any device.
        x: one image on the CPU.

    Raises:
        RuntimeError: the module cannot be traced.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside fvcore
            from fvcore.nn import FlopCountAnalysis
    except ImportError:
        return None
    allocate(module)
    log = logging.getLogger("fvcore.nn.jit_analysis")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes that become constants under tracing, as they should
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.zero_()
            analysis = FlopCountAnalysis(module, (x,)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            found: Counts[str] = Counts()
            for operator, macs in analysis.by_operator().items():
                found[kind_of(operator)] += int(macs)
            return Count(dict(found), skipped=tuple(sorted(analysis.unsupported_ops())))
    finally:
        log.setLevel(level)


class Difference(NamedTuple):
    """MACs of one kind of operator on which another counter disagrees with ours, and why."""

    counter: str
    kind: str
    ours: int
    theirs: int
    why: str


def differences(ours: Count, theirs: Count, counter: str) -> list[Difference]:
    """Where another counter disagrees with ours, the largest difference first. They add up to the difference of the totals.

    Args:
        counter: the name of the other counter, "fvcore" or "torch".
    """
    mine, other = Counts(ours.kinds), Counts(theirs.kinds)
    if counter == "torch":  # on the meta device it sees fused attention as the two matrix products that it is made of
        for found in (mine, other):
            found[PRODUCT] += found.pop(ATTENTION, 0)
    kinds = sorted(mine | other, key=lambda kind: -abs(mine[kind] - other[kind]))
    return [
        Difference(counter, kind, mine[kind], other[kind], _why(kind, mine[kind], other[kind], theirs, counter))
        for kind in kinds
        if mine[kind] != other[kind]
    ]


def _why(kind: str, ours: int, other: int, theirs: Count, counter: str) -> str:
    skipped = [operator for operator in theirs.skipped if kind_of(operator) == kind]
    if skipped:
        return f"{counter} does not know {', '.join(skipped)}"
    if counter == "torch" and kind not in _TORCH_KINDS:
        return f"{counter} counts only {', '.join(sorted(_TORCH_KINDS))}"
    if not ours:
        return f"{counter} counts them, and by the rules of this project they have no MACs"
    return f"{counter} counts them by another rule"


_TORCH_KINDS = {kind_of(str(operator)) for operator in flop_registry} - {OTHER}
