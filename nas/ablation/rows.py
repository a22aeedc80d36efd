"""The rows of an ablation as networks for the images of a data source."""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.ablation.asked import MOST_ROWS, Ablated, Asked, RowText
from nas.ablation.changes import changed
from nas.data import Split
from nas.networks.asked import Networks
from nas.networks.found import subjects
from nas.networks.references import reference_costs
from nas.networks.timm_models import TIMM, name_in_timm
from search_spaces.architecture import Architecture, Value
from search_spaces.canonical import for_resolution
from search_spaces.costs import BUILT_IN, costs_of
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError, unknown
from search_spaces.named import load_space
from search_spaces.registry import complete
from search_spaces.space import SearchSpace

MOST_COMBINATIONS = 100_000
"""Combinations of choices that are tried to find every member of a small space."""


@dataclass(frozen=True)
class Row:
    """A network of the table.

    Args:
        name: in the table.
        costs: params, macs and the other built-in costs, for one image of the data.
        arch: made for the data, complete; None for a model of timm.
        model: its name in timm, or empty.
    """

    name: str
    costs: dict[str, float]
    arch: Architecture | None = None
    model: str = ""

    @property
    def identity(self) -> str:
        """What tells whether a row of the same name is the same network."""
        return self.arch.digest if self.arch else f"{TIMM}{self.model}"

    def to_dict(self) -> dict[str, Any]:
        """As it is written into run.json."""
        return {
            "name": self.name, "identity": self.identity, "costs": self.costs,
            "architecture": self.arch.to_dict() if self.arch else None,
        }  # fmt: skip


def rows_of(asked: Asked, split: Split) -> list[Row]:
    """All rows in their order, counted.

    Raises:
        InputError: a network does not exist, a change does not fit, or a network does not work on images of this size.
    """
    drop_path, resolution = asked.config.retrain.drop_path, asked.config.data.resolution
    found = []
    for text in asked.rows:
        if text.network.startswith(TIMM):
            found.append(_timm_row(text, split, resolution, drop_path))
        else:
            found.append(_counted(text.name, _bound(text, split, resolution)))
    for name, arch in _members(asked.options, split, resolution, asked.config.seed):
        found.append(_counted(name, arch))
    names = [row.name for row in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or len(names) > MOST_ROWS:
        given = f"two rows are called {twice!r}" if twice is not None else f"there are {len(names)} rows"
        raise InputError(given, f"at most {MOST_ROWS} rows, each with a name of its own", "sample=5")
    if asked.options.against and asked.options.against not in names:
        raise unknown("row", asked.options.against, names, 'against="{}"')
    return found


def _bound(text: RowText, split: Split, resolution: int) -> Architecture:
    """The network of a row for the images of the data.

    Raises:
        InputError: it does not exist, or a change does not fit; the row is named.
    """
    try:
        [subject] = subjects([text.network], Networks())
        assert subject.arch is not None  # which only models of timm have not
        arch = changed(subject.arch, text.changes)
        arch = complete(replace(arch, in_channels=split.in_channels, num_classes=len(split.classes)))
        return for_resolution(arch, resolution)
    except InputError as error:
        raise InputError(f"row {text.name!r}: {error.given}", error.allowed, error.instead) from None


def _counted(name: str, arch: Architecture) -> Row:
    try:
        return Row(name, costs_of(arch, BUILT_IN), arch)
    except InputError as error:
        raise InputError(f"row {name!r}: {error.given}", error.allowed, error.instead) from None


def _timm_row(text: RowText, split: Split, resolution: int, drop_path: float) -> Row:
    if text.changes:
        raise InputError(
            f"row {text.name!r} changes {text.network}, which is no network of this project",
            "changes of networks of this project; models of timm as they are",
            f'[rows."{text.name}"] with network = "{text.network}" alone',
        )
    model = name_in_timm(text.network)
    return Row(
        text.name, reference_costs(model, split.in_channels, len(split.classes), resolution, drop_path), model=model
    )


def _members(options: Ablated, split: Split, resolution: int, seed: int) -> Iterator[tuple[str, Architecture]]:
    """Members of a space by what tells them apart."""
    if not options.space:
        return
    space = load_space(options.space).bind(split.in_channels, len(split.classes), resolution)
    if options.member:
        for which in options.member:
            yield which, space.smallest(macs) if which == "smallest" else space.largest(macs)
        return
    if not options.sample and space.size > MOST_ROWS:
        raise InputError(
            f"space {space.name} has {space.size:,} members",
            f"at most {MOST_ROWS} rows",
            "sample=5, or member=smallest,largest",
        )
    if options.sample:
        rng = random.Random(seed)
        archs = [space.sample(rng) for _ in range(options.sample)]
        found = list({arch.digest: arch for arch in archs}.values())
    else:
        found = list(_all(space))
    yield from zip(_names(space, found), found, strict=True)


def _all(space: SearchSpace) -> Iterator[Architecture]:
    """Every network of a small space once, in the order of its genes."""
    combinations = math.prod(len(gene.choices) for gene in space.genes)
    if combinations > MOST_COMBINATIONS:
        raise InputError(
            f"space {space.name} has {combinations:,} combinations of choices",
            f"at most {MOST_COMBINATIONS:,}",
            "sample=5",
        )
    seen: dict[str, Architecture] = {}
    for genes in itertools.product(*(range(len(gene.choices)) for gene in space.genes)):
        arch = space.decode(genes)
        seen.setdefault(arch.digest, arch)
    yield from seen.values()


def _names(space: SearchSpace, archs: Sequence[Architecture]) -> list[str]:
    """Each network by the choices in which the networks differ."""
    chosen = [space.encode(arch) for arch in archs]
    names = []
    for one in chosen:
        words = []
        for place, gene in enumerate(space.genes):
            if len({other[place] for other in chosen}) > 1:
                short = ".".join(dict.fromkeys((gene.name.split(".")[0], gene.name.split(".")[-1])))
                words.append(f"{short}={_word(gene.choices[one[place]])}")
        names.append(" ".join(words) or archs[0].digest)
    return names


def _word(value: Value) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
