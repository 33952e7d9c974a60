import math
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import read_planar

from compressors import RandomDithering, dithering
from compressors._levels import norm


KEY = jax.random.key(7)


def outcomes(monkeypatch, module, compressor, x):
    """Every result of compressing `x` with its probability, all roundings enumerated."""
    chosen: list[np.ndarray] = []
    seen: list[np.ndarray] = []

    def happens(key, probability):
        seen.append(np.asarray(probability, float))
        return jnp.asarray(chosen[-1])

    monkeypatch.setattr(module, "happens", happens)
    for ups in product([False, True], repeat=x.size):
        chosen.append(np.array(ups))
        y = np.asarray(compressor.expand(compressor.compress(jnp.asarray(x), key=KEY)))
        yield float(np.prod(np.where(ups, seen[-1], 1 - seen[-1]))), y


def moments(monkeypatch, module, compressor, x):
    """E C(x) and E‖C(x) − x‖²/‖x‖², by enumeration."""
    mean, variance = np.zeros_like(x), 0.0
    for p, y in outcomes(monkeypatch, module, compressor, x):
        mean += p * y
        variance += p * float(((y - x) ** 2).sum())
    return mean, variance / float((x**2).sum())


def variance(x, s, p):
    """E‖C(x) − x‖²/‖x‖² of dithering, from the definition."""
    size = np.linalg.norm(x, p)
    t = np.abs(x) / size * s
    f = t - np.floor(t)
    return (f * (1 - f)).sum() * (size / s) ** 2 / (x**2).sum()


@pytest.mark.parametrize(("s", "p"), [(1, 2), (1, math.inf), (3, 2), (3, 1), (5, 3), (200, 2)])
def test_unbiased_with_the_variance_of_the_definition(monkeypatch, s, p):
    x = np.array([0.3, -1.7, 0.0, 0.9, -0.01])
    mean, measured = moments(monkeypatch, dithering, RandomDithering(s, p), x)
    np.testing.assert_allclose(mean, x, rtol=0, atol=1e-12)
    assert measured == pytest.approx(variance(x, s, p), rel=1e-9)
    assert measured <= RandomDithering(s, p).omega(5).value


@pytest.mark.parametrize(
    ("s", "p", "d"),
    [(1, 2, 1), (1, 2, 3), (1, 2, 9), (2, 2, 16), (3, 2, 100), (1, 1, 5), (4, 1, 64), (2, 1.5, 50)],
)
def test_omega_is_attained_by_constant_vectors(s, p, d):
    omega = RandomDithering(s, p).omega(d)
    assert omega.kind == "exact"
    assert variance(np.full(d, 4 / 3), s, p) == pytest.approx(omega.value, abs=1e-9)


@pytest.mark.parametrize(("s", "d"), [(1, 1), (1, 9), (2, 9), (7, 33), (100, 12)])
def test_omega_of_the_largest_norm_is_attained_at_the_vector_of_its_note(s, d):
    omega = RandomDithering(s, math.inf).omega(d)
    x = np.full(d, 1 / (s + math.sqrt(s**2 + d - 1)))
    x[0] = 1.0
    assert omega.kind == "exact"
    assert f"{x[-1]:.6g}" in omega.note or d == 1
    assert variance(x, s, math.inf) == pytest.approx(omega.value, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 12),
    st.sampled_from([1, 1.3, 2, 2.5, 4, math.inf]),
    st.lists(st.floats(1e-3, 1), min_size=1, max_size=30),
)
def test_no_vector_exceeds_omega(s, p, entries):
    x = np.array(entries)
    assert variance(x, s, p) <= RandomDithering(s, p).omega(x.size).value * (1 + 1e-9) + 1e-9


def test_the_constants_of_the_papers_are_not_exceeded():
    for d, s in product([1, 10, 1000, 10**6], [1, 2, 5, 100, 32767]):
        published = min(d / s**2, math.sqrt(d) / s)
        assert RandomDithering(s).omega(d).value <= published
        assert RandomDithering(s).omega(d).value >= min(published / 4, published - 1)
    assert RandomDithering(1).omega(49).value == pytest.approx(6)
    assert RandomDithering(1, math.inf).omega(49).value == pytest.approx(3)


