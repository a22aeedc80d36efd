"""A Gaussian process over parameters, some of which have an order, with features of which the mean is linear. Knows no networks.

    kernel = Kernel(encoding)
    theta = fit(kernel, points, values)                     # rarely: it factorises n x n matrices some ten times
    posterior = Posterior.base(kernel, theta, points, values, pool)
    posterior = posterior.given(point, value)               # a rank-one update of the mean and deviation of the whole pool

The covariance of two rows is exp(-sum of w_t d_t) + rho f f' + a constant. A parameter without an order has one term, the Hamming
distance d = [x != y]. One with an order has two: the Hamming distance, and the squared difference of its positions in [0, 1]. The
weights w, rho and the noise maximise the marginal likelihood under log-normal priors; the scale of all follows in closed form.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import cholesky, get_lapack_funcs, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import block_diag, csr_array

from nas.samplers.encoding import Encoding

_TABLED = 32
"""Values of a parameter up to which its distances are looked up in a table."""

_PROCESSES = 8
"""Processes of one kernel, of objectives and constraints, whose weighted distances are kept."""

_CONSTANT = 3.0
"""Variance of the mean of the process, in units of the variance of the kernel."""

_JITTER = 1e-6

(_INVERT,) = get_lapack_funcs(("potri",), dtype=np.float64)
"""The inverse of a matrix from its Cholesky factor."""

_PRIOR_WEIGHT, _PRIOR_NOISE, _PRIOR_SLOPE = 2.0, 0.01, 1.0
"""Medians of the priors: of the sum of all weights, of the variance of the noise, and of that of the slopes of the features."""

_SPREAD_WEIGHT, _SPREAD_NOISE, _SPREAD_SLOPE = 0.5, 1.0, 1.5
"""Standard deviations of their logarithms."""


@dataclass(frozen=True)
class Points:
    """Rows as the kernel reads them.

    Args:
        positions: (n, parameters). hot: one-hot (n, values of all tabled parameters). features: (n, features).
        weighted: `hot` times the weighted distances of a process, by its parameters; filled by the kernel.
    """

    positions: np.ndarray
    hot: np.ndarray
    features: np.ndarray
    weighted: dict[bytes, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, index: np.ndarray | slice) -> "Points":
        """Some of them."""
        return Points(self.positions[index], self.hot[index], self.features[index])


class Kernel:
    """Covariance of rows of an encoding."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.terms: list[tuple[int, bool]] = []
        """Of each term its column, and whether it is the squared difference."""
        self._tabled: list[tuple[int, np.ndarray]] = []
        for i, column in enumerate(encoding.columns):
            few = 0 < column.size <= _TABLED
            if few and not (column.ordered and column.size == 2):
                self.terms.append((i, False))
            if column.ordered:
                self.terms.append((i, True))
            elif not few:
                self.terms.append((i, False))
            if few:
                values = np.arange(column.size, dtype=float)
                self._tabled.append((i, column.positions(values) if column.ordered else values))
        self._terms_of: dict[int, list[tuple[int, bool]]] = {}
        for t, (i, square) in enumerate(self.terms):
            self._terms_of.setdefault(i, []).append((t, square))
        self._blocks: dict[bytes, csr_array] = {}
        tabled = {i for i, _ in self._tabled}
        self._dense = [(t, i, square) for t, (i, square) in enumerate(self.terms) if i not in tabled]

    def points(self, rows: np.ndarray, features: np.ndarray) -> Points:
        """Rows (n, parameters) with their features (n, any number)."""
        hot = [rows[:, i, None] == np.arange(len(values)) for i, values in self._tabled]
        return Points(
            self.encoding.positions(rows),
            np.concatenate(hot, axis=1).astype(float) if hot else np.zeros((len(rows), 0)),
            features,
        )

    def distances(self, points: Points) -> np.ndarray:
        """Distances (terms, n, n) by each term."""
        found = np.empty((len(self.terms), len(points), len(points)), np.float32)
        for t, (i, square) in enumerate(self.terms):
            found[t] = _distance(points.positions[:, i], points.positions[:, i], square)
        return found

    def covariance(self, theta: np.ndarray, one: Points, other: Points) -> np.ndarray:
        """Covariances (n, m), without noise and without the common scale."""
        weights = np.exp(theta[: len(self.terms)])
        total = one.hot @ self._of_hot(theta, other).T
        for t, i, square in self._dense:
            total += weights[t] * _distance(one.positions[:, i], other.positions[:, i], square)
        return np.exp(-total) + math.exp(theta[-1]) * (one.features @ other.features.T) + _CONSTANT

    def variance(self, theta: np.ndarray, points: Points) -> np.ndarray:
        """The diagonal of `covariance` of the points with themselves."""
        return 1 + _CONSTANT + math.exp(theta[-1]) * (points.features**2).sum(axis=1)

    def _of_hot(self, theta: np.ndarray, points: Points) -> np.ndarray:
        """Weighted distances (n, values) of points from each value of the tabled parameters.

        The points remember them, because a pool is compared with every later trial.
        """
        found = points.weighted.get(theta.tobytes())
        if found is None:
            found = points.weighted[theta.tobytes()] = points.hot @ self._weighted(theta)
        return found

    def _weighted(self, theta: np.ndarray) -> csr_array:
        """Weighted distances (values, values) of the tabled parameters, in blocks along the diagonal.

        They are computed once as long as the same few processes ask for them.
        """
        key = theta.tobytes()
        found = self._blocks.get(key)
        if found is None:
            weights = np.exp(theta[: len(self.terms)])
            blocks = [
                sum(weights[t] * _distance(values, values, square) for t, square in self._terms_of[i])
                for i, values in self._tabled
            ]
            found = csr_array(block_diag(blocks)) if blocks else csr_array((0, 0))
            if len(self._blocks) == _PROCESSES:
                self._blocks.clear()
            self._blocks[key] = found
        return found


