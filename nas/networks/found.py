"""Networks by what a user calls them: an arch.json, a folder, a paper's network, timm/NAME, or a member of a space."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from nas.config import Config
from nas.networks.asked import ALLOWED, Networks
from nas.networks.counters import Count, counted
from nas.networks.timm_models import TIMM, fresh_model, name_in_timm
from nas.plugins import import_plugins
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, CONFIG, load_tensors, read_architecture, weights_of
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError, nearest
from search_spaces.files.blueprint import blueprint, check_fits
from search_spaces.files.tensors import read_header
from search_spaces.named import load_space
from search_spaces.network import Network, build
from search_spaces.papers import paper_network, paper_networks
from search_spaces.registry import SkipInit, complete
from search_spaces.textfiles import expanded


@dataclass(frozen=True)
class Subject:
    """A network that can be made.

    Args:
        name: as it was asked for; of a member of a space, what it is and its digest.
        in_channels, resolution: of its images.
        make: makes it on the current default device, in evaluation mode, without weights that mean anything.
        ready: makes it on the CPU with the weights of its folder, or fresh ones of a fixed seed; it can be run.
        arch: of a network of this project, complete.
        resized: whether it was made for images of another resolution.
    """

    name: str
    in_channels: int
    resolution: int
    make: Callable[[], nn.Module]
    ready: Callable[[], nn.Module]
    arch: Architecture | None = None
    resized: bool = False

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Of one of its images, (1, c, h, w)."""
        return 1, self.in_channels, self.resolution, self.resolution

    def counted(self, make: Callable[[], nn.Module] | None = None) -> tuple[nn.Module, dict[str, float], Count]:
        """As `nas.networks.counters.counted`.

        Args:
            make: what makes it for that, if it is not `self.make`.

        Raises:
            InputError: it does not run without values, or not on images of its resolution.
        """
        allowed = "networks that run without values, on images of a size that they take"
        return counted(
            self.name, make or self.make, self.size, allowed, f"resolution={224 if self.resolution != 224 else 256}"
        )


def subjects(names: Sequence[str], asked: Networks) -> Iterator[Subject]:
    """The networks that a command is asked about, in the order of asking. Plugins are imported before.

    Raises:
        InputError: there is no such network, or the space has no such member.
    """
    import_plugins(replace(Config(), plugins=asked.plugins))
    for name in names:
        if name.startswith(TIMM):
            yield _timm_model(name, asked.resolution)
        else:
            yield _of_arch(name, _found(name), asked, _folder(name))
    if asked.space:
        for name, arch in _members(asked):
            yield _of_arch(f"{name} {arch.digest}", arch, asked)


def _of_arch(name: str, arch: Architecture, asked: Networks, folder: Path | None = None) -> Subject:
    own = complete(arch)
    arch = replace(own, resolution=asked.resolution) if asked.resolution else own

    def make() -> nn.Module:
        with SkipInit():
            return Network(arch).eval()

    def ready() -> nn.Module:
        if folder is None:
            return build(arch, seed=0).eval()
        weights = weights_of(folder)
        check_fits(read_header(folder / weights), own, str(folder / weights))  # before memory is taken
        network = build(arch, seed=0)
        load_tensors(RunStore(folder), weights, network)
        return network.eval()

    return Subject(name, arch.in_channels, arch.resolution, make, ready, arch, arch.resolution != own.resolution)


def _folder(name: str) -> Path | None:
    """The folder that has the weights of a network; None where there are none."""
    path = expanded(name)
    folder = path if path.is_dir() else path.parent
    return folder if path.exists() and (folder / weights_of(folder)).is_file() else None


def _found(name: str) -> Architecture:
    """The architecture of a file, a folder or a paper's network."""
    path = expanded(name)
    if path.is_dir():
        file = next((path / file for file in (CONFIG, ARCH) if (path / file).is_file()), None)
        if file is None:
            raise InputError(f"{name} holds no network ({ARCH} is missing)", ALLOWED, f"{name}/DIGEST")
        return _that_can_be_made(file)
    if path.suffix == ".safetensors":
        raise InputError(f"{name} is a file of weights", ALLOWED, str(path.parent))
    if path.is_file():
        return _that_can_be_made(path)
    known = [network.name for network in paper_networks(ablations=True)]
    if name in known:
        return paper_network(name).arch
    if path.suffix == ".json" or len(path.parts) > 1:
        raise InputError(f"{name} does not exist", ALLOWED, "the path of an arch.json")
    import timm

    instead = f"{TIMM}{name}" if timm.is_model(name) else nearest(name, known)
    raise InputError(f"there is no network {name!r}", ALLOWED, instead)


def _that_can_be_made(file: Path) -> Architecture:
    """The architecture of a file, of which a network of a bounded size can be made: nothing takes memory to find that out.

    Raises:
        InputError: none can be made, or a larger one than any that could be used.
    """
    arch = read_architecture(file)
    try:
        blueprint(arch)
    except InputError as error:
        raise InputError(f"{file}: {error.given}", error.allowed, error.instead) from None
    return arch


def _timm_model(name: str, resolution: int) -> Subject:
    """A model of timm, without its pretrained weights. Nothing is downloaded."""
    import timm

    called = name_in_timm(name)
    config = timm.get_pretrained_cfg(called, allow_unregistered=True)
    channels, side, *_ = config.input_size if config else (3, 224)
    sized = resolution if resolution and resolution != side else 0

    def fresh() -> nn.Module:
        return fresh_model(called, sized).eval()

    def make() -> nn.Module:
        with SkipInit():
            return fresh()

    def ready() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return fresh()

    return Subject(name, channels, resolution or side, make, ready, resized=bool(sized))


def _members(asked: Networks) -> Iterator[tuple[str, Architecture]]:
    space = load_space(asked.space)
    if asked.genes:
        counts = [len(gene.choices) for gene in space.genes]
        genes = [int(text) for text in asked.genes]
        if len(genes) != len(counts):
            raise InputError(
                f"genes has {len(genes)} choices, and space {space.name} has {len(counts)} genes",
                f"one number per gene: {', '.join(gene.name for gene in space.genes)}",
                f"genes={','.join('0' * len(counts))}",
            )
        for gene, chosen in zip(space.genes, genes, strict=True):
            if chosen >= len(gene.choices):
                values = ", ".join(f"{n}: {value}" for n, value in enumerate(gene.choices))
                raise InputError(f"genes has {chosen} for {gene.name}", values, f"{len(gene.choices) - 1} in its place")
        yield "genes", space.decode(tuple(genes))
    for which in asked.member:
        yield which, space.smallest(macs) if which == "smallest" else space.largest(macs)
    rng = random.Random(asked.seed)
    for number in range(asked.sample):
        yield f"sample {number}", space.sample(rng)
