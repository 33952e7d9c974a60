import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from packing import read_planar

from compressors import CorrelatedQuantization, IndependentQuantization
from compressors.kernels.hadamard import padded_size, rotate


KEY = jax.random.key(7)
FAMILIES = (CorrelatedQuantization, IndependentQuantization)


def values(family, xs, draws, key=KEY):
    """C_i(x_i) of all members in so many rounds."""
    n = xs.shape[0]

    @jax.jit
    @jax.vmap
    def one(key):
        coin, own = jax.random.split(key)

        def member(rank, x):
            compressor = family.member(coin=coin, rank=rank, n=n)
            return compressor.expand(compressor.compress(x, key=jax.random.fold_in(own, rank)))

        return jax.vmap(member)(jnp.arange(n), jnp.asarray(xs))

    return np.asarray(one(jax.random.split(key, draws)))


def squared_error(family, y, draws=20_000):
    """E(mean − ȳ)² over rounds, and its standard error, coordinate by coordinate."""
    errors = (values(family, y, draws).mean(axis=1) - y.mean(axis=0)) ** 2
    return errors.mean(axis=0), errors.std(axis=0) / math.sqrt(draws)


def exact_variance(y, orders):
    """Var of the mean of n one-bit numbers, when strata are dealt by one of these orders."""
    n = len(y)
    p = np.clip(n * y - np.asarray(orders), 0, 1)
    total = p.sum(axis=1)
    return ((p * (1 - p)).sum(axis=1).mean() + total.var()) / n**2


def fresh(n):
    return list(itertools.permutations(range(n)))


def shifts(n):
    """The order 0 … n − 1, with the shift R alone drawn at random."""
    return [[(r + i) % n for i in range(n)] for r in range(n)]


def test_equal_inputs_of_the_reference():
    y = np.tile([0.1, 0.5], (8, 1))
    for family, expected in zip(FAMILIES, ([0.0025, 0.0], [0.01125, 0.03125]), strict=True):
        measured, error = squared_error(family(span=(0.0, 1.0)), y)
        assert (np.abs(measured - expected) <= 5 * error).all()
    exact = [exact_variance(column, fresh(8)[::97]) for column in y.T]
    np.testing.assert_allclose(exact, [0.0025, 0.0], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 16, 100])
def test_no_error_at_all_where_n_y_is_an_integer(n):
    y = np.tile(np.arange(n + 1) / n, (n, 1))
    family = CorrelatedQuantization(span=(0.0, 1.0))
    mean = values(family, y, 50).mean(axis=1)
    np.testing.assert_allclose(mean, np.tile(y[0], (50, 1)), rtol=0, atol=1e-14)


def test_variance_is_that_of_fresh_orders_and_no_more_than_independent():
    n = 5
    y = np.random.default_rng(1).uniform(size=(n, 6))
    y[:, 0] = 0.3 + 0.05 * y[:, 0]
    y[:, 1] = np.eye(n)[0]
    exact = np.array([exact_variance(column, fresh(n)) for column in y.T])
    independent = (y * (1 - y)).sum(axis=0) / n**2
    assert (exact <= independent + 1e-15).all()
    for family, expected in zip(FAMILIES, (exact, independent), strict=True):
        measured, error = squared_error(family(span=(0.0, 1.0)), y)
        assert (np.abs(measured - expected) <= 5 * error + 1e-12).all()


def test_a_fixed_order_would_be_worse_than_independent_and_this_is_not_fixed():
    y = np.array([0.5, 0.5, 0.5, 0.0, 0.0, 0.0])
    independent = (y * (1 - y)).sum() / 36
    assert exact_variance(y, shifts(6)) > 1.2 * independent
    assert exact_variance(y, fresh(6)) <= independent
    measured, error = squared_error(CorrelatedQuantization(span=(0.0, 1.0)), y[:, None])
    assert abs(measured[0] - exact_variance(y, fresh(6))) <= 5 * error[0]
    assert measured[0] + 5 * error[0] < exact_variance(y, shifts(6))


def test_one_bit_is_never_worse_than_independent():
    rng = np.random.default_rng(2)
    ratios = []
    for _ in range(200):
        n = int(rng.integers(2, 7))
        y = rng.uniform(size=n) ** rng.uniform(0.2, 5)
        ratios.append(exact_variance(y, fresh(n)) / ((y * (1 - y)).sum() / n**2))
    assert max(ratios) <= 1


