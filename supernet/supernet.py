"""Weights shared by all architectures of a space.

    supernet(x, arch)        runs arch on slices of the shared weights
    supernet.extract(arch)   the same network, with its own copy of those slices

There is no second forward pass: both run `search_spaces.network.Network`. A piece is an embedding, a position bias, a block or the head.
For each piece, the supernet takes a skeleton, which is the module on the meta device, without data. It cuts slices of the skeleton's
shapes from its bank and runs the skeleton with the slices instead of its own tensors. Gradients flow through the slices into the bank,
and running statistics are updated in place.

The bank holds the shared tensors. Every part that may stand in a place has its own, each as large as the largest option needs:

    stages.0.blocks.1.mixer.d_mixer.osra.query.weight

Not thread-safe: a process uses a supernet from one thread only.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces import registry
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.network import Network, PieceSpec, make_piece, pieces
from search_spaces.space import SearchSpace
from supernet.bank import Group, bank_groups, tensors_of
from supernet.slicing import slice_like


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a skeleton, and how it is cut from the bank."""

    name: str
    bank: str
    shape: tuple[int, ...]
    centred: tuple[int, ...]
    trailing: tuple[int, ...]
    is_buffer: bool


class Skeleton(nn.Module):
    """A piece on the meta device, shared by all networks that contain it. `run` lends it tensors for one call.

    Args:
        spec: of the piece.
        training: whether it is in training mode, which never changes.
    """

    def __init__(self, spec: PieceSpec, training: bool) -> None:
        super().__init__()
        with torch.device("meta"):
            self.piece = make_piece(spec)
        self.train(training)
        # Per entry of `entries(spec)`: the dictionary of the module that holds the tensor, its key there, and its meta tensor.
        self.tables: list[tuple[dict[str, Tensor | None], str, Tensor | None]] = []
        for name, _, is_buffer in tensors_of(self.piece):
            owner, _, key = name.rpartition(".")
            module = self.piece.get_submodule(owner)
            table = cast("dict[str, Tensor | None]", module._buffers if is_buffer else module._parameters)
            self.tables.append((table, key, table[key]))

    def run(
        self,
        tensors: Iterable[Tensor],
        *inputs: Tensor,
        step: Callable[[nn.Module], Callable[..., Tensor]] | None = None,
    ) -> Tensor:
        """The piece's output on these tensors, given in the order of `entries`.

        Args:
            step: selects the function of the piece to run; the whole piece by default.
        """
        try:
            for (table, key, _), tensor in zip(self.tables, tensors, strict=True):
                table[key] = tensor
            return (self.piece if step is None else step(self.piece))(*inputs)
        finally:
            for table, key, meta in self.tables:
                table[key] = meta


@lru_cache(maxsize=2048)
def skeleton(spec: PieceSpec, training: bool) -> Skeleton:
    """The skeleton of a piece, made once and cached."""
    return Skeleton(spec, training)


@lru_cache(maxsize=4096)
def entries(spec: PieceSpec) -> tuple[Entry, ...]:
    """The tensors that a piece needs from the bank. `bank` is relative to the piece's own place."""
    owners = {child: owner for owner in spec.parts() for child in owner.children}
    found = []
    for name, tensor, is_buffer in tensors_of(skeleton(spec, True).piece):
        child, _, inner = name.partition(".") if spec.kind == "block" else ("", "", name)
        kind, part = owners[child].kind, owners[child].part
        module = registry.lookup(kind, part.name)
        found.append(
            Entry(
                name=name,
                bank=".".join(filter(None, (child, part.name, inner))),
                shape=tuple(tensor.shape),
                centred=registry.axes(module.centred, inner),
                trailing=registry.axes(module.trailing, inner),
                is_buffer=is_buffer,
            )
        )
    return tuple(found)


@lru_cache(maxsize=512)
def network_skeleton(arch: Architecture, training: bool) -> Network:
    """A network whose pieces are shared skeletons."""
    return Network(arch, lambda spec: skeleton(spec, training)).train(training)