def _distance(one: np.ndarray, other: np.ndarray, square: bool) -> np.ndarray:
    difference = one[:, None] - other[None]
    return difference**2 if square else (difference != 0).astype(float)


def fit(kernel: Kernel, points: Points, values: np.ndarray) -> np.ndarray:
    """The parameters of most probability given values (n,) of mean 0: logarithms of the weights, the noise and the slopes' variance.

    It always begins at the medians of the priors, so that the result depends on the values alone.
    """
    terms, n = len(kernel.terms), len(points)
    median = np.log([*[_PRIOR_WEIGHT / max(terms, 1)] * terms, _PRIOR_NOISE, _PRIOR_SLOPE])
    spread = np.array([_SPREAD_WEIGHT] * terms + [_SPREAD_NOISE, _SPREAD_SLOPE])
    distances = kernel.distances(points).reshape(terms, -1)
    linear = points.features @ points.features.T

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        weights, noise, slope = np.exp(theta[:terms]), math.exp(theta[-2]), math.exp(theta[-1])
        product = np.exp(-(weights.astype(np.float32) @ distances).reshape(n, n).astype(float))
        matrix = product + slope * linear + _CONSTANT
        matrix[np.diag_indices(n)] += noise + _JITTER
        lower = cholesky(matrix, lower=True, check_finite=False)
        inverse = np.tril(_INVERT(lower, lower=1)[0])
        inverse += np.tril(inverse, -1).T
        solved = inverse @ values
        scale = max(float(values @ solved) / n, 1e-12)
        off = (theta - median) / spread
        found = 0.5 * n * math.log(scale) + np.log(np.diag(lower)).sum() + 0.5 * off @ off
        outer = 0.5 * (inverse - np.outer(solved, solved) / scale)
        gradient = np.empty_like(theta)
        gradient[:terms] = -weights * (distances @ (outer * product).astype(np.float32).ravel())
        gradient[-2] = noise * np.trace(outer)
        gradient[-1] = slope * (outer * linear).sum()
        return float(found), gradient + off / spread

    bounds = list(zip(median - 5 * spread, median + 5 * spread, strict=True))
    return minimize(loss, median, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-4}).x


@dataclass(frozen=True)
class _Base:
    """What posteriors share that differ by few points.

    Args:
        lower: Cholesky factor (n, n) of the covariance of `points`. whitened: `lower`^-1 times the covariance with the pool, (n, pool).
    """

    kernel: Kernel
    theta: np.ndarray
    points: Points
    lower: np.ndarray
    pool: Points
    whitened: np.ndarray


