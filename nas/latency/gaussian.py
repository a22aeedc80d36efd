"""A Gaussian process over a mixture of given similarities, which a few wild measurements cannot pull away.

The weight of each similarity and of the noise is what makes the measurements most likely (scikit-learn's optimiser).
"""

import warnings
from typing import Any, cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from nas.machine.linear_algebra import one_thread

Array = np.ndarray

CONSTANT = 10.0
"""Variance of what all items have in common, over that of their times: wide, so that it is left to the data."""

ROUNDS = 4
"""Fits; each but the first trusts items less that the one before predicts badly."""

OUTLIER = 3.0
"""Standard deviations from which an item is trusted less."""

LARGEST = 200
"""Items on which the weights are found; with more, the solution for these weights still uses all."""


class Mixture(Kernel):
    """The sum of fixed matrices with weights that are fitted. Items are given as their row numbers (n, 1).

    Args:
        matrices: (m, n, n).
        weights: (m,), above 0.
    """

    def __init__(self, matrices: Array, weights: Array) -> None:
        self.matrices, self.weights = matrices, weights

    @property
    def hyperparameter_weights(self) -> Hyperparameter:
        return Hyperparameter("weights", "numeric", (1e-6, 1e3), len(self.weights))

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:
        rows = X[:, 0].astype(int)
        columns = rows if Y is None else Y[:, 0].astype(int)
        parts = np.asarray(self.weights)[:, None, None] * self.matrices[:, rows[:, None], columns]
        whole = parts.sum(0) + CONSTANT
        return (whole, np.moveaxis(parts, 0, -1)) if eval_gradient else whole

    def diag(self, X: Array) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows = X[:, 0].astype(int)
        return np.asarray(self.weights) @ self.matrices[:, rows, rows] + CONSTANT

    def is_stationary(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        return False


class Fit:
    """A fitted process: the value of an item is `centre` + its weighted similarities to the known items, times `solution`.

    Args:
        similar: (m, n, n), similarities between the known items.
        values: (n,), measured.
        start: (m + 1,), weights to begin with, as `weights` of another fit; None for equal ones.
        rng: picks the items on which weights are found, where they are many.
    """

    @one_thread()
    def __init__(self, similar: Array, values: Array, rng: np.random.Generator, start: Array | None = None) -> None:
        mean, spread = float(values.mean()), float(values.std()) or 1.0
        middle = np.array([np.trace(matrix) / len(values) - matrix.mean() for matrix in similar])
        sizes = np.where(middle > 1e-12, middle, 1.0)  # a similarity that tells no items apart is left as it is
        similar = similar / sizes[:, None, None]
        targets, trust = (values - mean) / spread, np.ones(len(values))
        weights = np.array([0.5] * len(similar) + [0.2]) if start is None else start
        chosen = np.sort(rng.permutation(len(values))[:LARGEST])
        solution = targets
        for _ in range(ROUNDS):
            weights = _weights(similar[:, chosen[:, None], chosen], targets[chosen], trust[chosen], weights)
            solution, left_out = _solve(similar, targets, trust, weights)
            usual = max(1.4826 * float(np.median(np.abs(left_out))), 1e-3)
            trust = np.maximum(1.0, (left_out / usual / OUTLIER) ** 2)
        self.weights = weights
        self.factors = weights[:-1] / sizes
        self.solution: Array = solution * spread
        self.centre = mean + CONSTANT * float(self.solution.sum())


def _weights(similar: Array, targets: Array, trust: Array, start: Array) -> Array:
    kernel = Mixture(np.concatenate((similar, np.diag(trust)[None])), np.clip(start, 1e-5, 1e2))
    process = GaussianProcessRegressor(kernel, alpha=1e-8)
    with warnings.catch_warnings():  # that a weight is at its bound: a similarity that does not count
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(np.arange(len(targets))[:, None], targets)
    return np.asarray(cast(Mixture, process.kernel_).weights)


def _solve(similar: Array, targets: Array, trust: Array, weights: Array) -> tuple[Array, Array]:
    """The solution (n,), and by how much each item differs from what the others predict for it (n,)."""
    whole = np.tensordot(weights[:-1], similar, 1) + CONSTANT + np.diag(weights[-1] * trust + 1e-8)
    inverse = np.linalg.inv(whole)
    solution = inverse @ targets
    return solution, solution / np.diag(inverse)
