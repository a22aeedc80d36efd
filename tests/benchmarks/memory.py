"""Peak memory of one training step of each part, beside the straightforward way.

Counted, not sampled: the bytes of all tensors alive after each operator of forward and backward, without the part's own weights and
input. Scratch memory inside an operator is not seen. Straightforward is the plain module of plain.py where there is one; else the
same part with attention written out, which keeps every matrix of scores. A part without attention whose operators are the paper's
stands beside itself in NCHW memory: what is to be seen is that it keeps no more.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from search_spaces import registry
from search_spaces.architecture import Part
from tests.benchmarks import plain, plain_hat_net

DIM, SIDE, BATCH = 96, 28, 8


class Alive(TorchDispatchMode):
    """Follows the tensors that operators make, by their memory, until nothing holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, list | tuple) else (result,):
            if isinstance(item, Tensor):
                storage = item.untyped_storage()
                self.found.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.found = {key: found for key, found in self.found.items() if not found[0].expired()}
        self.peak = max(self.peak, sum(nbytes for _, nbytes in self.found.values()))
        return result


def peak(module: nn.Module, inputs: list[Tensor]) -> int:
    """Bytes at the peak of one forward and backward."""
    module.train()
    for parameter in module.parameters():
        parameter.grad = None
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    own = {x.untyped_storage()._cdata for x in [*inputs, *module.parameters(), *module.buffers()]}
    with Alive() as alive:
        alive.found = {}
        y = module(*inputs)
        (y if isinstance(y, Tensor) else y[0]).sum().backward()
    return alive.peak - sum(nbytes for key, (_, nbytes) in alive.found.items() if key in own)


def _written_out(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    return scores.softmax(dim=-1) @ value


@contextmanager
def attention_written_out() -> Iterator[mock.Mock]:
    """Gives what counts the calls."""
    with mock.patch.object(F, "scaled_dot_product_attention", side_effect=_written_out) as calls:
        yield calls


class PlainDMixer(nn.Module):
    """The plain D-Mixer with a position table of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.mixer = plain.DMixer(DIM, heads=2, stride=4, groups=2, kernel=7)
        self.table = nn.Parameter(torch.zeros(1, 2, SIDE**2, (SIDE // 4) ** 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(x, self.table)


PLAIN: dict[str, Callable[[], nn.Module]] = {
    "d_mixer": PlainDMixer,
    "idconv": lambda: plain.IDConv(DIM, groups=2, kernel=7),
    "h_mhsa": lambda: plain_hat_net.HMHSA(DIM, head_dim=48, window=7, pool=4),
    "ms_ffn": lambda: plain.MSFFN(DIM, 4 * DIM),
    "inverted_residual": lambda: plain_hat_net.HATMLP(DIM, 4 * DIM),
}
"""Plain modules of the size of ours."""


def options_of(name: str) -> dict[str, Any]:
    """What a part is measured with where its defaults do not suit 28 x 28 positions of 96 channels."""
    return {
        "d_mixer": {"head_dim": 24, "sr_ratio": 4},
        "h_mhsa": {"head_dim": 48, "window_size": 7, "pool_size": 4},
        "spatial_reduction_attention": {"sr_ratio": 4},
        "partial_attention": {"foreground_ratio": 0.0625},
        "dense_table": {"num_heads": 4, "map_size": SIDE, "sr_ratio": 4},
    }.get(name, {})


def rows() -> list[str]:
    """A line for every part that computes something."""
    lines = []
    dims = {"embedding": (DIM, 2 * DIM), "head": (DIM, 1000), "position_bias": ()}
    for kind in ("mixer", "ffn", "embedding", "position", "position_bias", "norm", "scale", "head"):
        for name, part in registry.parts(kind).items():
            if name in ("none", "identity"):
                continue
            torch.manual_seed(0)
            module = registry.make(kind, Part.of(name, **options_of(name)), *dims.get(kind, (DIM,)))
            count = 2 if getattr(part, "needs_residual", False) else 1
            inputs = [torch.randn(BATCH, DIM, SIDE, SIDE) for _ in range(count)]
            ours = peak(module, [x.contiguous(memory_format=torch.channels_last) for x in inputs])
            if name in PLAIN:
                theirs, what = peak(PLAIN[name](), inputs[:1]), "plain module"
            else:
                with attention_written_out() as calls:
                    theirs = peak(module, inputs)
                what = "attention written out" if calls.called else "same operators, NCHW"
            lines.append(
                f"  {name:28} {ours / 2**20:7.1f} MiB   {theirs / 2**20:7.1f} MiB {what:22} {theirs / ours:5.2f} times as much"
            )
    return lines
