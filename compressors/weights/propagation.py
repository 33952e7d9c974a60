"""Rounding of a matrix a few columns at a time, the errors made good by the columns that follow.

    Ŵ ≈ argmin tr((Ŵ − W)·H·(Ŵ − W)ᵀ),  H = XᵀX of the inputs, H⁻¹ = Uᵀ·U with U upper triangular

For the columns i … i + p − 1 =: c of W, from the left:

    1. Ŵ_c = round(W_c)
    2. E = (W_c − Ŵ_c)·(U_cc)⁻¹
    3. W_j ← W_j − E·U_cj for all j behind c

that is, the columns behind c are set to what is best for them given Ŵ_c. Within blocks of columns
step 3 is done at once; what lies behind a block follows at its end in one product.

Source: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ", arXiv 2210.17323, Algorithm 1 (p = 1).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64


MOST_DAMPING = 1.0
BLOCK = 128
"""Columns whose errors are made good within the block before those behind it are touched."""


class Factor(NamedTuple):
    """What `propagate` needs of H, and what had to be added to H to get it."""

    U: Float64[np.ndarray, "in in"]
    """(H + damping·mean(diag H)·I)⁻¹ = Uᵀ·U, upper triangular."""
    damping: float
    tries: int
    """Factorisations, one if the first damping was enough."""


def check_hessian(H: Float[np.ndarray, "in in"], inputs: int) -> None:
    """Raises `ValueError` unless H is of so many inputs, and finite."""
    if H.shape != (inputs, inputs):
        raise ValueError(f"H {list(H.shape)} for {inputs} inputs: give XᵀX of this layer's inputs")
    if not np.isfinite(H).all():
        raise ValueError("H has entries that are NaN or infinite: calibrate on other text")


def inverse_factor(H: Float[np.ndarray, "in in"], damping: float = 0.01) -> Factor:
    """The upper Cholesky factor of the inverse of H with more weight on its diagonal.

    Where H is still not positive definite, the damping grows tenfold, to 1 at most. An input that
    was never seen, H_ii = 0, is coupled to no other: it is rounded as it stands. H = 0 counts as I.

    Args:
        H: symmetric, in any scale; only its lower triangle is read.
        damping: what is added to the diagonal, as a share of its mean.

    Raises:
        ValueError: damping outside of (0, 1], H that is not finite, or not positive definite with
            a damping of 1.
    """
    from scipy.linalg.lapack import dtrtri

    if not 0 < damping <= MOST_DAMPING:
        raise ValueError(f"damping = {damping}: give a number above 0, and at most {MOST_DAMPING}")
    check_hessian(H, len(H))
    H = np.asarray(H, np.float64)
    mean = float(np.mean(np.diag(H))) or 1.0
    tries = 0
    while mean > 0 and damping <= MOST_DAMPING:
        tries += 1
        try:
            # R·Rᵀ = H with R upper: the Cholesky factor of H with its order reversed.
            reversed_ = (H / mean + damping * np.eye(len(H)))[::-1, ::-1].T
            R = np.linalg.cholesky(reversed_)[::-1, ::-1]
        except np.linalg.LinAlgError:
            damping *= 10
            continue
        inverse, _ = dtrtri(R, lower=0)
        return Factor(inverse / np.sqrt(mean), damping, tries)
    raise ValueError(
        f"H [{len(H)}, {len(H)}] is not positive definite, even with its mean diagonal of {mean:g} "
        "added: it is no sum of squares; calibrate anew"
    )


def propagate(
    W: Float[np.ndarray, "out in"],
    U: Float64[np.ndarray, "in in"],
    round_columns: Callable[[Float64[np.ndarray, "out p"], int], Float[np.ndarray, "out p"]],
    *,
    step: int = 1,
    block: int = BLOCK,
    at_block: Callable[[Float64[np.ndarray, "out rest"], int], None] | None = None,
) -> Float64[np.ndarray, "out in"]:
    """Ŵ: W rounded `step` columns at a time.

    Args:
        W: the matrix, its inputs in the order in which they are rounded.
        U: from `inverse_factor`, of the inputs in that order.
        round_columns: from some columns, and the place of the first of them, to what they become.
        step: columns that are rounded together, p; it divides the inputs and `block`.
        block: columns of a block; it changes the result by rounding alone.
        at_block: told before each block what the columns from its first one on are by now, and the
            place of that: GPTQ takes its scales from them.

    Raises:
        ValueError: a step that does not divide the inputs or the block.
    """
    inputs = W.shape[1]
    if inputs % step or block % step:
        raise ValueError(
            f"{step} columns at a time do not divide {inputs} inputs and blocks of {block}: give "
            "a step that divides both"
        )
    # Rows of the transpose are contiguous columns.
    T = np.array(W.T, np.float64, order="C")
    rounded = np.empty_like(T)
    for start in range(0, inputs, block):
        end = min(start + block, inputs)
        if at_block is not None:
            at_block(T[start:].T, start)
        E = np.empty((end - start, T.shape[1]))
        for i in range(start, end, step):
            c = slice(i, i + step)
            rounded[c] = round_columns(T[c].T, i).T
            error = np.linalg.solve(U[c, c].T, T[c] - rounded[c])
            T[i + step : end] -= U[c, i + step : end].T @ error
            E[i - start : i - start + step] = error
        T[end:] -= U[start:end, end:].T @ E
    return rounded.T
