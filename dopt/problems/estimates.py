"""Estimates of smoothness constants where no closed form is known: by products with Hessians.

At a point x let H_i be the Hessian of f_i, H that of f, and w weights of workers (1/n by default):

* L is the largest |eigenvalue| of H, L_max that of any H_i;
* L_plus² is the largest eigenvalue of (1/n) Σ H_i²/(n w_i);
* L_pm² is that of (1/n) Σ H_i²/(n w_i) − H², here Σ w_i (H_i/(n w_i) − H)², which does not cancel.

Power iteration finds each from below: at one point an estimate rises with every product and never
exceeds the eigenvalue, but a constant of theory is a supremum over all points, and only the given
ones are looked at. For quadratics every point is as good. Traces, which are d times the mean of the
same quotients over directions, come from random signs (Hutchinson's estimator) with their errors.

Nothing but products is stored: each is a derivative of `local_grad` along a direction, one worker
after another.

Sources: for the constants see `dopt.problems.quadratics`; Hutchinson, "A stochastic estimator of
the trace of the influence matrix for Laplacian smoothing splines", 1990.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from compressors import Constant
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants, Problem
from dopt.problems._normal import normals
from dopt.problems.quadratics import check_weights


Product = Callable[[Float[Array, " d"]], tuple[Float[Array, " d"], Float[Array, ""]]]
"""A symmetric operator M: from v to Mv and to the estimate of its largest eigenvalue at |v| = 1."""


class Traces(NamedTuple):
    """Traces at a point; divided by d they are means over directions."""

    mean: Constant
    """Of H: the sum of its eigenvalues."""
    plus: Constant
    """Of (1/n) Σ H_i²/(n w_i)."""
    pm: Constant
    """Of the same less H²."""


def estimate_constants(
    problem: Problem,
    points: Float[Array, "q d"],
    *,
    weights: Float[np.ndarray, " n"] | None = None,
    products: int = 50,
    seed: int = 0,
) -> Constants:
    """L, L_max, L_plus and L_pm, each the largest over `points`; the others stay unknown.

    Where all workers share f, L_max and L_plus are L, and L_pm is 0.

    Args:
        problem: any; its `local_grad` is differentiated.
        points: models, such as some of a run.
        weights: of the workers, positive and of sum 1; by default 1/n.
        products: steps of a power iteration.
        seed: of the directions that they start from.

    Raises:
        ConfigurationError: no point, fewer than 2 products, a negative seed, bad weights.
    """
    if len(points) < 1 or products < 2 or seed < 0:
        raise ConfigurationError(
            f"{len(points)} points, products = {products}, seed = {seed}; "
            "give at least 1 point, 2 products and seed 0"
        )
    loads = _weights(problem, weights)
    start = normals(jax.random.key(seed), problem.d, jnp.float32).astype(problem.dtype)
    found = [
        {k: (float(v), float(rise)) for k, (v, rise) in at.items()}
        for at in (_at(problem, x, loads, start, products=products) for x in points)
    ]

    def largest(name: str) -> Constant:
        value, rise = max(at[name] for at in found)
        return Constant(
            value,
            "estimate",
            f"power iteration at {len(points)} points, {products} products; the last raised it by "
            f"{rise:.1e}",
        )

    if problem.n is None:
        shared = largest("L")
        none = Constant(0.0, "exact", "all workers have the same f")
        return Constants(L=shared, L_max=shared, L_plus=shared, L_pm=none)
    return Constants(
        L=largest("L"), L_max=largest("L_max"), L_plus=largest("L_plus"), L_pm=largest("L_pm")
    )


def estimate_traces(
    problem: Problem,
    point: Float[Array, " d"],
    *,
    weights: Float[np.ndarray, " n"] | None = None,
    probes: int = 100,
    seed: int = 0,
) -> Traces:
    """The traces at `point`, means over `probes` vectors of random signs.

    Raises:
        ConfigurationError: fewer than 2 probes, a negative seed, bad weights, workers who share f.
    """
    if probes < 2 or seed < 0:
        raise ConfigurationError(
            f"probes = {probes}, seed = {seed}; give at least 2 probes and seed 0"
        )
    if problem.n is None:
        raise ConfigurationError(
            "all workers share f: the traces are those of one Hessian; give a problem with workers"
        )
    keys = jax.random.split(jax.random.key(seed), probes)
    drawn = np.asarray(_probed(problem, point, _weights(problem, weights), keys), np.float64)
    errors = drawn.std(axis=0, ddof=1) / probes**0.5

    def constant(k: int) -> Constant:
        note = f"Hutchinson at one point, {probes} probes; standard error {errors[k]:.1e}"
        return Constant(float(drawn[:, k].mean()), "estimate", note)

    return Traces(constant(0), constant(1), constant(2))


def _weights(problem: Problem, weights: Float[np.ndarray, " n"] | None) -> Float[Array, " n"]:
    n = problem.n or 1
    given = np.full(n, 1 / n) if weights is None else weights
    check_weights(given, n)
    return jnp.asarray(given, problem.dtype)


@partial(jax.jit, static_argnames="products")
def _at(
    problem: Problem,
    x: Float[Array, " d"],
    weights: Float[Array, " n"],
    start: Float[Array, " d"],
    *,
    products: int,
) -> dict[str, tuple[Float[Array, ""], Float[Array, ""]]]:
    """Each constant at x, and by how much the last product raised it."""

    def mean(v: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        image = _mean_product(problem, x, v)
        return image, jnp.linalg.norm(image)

    def single(worker: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        def product(v: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
            image = _product(problem, x, v, worker)
            return image, jnp.linalg.norm(image)

        return _power(product, start, products)

    def root(product: Product) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return _power(lambda v: _rooted(*product(v)), start, products)

    found = {"L": _power(mean, start, products)}
    if problem.n is None:
        return found
    each, rises = jax.lax.map(single, jnp.arange(problem.n, dtype=jnp.int32))
    worst = jnp.argmax(each)
    return found | {
        "L_max": (each[worst], rises[worst]),
        "L_plus": root(lambda v: _second(problem, x, weights, v, jnp.zeros_like(v))),
        "L_pm": root(lambda v: _second(problem, x, weights, v, _mean_product(problem, x, v))),
    }


@jax.jit
def _probed(
    problem: Problem, x: Float[Array, " d"], weights: Float[Array, " n"], keys: Array
) -> Float[Array, "probes 3"]:
    def one(key: Array) -> Float[Array, " 3"]:
        z = jax.random.rademacher(key, x.shape, x.dtype)
        image = _mean_product(problem, x, z)
        plus = _second(problem, x, weights, z, jnp.zeros_like(z))[1]
        return jnp.stack([jnp.vdot(z, image), plus, _second(problem, x, weights, z, image)[1]])

    return jax.lax.map(one, keys)


def _mean_product(
    problem: Problem, x: Float[Array, " d"], v: Float[Array, " d"]
) -> Float[Array, " d"]:
    """H v."""
    return jax.jvp(problem.grad, (x,), (v,))[1]


def _product(
    problem: Problem, x: Float[Array, " d"], v: Float[Array, " d"], worker: Int[Array, ""]
) -> Float[Array, " d"]:
    """H_i v."""
    return jax.jvp(lambda x: problem.local_grad(x, worker), (x,), (v,))[1]


def _second(
    problem: Problem,
    x: Float[Array, " d"],
    weights: Float[Array, " n"],
    v: Float[Array, " d"],
    centre: Float[Array, " d"],
) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    """(1/n) Σ H_i u_i and Σ w_i ‖u_i‖², where u_i = H_i v/(n w_i) − centre.

    With centre 0 these are Mv and vᵀMv for L_plus. With centre Hv they are so for L_pm: Σ w_i u_i
    is 0 then, so that H need not be applied to the u_i.
    """
    n = len(weights)

    def add(total: tuple[Array, Array], worker: Array) -> tuple[tuple[Array, Array], None]:
        image, quotient = total
        w = weights[worker]
        u = _product(problem, x, v, worker) / (n * w) - centre
        return (image + _product(problem, x, u, worker) / n, quotient + w * jnp.vdot(u, u)), None

    zero = jnp.zeros_like(v), jnp.zeros((), v.dtype)
    return jax.lax.scan(add, zero, jnp.arange(n, dtype=jnp.int32))[0]


def _rooted(
    image: Float[Array, " d"], quotient: Float[Array, ""]
) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    return image, jnp.sqrt(quotient)


def _power(
    product: Product, start: Float[Array, " d"], products: int
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The estimate after so many products, and by what share of itself the last raised it."""

    def step(_: Int[Array, ""] | int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        v, last, _before = state
        image, estimate = product(v)
        size = jnp.linalg.norm(image)
        return jnp.where(size > 0, image / jnp.where(size > 0, size, 1), v), estimate, last

    zero = jnp.zeros((), start.dtype)
    begin = (start / jnp.linalg.norm(start), zero, zero)
    _, last, before = jax.lax.fori_loop(0, products, step, begin)
    return last, (last - before) / jnp.where(last > 0, last, 1)