@dataclass(frozen=True)
class Posterior:
    """What is known of a function after some values of it. Immutable: `given` makes another, which shares all that is large.

    Args:
        mean: (pool,), predicted. explained: (pool,), variance that the values took away, without the scale.
        solved: the values times the inverse Cholesky factor. real: how many of them were observed, not predicted.
        later: points that were added, each with its row of the Cholesky factor and its row of the whitened pool.
    """

    shared: _Base
    mean: np.ndarray
    explained: np.ndarray
    solved: np.ndarray
    real: int
    later: tuple[tuple[Points, np.ndarray, np.ndarray], ...] = ()

    @classmethod
    def base(cls, kernel: Kernel, theta: np.ndarray, points: Points, values: np.ndarray, pool: Points) -> "Posterior":
        """After values (n,) at points, about the points of a pool."""
        matrix = kernel.covariance(theta, points, points)
        matrix[np.diag_indices(len(points))] += math.exp(theta[-2]) + _JITTER
        lower = cholesky(matrix, lower=True)
        whitened = solve_triangular(lower, kernel.covariance(theta, points, pool), lower=True, check_finite=False)
        solved = solve_triangular(lower, values, lower=True)
        found = _Base(kernel, theta, points, lower, pool, whitened)
        return cls(found, solved @ whitened, np.einsum("ij,ij->j", whitened, whitened), solved, len(values))

    @property
    def scale(self) -> float:
        """Variance of the process in units of the kernel's."""
        return float(self.solved @ self.solved) / self.real

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviations (pool,)."""
        return self._deviation(self.shared.pool, self.explained)

    def _deviation(self, points: Points, explained: np.ndarray) -> np.ndarray:
        left = self.shared.kernel.variance(self.shared.theta, points) - explained
        return np.sqrt(np.maximum(left, 1e-9) * max(self.scale, 1e-12))

    def residual(self) -> np.ndarray:
        """Of each value that was given, how far it is above its mean (n,)."""
        weights = np.zeros(len(self.solved))
        left = self.solved.copy()
        for i in range(len(self.solved) - 1, (first := len(self.shared.points)) - 1, -1):
            row = self.later[i - first][1]
            weights[i] = left[i] / row[i]
            left[:i] -= row[:i] * weights[i]
        weights[:first] = solve_triangular(self.shared.lower, left[:first], lower=True, trans=1, check_finite=False)
        return (math.exp(self.shared.theta[-2]) + _JITTER) * weights

    def at(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (n,) at points that need not be of the pool."""
        whitened = self._whiten(points)
        return self.solved @ whitened, self._deviation(points, (whitened**2).sum(axis=0))

    def _whiten(self, points: Points) -> np.ndarray:
        base = self.shared
        covariance = base.kernel.covariance
        found = solve_triangular(
            base.lower, covariance(base.theta, base.points, points), lower=True, check_finite=False
        )
        for point, row, _ in self.later:
            more = (covariance(base.theta, point, points) - row[None, :-1] @ found) / row[-1]
            found = np.concatenate((found, more))
        return found

    def given(self, point: Points, value: float | None) -> "Posterior":
        """After one more value; None for one that is awaited, which is taken to be the mean."""
        base = self.shared
        before = self._whiten(point)[:, 0]
        own = float(base.kernel.variance(base.theta, point)[0]) + math.exp(base.theta[-2]) + _JITTER
        pivot = math.sqrt(max(own - before @ before, _JITTER))
        first = len(base.points)
        covariance = base.kernel.covariance(base.theta, point, base.pool)[0] - before[:first] @ base.whitened
        for share, (_, _, row) in zip(before[first:], self.later, strict=True):
            covariance -= share * row
        row = covariance / pivot
        new = 0.0 if value is None else (value - float(before @ self.solved)) / pivot
        return Posterior(
            base,
            self.mean + new * row,
            self.explained + row**2,
            np.append(self.solved, new),
            self.real + (value is not None),
            (*self.later, (point, np.append(before, pivot), row)),
        )
