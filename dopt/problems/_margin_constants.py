"""Constants of a linear classifier, from eigenvalues of its data; all bounds.

With φ'' in [c, C], |c| ≤ C, and r'' in [l, u], the Hessian of f_i is A_iᵀDA_i/m_i + R, with D and R
diagonal and within these limits. With G_i = A_iᵀA_i/m_i, λ_i = λ_max(G_i), G = mean G_i:

* L_i ≤ max(Cλ_i + u, −cλ_i − l), and the same for L with λ_max(G); L_plus² ≤ mean L_i², or
  mean L_i²/(n w_i) under weights;
* L_pm: regularizers cancel, so that L_pm² ≤ mean (Cλ_i)². About the middle of D's limits the
  Hessian is ½(C+c)G_i + E_i with ‖E_i‖ ≤ ½(C−c)λ_i, and a variance is at most the second moment
  about any matrix, so that also

      L_pm ≤ ½(C+c)·√λ_max(mean G_i² − G²) + ½(C−c)·√(mean λ_i²)

  which for parts that are alike is half of L_plus where φ is convex. The lesser one is taken; 0 for
  one part, exact where the data are shared;
* sigma2 ≤ (sup |φ'|)² max_i mean_j ‖a_ij‖² / batch, by the second moment;
* f* ≥ 0; mu ≥ l where φ is convex and l > 0.

Where rows and features are both more than `LARGEST_GRAM`, λ is Lanczos' and labelled an estimate.
"""

from dataclasses import replace
from math import sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from compressors import Constant
from dopt.problems._base import Constants
from dopt.problems.quadratics import check_weights


LARGEST_GRAM = 3000
"""Rows of a Gram matrix whose eigenvalues are computed densely."""

SQUARES = 1000
"""Features up to which the variance of the G_i is computed: n products of d x d matrices."""


class Spectrum(NamedTuple):
    """What constants need to know of the data."""

    smoothness: Float[np.ndarray, " n"]
    """The bounds of L_i."""
    tops: Float[np.ndarray, " n"]
    """λ_i."""
    top: float
    """λ_max(G)."""
    mean_squares: Float[np.ndarray, " n"]
    """The mean of ‖a_ij‖² over the samples of each worker."""
    largest_squares: Float[np.ndarray, " n"]
    """The largest ‖a_ij‖² of each worker."""
    spread: float | None
    """√λ_max(mean G_i² − G²), where it was computed."""
    exact: bool
    """Whether no eigenvalue is Lanczos'."""

    @property
    def kind(self) -> Literal["bound", "estimate"]:
        """What constants made of them are."""
        return "bound" if self.exact else "estimate"


def margin_constants(problem: Any) -> Constants:
    """All constants of a `LogisticRegression`."""
    known = problem.spectrum
    steep, (low, high) = problem.loss.steepest, problem.loss.curvature
    floor = problem.regularizer.curvature[0]
    kind = known.kind
    note = f"phi'' <= {high:.5g}" if known.exact else "Lanczos' eigenvalues"
    plus = Constant(_root_mean_square(known.smoothness), kind, "the mean of the squares of L_i")
    variance = steep**2 * float(known.mean_squares.max())
    return Constants(
        L=Constant(float(_smoothness(problem, known.top)), kind, note),
        L_max=Constant(float(known.smoothness.max()), kind, note),
        L_plus=plus,
        L_pm=_hessian_variance(problem, known),
        mu=Constant(floor, "bound", "the ridge alone") if low == 0 and floor > 0 else None,
        sigma2=(
            Constant(0.0, "exact", "exact gradients")
            if problem.batch is None
            else Constant(variance / problem.batch, "bound", "the second moment")
        ),
        f_star=problem.f_star,
    )


def weighted_constants(problem: Any, weights: Float[np.ndarray, " n"]) -> Constants:
    """The constants, with L_plus and L_pm under `weights`; L_pm is bounded by L_plus alone."""
    known = problem.spectrum
    check_weights(weights, len(known.tops))
    plus = Constant(
        _root_mean_square(known.smoothness / np.sqrt(len(weights) * weights)),
        known.kind,
        "the mean of the squares of L_i, each over n w_i",
    )
    return replace(problem.constants, L_plus=plus, L_pm=plus)


