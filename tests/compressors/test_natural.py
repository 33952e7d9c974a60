import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import read_planar

from compressors import NaturalCompression, NaturalDithering, natural


KEY = jax.random.key(2)
NATURAL = NaturalCompression()


@pytest.mark.parametrize(("dtype", "mantissa"), [(jnp.bfloat16, 7), (jnp.float16, 10)])
def test_every_number_of_sixteen_bits_is_the_mean_of_its_outcomes(monkeypatch, dtype, mantissa):
    """All numbers times all random bits: exact, subnormal numbers included."""
    patterns = jnp.arange(2**16, dtype=jnp.uint32).astype(jnp.uint16)
    x = jax.lax.bitcast_convert_type(patterns, dtype)

    def outcome(carry):
        high = jnp.full(2**16, carry, jnp.uint32) << (32 - mantissa)
        monkeypatch.setattr(natural, "uniform_bits", lambda key, d, dtype: high)
        return NATURAL.expand(NATURAL.compress(x, key=KEY))

    outcome = jax.jit(outcome)
    total, squares = np.zeros(2**16), np.zeros(2**16)
    with np.errstate(invalid="ignore", over="ignore"):
        exact = np.asarray(x, np.float64)
        for carry in range(2**mantissa):
            y = np.asarray(outcome(np.uint32(carry)), np.float64)
            total += y
            squares += (y - exact) ** 2
        mean, variance = total / 2**mantissa, squares / 2**mantissa
    limits = jnp.finfo(dtype)
    size = np.abs(exact)
    finite = size <= 2.0 ** (int(limits.maxexp) - 1)
    np.testing.assert_array_equal(mean[finite], exact[finite])
    normal = finite & (size >= float(limits.tiny))
    assert (variance[normal] <= exact[normal] ** 2 / 8).all()
    assert np.isnan(mean[np.isnan(exact)]).all()
    np.testing.assert_array_equal(mean[np.isinf(exact)], exact[np.isinf(exact)])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_outcomes_are_neighbouring_powers_of_two(dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(5000) * 10.0 ** rng.integers(-30, 30, 5000)).astype(dtype)
    y = np.asarray(NATURAL.expand(NATURAL.compress(jnp.asarray(x), key=KEY)))
    assert y.dtype == dtype
    mantissa, exponent = np.frexp(x)
    lower = np.ldexp(np.sign(mantissa), exponent - 1)
    assert ((y == lower) | (y == 2 * lower)).all()
    up = (y != lower).mean()
    expected = 2 * np.abs(mantissa) - 1
    assert abs(up - expected.mean()) < 5 * math.sqrt((expected * (1 - expected)).sum()) / 5000


def test_powers_of_two_and_what_is_no_number_stay():
    values = [1.0, -0.25, 2.0**100, 0.0, math.inf, -math.inf, math.nan]
    x = jnp.asarray(values, jnp.float32)
    code = NATURAL.compress(x, key=KEY)
    np.testing.assert_array_equal(NATURAL.expand(code), x)
    assert code.codes.tolist() == [127, 256 + 125, 227, 0, 255, 256 + 255, 256]
    negative_zero = NATURAL.compress(jnp.asarray([-0.0]), key=KEY)
    assert not np.signbit(NATURAL.expand(negative_zero)).any()


