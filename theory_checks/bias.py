"""What is left of the bias of an estimator with a memory, one step later.

MARINA's estimator is biased after its first compressed round, and its bias dies out: with e^k =
g^k − ∇f(x^k) and everything up to step k given,

    E e^{k+1} = s·e^k,   s = 1 − p for the MARINAs and 1 − a for DASHA,

for any unbiased compressors, joint or not. Of a biased one this finds the bias.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dopt.costs import Costs
from dopt.errors import UnsupportedError
from dopt.methods import DASHA, MARINA, PPMARINA, VRMARINA, Method
from dopt.problems import Problem
from theory_checks.estimators import ROUNDING, Comparison
from theory_checks.trajectories import over_timelines, record


def bias_left(
    problem: Problem,
    method: Method,
    costs: Costs,
    *,
    steps: int = 12,
    timelines: int = 64,
    seeds: int = 16,
    seed: int = 0,
    x0: Float[Array, " d"] | None = None,
) -> Comparison:
    """E(e^{k+1} − s·e^k) = 0 in every coordinate and along e^k, at every step: the worst of all.

    Args:
        problem: what is minimized.
        method: a MARINA or DASHA, with any step size.
        costs: what the cluster charges.
        steps: server steps.
        timelines: how many; several times 1/p for a coin of probability p.
        seeds: data seeds on each timeline.
        seed: other seeds give other runs.
        x0: the starting point; the problem's own by default.

    Raises:
        UnsupportedError: the method is none of these.
    """
    match method:
        case MARINA() | PPMARINA() | VRMARINA():
            left = 1 - method.p
        case DASHA():
            left = 1 - 1 / (2 * method.compressor.omega(problem.d).value + 1)
        case _:
            raise UnsupportedError(
                f"the estimator of {method.name} has no bias that dies out by a known factor; "
                "give a MARINA or DASHA"
            )
    runs = record(
        problem, method, costs, steps=steps, timelines=timelines, seeds=seeds, seed=seed, x0=x0
    )
    error = runs.server[:, 1:] - runs.grad[:, :-1]
    apart = error[:, 1:] - left * error[:, :-1]
    size = np.linalg.norm(error[:, :-1], axis=-1, keepdims=True)
    direction = error[:, :-1] / np.where(size > 0, size, 1.0)
    along = np.sum(apart * direction, axis=-1, keepdims=True)
    rounding = ROUNDING * float(jnp.finfo(problem.dtype).eps) * float(np.abs(runs.grad).max())
    statistics = np.concatenate([apart, along], axis=-1).reshape(len(error), -1)
    worst = [over_timelines(column, timelines, 0.0, rounding) for column in statistics.T]
    return max(worst, key=lambda comparison: abs(comparison.z))