@pytest.mark.parametrize("n", [2, 7])
def test_uniform_numbers_of_members_are_uniform_and_one_to_a_stratum(n):
    """The least y that rounds up is U: found by halving [0, 1] with coin and key held."""
    family, draws = CorrelatedQuantization(span=(0.0, 1.0)), 300

    @jax.jit
    def find(key):
        coin, own = jax.random.split(key)

        def member(rank):
            compressor = family.member(coin=coin, rank=rank, n=n)

            def halve(_, ends):
                low, high = ends
                y = (low + high) / 2
                key = jax.random.fold_in(own, rank)
                up = compressor.expand(compressor.compress(y[None], key=key))[0] > 0.5
                return jnp.where(up, low, y), jnp.where(up, y, high)

            return jax.lax.fori_loop(0, 40, halve, (jnp.asarray(0.0), jnp.asarray(1.0)))[0]

        return jax.vmap(member)(jnp.arange(n))

    u = np.asarray(jax.vmap(find)(jax.random.split(KEY, draws)))
    np.testing.assert_array_equal(
        np.sort(np.floor(u * n), axis=1), np.tile(np.arange(n), (draws, 1))
    )
    assert np.abs(u.mean(axis=0) - 0.5).max() < 5 / math.sqrt(12 * draws)
    within = u * n % 1
    assert abs(within.mean() - 0.5) < 5 / math.sqrt(12 * within.size)
    pair = np.corrcoef(within[:, 0], within[:, 1])[0, 1]
    assert abs(pair) < 5 / math.sqrt(draws)


def test_a_member_whose_key_is_the_coin_is_still_unbiased():
    """The streams are apart even then: rank 0 does not read the shared one again."""
    family, n, draws = CorrelatedQuantization(span=(0.0, 1.0)), 4, 20_000

    def one(key):
        member = family.member(coin=key, rank=0, n=n)
        return member.expand(member.compress(jnp.asarray([0.3, 0.85]), key=key))

    bits = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, draws)))
    assert np.abs(bits.mean(axis=0) - [0.3, 0.85]).max() < 5 * 0.5 / math.sqrt(draws)


@pytest.mark.parametrize("k", [3, 8])
def test_levels_of_the_second_algorithm(k):
    beta = (k + 1) / (k * (k - 1))
    np.testing.assert_allclose(CorrelatedQuantization(k).spacing(), beta)
    y = np.tile(np.linspace(0, 1, 41), (3, 1))
    got = values(CorrelatedQuantization(k, span=(0.0, 1.0)), y, 400)
    assert got.min() >= -1 / k
    assert got.max() <= 1 + 1 / k
    steps = (got - got[:, :1]) / beta
    np.testing.assert_allclose(steps, steps.round(), atol=1e-9)
    assert np.abs(got - y).max() < beta
    error = got.std(axis=0) / math.sqrt(400)
    assert (np.abs(got.mean(axis=0) - y) <= 5 * error + 1e-12).all()


def test_with_more_levels_independent_rounding_can_win():
    """Published as it is: the levels are wider apart. At a fixed level IQ makes no error."""
    y = np.full((4, 1), 0.5)
    correlated, _ = squared_error(CorrelatedQuantization(3, span=(0.0, 1.0)), y)
    independent, _ = squared_error(IndependentQuantization(3, span=(0.0, 1.0)), y)
    assert independent[0] == 0 < correlated[0]


def test_complexity_ratios_of_the_paper():
    """min over p of (p + (1 − p)c)(1 + √((1 − p)A/p)), A for equal inputs, d = n."""

    def complexity(a, d):
        c = (32 + d) / (32 * d)

        p = np.exp(np.linspace(-40, -1e-9, 2_000_001))
        return np.min((p + (1 - p) * c) * (1 + np.sqrt((1 - p) * a / p)))

    def ratio(d, published):
        correlated, independent = (family(published_constants=published) for family in FAMILIES)
        b, a = independent.ab_equal_inputs(d, d)[0], correlated.ab_equal_inputs(d, d)[0]
        return complexity(b.value, d) / complexity(a.value, d)

    assert [round(ratio(d, True), 4) for d in (100, 1000)] == [3.5326, 5.1417]
    assert [round(ratio(d, False), 2) for d in (100, 1000)] == [4.63, 7.63]
    far = 10**18
    np.testing.assert_allclose(ratio(far, True), 7.2874, rtol=1e-4)
    np.testing.assert_allclose(ratio(far, False), 12.859, rtol=1e-4)


def test_constants():
    d, n = 32, 16
    correlated, independent = CorrelatedQuantization(), IndependentQuantization()
    for family in (correlated, independent):
        assert family.omega(d, n) == (d - 1, "exact", "every vector")
        assert [c.value for c in family.ab(d, n)] == [(d - 1) / n, 0]
    assert [c.value for c in correlated.ab_equal_inputs(d, n)] == [d / n**2, 0]
    assert correlated.ab_equal_inputs(1, 3)[0].value == 0
    published = CorrelatedQuantization(published_constants=True)
    assert published.ab_equal_inputs(d, n)[0].value == d / (4 * n**2)
    assert published.ab(d, n) == correlated.ab(d, n)
    assert IndependentQuantization(published_constants=True).ab(d, n)[0].value == d / (4 * n)
    assert IndependentQuantization(9).omega(d, n).value == d / 64
    k = 9
    window, beta = (k - 1) / (k + 1), (k + 1) / (k * (k - 1))
    worst = max(
        np.mean([(f % 1) * (1 - f % 1) for f in np.linspace(a, a + window, 2001)])
        for a in np.linspace(0, 1, 101)
    )
    bound = 4 * d * beta**2 * worst
    np.testing.assert_allclose(CorrelatedQuantization(k).omega(d, n).value, bound, rtol=1e-3)


