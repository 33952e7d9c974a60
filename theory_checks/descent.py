"""Does a method keep what its theorem says of every step? Its Lyapunov function, measured.

Put your own method through it:

    method = replace(method, step_size=method.theory_step_size(problem.constants, problem.d, n))
    print(descent(problem, method, costs))

The runs are those that replays make: many timelines, whose seeds decide MARINA's coins and who
takes part, and on each of them several data seeds. Runs of one timeline share its coins, so that
means of timelines are what errors are computed from; where a coin is rare, give many of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dopt.costs import Costs
from dopt.errors import ConfigurationError
from dopt.methods import Method
from dopt.problems import Problem
from theory_checks.estimators import ROUNDING, Comparison
from theory_checks.lyapunov import Potential, potential
from theory_checks.trajectories import Trajectories, over_timelines, record


LEAST_TIMELINES = 8
"""Fewer timelines have no standard error to speak of."""


class Descent(NamedTuple):
    """E Φ_{k+1} − q·Φ_k + fall_k − allowed_k ≤ 0 of a theorem, all upper bounds.

    `worst` is of the step with the largest z. `total` sums the steps, weighted by what is left of
    each at the end where q < 1: it is the theorem with the last Φ left in, and the sharpest of the
    three. `rate` is the theorem: (1/K) Σ E‖∇f(x^k)‖² against its bound, for q < 1 the last Φ.
    """

    worst: Comparison
    total: Comparison
    rate: Comparison


def descent(
    problem: Problem,
    method: Method,
    costs: Costs,
    *,
    steps: int = 30,
    timelines: int = 64,
    seeds: int = 4,
    seed: int = 0,
    x0: Float[Array, " d"] | None = None,
    potential: Callable[[Problem, Method, Trajectories], Potential] = potential,
) -> Descent:
    """Measures the descent inequality of a method at its own step size.

    Args:
        problem: what is minimized; f* must be known.
        method: a method of rounds, with a step size that its theorem allows.
        costs: what the cluster charges.
        steps: server steps.
        timelines: how many; several times 1/p for a coin of probability p.
        seeds: data seeds on each timeline, at least 2.
        seed: other seeds give other runs.
        x0: the starting point; the problem's own by default.
        potential: Φ of the theorem; those of the library's methods are known.

    Raises:
        ConfigurationError: too few steps, timelines or seeds, or a constant that is unknown.
        UnsupportedError: no theorem is known for the method, or it has no rounds.
    """
    least = {"steps": (steps, 2), "timelines": (timelines, LEAST_TIMELINES), "seeds": (seeds, 2)}
    for name, (given, few) in least.items():
        if given < few:
            raise ConfigurationError(f"{name} = {given}; give at least {few}")
    # One more step, so that Φ is known at the end of the last one.
    runs = record(
        problem, method, costs, steps=steps + 1, timelines=timelines, seeds=seeds, seed=seed, x0=x0
    )
    phi = potential(problem, method, runs)
    norm2 = np.sum(runs.grad[:, :steps] ** 2, axis=-1)
    allowed = np.broadcast_to(phi.allowed, phi.value.shape)[:, :steps]
    change = phi.value[:, 1:] - phi.q * phi.value[:, :-1] + phi.per_gradient * norm2 - allowed
    size = np.abs(phi.value).max() + np.abs(phi.per_gradient * norm2).max()
    rounding = ROUNDING * float(jnp.finfo(problem.dtype).eps) * float(size)
    each = [over_timelines(column, timelines, 0.0, rounding) for column in change.T]
    left = phi.q ** np.arange(steps - 1, -1, -1)
    total = over_timelines(change @ left, timelines, 0.0, rounding * steps)
    if phi.per_gradient:
        f_star = problem.constants.need("f_star", "the bound of the theorem")
        mean, over = norm2.mean(axis=1), phi.per_gradient * steps
        bound = (phi.value[:, 0] - f_star + allowed.sum(axis=1)) / over
        rounding /= over
    else:
        mean = phi.value[:, -1]
        bound = phi.q**steps * phi.value[:, 0] + allowed @ left
    rate = over_timelines(mean - bound, timelines, 0.0, rounding)
    expected = float(bound.mean())
    rate = rate._replace(mean=rate.mean + expected, expected=expected)
    return Descent(max(each, key=lambda comparison: comparison.z), total, rate)
