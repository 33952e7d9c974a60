"""The battery of a joint family: its members' messages, and the AB-inequality, measured.

Put your own family through it: `check_joint(MyFamily(), d, n, draws=4096, seed=0)`.
"""

import math
from collections.abc import Iterator
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from compressors import Constant, Joint, message_key
from dopt.errors import ConfigurationError
from theory_checks.battery.findings import Finding, close, rounding
from theory_checks.battery.laws import laws
from theory_checks.battery.moments import Moments, Sums, errors, moments, plus, summed
from theory_checks.battery.promises import EVENTS, RESOLVED, SIGMAS, check_centred, check_constant
from theory_checks.battery.vectors import vectors
from theory_checks.battery.wire import bits, dtypes, nonfinite, wire


class Together(NamedTuple):
    """The squared error of the mean of a tuple, in units of the mean of ‖x_i‖².

    `aligned` is ‖x̄‖² in that unit: 1 for equal vectors.
    """

    vectors: str
    mean: float
    error: float
    aligned: float


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def check_joint(family: Joint, d: int, n: int, *, draws: int, seed: int) -> list[Finding]:
    """Every check of `family` at d dimensions and n members; none raises for what it finds.

    Args:
        family: the family, a frozen dataclass and hence hashable.
        d: the dimension.
        n: the number of members.
        draws: rounds per tuple of vectors behind each mean, rounded up to whole blocks; every round
            has a new coin and new keys.
        seed: of the test vectors and of the keys.

    Raises:
        ValueError: the family refuses d or n.
        ConfigurationError: `draws` is too small for the declared ω.
    """
    family.check(d, n)
    needed = EVENTS * (1 + math.ceil(family.omega(d, n).value))
    if draws < needed:
        raise ConfigurationError(
            f"{draws} draws cannot tell whether members of {family} are unbiased at d = {d}, "
            f"n = {n}: what they send may appear once in 1 + omega draws; give draws >= {needed}"
        )
    key = jax.random.key(seed)
    return [
        *messages(family, d, n, key=jax.random.fold_in(key, 0), seed=seed),
        *coins(family, d, n, key=jax.random.fold_in(key, 1), seed=seed),
        *promises(family, d, n, key=jax.random.fold_in(key, 2), draws=draws, seed=seed),
    ]


def tuples(d: int, n: int, seed: int) -> dict[str, Float[np.ndarray, "n d"]]:
    """The adversarial tuples of n vectors, by name, float64; those called equal repeat a vector.

    The AB-inequality is tight at different ones: correlated errors cancel for equal vectors and do
    nothing where one member alone has a vector.
    """
    rng = np.random.default_rng(seed)
    single = vectors(d, np.float64, seed)
    alone = np.eye(n, 1)
    rank = np.arange(n)
    several = {
        "gaussian": rng.standard_normal((n, d)),
        "heavy-tailed": rng.standard_t(1.5, (n, d)),
        "of many sizes": rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, (n, 1)),
        "orthogonal": np.eye(d)[rank % d],
        "opposite": (-1.0) ** rank[:, None] * single["gaussian"],
        "half of the members": (2 * rank[:, None] < n) * single["gaussian"],
        "one member": alone * single["gaussian"],
        "one member, one-hot": alone * single["one-hot"],
        "nearly equal": single["gaussian"] + 0.01 * rng.standard_normal((n, d)),
    }
    repeated = ("gaussian", "constant", "spike", "one-hot", "heavy-tailed")
    return several | {f"equal, {name}": np.tile(single[name], (n, 1)) for name in repeated}


def messages(family: Joint, d: int, n: int, *, key: PRNGKeyArray, seed: int) -> Iterator[Finding]:
    """A member is a compressor: messages, bits and laws of the last one."""
    tests = [vectors(d, dtype, seed) for dtype in dtypes()]
    coin, key = jax.random.split(key)
    member = family.member(coin=coin, rank=n - 1, n=n)
    yield from wire(member, tests, key, family.omega(d, n).value)
    for one in tests:
        counted, finding = bits(member, one["gaussian"], key)
        yield finding
        declared = family.nbits(d, n, one["zero"].dtype)
        same = declared == counted.counted
        check = f"nbits of the family, {one['zero'].dtype}"
        yield Finding(check, same, counted.counted, declared, f"rank {n - 1}")
    yield nonfinite(member, tests[-1]["gaussian"], key)
    yield from laws(member, tests[-1]["gaussian"], key)


class Rounds(NamedTuple):
    """The results of the first round, and sums over rounds.

    `members` are of the statistics of `Moments` for each member, `together` is of the squared error
    of the mean, as in `Together`.
    """

    first: Float[Array, "n d"]
    members: Sums
    together: Sums


@partial(jax.jit, static_argnums=(0, 4))
def _rounds(
    family: Joint, xs: Float[Array, "n d"], key: PRNGKeyArray, first: Array, block: int
) -> Rounds:
    """C_i(x_i) of all members for so many rounds from `first` on."""
    n = xs.shape[0]
    ranks = jnp.arange(n, dtype=jnp.int32)
    square = (xs * xs).sum() / n

    def one(number: Array) -> tuple[Array, Array, Array]:
        coin, own = jax.random.split(message_key(key, number))

        def member(rank: Array, x: Array) -> Array:
            compressor = family.member(coin=coin, rank=rank, n=n)
            return compressor.expand(compressor.compress(x, key=message_key(own, rank)))

        results = jax.vmap(member)(ranks, xs)
        apart = (results - xs).mean(axis=0)
        return results, jax.vmap(errors)(xs, results), (apart * apart).sum() / square

    results, rows, together = jax.vmap(one)(first + jnp.arange(block, dtype=jnp.int32))
    return Rounds(results[0], summed(rows), summed(together))


