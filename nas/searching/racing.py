"""Racing: a candidate that surely loses is dropped before all images have been seen, and its accuracy is estimated.

The sub-networks of one supernet agree on most images: almost all of them are right on the easy ones and wrong on the hopeless ones.
Once `WARM_UP` networks have been validated in full, the images are put into one fixed order, the contested ones first, and cut into
batches. After each of some batches, what the candidate would reach on all images is estimated:

    estimate  =  its own total on the images seen  +  the total on the others, as regression over networks predicts it
    error     =  the standard error of that prediction

The regression is fitted on the networks that were validated in full, whose totals on both sides are known: their total on the other
images against their correct answers and their loss on the images seen. It is a control variate over the paired results of all of them,
and its error comes from residuals of networks that were left out, so a poor prediction drops nothing.

A candidate is dropped when both hold for every score among the objectives:

    by `Z` errors the candidate stays below what it would need not to be dominated by a network that was validated in full and costs no
    more in any objective: its score, or one correct answer more where that network costs less, as an equal candidate is dominated too;
    the error of the regression is at most `PRECISION` standard deviations of the score over networks, so that the order of dropped ones
    stays right, and at most `FINE` deviations where the candidate may be among the `BEST` by its score alone.

A dropped candidate is therefore dominated, up to the error. It may neither win nor be on the Pareto front; samplers are told its
estimate. A decision depends only on networks that were known when the candidate was proposed: not on other processes, nor on time.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

WARM_UP = 8
"""Networks of samplers that are validated in full before any is dropped, and that tell which images are contested."""

Z = 2.6
"""Standard errors by which a rival has to be better."""

PRECISION = 0.12
"""Largest standard error of an estimate, in standard deviations of the score over the networks validated in full. Only dropped candidates
have such errors, and most of them have smaller ones."""

BEST = 10
"""Networks whose places at the head of the order have to be right."""

FINE = 0.03
"""The same as `PRECISION` for a candidate that may be among the best: so small that hardly any of its answers is left open."""

NEAR = 2.0
"""Standard errors within which a candidate may be among the best."""

EARLIEST, LATEST = 1 / 8, 4 / 5
"""Share of the images before which nobody is dropped, and after which it is no longer worth it."""

REFERENCES = 64
"""The most networks that an estimate is fitted on: the latest that were validated in full."""

ROUNDING = 0.35
"""Least standard error of an estimated number of correct answers. It allows for answers that no reference has ever given; `Z` times it is
less than one answer, so that a candidate that only equals a cheaper rival can be dropped."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network answers on each image of search-validation, in their own order."""

    hits: Bool[np.ndarray, " images"]
    losses: Float[np.ndarray, " images"]

    def to_dict(self) -> dict[str, str]:
        """As it is written; `from_dict` gives the same numbers."""
        losses = self.losses.astype("<f4").tobytes()
        return {"hits": _text(np.packbits(self.hits).tobytes()), "losses": _text(losses)}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "Outcome":
        """
        Raises:
            ValueError, KeyError, TypeError: a line that was not written by `to_dict`.
        """
        if not isinstance(line["losses"], str) or not isinstance(line["hits"], str):
            raise TypeError("losses")
        losses = np.frombuffer(base64.b64decode(line["losses"], validate=True), "<f4")
        bits = np.frombuffer(base64.b64decode(line["hits"], validate=True), np.uint8)
        if len(bits) != -(-len(losses) // 8):
            raise ValueError("hits")
        if np.isnan(losses).any():
            raise ValueError("losses")
        return cls(np.unpackbits(bits, count=len(losses)).astype(bool), losses)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def contested_first(outcomes: Sequence[Outcome]) -> Int[np.ndarray, " images"]:
    """The order of the images in which those come first on which networks are most likely to differ.

    An image is contested when the log-odds of its true class are near 0 for its spread over networks.

    Args:
        outcomes: two or more.
    """
    losses = np.stack([outcome.losses for outcome in outcomes]).astype(np.float64)
    losses = losses.clip(1e-6, 50.0)
    odds = -losses - np.log(-np.expm1(-losses))
    spread = odds.var(axis=0, ddof=1)
    pooled = np.sqrt((spread + spread.mean()) / 2) + 1e-12  # of so few networks, an image's own variance is a poor one
    return np.argsort(np.abs(odds.mean(axis=0)) / pooled, kind="stable").astype(np.int32)


def looks(images: int, batch_size: int) -> tuple[int, ...]:
    """The numbers of images after which a candidate may be dropped: whole batches. Empty where there are too few batches."""
    return tuple(n for n in range(batch_size, images, batch_size) if EARLIEST * images <= n <= LATEST * images)


class Verdict(NamedTuple):
    """A candidate that is dropped.

    Args:
        top1, loss: estimates.
        images: that it was seen on.
        against: digest of the network that dominates it.
    """

    top1: float
    loss: float
    images: int
    against: str


class Rival(NamedTuple):
    """A network that was validated in full, and the sampler that proposed it.

    Args:
        margin: correct answers by which a candidate has to be better: 1 where the candidate costs more in some objective.
    """

    sampler: str
    digest: str
    top1: float
    loss: float
    margin: int = 0


@dataclass(frozen=True, eq=False)
class Race:
    """What a candidate is compared with; it can be sent to another process.

    Args:
        order: of the images.
        looks: see `looks`.
        hits, losses: of the references, their totals on the images up to each look, and on all images last.
        rivals: that cost no more than the candidate in any objective, of the sampler that proposed it: how good each sampler is, is
            shown by its own Pareto front.
        scores: "top1", "loss" or both, as the search has them among its objectives.
        z, precision, fine: see `Z`, `PRECISION` and `FINE`; as values, so that every process decides with the same ones.
        heads: by score, the total that a candidate needs to be among the `BEST`; empty where none is known.
    """

    order: Int[np.ndarray, " images"]
    looks: tuple[int, ...]
    hits: Float[np.ndarray, "references looks"]
    losses: Float[np.ndarray, "references looks"]
    rivals: tuple[Rival, ...]
    scores: tuple[str, ...]
    z: float
    precision: float
    heads: Mapping[str, float] = field(default_factory=dict)
    fine: float = FINE

    def verdict(self, seen: int, hits: float, loss: float) -> Verdict | None:
        """Whether a candidate is dropped after `seen` images, one of the looks.

        Args:
            hits, loss: its totals on these images.
        """
        images, at = len(self.order), self.looks.index(seen)
        references = np.stack([self.hits[:, at], self.losses[:, at]], axis=1)
        found, precise = {}, True
        for score, totals, least in (("top1", self.hits, ROUNDING), ("loss", self.losses, 0.0)):
            own = hits if score == "top1" else loss
            rest, error = predicted(references, totals[:, -1] - totals[:, at], np.array([hits, loss]))
            found[score] = (own + rest, math.hypot(error, least))
            if score in self.scores:
                precise &= error <= self._allowed(score, *found[score]) * float(totals[:, -1].std(ddof=1))
        if not precise:
            return None
        for rival in self.rivals:
            ahead = {
                "top1": images * rival.top1 + rival.margin - found["top1"][0],
                "loss": found["loss"][0] - images * rival.loss,
            }
            if all(ahead[score] >= self.z * found[score][1] for score in self.scores):
                top1 = min(max(round(found["top1"][0]), 0), images) / images
                return Verdict(top1, max(found["loss"][0], 0.0) / images, seen, rival.digest)
        return None

    def _allowed(self, score: str, estimate: float, error: float) -> float:
        """The largest error of the regression with which a candidate of this estimate is dropped, in standard deviations."""
        if score not in self.heads:
            return self.precision
        lacks = self.heads[score] - estimate if score == "top1" else estimate - self.heads[score]
        return self.precision if lacks > NEAR * error else min(self.fine, self.precision)


def predicted(
    seen: Float[np.ndarray, "references features"],
    totals: Float[np.ndarray, " references"],
    own: Float[np.ndarray, " features"],
) -> tuple[float, float]:
    """The total of a network by ridge regression over the references, and the standard error of that prediction.

    Args:
        seen: features of the references. totals: what is predicted, of the references. own: the network's features.
    """
    mean, deviation = seen.mean(axis=0), seen.std(axis=0) + 1e-12
    x = np.column_stack([np.ones(len(seen)), (seen - mean) / deviation])
    z = np.concatenate([[1.0], (own - mean) / deviation])
    inverse = np.linalg.inv(x.T @ x + np.diag([0.0, *np.ones(seen.shape[1])]))
    weights = inverse @ x.T @ totals
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x).clip(0.0, 0.9)
    left_out = (totals - x @ weights) / (1 - leverage)  # the residual of each reference, had it not been used
    variance = float(left_out @ left_out) / (len(seen) - 1)
    return float(z @ weights), math.sqrt(variance * (1 + float(z @ inverse @ z)))


