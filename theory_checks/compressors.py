"""The battery of a compressor: wire format, bits, randomness and the promised constants, measured.

Put your own class through it: `check_compressor(MyCompressor(), d, draws=20_000, seed=0)`.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from scipy.stats import norm

from compressors import Compressor, Contractive, Unbiased, message_key
from dopt.errors import ConfigurationError


FALSE_ALARM = 1e-6
"""Chance that the unbiasedness checks fail an unbiased compressor, over all their comparisons."""

EVENTS = 32
"""Draws per unit of 1 + ω: a coordinate that travels with probability 1/(1 + ω) is seen so often
that its mean has a standard error."""

SIGMAS = 5.0
"""Standard errors allowed between a measured variance and the declared constant."""

RESOLVED = 0.05
"""An exact constant counts as attained only where it is measured to this relative precision."""

ROUNDING = 64
"""Multiples of the machine epsilon that two orders of the same arithmetic may differ by."""

BLOCK = 1024
"""Draws taken by one call of the compiled sampler."""


class Finding(NamedTuple):
    """The outcome of one check: `measured` against `declared`, and where it was worst."""

    check: str
    passed: bool
    measured: float
    declared: float
    detail: str


class Measured(NamedTuple):
    """Moments of C(x) − x over many draws, in units of ‖x‖; a row of statistics each.

    The statistics are the d coordinates, three projections (on x, on its signs and on the ones),
    and the squared norm.
    """

    vector: str
    draws: int
    mean: np.ndarray
    sd: np.ndarray
    reach: np.ndarray


@np.errstate(over="ignore", invalid="ignore")
def check_compressor(compressor: Compressor, d: int, *, draws: int, seed: int) -> list[Finding]:
    """Every check of `compressor` at dimension `d`; none raises for what it finds.

    Args:
        compressor: the compressor; `Unbiased` and `Contractive` say which constants are measured.
        d: the dimension.
        draws: compressions per test vector behind each mean, rounded up to whole blocks.
        seed: of the test vectors and of the keys.

    Raises:
        ValueError: the compressor refuses `d`.
        ConfigurationError: `draws` is too small for the declared ω.
    """
    compressor.check(d)
    omega = compressor.omega(d).value if isinstance(compressor, Unbiased) else 0.0
    needed = EVENTS * (1 + math.ceil(omega))
    if draws < needed:
        raise ConfigurationError(
            f"{draws} draws cannot tell whether {compressor} is unbiased at d = {d}: what it sends "
            f"may appear once in 1 + omega draws; give draws >= {needed}"
        )
    key = jax.random.key(seed)
    widest = jax.dtypes.canonicalize_dtype(np.float64)
    tests = vectors(d, widest, seed)
    findings: list[Finding] = []
    for dtype in dict.fromkeys([jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32), widest]):
        findings += _wire(compressor, vectors(d, dtype, seed), jax.random.fold_in(key, 0))
    findings += _laws(compressor, tests["gaussian"], jax.random.fold_in(key, 1))
    findings += _promises(compressor, tests, jax.random.fold_in(key, 2), draws)
    return findings


def vectors(d: int, dtype: Any, seed: int) -> dict[str, np.ndarray]:
    """The adversarial vectors, by name.

    Constants are attained at special places: `constant` holds 4/3, the worst value between two
    powers of two, and `spike` is the worst case of ‖x‖₁‖x‖∞/‖x‖². `huge` and `tiny` go as far as
    the squared norm can still be represented.
    """
    rng = np.random.default_rng(seed)
    gaussian = rng.standard_normal(d)
    unit = gaussian / np.linalg.norm(gaussian)
    limits = jnp.finfo(dtype)
    spike = np.full(d, 1 / (1 + math.sqrt(d)))
    spike[d // 2] = -1.0
    values = {
        "zero": np.zeros(d),
        "one-hot": np.eye(d)[d // 3],
        "constant": np.full(d, 4 / 3),
        "spike": spike,
        "sorted": np.linspace(-1.0, 1.0, d),
        "gaussian": gaussian,
        "heavy-tailed": rng.standard_t(1.5, d),
        "huge": unit * (math.sqrt(float(limits.max)) / (d + 1)),
        "tiny": unit * (math.sqrt(float(limits.tiny)) * (d + 1)),
    }
    return {name: value.astype(dtype) for name, value in values.items()}


def _wire(
    compressor: Compressor, tests: dict[str, np.ndarray], key: PRNGKeyArray
) -> Iterator[Finding]:
    """What travels: `unpack` inverts `pack` bit for bit; bits are those of the packed arrays."""
    (d,), dtype = tests["zero"].shape, tests["zero"].dtype

    @jax.jit
    def sender(x: Array) -> tuple[Any, ...]:
        code = compressor.compress(x, key=key)
        return code, compressor.pack(code), compressor.encode(x, key=key), compressor.expand(code)

    @jax.jit
    def receiver(message: Any) -> tuple[Any, Array]:
        code = compressor.unpack(message, key=key, d=d)
        return code, compressor.decode(message, key=key, d=d)

    altered, changed, other, ill = [], [], [], []
    for name, x in tests.items():
        code, message, again, y = sender(x)
        back, decoded = receiver(message)
        if not _same_bits(code, back):
            altered.append(name)
        if not _same_bits(message, again):
            changed.append(name)
        if not _close(decoded, y):
            other.append(name)
        if y.dtype != dtype or y.shape != (d,) or not np.isfinite(np.asarray(y, np.float64)).all():
            ill.append(name)
    yield _count(f"unpack(pack(code)) is code, {dtype}", altered)
    yield _count(f"same key, same message, {dtype}", changed)
    yield _count(f"decode(encode(x)) is expand(compress(x)), {dtype}", other)
    yield _count(f"finite, of the same shape and dtype, {dtype}", ill)
    packed = sum(8 * leaf.nbytes for leaf in jax.tree.leaves(message))
    declared, payload = compressor.nbits(d, dtype), compressor.payload_bits(d, dtype)
    passed = packed == declared and declared >= payload
    yield Finding(f"nbits, {dtype}", passed, packed, declared, f"payload {payload} bits")


def _laws(compressor: Compressor, x: np.ndarray, key: PRNGKeyArray) -> Iterator[Finding]:
    """`vmap`, `compress_mean` and `expand_sum` equal the loops that define them."""
    most = 5
    weights = np.asarray([1.0, -2.0, 0.0, 0.5, 3.0], x.dtype)
    batch = np.stack([x, -x, 2 * x, x[::-1], x + 1])

    @jax.jit
    def one(x: Array, j: Array) -> Array:
        return compressor.expand(compressor.compress(x, key=message_key(key, j)))

    @jax.jit
    def batched(batch: Array) -> tuple[Array, Array]:
        keys = jax.vmap(lambda j: message_key(key, j))(jnp.arange(most))
        codes = jax.vmap(lambda x, key: compressor.compress(x, key=key))(batch, keys)
        total = compressor.expand_sum(codes, jnp.asarray(weights))
        return jax.vmap(compressor.expand)(codes), total

    @jax.jit
    def mean(x: Array, m: Array) -> Array:
        return compressor.compress_mean(x, m, key=key, most=most)

    rows, total = batched(batch)
    loop = np.stack([one(row, j) for j, row in enumerate(batch)])
    terms = weights[:, None] * loop
    yield _difference("vmap is the loop", rows, loop, loop)
    yield _difference("expand_sum is the weighted loop", total, terms.sum(axis=0), terms)
    draws = np.stack([one(x, j) for j in range(most)])
    for m in (1, most):
        name = f"compress_mean is the mean of the loop, m = {m}"
        yield _difference(name, mean(x, m), draws[:m].mean(axis=0), draws)


def _promises(
    compressor: Compressor, tests: dict[str, np.ndarray], key: PRNGKeyArray, draws: int
) -> Iterator[Finding]:
    """Unbiasedness, ω and α over all test vectors."""

    @jax.jit
    def sample(x: Array, first: Array) -> Array:
        keys = jax.vmap(lambda j: message_key(key, j))(first + jnp.arange(BLOCK))
        return jax.vmap(lambda key: compressor.expand(compressor.compress(x, key=key)))(keys)

    (d,), dtype = tests["zero"].shape, tests["zero"].dtype
    runs = [_measure(name, sample, x, draws) for name, x in tests.items()]
    zero, runs = runs[0], runs[1:]
    largest = float(zero.reach[-1])
    yield Finding("zero stays zero", largest == 0, largest, 0, "largest squared norm")
    rounding = ROUNDING * float(jnp.finfo(dtype).eps)
    if isinstance(compressor, Unbiased):
        x = tests["gaussian"]
        some = np.asarray(sample(x, 0))
        distinct = len(np.unique(some, axis=0))
        passed = distinct > 1 or _close(some[0], x)
        yield Finding("other keys, other bits", passed, distinct, 2, f"results of {BLOCK} keys")
        omega = compressor.omega(d)
        slack = rounding * math.sqrt(1 + omega.value)
        yield _centred("unbiased, each coordinate", runs, slice(0, d), slack)
        yield _centred("unbiased, projections on x, sign x and 1", runs, slice(d, d + 3), slack)
        yield from _constant("omega", runs, omega.value, omega.kind, rounding)
    if isinstance(compressor, Contractive):
        alpha = compressor.alpha(d)
        yield Finding("alpha in (0, 1]", 0 < alpha.value <= 1, alpha.value, 1, alpha.note)
        yield from _constant("1 - alpha", runs, 1 - alpha.value, alpha.kind, rounding)


def _measure(
    vector: str, sample: Callable[[Any, Any], Array], x: np.ndarray, draws: int
) -> Measured:
    """The moments of C(x) − x, summed on the host in float64."""
    exact = x.astype(np.float64)
    size = float(np.linalg.norm(exact)) or 1.0
    root = math.sqrt(exact.size)
    onto = np.stack([exact / size, np.sign(exact) / root, np.full_like(exact, 1 / root)], axis=1)
    total = squares = reach = np.zeros(exact.size + 4)
    firsts = range(0, draws, BLOCK)
    for first in firsts:
        error = (np.asarray(sample(x, first), np.float64) - exact) / size
        row = np.concatenate([error, error @ onto, (error**2).sum(axis=1)[:, None]], axis=1)
        total, squares = total + row.sum(axis=0), squares + (row**2).sum(axis=0)
        reach = np.maximum(reach, np.abs(row).max(axis=0))
    count = BLOCK * len(firsts)
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return Measured(vector, count, mean, sd, reach)


def _centred(name: str, runs: list[Measured], which: slice, slack: float) -> Finding:
    """Means that should be zero, by z-score with Bonferroni's correction.

    Rare large values make a mean skewed, and a sample that missed some has too small a standard
    error: Bernstein's term z²·reach/(3·draws) allows for them.
    """
    z = norm.isf(FALSE_ALARM / (2 * len(runs) * runs[0].mean.size))
    draws = runs[0].draws
    bias = np.stack([np.abs(run.mean[which]) for run in runs])
    sd = np.stack([run.sd[which] for run in runs])
    reach = np.stack([run.reach[which] for run in runs])
    allowed = z * sd / math.sqrt(draws) + z**2 * reach / (3 * draws) + slack
    worst = np.unravel_index(np.argmax(bias / allowed), bias.shape)
    passed = bool(bias[worst] <= allowed[worst])
    detail = f"bias and its bound over |x|, vector {runs[worst[0]].vector!r}, entry {worst[1]}"
    return Finding(name, passed, float(bias[worst]), float(allowed[worst]), detail)


def _constant(
    name: str, runs: list[Measured], declared: float, kind: str, rounding: float
) -> Iterator[Finding]:
    """E‖C(x) − x‖² ≤ declared·‖x‖², and equality somewhere where the constant is called exact."""
    slack = rounding * (1 + declared)
    ratio = np.array([run.mean[-1] for run in runs])
    error = np.array([SIGMAS * run.sd[-1] / math.sqrt(run.draws) for run in runs])
    worst = np.argmax(ratio - error)
    passed = bool(ratio[worst] <= declared + error[worst] + slack)
    yield Finding(f"{name} holds", passed, float(ratio[worst]), declared, _at(runs, error, worst))
    if kind == "exact":
        gap = np.abs(ratio - declared)
        attained = (gap <= error + slack) & (error <= RESOLVED * declared + slack)
        best = np.argmin(gap + error)
        name, detail = f"{name} is attained", _at(runs, error, best)
        yield Finding(name, bool(attained.any()), float(ratio[best]), declared, detail)


def _at(runs: list[Measured], error: np.ndarray, run: np.intp) -> str:
    return f"vector {runs[run].vector!r}, {SIGMAS:g} standard errors are {error[run]:.2g}"


def _count(name: str, failed: list[str]) -> Finding:
    return Finding(name, not failed, len(failed), 0, ", ".join(failed) or "all vectors")


def _difference(name: str, got: Array, expected: np.ndarray, terms: np.ndarray) -> Finding:
    """Equality up to rounding, measured against the largest term that was summed."""
    allowed = ROUNDING * float(jnp.finfo(terms.dtype).eps) * float(np.abs(terms).max())
    worst = float(np.abs(np.asarray(got) - expected).max())
    return Finding(name, worst <= allowed, worst, allowed, "largest difference, and its bound")


def _close(got: Any, expected: Any) -> bool:
    allowed = ROUNDING * float(jnp.finfo(got.dtype).eps)
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    return bool(np.abs(got - expected).max() <= allowed * np.abs(expected).max())


def _same_bits(one: Any, other: Any) -> bool:
    """The same tree, with leaves of the same shape, dtype and bytes."""
    a, b = jax.tree.leaves(one), jax.tree.leaves(other)
    trees: list[Any] = [jax.tree.structure(one), jax.tree.structure(other)]
    return trees[0] == trees[1] and all(
        p.shape == q.shape and p.dtype == q.dtype and p.tobytes() == q.tobytes()
        for p, q in zip(map(np.asarray, a), map(np.asarray, b), strict=True)
    )
