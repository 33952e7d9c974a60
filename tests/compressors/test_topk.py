from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import TopK


KEY = jax.random.key(0)


@partial(jax.jit, static_argnums=1)
def sent(x, K):
    code = TopK(K).compress(x, key=KEY)
    return code, TopK(K).expand(code)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=8, max_size=8), st.sampled_from([1, 3, 8]))
def test_the_largest_stay_and_ties_go_to_the_lowest_index(entries, K):
    x = np.asarray(entries, np.float64)
    order = sorted(range(8), key=lambda j: (-abs(x[j]), j))[:K]
    code, dense = sent(jnp.asarray(x), K)
    assert code.indices.tolist() == order
    assert code.indices.dtype == jnp.int32
    expected = np.zeros(8)
    expected[order] = x[order]
    np.testing.assert_array_equal(dense, expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("K", [3, 40, 600])
def test_many_coordinates_are_the_same_as_by_a_sort(dtype, K):
    x = jax.random.normal(jax.random.key(1), (2001,), dtype).round(1)
    size = np.abs(np.asarray(x, np.float64))
    kept = np.argsort(-size, kind="stable")[:K]
    code, dense = sent(x, K)
    assert sorted(code.indices.tolist()) == sorted(kept.tolist())
    expected = np.zeros(2001)
    expected[kept] = np.asarray(x, np.float64)[kept]
    np.testing.assert_array_equal(np.asarray(dense, np.float64), expected)


def test_what_is_no_number_is_sent_first():
    x = jnp.asarray([1.0, jnp.inf, 9.0, jnp.nan, -2.0])
    np.testing.assert_array_equal(sent(x, 2)[1], [0.0, jnp.inf, 0.0, jnp.nan, 0.0])


@pytest.mark.parametrize("K", [0, 5])
def test_a_bad_number_of_coordinates_is_refused_everywhere(K):
    bad, x = TopK(K), jnp.ones(4)
    refused = rf"TopK cannot keep K = {K} of d = 4 coordinates: give K between 1 and 4"
    for call in (
        lambda: bad.check(4),
        lambda: bad.compress(x, key=KEY),
        lambda: bad.unpack({"values": x}, key=KEY, d=4),
        lambda: bad.payload_bits(4, jnp.float32),
        lambda: bad.alpha(4),
    ):
        with pytest.raises(ValueError, match=refused):
            call()


@pytest.mark.parametrize("d", [1, 6])
def test_all_coordinates_kept_is_the_identity(d):
    x = jnp.arange(1.0, d + 1)
    full = TopK(d)
    np.testing.assert_array_equal(
        full.decode(full.encode(x, key=KEY), key=KEY, d=d), x, strict=True
    )
    assert full.alpha(d).value == 1


def test_bits():
    assert TopK(10).payload_bits(7850, jnp.float32) == 10 * (32 + 13)
    assert TopK(10).nbits(7850, jnp.float32) == 32 * (10 + 5)
    assert TopK(10).nbits(7850, jnp.bfloat16) == 16 * 10 + 32 * 5


def test_alpha_is_attained_by_equal_magnitudes():
    x = jnp.asarray([1.0, -1.0, 1.0, 1.0, -1.0])
    error = TopK(2).expand(TopK(2).compress(x, key=KEY)) - x
    assert float(error @ error) == (1 - TopK(2).alpha(5).value) * float(x @ x)
    assert TopK(2).alpha(5).kind == "exact"


def test_the_mean_of_equal_messages_is_one_of_them():
    x = jnp.asarray([0.5, -2.0, 1.0], jnp.bfloat16)
    mean = TopK(2).compress_mean(x, jnp.asarray(5), key=KEY, most=5)
    np.testing.assert_array_equal(mean, jnp.asarray([0.0, -2.0, 1.0], jnp.bfloat16), strict=True)
