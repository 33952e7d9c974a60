"""The Lyapunov functions of the theorems: what each method's memory makes of f − f*.

For a run with models x^k, `potential` gives Φ_k, what the theorem says that Φ falls by in the mean
and what it allows noise to add:

    E Φ_{k+1} ≤ q·Φ_k − fall_k + allowed_k,

with q = 1 but for DCGD. Proofs are beside the step sizes, in `dopt.theory`; the inequalities hold
for every step size up to those. Where a proof needs (1/n) Σ‖∇f_i(x)‖² ≤ D‖∇f(x)‖² + ζ², D is 1 and
ζ² is that of the model at hand.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from compressors import Compressor, Identity, Unbiased
from dopt.errors import UnsupportedError
from dopt.methods import (
    DASHA,
    DASHAMVR,
    DCGD,
    DIANA,
    EF14,
    EF21,
    EF21P,
    EF21PP,
    EF21SGDM,
    MARINA,
    PPMARINA,
    VRMARINA,
    GradientDescent,
    Kimad,
    LocalSGD,
    Method,
)
from dopt.methods._constants import aggregate, contraction_of
from dopt.problems import Problem
from dopt.theory import contraction, shift_step_size
from theory_checks.trajectories import Trajectories


class Potential(NamedTuple):
    """Φ before each of K server steps, of R runs, and what a step may do to it.

    `per_gradient` is fall_k over ‖∇f(x^k)‖².
    """

    value: Float[np.ndarray, "R K"]
    allowed: Float[np.ndarray, "R K"] | float
    per_gradient: float
    q: float = 1.0


def potential(problem: Problem, method: Method, runs: Trajectories) -> Potential:
    """Φ of the method's theorem along its runs; f itself stands for f − f* except in DCGD.

    Raises:
        UnsupportedError: no theorem is known here for the method or for one of its options.
        ConfigurationError: the problem does not know a constant that Φ needs.
    """
    if method.optimizer is not optax.sgd:
        raise UnsupportedError(f"theorems are for plain steps, not for {method.optimizer}")
    gamma = float(method.step_size)
    path = _Path(problem, runs)
    match method:
        case GradientDescent():
            memory, allowed = path.nothing, 0.0
        case MARINA() | VRMARINA() | PPMARINA():
            error = path.after(runs.server) - path.grad
            memory, allowed = gamma / (2 * method.p) * _square(error), 0.0
        case DASHA():
            a = 1 / (2 * path.omega(method.compressor) + 1)
            memory = gamma / 2 * _corrected(path.after(runs.workers[1]) - path.local, a)
            allowed = 0.0
        case DASHAMVR():
            memory, allowed = _dasha_mvr(path, method, gamma)
        case EF21() | EF21PP():
            alpha = path.alpha(method.compressor)
            if isinstance(method, EF21PP):
                alpha *= method.participants / path.n
            else:
                _exact(method)
            error = path.after(runs.workers) - path.local
            memory = gamma / (2 * contraction(alpha).theta) * _mean_square(error)
            allowed = 0.0
        case EF21SGDM():
            memory, allowed = _ef21_sgdm(path, method, gamma)
        case EF21P():
            _whole(method)
            L = problem.constants.need("L", "the potential of EF21-P")
            theta = contraction(path.alpha(method.server_compressor)).theta
            apart = path.before(runs.server) - path.x
            memory, allowed = gamma * L**2 / (2 * theta) * _square(apart), 0.0
        case Kimad():
            _exact(method)
            memory, allowed = _kimad(path, method, gamma), 0.0
        case DIANA():
            _exact(method)
            memory, allowed = _diana(path, method, gamma), 0.0
        case EF14():
            _exact(method)
            return _ef14(path, method, gamma)
        case DCGD():
            return _dcgd(path, method, gamma)
        case LocalSGD():
            return _local_sgd(path, method, gamma)
        case _:
            raise UnsupportedError(
                f"no Lyapunov function of {method.name} is known here; give one as `potential`"
            )
    return Potential(path.f + memory, allowed, gamma / 2)


class _Path:
    """Runs at their first K states, and the constants that potentials are made of."""

    def __init__(self, problem: Problem, runs: Trajectories) -> None:
        self.problem, self.runs, self.d = problem, runs, problem.d
        self.x, self.f = self.before(runs.x), self.before(runs.value)
        self.grad, self.local = self.before(runs.grad), self.before(runs.local)
        self.n = self.local.shape[2]
        self.nothing = np.zeros_like(self.f)

    @staticmethod
    def before(states: Float[np.ndarray, "R states ..."]) -> Float[np.ndarray, "R K ..."]:
        """What there is before each step."""
        return states[:, :-1]

    @staticmethod
    def after(states: Float[np.ndarray, "R states ..."]) -> Float[np.ndarray, "R K ..."]:
        """What there is after it: memories that the step has brought to its model."""
        return states[:, 1:]

    def omega(self, compressor: Unbiased) -> float:
        """ω."""
        return float(compressor.omega(self.d).value)

    def alpha(self, compressor: Compressor) -> float:
        """α."""
        return float(contraction_of(compressor, self.d))

    def sigma2(self, batch: int | None) -> float:
        """σ² of the mean of a batch."""
        if batch is None:
            return 0.0
        return self.problem.constants.need("sigma2", "the potential") / batch

    def unlike(self) -> Float[np.ndarray, "R K"]:
        """ζ² at each model for D = 1."""
        return _mean_square(self.local - self.grad[:, :, None])


def _square(v: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "..."]:
    return np.sum(v**2, axis=-1)


def _mean_square(v: Float[np.ndarray, "... n d"]) -> Float[np.ndarray, "..."]:
    """(1/n) Σ‖v_i‖²."""
    return np.mean(_square(v), axis=-1)


def _corrected(e: Float[np.ndarray, "... n d"], a: float) -> Float[np.ndarray, "..."]:
    """(‖mean e‖² + (2ωa/n)mean‖e_i‖²)/(a(2−a)), with 2ωa = 1 − a."""
    together = _square(e.mean(axis=-2)) + (1 - a) / e.shape[-2] * _mean_square(e)
    return together / (a * (2 - a))


def _exact(method: DIANA | EF14 | EF21 | Kimad) -> None:
    if method.batch is not None:
        raise UnsupportedError(
            f"the potential of {method.name} is known for exact gradients; leave out batch"
        )


def _whole(method: EF21P | LocalSGD) -> None:
    if not isinstance(method.compressor, Identity):
        raise UnsupportedError(
            f"the potential of {method.name} is known for messages that travel uncompressed; "
            "leave out compressor"
        )


def _dasha_mvr(path: _Path, method: DASHAMVR, gamma: float) -> tuple[np.ndarray, float]:
    omega, b, n = path.omega(method.compressor), method.momentum, path.n
    h, g = (path.after(part) for part in path.runs.workers)
    w, q = 2 * omega * (2 * omega + 1) / n, h - path.local
    kept = _square(q.mean(axis=-2)) / b + 2 * w * b * _mean_square(q)
    memory = gamma * (_corrected(g - h, 1 / (2 * omega + 1)) + kept / (2 - b))
    each = w * b**2 + b / (n * (2 - b)) + 2 * w * b**3 / (2 - b)
    return memory, 2 * gamma * path.sigma2(method.batch) * each


def _ef21_sgdm(path: _Path, method: EF21SGDM, gamma: float) -> tuple[np.ndarray, float]:
    alpha, eta, n = path.alpha(method.compressor), method.momentum, path.n
    theta, beta = contraction(alpha)
    v, g = (path.after(part) for part in path.runs.workers)
    q = v - path.local
    of_q = _square(q.mean(axis=-2)) / eta + 2 * beta * eta / theta * _mean_square(q)
    each = eta / n + (1 - alpha) * eta**2 / theta + 2 * beta * eta**3 / theta
    return gamma * (_mean_square(g - v) / theta + of_q), gamma * path.sigma2(method.batch) * each


def _kimad(path: _Path, method: Kimad, gamma: float) -> np.ndarray:
    """With α and α_s of the smallest messages, whatever was sent."""
    L, L_plus = (path.problem.constants.need(name, "Kimad") for name in ("L", "L_plus"))
    up, down = (c.contraction(path.d).value for c in (method.compressor, method.server_compressor))
    (theta, beta), (theta_s, beta_s) = contraction(up), contraction(down)
    rho_s = np.sqrt(beta_s / theta_s)
    moved = (1 + np.sqrt(1 - down)) * np.sqrt(beta / theta) * L_plus
    if not moved:  # gradients travel whole: EF21-P
        r, drift = 0.0, 0.0
    else:
        r = rho_s * L / (moved * (1 + rho_s))
        drift = (1 + r) * moved**2 * (1 + (1 / rho_s if rho_s else 0.0))
    known = path.before(path.runs.server[0])
    workers = jnp.arange(path.n, dtype=jnp.int32)
    error = path.after(path.runs.workers) - np.asarray(_local(path.problem, known, workers))
    of_models = gamma / (2 * theta_s) * (L**2 * (1 + (1 / r if r else 0.0)) + drift)
    apart = _square(known - path.x)
    return gamma * (1 + r) / (2 * theta) * _mean_square(error) + of_models * apart


def _diana(path: _Path, method: DIANA, gamma: float) -> np.ndarray:
    omega = path.omega(method.compressor)
    a = shift_step_size(omega) if method.shift is None else method.shift
    theta = 1 - np.sqrt(1 - 2 * a + a**2 * (1 + omega))
    apart = path.before(path.runs.workers) - path.local
    return gamma * omega / (2 * path.n * theta) * _mean_square(apart)


def _ef14(path: _Path, method: EF14, gamma: float) -> Potential:
    L = path.problem.constants.need("L", "the potential of EF14")
    theta, beta = contraction(path.alpha(method.compressor))
    errors = gamma * path.before(path.runs.workers)
    f = np.asarray(_values(path.problem, path.x - errors.mean(axis=-2)))
    memory = gamma * L**2 / (2 * theta) * _mean_square(errors)
    return Potential(f + memory, gamma**3 * L**2 * beta / (2 * theta) * path.unlike(), gamma / 4)


def _dcgd(path: _Path, method: DCGD, gamma: float) -> Potential:
    """‖x − x*‖² for convex f_i, without gradients: q = 1 − γμ."""
    mu = path.problem.constants.need("mu", "the potential of DCGD")
    best = minimiser(path.problem)
    workers = jnp.arange(path.n, dtype=jnp.int32)
    rest = np.asarray(jax.vmap(lambda i: path.problem.local_grad(best, i))(workers))
    A, _ = aggregate(method.compressor, path.d, path.n)
    floor = 2 * gamma**2 * A * float(_square(rest).mean())
    return Potential(_square(path.x - np.asarray(best)), floor, 0.0, 1 - gamma * mu)


def _local_sgd(path: _Path, method: LocalSGD, gamma: float) -> Potential:
    if method.participants is not None:
        raise UnsupportedError("the potential of Local SGD is known for participants = None")
    _whole(method)
    L, L_max = (path.problem.constants.need(name, "Local SGD") for name in ("L", "L_max"))
    H, sigma2 = method.local_steps, path.sigma2(method.batch)
    drift = (H - 1) * (4 / 3 * (2 * H - 1) * path.unlike() + 2 * sigma2)
    allowed = gamma**3 * H * L_max**2 / 2 * drift + L * gamma**2 * H * sigma2 / path.n
    return Potential(path.f, allowed, gamma * H / 4)


@jax.jit
def _local(
    problem: Problem, x: Float[Array, "R K d"], workers: Int[Array, " n"]
) -> Float[Array, "R K n d"]:
    """All ∇f_i at every model."""
    every = jax.vmap(problem.local_grad, (None, 0))
    return jax.lax.map(jax.vmap(lambda x: every(x, workers)), x)


@jax.jit
def _values(problem: Problem, x: Float[Array, "R K d"]) -> Float[Array, "R K"]:
    return jax.lax.map(jax.vmap(problem.value), x)


def minimiser(problem: Problem) -> Float[Array, " d"]:
    """x* of a strongly convex quadratic: one Newton step.

    Raises:
        UnsupportedError: the gradient does not vanish there, so that the problem is no quadratic.
    """
    x = problem.start()
    best = x - jnp.linalg.solve(jax.jacfwd(problem.grad)(x), problem.grad(x))
    left = float(jnp.linalg.norm(problem.grad(best)) / jnp.linalg.norm(problem.grad(x)))
    if not left < 1e-6:
        raise UnsupportedError(
            f"a Newton step leaves {left:.2g} of the gradient; give a strongly convex quadratic"
        )
    return best