def test_the_published_constant_is_violated_as_the_docstring_says():
    d, n = 64, 8
    x = np.random.default_rng(0).normal(size=d)
    phi = n * (1 + x / np.linalg.norm(x)) / 2 % 1
    exact = 4 * np.sum(phi * (1 - phi)) / n**2
    published = CorrelatedQuantization(published_constants=True).ab_equal_inputs(d, n)[0].value
    true = CorrelatedQuantization().ab_equal_inputs(d, n)[0].value
    assert published < exact <= true


def test_the_rotated_bound_covers_all_signs():
    """E max z² over all sign patterns, by brute force, against (2 ln(2p) + 2)/p."""
    p = 8
    h = scipy.linalg.hadamard(p) / math.sqrt(p)
    signs = np.array(list(itertools.product([-1, 1], repeat=p)))
    family = CorrelatedQuantization(2, "max", rotated=True)
    for x in np.random.default_rng(3).standard_t(2, size=(20, p)):
        unit = x / np.linalg.norm(x)
        q = p * np.mean(np.max((signs * unit) @ h, axis=1) ** 2)
        assert q - 1 <= family.omega(p, 4).value
    assert family.omega(2**20, 4).value == 2 * math.log(2**21) + 1
    assert family.omega(10**6, 4) == family.omega(2**20, 4)


def test_rotated_vectors_are_those_at_plus_or_minus_the_largest():
    d, p = 11, 16
    x = jax.random.normal(KEY, (d,))
    family = CorrelatedQuantization(2, "max", rotated=True)
    codes = [
        family.member(coin=KEY, rank=rank, n=3).compress(x, key=jax.random.key(rank))
        for rank in range(3)
    ]
    assert {code.levels.shape for code in codes} == {(p,)}
    scales = {float(code.scale) for code in codes}
    assert len(scales) == 1, "the signs of the rotation are shared"
    z = rotate(x, key=jax.random.fold_in(KEY, 3))
    np.testing.assert_allclose(scales.pop(), np.abs(np.asarray(z)).max(), rtol=1e-14)


@pytest.mark.parametrize(("k", "bits"), [(2, 1), (3, 2), (5, 3), (300, 9)])
def test_an_independent_reader_decodes_the_message(k, bits):
    d, x = 21, np.random.default_rng(4).normal(size=21)
    member = IndependentQuantization(k).member(coin=KEY, rank=0, n=4)
    message = member.encode(jnp.asarray(x), key=KEY)
    levels = np.array(read_planar(message["levels"], bits, d))
    r = float(message["scale"])
    np.testing.assert_allclose(r, np.linalg.norm(x), rtol=1e-14)
    expected = r * (2 * levels / (k - 1) - 1)
    np.testing.assert_allclose(member.decode(message, key=KEY, d=d), expected, atol=1e-12)
    assert np.abs(expected - x).max() < 2 * r / (k - 1)
    assert member.payload_bits(d, jnp.float32) == 32 + bits * d
    assert member.nbits(d, jnp.float32) == 32 + 32 * math.ceil(bits * d / 32)
    rotated = CorrelatedQuantization(k, "max", rotated=True)
    assert rotated.nbits(d, 4, jnp.bfloat16) == 32 + 32 * math.ceil(bits * padded_size(d) / 32)


@pytest.mark.parametrize("x", [[0.2, 1.2], [-0.1, 0.5], [0.3, math.nan]])
def test_what_leaves_a_given_interval_is_not_clipped(x):
    member = CorrelatedQuantization(span=(0.0, 1.0)).member(coin=KEY, rank=0, n=2)
    assert np.isnan(member.decode(member.encode(jnp.asarray(x), key=KEY), key=KEY, d=2)).all()


def test_a_given_interval_has_no_omega():
    family = CorrelatedQuantization(4, span=(-1.0, 2.0))
    assert family.omega(5, 2).value == math.inf
    assert family.ab(5, 2)[0].value == math.inf


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": 1}, "levels = 1: give from 2 to 65536"),
        ({"levels": 65537}, "levels = 65537: give from 2 to 65536"),
        ({"span": (1.0, 1.0)}, r"span = \(1.0, 1.0\) is no interval: give finite l < r"),
        ({"span": (0.0, math.inf)}, "give finite l < r"),
        ({"levels": 3, "published_constants": True}, "published_constants .* leave them out"),
        ({"rotated": True, "published_constants": True}, "published_constants"),
    ],
)
def test_refusals(family, arguments, message):
    with pytest.raises(ValueError, match=message):
        family(**arguments)
    with pytest.raises(ValueError, match="n = 0: give n >= 1"):
        family().check(5, 0)