@partial(jax.jit, static_argnums=0)
def _last(family: Joint, xs: Float[Array, "n d"], key: PRNGKeyArray) -> Float[Array, " d"]:
    """The last member of the first round of `_rounds`, its rank a Python number."""
    n, d = xs.shape
    coin, own = jax.random.split(message_key(key, 0))
    member = family.member(coin=coin, rank=n - 1, n=n)
    message = member.encode(xs[n - 1], key=message_key(own, n - 1))
    return member.decode(message, key=message_key(own, n - 1), d=d)


def coins(family: Joint, d: int, n: int, *, key: PRNGKeyArray, seed: int) -> Iterator[Finding]:
    """Rounds differ, zeros stay, and a rank is a number like any other."""
    xs = tuples(d, n, seed)["gaussian"]
    some = _rounds(family, xs, key, np.int32(0), _block(d, n))
    apart = float(np.max(some.members.high - some.members.low))
    random = apart > 0 or close(some.first, xs)
    yield Finding("other rounds, other bits", random, apart, 0, "largest difference of rounds")
    none = _rounds(family, np.zeros_like(xs), key, np.int32(0), _block(d, n)).members
    largest = float(np.max(np.maximum(-none.low, none.high)))
    yield Finding("zero stays zero", largest == 0, largest, 0, "largest entry")
    apart = float(np.abs(np.asarray(_last(family, xs, key)) - some.first[-1]).max())
    allowed = rounding(xs.dtype) * float(np.abs(some.first[-1]).max())
    check = "a rank under vmap is the same rank as a number, its message decoded"
    yield Finding(check, apart <= allowed, apart, allowed, "largest difference, and its bound")


def promises(
    family: Joint, d: int, n: int, *, key: PRNGKeyArray, draws: int, seed: int
) -> Iterator[Finding]:
    """Members are unbiased and within ω; their mean is within A and B."""
    members: list[Moments] = []
    together: list[Together] = []
    for name, xs in tuples(d, n, seed).items():
        alone, mean = _measure(family, name, xs, key, draws)
        members += alone
        together.append(mean)
    slack = rounding(jax.dtypes.canonicalize_dtype(np.float64))
    omega = family.omega(d, n)
    allowed = slack * math.sqrt(1 + omega.value)
    yield check_centred("unbiased, each coordinate", members, slice(0, d), allowed)
    yield check_centred(
        "unbiased, projections on x, sign x and 1", members, slice(d, d + 3), allowed
    )
    yield from check_constant("omega", omega, members, slack)[1]
    yield from _inequality("A and B", family.ab(d, n), together, slack)
    if family.ab_equal_inputs(d, n) != family.ab(d, n):
        equal = [one for one in together if one.vectors.startswith("equal")]
        yield from _inequality("A and B, equal inputs", family.ab_equal_inputs(d, n), equal, slack)


def _block(d: int, n: int) -> int:
    """Rounds taken by one call of the compiled sampler."""
    return max(16, min(1024, 2**20 // (d * n)))


def _measure(
    family: Joint, name: str, xs: Float[np.ndarray, "n d"], key: PRNGKeyArray, draws: int
) -> tuple[list[Moments], Together]:
    """Moments of C_i(x_i) − x_i in units of ‖x_i‖ for nonzero x_i, and those of the mean."""
    n, d = xs.shape
    firsts = range(0, draws, _block(d, n))
    rounds = [_rounds(family, xs, key, np.int32(first), _block(d, n)) for first in firsts]
    members = reduce(plus, (some.members for some in rounds))
    together = reduce(plus, (some.together for some in rounds))
    count = len(rounds) * _block(d, n)
    alone = [
        moments(f"{name}, member {i}", count, Sums(*(np.asarray(part)[i] for part in members)))
        for i in range(n)
        if xs[i].any()
    ]
    mean = float(together.total) / count
    error = SIGMAS * math.sqrt(max(float(together.squares) / count - mean**2, 0.0) / count)
    aligned = float((xs.mean(axis=0) ** 2).sum() / ((xs**2).sum() / n))
    return alone, Together(name, mean, error, aligned)


def _inequality(
    name: str, ab: tuple[Constant, Constant], runs: list[Together], slack: float
) -> Iterator[Finding]:
    """E‖(1/n) Σ C_i(x_i) − x̄‖² ≤ A·(1/n) Σ‖x_i‖² − B·‖x̄‖², with equality where both are exact."""
    a, b = ab
    slack *= 1 + a.value
    bound = [a.value - b.value * run.aligned for run in runs]
    over = [run.mean - run.error - at for run, at in zip(runs, bound, strict=True)]
    worst = int(np.argmax(over))
    yield Finding(
        f"{name} hold", over[worst] <= slack, runs[worst].mean, bound[worst], _at(runs[worst])
    )
    if a.kind == b.kind == "exact":
        gap = [abs(run.mean - at) for run, at in zip(runs, bound, strict=True)]
        attained = [
            apart <= run.error + slack and run.error <= RESOLVED * at + slack
            for run, at, apart in zip(runs, bound, gap, strict=True)
        ]
        best = int(np.argmin([apart + run.error for run, apart in zip(runs, gap, strict=True)]))
        check, detail = f"{name} are attained", _at(runs[best])
        yield Finding(check, any(attained), runs[best].mean, bound[best], detail)


def _at(run: Together) -> str:
    return f"vectors {run.vectors!r}, {SIGMAS:g} standard errors are {run.error:.2g}"
