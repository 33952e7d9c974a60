from functools import partial
from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import (
    Compressor,
    RandK,
    RandKWithReplacement,
    ScaledRandK,
    Sparse,
    message_key,
)
from compressors.randk import DRAWS_AT_ONCE


KEY = jax.random.key(11)


@pytest.mark.parametrize("kind", [RandK, ScaledRandK])
@pytest.mark.parametrize("K", [-1, 0, 6])
def test_a_bad_number_of_coordinates_is_refused_everywhere(kind, K):
    bad, x = kind(K), jnp.ones(5)
    refused = rf"{kind.name} cannot keep K = {K} of d = 5 coordinates: give K between 1 and 5"
    for call in (
        lambda: bad.check(5),
        lambda: bad.compress(x, key=KEY),
        lambda: jax.jit(lambda x: bad.compress(x, key=KEY))(x),
        lambda: bad.unpack({"values": x}, key=KEY, d=5),
        lambda: bad.compress_mean(x, jnp.asarray(2), key=KEY, most=2),
        lambda: bad.nbits(5, jnp.float32),
        lambda: bad.payload_bits(5, jnp.float32),
        lambda: bad.omega(5) if kind is RandK else bad.alpha(5),
    ):
        with pytest.raises(ValueError, match=refused):
            call()


def test_with_replacement_only_no_draws_are_refused():
    RandKWithReplacement(9).check(5)
    with pytest.raises(ValueError, match="cannot draw K = 0 coordinates: give K >= 1"):
        RandKWithReplacement(0).check(5)


def test_only_two_ways_to_send_indices():
    with pytest.raises(Exception, match="indices"):
        RandK(1, indices="mailed")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_kept_coordinates_are_scaled_by_d_over_K(dtype):
    x = jnp.linspace(1.0, 2.0, 20, dtype=dtype)
    code = RandK(4).compress(x, key=KEY)
    assert code.indices.dtype == jnp.int32
    assert code.values.dtype == dtype
    kept = np.asarray(code.indices)
    np.testing.assert_array_equal(code.values, np.asarray(x)[kept] * dtype(5))
    dense = np.zeros(20, dtype)
    dense[kept] = code.values
    np.testing.assert_array_equal(RandK(4).expand(code), dense)


