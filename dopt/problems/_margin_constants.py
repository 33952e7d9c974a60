"""Constants of a linear classifier, from eigenvalues of its data; all bounds.

With φ'' in [c, C] and r'' in [l, u], the Hessian of f_i lies between c·G_i + l and C·G_i + u, where
G_i = A_iᵀA_i / m_i and c <= 0 < C, |c| <= C:

* L_i ≤ max(C·λ_max(G_i) + u, |c|·λ_max(G_i) − l), and the same for L with G = mean G_i;
  L_plus² ≤ mean L_i²; L_pm ≤ L_plus (0 where the data are shared);
* sigma2 ≤ (sup φ')² max_i mean_j ‖a_ij‖² / batch, by the second moment;
* f* ≥ 0; mu ≥ l where φ is convex and l > 0.
"""

from math import sqrt
from typing import Any

import numpy as np

from compressors import Constant
from dopt.problems._base import Constants


def margin_constants(problem: Any) -> Constants:
    """All constants of a `LogisticRegression`."""
    entries = np.asarray(problem.rows.entries, np.float64)
    weights = np.asarray(problem.shares, np.float64)
    owners = np.asarray(problem.owners)
    n = len(problem.sizes)
    low, high = problem.loss.curvature
    below, above = problem.regularizer.curvature

    def smooth(top: float) -> float:
        return max(high * top + above, -low * top - below)

    tops, mean_squares = [], []
    for i in range(n):
        rows = entries[owners == i].reshape(-1, problem.d)
        share = weights[owners == i].reshape(-1)
        rows = np.sqrt(share)[:, None] * rows
        tops.append(_top_eigenvalue(rows))
        mean_squares.append(float(np.sum(rows**2)))
    every = np.sqrt(weights / n).reshape(-1, 1) * entries.reshape(-1, problem.d)
    each = [smooth(top) for top in tops]
    why = f"phi'' <= {high:.5g}"
    plus = Constant(sqrt(np.mean(np.square(each))), "bound", "the mean of the squares of L_i")
    convex = low == 0 and below > 0
    return Constants(
        L=Constant(smooth(_top_eigenvalue(every)), "bound", why),
        L_max=Constant(max(each), "bound", why),
        L_plus=plus,
        L_pm=plus if problem.n else Constant(0.0, "exact", "all workers have the same f"),
        mu=Constant(below, "bound", "the ridge alone") if convex else None,
        sigma2=(
            Constant(0.0, "exact", "exact gradients")
            if problem.batch is None
            else Constant(
                problem.loss.steepest**2 * max(mean_squares) / problem.batch,
                "bound",
                "the second moment",
            )
        ),
        f_star=problem.f_star,
    )


def _top_eigenvalue(rows: np.ndarray) -> float:
    """λ_max(AᵀA), from the smaller Gram matrix."""
    gram = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    return float(np.linalg.eigvalsh(gram)[-1])
