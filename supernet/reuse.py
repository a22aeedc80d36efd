"""Networks that begin alike share what their leading units compute: feature maps and normalisation statistics.

    cache = PrefixCache(supernet, calibration, limit=2**31)
    network = cache.calibrated(arch)
    logits = [network(number, images) for number, images in enumerate(batches)]

A network is a chain of units (`search_spaces.units`). What the first k of them make of a batch of images depends on those k units and
their shared weights alone, and so do the statistics that calibration finds for them: its batch norms use the statistics of the batch,
never those of other batches. Two networks with equal leading units therefore have equal maps and statistics there, bit for bit, and
whatever is kept replaces exactly what would be computed again.

Maps are kept once a prefix has been seen a second time, and for one unit beyond it. Almost all prefixes that are seen once are never
seen again, and to keep them would evict those that are.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.network import PieceSpec, ResidualBlock, pieces
from search_spaces.units import Unit, units
from supernet.calibration import batch_statistics, empty_statistics
from supernet.supernet import Skeleton, Supernet, network_skeleton


class State(NamedTuple):
    """What a unit hands to the next: the map, and the position bias of the stage."""

    x: Tensor
    bias: Tensor | None


_STEPS: dict[str, Callable[[ResidualBlock], Callable[..., Tensor]]] = {
    "position": lambda block: block.position,
    "mixer": lambda block: block.mix_tokens,
    "ffn": lambda block: block.mix_channels,
}
"""What of a block each of its units runs."""

_OWNERS = {"position": "position", "mixer": "mixer", "norm1": "mixer", "scale1": "mixer"}
"""The unit that a child of a block belongs to; all others belong to its FFN."""


class _Link(NamedTuple):
    """A unit in a network.

    Args:
        prefix: number of all units up to this one; equal in networks that begin alike.
        place, spec: of the piece that it belongs to.
        names: of its statistics, as in the network.
    """

    prefix: int
    unit: Unit
    place: str
    spec: PieceSpec
    names: tuple[str, ...]


@dataclass(slots=True)
class _Kept:
    """What is kept of a prefix.

    Args:
        statistics: of all its units, by network name; None while they are not known.
        maps: what it makes of a batch, by the batch's name.
    """

    statistics: dict[str, Tensor] | None = None
    maps: dict[Hashable, State] = field(default_factory=dict)
    size: int = 0


def _size(state: State) -> int:
    """Bytes of memory that a state holds."""
    return sum(tensor.untyped_storage().nbytes() for tensor in state if tensor is not None)


class PrefixCache:
    """Runs sub-networks of a supernet, and keeps the maps of leading units that come again. Not safe for threads.

    Args:
        supernet: in evaluation mode; its weights may not change while the cache is used.
        calibration: batches of training images on the supernet's device, two or more images in each.
        limit: of the maps that are kept, in bytes; what was used least recently goes first. 0 keeps nothing.
    """

    def __init__(self, supernet: Supernet, calibration: Sequence[Float[Tensor, "_ c h w"]], limit: int) -> None:
        self.supernet, self.calibration, self.limit = supernet, calibration, limit
        self.size = 0
        self.units_run = self.units_kept = 0  # calls of units, and calls that kept maps made unnecessary
        self._numbers: dict[tuple[int, str, Unit], int] = {}
        self._seen: set[int] = set()
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    @torch.no_grad()
    def calibrated(self, arch: Architecture) -> "ChainedNetwork":
        """A sub-network with statistics of its own, those that `supernet.calibration.calibrate` gives."""
        links = self._links(arch)
        known = sum(link.prefix in self._seen for link in links)  # all prefixes of a prefix that was seen were seen
        self._seen.update(link.prefix for link in links)
        network = ChainedNetwork(self, arch, links, keeps=known + 1)
        network.calibrate()
        return network

    def _links(self, arch: Architecture) -> list[_Link]:
        specs = dict(pieces(arch))
        owned: dict[str, list[str]] = {}
        for name in self.supernet.weights(arch, buffers=True):
            place = next(place for place in _parents(name) if place in specs)
            if specs[place].kind == "block":
                place = f"{place}.{_OWNERS.get(name.removeprefix(place + '.').partition('.')[0], 'ffn')}"
            owned.setdefault(place, []).append(name)
        links, prefix = [], 0
        for name, unit in units(arch):
            place = name if name in specs else name.rpartition(".")[0]
            prefix = self._numbers.setdefault((prefix, name, unit), len(self._numbers) + 1)
            links.append(_Link(prefix, unit, place, specs[place], tuple(owned.get(name, ()))))
        return links

    # What is kept

    def state(self, prefix: int, batch: Hashable) -> State | None:
        """What a prefix makes of a batch, if it is kept."""
        kept = self._kept.get(prefix)
        found = kept.maps.get(batch) if kept else None
        if found is not None:
            self._kept.move_to_end(prefix)
        return found

    def statistics(self, prefix: int) -> dict[str, Tensor] | None:
        """The statistics of a prefix's units, if they are kept."""
        kept = self._kept.get(prefix)
        return kept.statistics if kept else None

    def keep_state(self, prefix: int, batch: Hashable, state: State, using: frozenset[int]) -> None:
        """Keeps what a prefix makes of a batch, if there is room for it without what is in use.

        Args:
            using: prefixes of the network that is being run.
        """
        size = _size(state)
        while self.size + size > self.limit:
            oldest = next((number for number in self._kept if number not in using), None)
            if oldest is None:
                return
            self.size -= self._kept.pop(oldest).size
        kept = self._kept.setdefault(prefix, _Kept())
        if batch not in kept.maps:
            kept.maps[batch] = state
            kept.size += size
            self.size += size
        self._kept.move_to_end(prefix)

    def keep_statistics(self, prefix: int, statistics: dict[str, Tensor]) -> None:
        """Keeps the statistics of a prefix whose maps are kept; they go with the maps."""
        if prefix in self._kept:
            self._kept[prefix].statistics = statistics