class Supernet(nn.Module):
    """Shared weights over a space.

    Args:
        space: checked and bound to the data.
        seed: of the initial weights; torch's global generator is left as it was.
    """

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for group in bank_groups(space):
                self._fill(group)
        self._bank: dict[str, Tensor] | None = None

    @classmethod
    def without_values(cls, space: SearchSpace) -> "Supernet":
        """On the meta device and not initialised, for weights that `load_state_dict` assigns, or copies after `allocate`."""
        with torch.device("meta"), registry.SkipInit():
            return cls(space)

    # The bank

    def _fill(self, group: Group) -> None:
        """Makes the bank tensors of a group, each initialised by the constructors of the parts that use it.

        No part may use all of a shared tensor. So the parts that are the largest in some tensor are built, and their values are copied
        in: every element that is used starts as a part would initialise it. On the meta device there are no values to copy.
        """
        module, undecayed = registry.lookup(group.kind, group.name), _undecayed(group)
        for where in group.places():
            bank = {key: torch.zeros(shape) for key, shape in group.shapes.items()}
            built = () if any(tensor.is_meta for tensor in bank.values()) else group.builders
            for part, dims in built:
                for key, tensor, _ in tensors_of(registry.make(group.kind, part, *dims)):
                    cut = registry.axes(module.centred, key), registry.axes(module.trailing, key)
                    slice_like(bank[key], tensor.shape, *cut).copy_(tensor.detach())
            place = f"{where}.{group.name}"
            for key, tensor in bank.items():
                self._put(".".join(filter(None, (where, group.name, key))), tensor, key in group.buffers)
            for inner, names in undecayed.items():
                owner: nn.Module = self.get_submodule(f"{place}.{inner}".rstrip("."))
                owner.undecayed = names  # type: ignore[assignment]

    def _put(self, name: str, tensor: Tensor, is_buffer: bool) -> None:
        *path, last = name.split(".")
        owner: nn.Module = self
        for key in path:
            if key not in owner._modules:
                owner.add_module(key, nn.Module())
            owner = owner.get_submodule(key)
        if is_buffer:
            owner.register_buffer(last, tensor.long() if last == "num_batches_tracked" else tensor)
        else:
            owner.register_parameter(last, nn.Parameter(tensor))

    def bank(self) -> dict[str, Tensor]:
        """All shared tensors by name, parameters and buffers."""
        if self._bank is None:
            self._bank = {name: tensor for name, tensor, _ in tensors_of(self)}
        return self._bank

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Supernet":
        self._bank = None  # moving to another device or type may make new tensors
        return super()._apply(fn, recurse)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        found = super().load_state_dict(state_dict, strict, assign)
        self._bank = None  # `assign` replaces the tensors
        return found

    # Borrowing

    def weights(self, arch: Architecture, *, buffers: bool | None = None) -> dict[str, Tensor]:
        """The slices that `arch` uses, named as in a stand-alone network. They are views: writing to them writes to the supernet.

        Args:
            buffers: only buffers, or only parameters; None for all.
        """
        bank = self.bank()
        return {
            f"{place}.{entry.name}": _cut(bank[f"{place}.{entry.bank}"], entry)
            for place, spec in pieces(arch)
            for entry in entries(spec)
            if buffers is None or entry.is_buffer == buffers
        }

    def bank_names(self, arch: Architecture) -> dict[str, str]:
        """For each tensor of a network of `arch`, the bank tensor that it is cut from."""
        return {f"{place}.{e.name}": f"{place}.{e.bank}" for place, spec in pieces(arch) for e in entries(spec)}

    def runner(self, arch: Architecture, buffers: dict[str, Tensor] | None = None) -> Callable[..., Tensor]:
        """The `run` with which `Network.forward` works on slices of the bank.

        Args:
            buffers: normalisation statistics to use instead of the supernet's, by network name.
        """
        specs = dict(pieces(arch))

        def run(place: str, module: nn.Module, *inputs: Tensor) -> Tensor:
            return cast(Skeleton, module).run(self.borrowed(place, specs[place], buffers), *inputs)

        return run

    def borrowed(self, place: str, spec: PieceSpec, buffers: Mapping[str, Tensor] | None = None) -> Iterator[Tensor]:
        """The tensors that a piece of a network runs on, in the order of `entries`.

        Args:
            buffers: see `runner`.
        """
        bank = self.bank()
        for entry in entries(spec):
            own = buffers.get(f"{place}.{entry.name}") if buffers is not None and entry.is_buffer else None
            shared = bank[f"{place}.{entry.bank}"]
            cut = _cut(shared, entry) if own is None else own
            if not entry.is_buffer:
                # Bitwise equality with a stand-alone network needs tensors like its own: contiguous, and requiring gradients even
                # where none are computed, since matrix products round differently otherwise. Statistics stay views.
                cut = cut.contiguous()
                if not torch.is_grad_enabled():
                    cut.requires_grad_(shared.requires_grad)
            yield cut

    def forward(
        self, x: Float[Tensor, "b c h w"], arch: Architecture, buffers: dict[str, Tensor] | None = None
    ) -> Float[Tensor, "b classes"]:
        """The logits of `arch` on shared weights.

        Args:
            buffers: see `runner`.
        """
        return network_skeleton(arch, self.training)(x, run=self.runner(arch, buffers))

    def extract(self, arch: Architecture, buffers: dict[str, Tensor] | None = None) -> Network:
        """A stand-alone network with its own copy of the slices of `arch`.

        Args:
            buffers: normalisation statistics of its own, by name (`supernet.calibration.calibrate`).
        """
        with torch.device("meta"):
            network = Network(arch).train(self.training)
        state = self.weights(arch) | (buffers or {})
        copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
        network.load_state_dict(copies, assign=True)  # takes device and type from the copies
        return network

    def smallest(self) -> Architecture:
        """The member of the space with the fewest MACs."""
        return _extreme(self.space, False)

    def largest(self) -> Architecture:
        """The member of the space with the most MACs."""
        return _extreme(self.space, True)


def _undecayed(group: Group) -> dict[str, tuple[str, ...]]:
    """By module inside a part, which of its tensors get no weight decay, as the part and the parts inside it declare."""
    found: dict[str, tuple[str, ...]] = {}
    with torch.device("meta"), registry.SkipInit():
        for part, dims in group.builders:
            for inner, module in registry.make(group.kind, part, *dims).named_modules():
                if isinstance(module, registry.PartModule) and module.undecayed:
                    found[inner] = module.undecayed
    return found


def _cut(tensor: Tensor, entry: Entry) -> Tensor:
    return slice_like(tensor, entry.shape, entry.centred, entry.trailing)


@lru_cache(maxsize=16)
def _extreme(space: SearchSpace, largest: bool) -> Architecture:
    return space.largest(macs) if largest else space.smallest(macs)