def test_scaling_in_bfloat16_rounds_once():
    x = jax.random.normal(KEY, (1000,), jnp.bfloat16)
    code = jax.jit(lambda x: RandK(300).compress(x, key=KEY))(x)
    kept = np.asarray(x, np.float32)[np.asarray(code.indices)]
    once = (kept * np.float32(1000 / 300)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(np.asarray(code.values), once)


@pytest.mark.parametrize("d", [1, 9])
def test_all_coordinates_kept_is_the_identity(d):
    x = jnp.arange(1.0, d + 1)
    for how in ("seed", "sent"):
        full = RandK(d, indices=how)
        np.testing.assert_array_equal(full.expand(full.compress(x, key=KEY)), x)
        assert full.omega(d).value == 0


def test_bits():
    for K in (1, 3, 100):
        assert RandK(K).nbits(7850, jnp.float32) == 32 * K
        assert RandK(K).payload_bits(7850, jnp.float32) == 32 * K
        sent = RandK(K, indices="sent")
        assert sent.payload_bits(7850, jnp.float32) == K * (32 + 13)
        assert sent.nbits(7850, jnp.float32) == 32 * (K + -(-13 * K // 32))
    assert RandK(3).nbits(7850, jnp.float64) == 3 * 64
    assert RandK(3).nbits(7850, jnp.bfloat16) == 3 * 16
    assert RandK(2, indices="sent").payload_bits(4, jnp.float32) == 2 * (32 + 2)
    assert RandK(2, indices="sent").payload_bits(5, jnp.float32) == 2 * (32 + 3)


def test_the_receiver_needs_the_key_only_where_indices_are_not_sent():
    x = jnp.arange(1.0, 101.0)
    other = jax.random.key(12)
    for how, same in (("seed", False), ("sent", True)):
        compressor = RandK(10, indices=how)
        message = compressor.encode(x, key=KEY)
        expected = compressor.expand(compressor.compress(x, key=KEY))
        np.testing.assert_array_equal(compressor.decode(message, key=KEY, d=100), expected)
        assert bool((compressor.decode(message, key=other, d=100) == expected).all()) is same


def means(mean, x, numbers, most):
    """`mean` of x over each number of messages, all with the same key."""
    return jax.jit(jax.vmap(lambda m: mean(x, m, key=KEY, most=most)))(jnp.asarray(numbers))


@pytest.mark.parametrize("kind", [RandK, ScaledRandK, RandKWithReplacement])
@pytest.mark.parametrize("K", [1, 3])
def test_the_mean_is_the_mean_of_its_messages(kind, K):
    x = jax.random.normal(jax.random.key(3), (12,))
    compressor, numbers = kind(K), [1, 2, 17]
    draw = jax.jit(lambda j: compressor.expand(compressor.compress(x, key=message_key(KEY, j))))
    draws = np.stack([draw(j) for j in range(17)])
    expected = [draws[:m].mean(axis=0) for m in numbers]
    base = partial(Compressor.compress_mean, compressor)
    np.testing.assert_allclose(means(base, x, numbers, 17), expected, rtol=0, atol=1e-12)
    for most in (17, 4000):
        mean = means(compressor.compress_mean, x, numbers, most)
        np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-12)


def test_the_mean_of_more_messages_than_are_drawn_at_once():
    x = jax.random.normal(jax.random.key(3), (50,))
    most = 3 * DRAWS_AT_ONCE
    numbers = [1, DRAWS_AT_ONCE, DRAWS_AT_ONCE + 1, most - 1]
    base = means(partial(Compressor.compress_mean, RandK(1)), x, numbers, most)
    mean = means(RandK(1).compress_mean, x, numbers, most)
    np.testing.assert_allclose(mean, base, rtol=0, atol=1e-11)


def test_counts_are_drawn_once_for_many_vectors():
    xs = jnp.ones((16, 40))
    m = jnp.asarray(9)

    mean = jax.vmap(lambda x: RandK(2).compress_mean(x, m, key=KEY, most=20))
    program = str(jax.make_jaxpr(mean)(xs))
    assert "f64[16,40]" in program
    assert "i32[40]" in program
    assert "i32[16" not in program
    assert "u32[16" not in program


def test_messages_of_a_job_are_independent():
    """A seed shared by the messages would leave ω where the mean of m has ω/m."""
    d, m, draws = 30, 6, 4000
    x = jax.random.normal(jax.random.key(4), (d,))
    keys = jax.random.split(KEY, draws)
    number = jnp.asarray(m)
    mean = jax.jit(jax.vmap(lambda key: RandK(3).compress_mean(x, number, key=key, most=m)))
    errors = np.sum((np.asarray(mean(keys)) - np.asarray(x)) ** 2, axis=1) / float(x @ x)
    standard_error = errors.std() / np.sqrt(draws)
    assert abs(errors.mean() - RandK(3).omega(d).value / m) < 5 * standard_error
    codes = jax.vmap(lambda j: RandK(3).compress(x, key=message_key(KEY, j)))(jnp.arange(8))
    assert len({tuple(indices) for indices in codes.indices.tolist()}) == 8


def test_the_sum_is_over_all_messages():
    rng = np.random.default_rng(0)
    indices = np.stack([rng.permutation(9)[:4] for _ in range(6)]).astype(np.int32)
    values, weights = rng.normal(size=(6, 4)), rng.normal(size=6)
    dense = np.zeros(9)
    for row, value, weight in zip(indices, values, weights, strict=True):
        for j, v in zip(row, value, strict=True):
            dense[j] += weight * v
    codes = Sparse(jnp.asarray(indices), jnp.asarray(values), 9)
    total = RandK(4).expand_sum(codes, jnp.asarray(weights))
    np.testing.assert_allclose(total, dense, rtol=0, atol=1e-14)


def test_it_is_a_value_without_arrays():
    assert jax.tree.leaves(RandK(3)) == []
    assert RandK(3) == RandK(3, indices="seed") != RandK(3, indices="sent")
    assert hash(RandK(3)) == hash(RandK(3))


def test_scaled_is_randk_times_K_over_d():
    x = jax.random.normal(KEY, (24,))
    code, scaled = RandK(6).compress(x, key=KEY), ScaledRandK(6).compress(x, key=KEY)
    np.testing.assert_array_equal(scaled.indices, code.indices)
    np.testing.assert_allclose(scaled.values, code.values / 4, rtol=1e-15)
    np.testing.assert_array_equal(scaled.values, x[scaled.indices])
    assert ScaledRandK(6).alpha(24)[:2] == (0.25, "exact")


@pytest.mark.parametrize(("d", "K"), [(1, 1), (5, 2), (4, 4)])
def test_constants_by_enumeration_of_subsets(d, K):
    x = np.random.default_rng(d).standard_normal(d)
    kept = np.asarray([[j in J for j in range(d)] for J in combinations(range(d), K)])
    unbiased, scaled = kept * x * d / K, kept * x
    np.testing.assert_allclose(unbiased.mean(axis=0), x, rtol=0, atol=1e-14)
    omega = ((unbiased - x) ** 2).sum(axis=1).mean() / (x @ x)
    np.testing.assert_allclose(RandK(K).omega(d).value, omega, rtol=1e-12, atol=1e-12)
    rest = ((scaled - x) ** 2).sum(axis=1).mean() / (x @ x)
    np.testing.assert_allclose(1 - ScaledRandK(K).alpha(d).value, rest, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("d", "K"), [(1, 1), (1, 3), (3, 2), (4, 3), (2, 5)])
def test_constants_by_enumeration_of_draws(d, K):
    """With replacement: every sequence of draws, each one a code."""
    x = np.random.default_rng(d).standard_normal(d)
    draws = jnp.asarray([*product(range(d), repeat=K)], jnp.int32)
    compressor = RandKWithReplacement(K)
    codes = Sparse(draws, jnp.asarray(x)[draws] * (d / K), d)
    results = np.asarray(jax.vmap(compressor.expand)(codes))
    np.testing.assert_allclose(results.mean(axis=0), x, rtol=0, atol=1e-14)
    omega = ((results - x) ** 2).sum(axis=1).mean() / (x @ x)
    np.testing.assert_allclose(compressor.omega(d).value, omega, rtol=1e-12, atol=1e-12)


def test_repeated_draws_add_up():
    x = jnp.asarray([1.0, -2.0])
    compressor = RandKWithReplacement(50)
    code = compressor.compress(x, key=KEY)
    counts = np.bincount(np.asarray(code.indices), minlength=2)
    assert counts.min() > 0
    np.testing.assert_allclose(compressor.expand(code), counts * np.asarray(x) * 2 / 50, rtol=1e-14)
