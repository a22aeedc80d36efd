"""The records of networks: evaluations, measurements and retrainings, where networks come from, and which of them may win.

Search writes these records; extraction, retraining and the report read them. Standard library only.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from nas.goals.budget import Budget
from nas.goals.objectives import Objective
from nas.records.shapes import (
    A_DIGEST,
    COSTS,
    SHARE,
    Entries,
    Flag,
    Items,
    Maybe,
    Named,
    Number,
    OneOf,
    Shape,
    Table,
    Text,
    Whole,
)
from search_spaces.architecture import Architecture
from search_spaces.costs import is_cost_name
from search_spaces.files.sizes import check_sizes

SAMPLER, BASELINE, GIVEN = "sampler", "baseline", "given"

KINDS = {
    SAMPLER: "proposed by a sampler of the search",
    BASELINE: "evaluated for comparison: the smallest, the largest and the hand-designed network",
    GIVEN: "given by the user (search.networks)",
}
"""Kinds of origin. Only networks that a sampler proposed may win."""

BASELINES = ("smallest", "hand_designed", "largest")

INITS = {"scratch": "fresh weights", "inherited": "weights extracted from the supernet"}
"""Initialisations of retraining."""


class RecordError(ValueError):
    """A line that is not a record of this version."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a network comes from: a kind of `KINDS`, and the sampler, the baseline or the file."""

    kind: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """A line of evaluations.jsonl: a sub-network with inherited weights on the search-validation images.

    Args:
        n: number of the line in its search, from 0.
        trial: number of the proposal of its sampler, counting also proposals that were not evaluated; for other origins, number of
            the network among those of its origin.
        costs: all known costs.
        top1: in [0, 1]. loss: mean cross-entropy in nats. images: how many of them.
        against: if candidates are raced, the digest of the network that this one lost against, or "" if it was validated in full.
            If it lost, top1 and loss are estimates from `images` images. None if candidates are not raced.
    """

    n: int
    origin: Origin
    trial: int
    digest: str
    architecture: Architecture
    costs: Mapping[str, float]
    top1: float
    loss: float
    images: int
    against: str | None = None

    @property
    def is_estimate(self) -> bool:
        """Whether it was dropped before it had seen all images. Such a network may not win."""
        return bool(self.against)

    @property
    def error(self) -> float:
        """Binomial standard error of `top1`, in units of top-1."""
        return math.sqrt(self.top1 * (1 - self.top1) / self.images)

    def to_dict(self) -> dict[str, Any]:
        """As it is written; `Evaluation.from_dict(e.to_dict()) == e`."""
        values = _plain(self) | {"origin": {"kind": self.origin.kind, "name": self.origin.name}}
        if self.against is None:  # lines of searches without races are those of earlier versions
            del values["against"]
        return values

    @classmethod
    def from_dict(cls, line: Mapping[str, Any], known: dict[str, Architecture] | None = None) -> Self:
        """
        Args:
            known: architectures by digest; lines of one digest share one.

        Raises:
            RecordError: a key is missing, or a value of another type or out of its range.
        """
        values: dict[str, Any] = _values(cls, {"against": None, **line}, known)
        values["origin"] = Origin(values["origin"]["kind"], values["origin"]["name"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retraining:
    """A line of retrained.jsonl: one network trained by itself, from one initialisation of `INITS`, with one seed.

    Args:
        roles: why it was retrained.
        skipped_steps: steps whose gradients were not finite.
    """

    digest: str
    roles: tuple[str, ...]
    init: str
    seed: int
    architecture: Architecture
    costs: Mapping[str, float]
    epochs: int
    skipped_steps: int
    validation_top1: float
    test_top1: float
    test_loss: float
    test_images: int

    def to_dict(self) -> dict[str, Any]:
        """As it is written; `Retraining.from_dict(r.to_dict()) == r`."""
        return _plain(self) | {"roles": list(self.roles)}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any], known: dict[str, Architecture] | None = None) -> Self:
        """As `Evaluation.from_dict`."""
        values = _values(cls, line, known)
        values["roles"] = tuple(values["roles"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A line of references.jsonl: one of timm's networks, trained on the run's images by the recipe of `Retraining`, with one seed.

    Args:
        model: its name in timm.
        costs: counted or measured on the network itself; it has no architecture of ours.
        times: by those of the costs that were measured on this device, the median (ms), its 95 % confidence interval (low, high), the
            rounds behind it, and whether the machine was too noisy (noisy).
    """

    model: str
    seed: int
    costs: Mapping[str, float]
    epochs: int
    skipped_steps: int
    validation_top1: float
    test_top1: float
    test_loss: float
    test_images: int
    times: Mapping[str, Mapping[str, float | bool]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As it is written; `Reference.from_dict(r.to_dict()) == r`."""
        plain = {"costs": dict(self.costs), "times": {cost: dict(time) for cost, time in self.times.items()}}
        return {field.name: getattr(self, field.name) for field in fields(self)} | plain

    @classmethod
    def from_dict(cls, line: Mapping[str, Any], known: Any = None) -> Self:
        """
        Raises:
            RecordError: a key is missing, or a value of another type or out of its range.
        """
        values = _fields(cls, {"times": {}, **line})  # which earlier versions did not write
        return cls(**values)


def _plain(record: Evaluation | Retraining) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return values | {"architecture": record.architecture.to_dict(), "costs": dict(record.costs)}


_NAME = Text(1000)

_SHAPES: Mapping[str, Shape] = {
    "n": Whole(), "trial": Whole(), "digest": A_DIGEST, "costs": COSTS, "top1": SHARE, "loss": Number(), "images": Whole(1),
    "against": Maybe(Text(12, re.compile("([0-9a-f]{12})?"))), "origin": Table({"kind": OneOf(tuple(KINDS)), "name": _NAME}),
    "roles": Items(_NAME), "init": OneOf(tuple(INITS)), "seed": Whole(), "epochs": Whole(), "skipped_steps": Whole(),
    "validation_top1": SHARE, "test_top1": SHARE, "test_loss": Number(), "test_images": Whole(1), "model": _NAME,
    "times": Entries(Table({"noisy": Flag()}, dict.fromkeys(("median", "low", "high", "rounds"), Number())), Named(is_cost_name)),
}  # fmt: skip
"""Of the fields of all kinds of records but their architectures."""


def _values(kind: type, line: Mapping[str, Any], known: dict[str, Architecture] | None) -> dict[str, Any]:
    """The fields of a record from its line, with its Architecture."""
    known = {} if known is None else known
    values = _fields(kind, line)
    digest = values["digest"]
    if digest not in known:
        arch = Architecture.from_dict(values["architecture"])
        check_sizes(arch)
        if arch.digest != digest:
            raise RecordError("digest, which is not the architecture's")
        known[digest] = arch
    return values | {"architecture": known[digest]}


def _fields(kind: type, line: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record from its line, each of its type and in its range."""
    values: dict[str, Any] = {}
    for entry in fields(kind):
        if entry.name not in line:
            raise RecordError(entry.name)
        value = values[entry.name] = line[entry.name]
        shape = _SHAPES.get(entry.name)
        if shape is not None and (wrong := shape.fault(value, entry.name)):
            raise RecordError(wrong)
    return values


def eligible(
    evaluations: Iterable[Evaluation],
    budget: Budget,
    objectives: Sequence[Objective],
    refuted: Collection[str] = (),
    *,
    estimates: bool = False,
) -> list[Evaluation]:
    """The networks that may win, each architecture once, in order of evaluation.

    A network may win if a sampler proposed it, it was validated in full, it is within the budget, no measurement contradicts this, and
    every objective has a value. Baselines and networks that the user gave are only shown beside the Pareto front.

    Args:
        refuted: digests of networks that were over the budget when they were measured.
        estimates: include networks that lost a race, for statements about all networks of a sampler.
    """
    found: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        if (
            evaluation.origin.kind == SAMPLER
            and (estimates or not evaluation.is_estimate)
            and budget.allows(evaluation.costs)
            and evaluation.digest not in refuted
            and all(objective.of(evaluation) is not None for objective in objectives)
        ):
            found.setdefault(evaluation.digest, evaluation)
    return list(found.values())
