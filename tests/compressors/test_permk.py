import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import PermK


KEY = jax.random.key(3)
SIZES = [(1, 1), (4, 1), (4, 2), (5, 2), (3, 3), (5, 3), (1, 3), (2, 4), (2, 3), (3, 4), (2, 5)]


def shares(d, n):
    """For every pair of permutations, the matrix of factors that members put on coordinates."""
    for coordinates in itertools.permutations(range(d)):
        for members in itertools.permutations(range(n)):
            blocks, longer = min(d, n), max(d, n)
            sizes = [longer // blocks + (b < longer % blocks) for b in range(blocks)]
            ends = np.cumsum([0, *sizes])
            factor = np.zeros((n, d))
            for b in range(blocks):
                inside = range(ends[b], ends[b + 1])
                if d >= n:
                    factor[members.index(b), [coordinates[p] for p in inside]] = n
                else:
                    factor[[members.index(p) for p in inside], coordinates[b]] = n / sizes[b]
            yield factor


@pytest.mark.parametrize(("d", "n"), SIZES)
def test_constants_by_going_through_all_permutations(d, n):
    rng = np.random.default_rng(d + 10 * n)
    factors = np.stack(list(shares(d, n)))
    np.testing.assert_allclose(factors.mean(axis=0), 1, atol=1e-12)
    np.testing.assert_allclose(factors.mean(axis=1), 1, atol=1e-12)
    a, b = PermK().ab(d, n)
    assert a.kind == b.kind == PermK().omega(d, n).kind == "exact"
    for xs in (rng.normal(size=(n, d)), rng.normal(size=(n, d)) * np.eye(n, 1), np.ones((n, d))):
        mean = xs.mean(axis=0)
        measured = np.mean(np.sum(((factors * xs).mean(axis=1) - mean) ** 2, axis=1))
        declared = a.value * np.mean(np.sum(xs**2, axis=1)) - b.value * np.sum(mean**2)
        np.testing.assert_allclose(measured, declared, rtol=1e-12, atol=1e-12)
        one = np.mean(np.sum((factors[:, 0] * xs[0] - xs[0]) ** 2, axis=1))
        np.testing.assert_allclose(one, PermK().omega(d, n).value * np.sum(xs[0] ** 2), atol=1e-12)


def test_the_published_constants():
    for d, n in ((8, 4), (9, 4), (4, 4)):
        assert [c.value for c in PermK().ab(d, n)] == [1, 1]
        assert PermK().omega(d, n).value == n - 1
    for d, n in ((4, 8), (5, 20), (1, 7)):
        expected = [(d - 1) / (n - 1)] * 2
        np.testing.assert_allclose([c.value for c in PermK().ab(d, n)], expected, rtol=1e-14)
        np.testing.assert_allclose(PermK().omega(d, n).value, d - 1, rtol=1e-14)
    assert [c.value for c in PermK().ab(5, 1)] == [0, 0]


def results(xs, coin):
    n = xs.shape[0]

    def one(x, rank):
        member = PermK().member(coin=coin, rank=rank, n=n)
        return member.expand(member.compress(x, key=KEY))

    return jax.vmap(one)(xs, jnp.arange(n))


@pytest.mark.parametrize(("d", "n"), [(4, 2), (5, 3), (2, 3), (2, 4)])
def test_every_outcome_is_one_of_them_and_all_occur_as_often(d, n):
    draws = 6000
    drawn = jax.jit(jax.vmap(lambda coin: results(jnp.ones((n, d)), coin)))
    factors = np.asarray(drawn(jax.random.split(KEY, draws))).round(9).reshape(draws, -1)
    possible = np.stack(list(shares(d, n))).round(9).reshape(-1, n * d)
    outcomes, weight = np.unique(possible, axis=0, return_counts=True)
    seen, counts = np.unique(factors, axis=0, return_counts=True)
    np.testing.assert_array_equal(seen, outcomes)
    p = weight / weight.sum()
    z = (counts - draws * p) / np.sqrt(draws * p * (1 - p))
    assert np.abs(z).max() < 5


@pytest.mark.parametrize(("d", "n"), [(10, 4), (12, 4), (3, 7), (100, 1)])
def test_equal_vectors_are_averaged_without_error(d, n):
    x = jax.random.normal(KEY, (d,))
    mean = results(jnp.tile(x, (n, 1)), jax.random.key(8)).mean(axis=0)
    np.testing.assert_allclose(mean, x, rtol=1e-14)


def test_messages():
    d, n = 10, 4
    x = jnp.arange(1.0, 11.0)
    kept, zeros = [], 0
    for rank in range(n):
        member = PermK().member(coin=KEY, rank=rank, n=n)
        message = member.encode(x, key=jax.random.key(rank))
        assert message["values"].shape == (3,)
        assert member.nbits(d, jnp.float32) == PermK().nbits(d, n, jnp.float32) == 3 * 32
        code = member.unpack(message, key=KEY, d=d)
        assert len(set(code.indices.tolist())) == 3
        zeros += int((code.values == 0).sum())
        kept += code.indices[code.values != 0].tolist()
        np.testing.assert_array_equal(member.expand(code)[code.indices], code.values)
    assert sorted(kept) == list(range(d))
    assert zeros == n * 3 - d
    assert PermK().nbits(3, 7, jnp.bfloat16) == 16


def test_the_factor_is_not_rounded_to_a_narrow_type():
    x = jax.random.normal(KEY, (2,), jnp.bfloat16)
    member = PermK().member(coin=KEY, rank=0, n=3)
    code = member.compress(x, key=KEY)
    exact = np.asarray(x, np.float32)[code.indices]
    options = [(exact * np.float32(f)).astype(jnp.bfloat16).tolist() for f in (3, 1.5)]
    assert np.asarray(code.values).tolist() in options


def test_no_member_is_refused():
    with pytest.raises(ValueError, match="n = 0: give n >= 1"):
        PermK().check(5, 0)