@pytest.mark.parametrize(("s", "bits"), [(1, 2), (2, 3), (3, 3), (4, 4), (127, 8), (128, 9)])
def test_words_hold_level_plus_s(s, bits):
    x = jax.random.normal(KEY, (37,), jnp.float32)
    code = RandomDithering(s).compress(x, key=KEY)
    message = RandomDithering(s).pack(code)
    levels = [level - s for level in read_planar(message["words"], bits, 37)]
    assert levels == code.levels.tolist()
    assert message["norm"].dtype == jnp.float32
    assert RandomDithering(s).payload_bits(37, jnp.float32) == 37 * bits + 32
    assert RandomDithering(s).payload_bits(37, jnp.float64) == 37 * bits + 64
    words = 32 * -(-37 * bits // 32)
    assert RandomDithering(s).nbits(37, jnp.bfloat16) == words + 32


def test_most_levels_fit_sixteen_bits():
    most = RandomDithering(dithering.MOST_LEVELS)
    x = jax.random.normal(KEY, (50,))
    code = most.compress(x, key=KEY)
    assert code.levels.dtype == jnp.int16
    assert most.payload_bits(50, jnp.float32) == 50 * 16 + 32
    np.testing.assert_array_equal(most.decode(most.pack(code), key=KEY, d=50), most.expand(code))


@pytest.mark.parametrize("s", [-1, 0, 2**15])
def test_a_bad_number_of_levels_is_refused(s):
    with pytest.raises(ValueError, match=rf"s = {s} levels .*give s between 1 and 32767"):
        RandomDithering(s)


@pytest.mark.parametrize("p", [0, 0.5, -math.inf, math.nan])
def test_what_is_no_norm_is_refused(p):
    with pytest.raises(ValueError, match=rf"p = {p}: give p >= 1 or math.inf"):
        RandomDithering(1, p)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_the_largest_and_smallest_numbers_are_dithered_like_others(dtype, p):
    """C(c·x) = c·C(x) for powers c of two, as long as all numbers are normal."""
    limits, compressor = jnp.finfo(dtype), RandomDithering(5, p)

    @jax.jit
    def run(x):
        code = compressor.compress(x, key=KEY)
        return code.levels, compressor.expand(code)

    x = np.asarray([0.5, -0.75, 0.25, 0.125])
    levels, y = run(jnp.asarray(x, dtype))
    for exponent in (limits.minexp + 3, limits.maxexp // 2, limits.maxexp - 1):
        scale = 2.0 ** int(exponent)
        scaled, z = run(jnp.asarray(x * scale, dtype))
        assert scaled.tolist() == levels.tolist()
        np.testing.assert_array_equal(np.asarray(z, float), np.asarray(y, float) * scale)


def test_a_norm_smaller_than_its_levels_are_many():
    x = jnp.asarray([-64 * float(jnp.finfo(jnp.float32).tiny)], jnp.float32)
    for s in (127, 32767):
        compressor = RandomDithering(s)
        y = jax.jit(lambda x, c=compressor: c.expand(c.compress(x, key=KEY)))(x)
        np.testing.assert_allclose(y, x, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("p", [1, 2, 3, math.inf])
def test_norms_neither_overflow_nor_fall_below_the_largest_entry(dtype, p):
    limits = jnp.finfo(dtype)
    for scale in (1.0, float(limits.max), float(limits.tiny) * 4):
        x = jnp.asarray([1.0, -0.5, 0.25, 0.0]).astype(dtype) * jnp.asarray(scale, dtype)
        expected = float(np.linalg.norm([1, 0.5, 0.25], p)) * scale
        size = norm(x, p)
        assert size.dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)
        assert float(size) >= float(jnp.abs(x).max())
        assert float(size) == pytest.approx(min(expected, float(limits.max)), rel=1e-5)


def test_a_number_that_is_none_spreads():
    for value in (math.nan, math.inf, -math.inf):
        x = jnp.asarray([1.0, value, 0.0, -2.0])
        code = RandomDithering(4).compress(x, key=KEY)
        assert np.isnan(np.asarray(RandomDithering(4).expand(code))).all()
        assert code.levels.tolist() == [0, 0, 0, 0]


def test_the_result_is_odd_in_x():
    x = jax.random.normal(KEY, (100,))
    plus, minus = (RandomDithering(3).compress(v, key=KEY) for v in (x, -x))
    np.testing.assert_array_equal(plus.levels, -minus.levels)
