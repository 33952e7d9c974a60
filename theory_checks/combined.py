"""The weighted AB-inequality: maps that make one vector of those of n workers, measured.

A combined map S is unbiased for the mean, and with weights w_i > 0 of sum 1, for all inputs,

    E‖S(a_1, …, a_n) − ā‖² ≤ A·(1/n) Σ‖a_i‖²/(n w_i) − B·‖ā‖².

It need not be a mean of n compressors: `sampled` and `importance` ask only some of the workers.
MARINA with such an S takes the step size of these A and B with L_plus and L_pm under the same
weights. Put your own map through it:

    check_combined(Combined("mine", draw, A, B, weights), d, draws=8192, seed=0)

Source: Tyurin, Sun, Burlachenko, Richtárik 2022 (arXiv 2206.02275); the constants of the maps here
are proved beside `sampled_ab` and `importance_ab`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Constant, Joint, Unbiased, message_key
from dopt.errors import ConfigurationError
from dopt.problems.quadratics import check_weights
from dopt.theory import importance_ab, sampled_ab
from theory_checks.battery.findings import Finding, rounding
from theory_checks.battery.moments import Moments, Sums, moments, plus, summed
from theory_checks.battery.promises import RESOLVED, SIGMAS, check_centred
from theory_checks.joints import tuples


LEAST_DRAWS = 1024
"""Fewer draws have no mean squared error to speak of."""

Draw = Callable[[Float[Array, "n d"], PRNGKeyArray], Float[Array, " d"]]
"""S(a_1, …, a_n) for the rows a_i and a key; traceable."""


@dataclass(frozen=True, eq=False)
class Combined:
    """A combined map with its promise; a constant that is exact is attained by some tuple.

    Raises:
        ConfigurationError: weights that are not positive or not of sum 1.
    """

    name: str
    draw: Draw
    A: Constant
    B: Constant
    weights: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        check_weights(self.weights, len(self.weights))


def together(family: Joint, d: int, n: int) -> Combined:
    """All n members of a family, with equal weights."""
    return sampled(family, d, n, n)


def sampled(family: Joint, d: int, n: int, r: int) -> Combined:
    """The r members of a family on r of n vectors, drawn without replacement."""
    family.check(d, r)
    a, b = family.ab(d, r)
    A, B = sampled_ab(a.value, b.value, n, r)

    def draw(xs: Float[Array, "n d"], key: PRNGKeyArray) -> Float[Array, " d"]:
        sample, coin, own = jax.random.split(key, 3)
        drawn = jax.random.choice(sample, n, (r,), replace=False)

        def sent(rank: Array, x: Array) -> Array:
            member = family.member(coin=coin, rank=rank, n=r)
            return member.expand(member.compress(x, key=message_key(own, rank)))

        return jax.vmap(sent)(jnp.arange(r, dtype=jnp.int32), xs[drawn]).mean(axis=0)

    name = f"{r} of {n}, {family.name}"
    return Combined(
        name, draw, a._replace(value=A), b._replace(value=B, kind=a.kind), np.full(n, 1 / n)
    )


def importance(compressor: Unbiased, d: int, weights: Float[np.ndarray, " n"], r: int) -> Combined:
    """Draws, r of them, with replacement: worker i with probability w_i, counting 1/(n w_i)."""
    check_weights(weights, len(weights))
    omega = compressor.omega(d)
    A, B = importance_ab(omega.value, r)
    n, scale = len(weights), 1 / (len(weights) * weights)

    def draw(xs: Float[Array, "n d"], key: PRNGKeyArray) -> Float[Array, " d"]:
        sample, own = jax.random.split(key)
        drawn = jax.random.choice(sample, n, (r,), p=jnp.asarray(weights))

        def sent(j: Array, i: Array) -> Array:
            received = compressor.expand(compressor.compress(xs[i], key=message_key(own, j)))
            return jnp.asarray(scale, xs.dtype)[i] * received

        return jax.vmap(sent)(jnp.arange(r, dtype=jnp.int32), drawn).mean(axis=0)

    name = f"{r} draws by importance, {compressor.name}"
    return Combined(
        name, draw, Constant(A, omega.kind, omega.note), Constant(B, omega.kind, ""), weights
    )


def unlike(compressors: Sequence[Unbiased], d: int) -> Combined:
    """Independent compressors with an ω_i > 0 of their own: A = 1/Σ(1/ω_i), B = 0, w_i = A/ω_i.

    E‖S − ā‖² ≤ (1/n²) Σ ω_i‖a_i‖², which is A·(1/n) Σ‖a_i‖²/(n w_i).
    """
    omegas = [compressor.omega(d) for compressor in compressors]
    values = np.array([omega.value for omega in omegas])
    if not np.all(values > 0):
        raise ConfigurationError(
            f"omega = {values.min()} of a compressor makes its weight infinite; give compressors "
            "that err"
        )
    A = float(1 / np.sum(1 / values))
    exact = all(omega.kind == "exact" for omega in omegas)

    def draw(xs: Float[Array, "n d"], key: PRNGKeyArray) -> Float[Array, " d"]:
        sent = [
            compressor.expand(compressor.compress(xs[i], key=message_key(key, jnp.int32(i))))
            for i, compressor in enumerate(compressors)
        ]
        return jnp.stack(sent).mean(axis=0)

    note = "the tuple of the vectors that attain the omegas"
    zero = Constant(0.0, "exact" if exact else "bound", note)
    return Combined("unlike", draw, zero._replace(value=A), zero, A / values)


class Measured(NamedTuple):
    """E‖S − ā‖² of a tuple in units of (1/n) Σ‖a_i‖²/(n w_i), and ‖ā‖² in that unit."""

    vectors: str
    mean: float
    error: float
    aligned: float


def check_combined(combined: Combined, d: int, *, draws: int, seed: int) -> list[Finding]:
    """Is S unbiased, and within A and B, over the adversarial tuples of the battery of families?

    Args:
        combined: the map and its promise.
        d: the dimension.
        draws: behind each mean, rounded up to whole blocks.
        seed: of the tuples and of the keys.

    Raises:
        ConfigurationError: too few draws.
    """
    if draws < LEAST_DRAWS:
        raise ConfigurationError(f"draws = {draws}; give at least {LEAST_DRAWS}")
    key, n = jax.random.key(seed), len(combined.weights)
    runs, measured = [], []
    for name, xs in tuples(d, n, seed).items():
        run, one = _measure(combined, name, xs, key, draws)
        runs.append(run)
        measured.append(one)
    slack = rounding(jax.dtypes.canonicalize_dtype(np.float64)) * (1 + combined.A.value)
    return [
        check_centred("unbiased, each coordinate", runs, slice(0, d), slack),
        check_centred(
            "unbiased, projections on the mean, its signs and 1", runs, slice(d, d + 3), slack
        ),
        *_inequality(combined, measured, slack),
    ]


def _measure(
    combined: Combined, name: str, xs: Float[np.ndarray, "n d"], key: PRNGKeyArray, draws: int
) -> tuple[Moments, Measured]:
    n, d = xs.shape
    block = max(16, min(1024, 2**20 // (d * n)))
    unit = float(np.sqrt(np.mean(np.sum(xs**2, axis=1) / (n * combined.weights))))
    firsts = range(0, draws, block)
    sums = reduce(plus, (_draws(combined.draw, xs / unit, key, np.int32(j), block) for j in firsts))
    run = moments(name, len(firsts) * block, sums)
    error = SIGMAS * float(run.sd[-1]) / run.draws**0.5
    mean = xs.mean(axis=0) / unit
    return run, Measured(name, float(run.mean[-1]), error, float(mean @ mean))


@partial(jax.jit, static_argnums=(0, 4))
def _draws(
    draw: Draw, xs: Float[Array, "n d"], key: PRNGKeyArray, first: Array, block: int
) -> Sums:
    """Coordinates of S − ā, its projections and its squared length, of a block of draws."""
    mean = xs.mean(axis=0)
    size = jnp.sqrt(jnp.sum(mean * mean))
    root = jnp.sqrt(jnp.asarray(mean.size, mean.dtype))
    unit = mean / jnp.where(size > 0, size, 1)
    onto = jnp.stack([unit, jnp.sign(mean) / root, jnp.full_like(mean, 1) / root])

    def one(number: Array) -> Array:
        error = draw(xs, message_key(key, number)) - mean
        return jnp.concatenate([error, onto @ error, jnp.sum(error * error)[None]])

    return summed(jax.vmap(one)(first + jnp.arange(block, dtype=jnp.int32)))


def _inequality(combined: Combined, runs: list[Measured], slack: float) -> Iterator[Finding]:
    """The inequality, with equality at some tuple where both constants are exact."""
    A, B = combined.A, combined.B
    bound = [A.value - B.value * run.aligned for run in runs]
    over = [run.mean - run.error - at for run, at in zip(runs, bound, strict=True)]
    worst = int(np.argmax(over))
    check = f"A and B of {combined.name}"
    yield Finding(
        f"{check} hold", over[worst] <= slack, runs[worst].mean, bound[worst], _at(runs[worst])
    )
    if A.kind == B.kind == "exact":
        gap = [abs(run.mean - at) for run, at in zip(runs, bound, strict=True)]
        attained = [
            apart <= run.error + slack and run.error <= RESOLVED * at + slack
            for run, at, apart in zip(runs, bound, gap, strict=True)
        ]
        best = int(np.argmin([apart + run.error for run, apart in zip(runs, gap, strict=True)]))
        yield Finding(
            f"{check} are attained", any(attained), runs[best].mean, bound[best], _at(runs[best])
        )


def _at(run: Measured) -> str:
    return f"vectors {run.vectors!r}, {SIGMAS:g} standard errors are {run.error:.2g}"