@pytest.mark.parametrize(
    ("dtype", "bits"), [(jnp.float16, 6), (jnp.bfloat16, 9), (jnp.float32, 9), (jnp.float64, 12)]
)
def test_words_hold_sign_and_exponent(dtype, bits):
    x = jax.random.normal(KEY, (45,)).astype(dtype)
    message = NATURAL.encode(x, key=KEY)
    bias = 2 ** (bits - 2) - 1
    decoded = []
    for code in read_planar(message["words"], bits, 45):
        sign, exponent = divmod(code, 2 ** (bits - 1))
        decoded.append((-1) ** sign * 2.0 ** (exponent - bias))
    assert decoded == NATURAL.decode(message, key=KEY, d=45).astype(jnp.float64).tolist()
    assert NATURAL.payload_bits(45, dtype) == 45 * bits
    assert NATURAL.nbits(45, dtype) == 32 * -(-45 * bits // 32)


def test_omega_is_the_largest_relative_variance_of_an_entry():
    t = np.linspace(1, 2, 3 * 10**5 + 1)
    ratio = (t - 1) * (2 - t) / t**2
    assert NATURAL.omega(5)[:2] == (1 / 8, "exact")
    assert ratio.max() == pytest.approx(1 / 8, abs=1e-9)
    assert t[ratio.argmax()] == pytest.approx(4 / 3, abs=1e-5)


def test_the_top_binade_reaches_infinity():
    x = jnp.full(1000, 1.5 * 2.0**127, jnp.float32)
    y = np.asarray(NATURAL.expand(NATURAL.compress(x, key=KEY)))
    assert set(y.tolist()) == {2.0**127, math.inf}


def neighbours(y, s):
    """The levels around y in [0, 1], by search."""
    levels = [0.0] + [2.0 ** (k - s) for k in range(1, s + 1)]
    low = max(level for level in levels if level <= y)
    high = min(level for level in levels if level >= y)
    return low, high


def variance(x, s, p):
    """E‖C(x) − x‖²/‖x‖² of natural dithering, from the definition."""
    size = np.linalg.norm(x, p)
    total = 0.0
    for y in np.abs(x) / size:
        low, high = neighbours(min(y, 1.0), s)
        total += (high - y) * (y - low)
    return total * size**2 / (x @ x)


@pytest.mark.parametrize("ups", [False, True])
@pytest.mark.parametrize(("s", "p"), [(1, 2), (3, 2), (8, 1), (126, math.inf)])
def test_natural_dithering_goes_to_the_neighbours_without_bias(monkeypatch, s, p, ups):
    x = np.array([0.3, -1.7, 0.0, 0.9, -0.01, 1e-12])
    asked = []

    def happens(key, probability):
        asked.append(np.asarray(probability))
        return jnp.full(x.size, ups)

    monkeypatch.setattr(natural, "happens", happens)
    compressor = NaturalDithering(s, p)
    y = np.asarray(compressor.expand(compressor.compress(jnp.asarray(x), key=KEY)))
    size = np.linalg.norm(x, p)
    for value, got, up in zip(x, y, asked[0], strict=True):
        low, high = neighbours(min(abs(value) / size, 1.0), s)
        if low == high:
            assert up == 0
            continue
        assert up == pytest.approx((abs(value) / size - low) / (high - low), abs=1e-12)
        assert got == pytest.approx(math.copysign(size * (high if ups else low), value), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 9),
    st.sampled_from([1, 1.5, 2, 3, math.inf]),
    st.lists(st.floats(1e-3, 1), min_size=1, max_size=30),
)
def test_no_vector_exceeds_omega(s, p, entries):
    x = np.array(entries)
    omega = NaturalDithering(s, p).omega(x.size).value
    assert variance(x, s, p) <= omega * (1 + 1e-9) + 1e-9


def test_omega_beside_the_published_bound():
    for d in (1, 10, 1000, 10**6):
        for s in (1, 2, 5, 20):
            for p in (1, 2, math.inf):
                a = d ** (1 / min(p, 2)) * 2.0 ** (1 - s)
                omega = NaturalDithering(s, p).omega(d)
                assert omega.value <= 1 / 8 + a * min(1, a)
                if omega.kind == "exact" and d <= 1000:
                    assert variance(np.ones(d), s, p) == pytest.approx(omega.value)
    assert NaturalDithering(1).omega(100)[:2] == (pytest.approx(9), "exact")


def test_bits_and_refusals():
    assert NaturalDithering(7).payload_bits(10, jnp.float32) == 10 * 4 + 32
    assert NaturalDithering(8).payload_bits(10, jnp.float64) == 10 * 5 + 64
    for s in (0, 127):
        with pytest.raises(ValueError, match=rf"s = {s} levels .*give s between 1 and 126"):
            NaturalDithering(s)
    with pytest.raises(ValueError, match="p = 0: give p >= 1"):
        NaturalDithering(3, 0)


def test_levels_are_powers_of_the_norm():
    x = jax.random.normal(KEY, (60,), jnp.float32)
    compressor = NaturalDithering(5)
    code = compressor.compress(x, key=KEY)
    stored = [
        float(code.norm) * math.copysign(2.0 ** (abs(k) - 5), k) if k else 0.0
        for k in code.levels.tolist()
    ]
    np.testing.assert_allclose(compressor.expand(code), stored, rtol=1e-6)
