"""The numpy versions are the same operators: the same mean, the same error, the same results."""

from functools import partial

import jax
import numpy as np
import pytest

from compressors import Joint, Sign, Unbiased, message_key
from experiments.benchmarks.numpy_compressors import plain
from experiments.operators import MEMBERS
from theory_checks.catalogue import JOINTS, OPERATORS


D, DRAWS = 33, 3000
OURS = {name: make(D) for name, make in OPERATORS.items()} | {
    name: make(D, MEMBERS) for name, make in JOINTS.items()
}
BOTH = [name for name, operator in OURS.items() if plain(operator) is not None]
X = np.random.default_rng(0).standard_normal(D).astype(np.float32)


@partial(jax.jit, static_argnums=0)
def ours(operator, x, key):
    def one(j):
        coin, own = jax.random.split(message_key(key, j))
        joint = isinstance(operator, Joint)
        member = operator.member(coin=coin, rank=0, n=MEMBERS) if joint else operator
        return member.expand(member.compress(x, key=own))

    return jax.vmap(one)(np.arange(DRAWS, dtype=np.int32))


@pytest.mark.parametrize("name", BOTH)
def test_numpy_version_is_the_same_operator(name):
    operator, rival = OURS[name], plain(OURS[name])
    theirs = np.stack([rival.decode(rival.encode(X, seed), seed, D) for seed in range(DRAWS)])
    assert theirs.dtype == np.float32
    assert theirs.shape == (DRAWS, D)
    mine = np.asarray(ours(operator, X, jax.random.key(0)))
    for statistic in (lambda y: y, lambda y: ((y - X) ** 2).sum(axis=1, keepdims=True)):
        a, b = statistic(theirs.astype(np.float64)), statistic(mine.astype(np.float64))
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / DRAWS)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) <= 5 * error + 1e-5).all()


def test_only_combinations_and_slow_or_rotated_forms_have_no_numpy_version():
    assert len(BOTH) >= 25
    assert {"RandK", "TopK", "EDEN, 4 bits", "PermK", "IndependentQuantization"} < set(BOTH)
    assert plain(OURS["RandK, averaged"]) is None


def test_the_comparison_can_fail():
    x, sign = np.abs(X), plain(Sign())
    assert not np.allclose(sign.decode(sign.encode(x, 0), 0, D), x)
    assert isinstance(OURS["RandK"], Unbiased)