def sample_smoothness(problem: Any) -> Constant:
    """√(mean_i max_j L_ij²), with L_ij ≤ max(C‖a_ij‖² + u, −c‖a_ij‖² − l)."""
    each = _smoothness(problem, problem.spectrum.largest_squares)
    return Constant(_root_mean_square(each), "bound", "the largest sample of each worker")


def spectrum(problem: Any) -> Spectrum:
    """The eigenvalues, part by part in float64."""
    rows, shares = problem.rows.host(), np.asarray(problem.shares, np.float64).reshape(-1)
    n, height = len(problem.sizes), problem.labels.shape[1]
    owners = np.repeat(np.asarray(problem.owners), height)
    places = [np.flatnonzero((owners == i) & (shares > 0)) for i in range(n)]
    # Rows a_ij/√m_i, so that the Gram matrix of a part is G_i; over √n, those of all make G.
    scaled = _scaled(rows, np.sqrt(shares))
    parts = [scaled[place] for place in places]
    found = [_top_eigenvalue(part) for part in parts]
    top, exact = (
        found[0] if n == 1 else _top_eigenvalue(_scaled(scaled, np.full(len(shares), n**-0.5)))
    )
    tops = np.array([value for value, _ in found])
    squares = _square_norms(rows)
    return Spectrum(
        smoothness=_smoothness(problem, tops),
        tops=tops,
        top=top,
        mean_squares=np.array([_square_norms(part).sum() for part in parts]),
        largest_squares=np.array([squares[place].max() for place in places]),
        spread=_spread(parts) if n > 1 and problem.d <= SQUARES else None,
        exact=exact and all(exact for _, exact in found),
    )


def _hessian_variance(problem: Any, known: Spectrum) -> Constant:
    if len(known.tops) == 1:
        return Constant(0.0, "exact", "all workers have the same f")
    low, high = problem.loss.curvature
    size = _root_mean_square(known.tops)
    moments, middle = high * size, np.inf
    if known.spread is not None:
        middle = (high + low) / 2 * known.spread + (high - low) / 2 * size
    if middle < moments:
        return Constant(
            middle, known.kind, "the middle of the curvatures, and the way to their ends"
        )
    return Constant(moments, known.kind, "the second moment of the Hessians of the losses")


def _smoothness(problem: Any, tops: Any) -> Any:
    (low, high), (floor, ceiling) = problem.loss.curvature, problem.regularizer.curvature
    return np.maximum(high * tops + ceiling, -low * tops - floor)


def _spread(parts: list[Any]) -> float:
    """√λ_max(mean G_i² − G²)."""
    d = parts[0].shape[1]
    mean, square = np.zeros((2, d, d))
    for part in parts:
        gram = _gram(part.T)
        mean += gram / len(parts)
        square += gram @ gram / len(parts)
    variance = square - mean @ mean
    return sqrt(max(0.0, float(np.linalg.eigvalsh(variance)[-1])))


def _top_eigenvalue(rows: Any) -> tuple[float, bool]:
    """λ_max(AᵀA), from the smaller Gram matrix; False where that is large, and Lanczos finds it."""
    if min(rows.shape) <= LARGEST_GRAM:
        gram = _gram(rows.T if rows.shape[0] > rows.shape[1] else rows)
        return float(np.linalg.eigvalsh(gram)[-1]), True
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).standard_normal(min(rows.shape))
    return float(svds(rows, k=1, v0=start, return_singular_vectors=False)[0] ** 2), False


def _gram(rows: Any) -> Float[np.ndarray, "N N"]:
    """AAᵀ of dense or sparse rows, as a dense matrix."""
    product = rows @ rows.T
    return product if isinstance(product, np.ndarray) else product.toarray()


def _scaled(rows: Any, factors: Float[np.ndarray, " N"]) -> Any:
    if isinstance(rows, np.ndarray):
        return factors[:, None] * rows
    return rows.multiply(factors[:, None]).tocsr()


def _square_norms(rows: Any) -> Float[np.ndarray, " N"]:
    if isinstance(rows, np.ndarray):
        return np.einsum("nd,nd->n", rows, rows)
    return np.asarray(rows.multiply(rows).sum(axis=1)).reshape(-1)


def _root_mean_square(values: Float[np.ndarray, " n"]) -> float:
    return sqrt(np.mean(np.square(values)))