def _parents(name: str) -> list[str]:
    """Of "a.b.c": "a.b" and "a"."""
    words = name.split(".")
    return [".".join(words[:count]) for count in range(len(words) - 1, 0, -1)]


class ChainedNetwork:
    """A sub-network that starts, for each batch, behind the longest prefix whose map is kept; made by `PrefixCache.calibrated`.

    `network(batch, images)` gives the logits of a batch; `batch` is its name, which must mean the same images every time.
    """

    def __init__(self, cache: PrefixCache, arch: Architecture, links: list[_Link], keeps: int) -> None:
        self.arch, self.buffers = arch, dict[str, Tensor]()
        self._cache, self._links, self._keeps = cache, links, min(keeps, len(links) - 1)
        self._using = frozenset(link.prefix for link in links)
        self._tensors: dict[str, tuple[Tensor, ...]] = {}
        self._skeleton = network_skeleton(arch, False)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Finds the statistics: those of a kept prefix as they are, those behind it from its maps."""
        cache, links = self._cache, self._links
        last = max((index for index, link in enumerate(links) if link.names), default=-1)
        if last < 0:
            return
        batches = [("calibration", number) for number in range(len(cache.calibration))]
        start = next((i for i in range(len(links) - 1, -1, -1) if self._is_complete(links[i].prefix, batches)), -1)
        known = cache.statistics(links[start].prefix) if start >= 0 else None
        missing = [name for link in links[start + 1 :] for name in link.names]
        shapes = cache.supernet.weights(self.arch, buffers=True)
        self.buffers = (known or {}) | empty_statistics({name: shapes[name] for name in missing})
        with batch_statistics(self._skeleton):
            for batch, images in zip(batches, cache.calibration, strict=True):
                self._run(batch, images, start, last)
        names = [name for link in links[: start + 1] for name in link.names]
        for index in range(start + 1, self._keeps):
            names += links[index].names
            cache.keep_statistics(links[index].prefix, {name: self.buffers[name] for name in names})

    def _is_complete(self, prefix: int, batches: list[tuple[str, int]]) -> bool:
        cache = self._cache
        known = cache.statistics(prefix) is not None
        return known and all(cache.state(prefix, batch) is not None for batch in batches)

    @torch.no_grad()
    def __call__(self, batch: Hashable, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        links, cache = self._links, self._cache
        start = next((i for i in range(self._keeps, -1, -1) if cache.state(links[i].prefix, batch) is not None), -1)
        return self._run(batch, images, start, len(links) - 1)

    def _run(self, batch: Hashable, images: Tensor, start: int, last: int) -> Tensor:
        """The map of unit `last`, from that of unit `start`, which is kept; from the images where it is -1."""
        kept = self._cache.state(self._links[start].prefix, batch) if start >= 0 else None
        state = kept or State(images, None)
        self._cache.units_kept += start + 1
        self._cache.units_run += max(0, last - start)
        for index in range(start + 1, last + 1):
            state = self._step(self._links[index], state)
            if index < self._keeps:
                self._cache.keep_state(self._links[index].prefix, batch, state, self._using)
        return state.x

    def _step(self, link: _Link, state: State) -> State:
        x, bias = state
        kind, place = link.unit.kind, link.place
        tensors = self._tensors.get(place)
        if tensors is None:
            supernet = self._cache.supernet
            tensors = self._tensors[place] = tuple(supernet.borrowed(place, link.spec, self.buffers))
        inputs = (x, bias) if kind == "mixer" and bias is not None else (x,)
        step = cast("Callable[[nn.Module], Callable[..., Tensor]] | None", _STEPS.get(kind))
        found = cast(Skeleton, self._skeleton.get_submodule(place)).run(tensors, *inputs, step=step)
        if kind == "position_bias":
            return State(x, found)
        return State(found, None if kind in ("embedding", "head") else bias)