class Contest:
    """What is known of the networks that were validated in full, in the order in which samplers were told of them.

    Args:
        images: of search-validation.
        batch_size: images at once.
        scores: see `Race`.
        ordered: whether the images can be put into an order: those that are decoded in every pass cannot.
    """

    def __init__(self, images: int, batch_size: int, scores: Sequence[str], ordered: bool = True) -> None:
        self.images, self.scores, self.ordered = images, tuple(scores), ordered
        self.looks = looks(images, batch_size)
        self.order: np.ndarray | None = None
        self._waiting: list[tuple[Rival, tuple[float, ...], Outcome]] = []
        self._rivals: list[tuple[Rival, tuple[float, ...]]] = []
        self._totals: dict[str, np.ndarray] = {}

    def add(self, rival: Rival, costs: Sequence[float], outcome: Outcome) -> None:
        """A network that was validated in full. It is a reference once, and a rival of every sampler that proposed it.

        Args:
            costs: its objectives that are costs, in their order.
        """
        self._waiting.append((rival, tuple(costs), outcome))
        if self.order is None:
            outcomes = list({rival.digest: outcome for rival, _, outcome in self._waiting}.values())
            if len(outcomes) < WARM_UP:
                return
            self.order = contested_first(outcomes) if self.ordered else np.arange(self.images, dtype=np.int32)
        for one, its_costs, its_outcome in self._waiting:
            self._rivals.append((one, its_costs))
            if one.digest not in self._totals:
                self._totals[one.digest] = self._sums(its_outcome)
        self._waiting.clear()

    def _sums(self, outcome: Outcome) -> Float[np.ndarray, "2 looks"]:
        """Correct answers and losses up to each look, and on all images last."""
        ends = [end - 1 for end in (*self.looks, self.images)]
        rows = np.stack([outcome.hits[self.order], outcome.losses[self.order]]).astype(np.float64)
        return rows.cumsum(axis=1)[:, ends]

    def race(self, sampler: str, costs: Sequence[float]) -> Race | None:
        """What a candidate of these costs is compared with; None while no candidate is raced yet.

        Without a rival it is validated in full, in the same order as others: a batch whose images are others may round differently.
        """
        if self.order is None or not self.looks:
            return None
        own = tuple(costs)
        rivals = [
            rival._replace(margin=int(others != own))
            for rival, others in self._rivals
            if rival.sampler == sampler and all(other <= cost for other, cost in zip(others, own, strict=True))
        ]
        if not rivals:
            return self.whole()
        if self.scores == ("top1",):  # the one that is hardest to beat is enough
            rivals = [max(rivals, key=lambda rival: self.images * rival.top1 + rival.margin)]
        elif self.scores == ("loss",):
            rivals = [min(rivals, key=lambda rival: rival.loss)]
        totals = np.stack(list(self._totals.values())[-REFERENCES:])
        hits, losses = totals[:, 0], totals[:, 1]
        return Race(self.order, self.looks, hits, losses, tuple(rivals), self.scores, Z, PRECISION, self._heads(), FINE)

    def _heads(self) -> dict[str, float]:
        """By score, the total of the last of the `BEST` networks that were validated in full."""
        hits, losses = (np.sort([totals[kind, -1] for totals in self._totals.values()]) for kind in (0, 1))
        return {"top1": float(hits[-BEST:][0]), "loss": float(losses[:BEST][-1])}

    def whole(self) -> Race | None:
        """A race without rivals: the candidate is validated in full."""
        if self.order is None or not self.looks:
            return None
        nothing = np.zeros((0, 1))
        return Race(self.order, (), nothing, nothing, (), self.scores, Z, PRECISION)
