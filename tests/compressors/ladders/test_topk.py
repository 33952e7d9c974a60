import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import Identity, TopK, TopKLadder


KEY = jax.random.key(0)
LADDER = TopKLadder((0.05, 0.25, 0.5, 1.0))
D = 12


@jax.jit
def both(x):
    rungs = jnp.arange(LADDER.rungs)
    return LADDER.errors(x, key=KEY), jax.vmap(lambda r: LADDER.received(x, r, key=KEY))(rungs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=D, max_size=D))
def test_ties_errors_and_vectors_are_those_of_a_sort(entries):
    x = np.asarray(entries, np.float64)
    errors, received = both(jnp.asarray(x))
    order = sorted(range(D), key=lambda j: (-abs(x[j]), j))
    for rung, K in enumerate((1, 3, 6, 12)):
        expected = np.zeros(D)
        expected[order[:K]] = x[order[:K]]
        np.testing.assert_array_equal(received[rung], expected)
        assert errors[rung] == np.sum(x[order[K:]] ** 2)


@pytest.mark.parametrize("special", [-0.0, 1e-310, np.inf, -np.inf, np.nan])
def test_zeros_and_what_is_no_number_arrive_as_by_the_member(special):
    x = jnp.asarray([3.0, 0, 0, special, -2, 0, 0, 1, 0, 0, 0, -1])
    for rung, got in enumerate(both(x)[1]):
        member = LADDER.member(rung, D, x.dtype)
        sent = jax.jit(lambda x, m=member: m.expand(m.compress(x, key=KEY)))(x)
        np.testing.assert_array_equal(np.asarray(got).view(np.uint64), sent.view(np.uint64))


def test_a_dense_message_where_indices_make_a_sparse_one_larger():
    d = 1000
    ladder = TopKLadder((0.5, 0.7, 0.76, 0.8, 1.0))
    assert [type(ladder.member(rung, d)) for rung in range(5)] == [TopK] * 3 + [Identity] * 2
    assert ladder.bits(d, jnp.float32).tolist() == [
        500 * 32 + 157 * 32,
        700 * 32 + 219 * 32,
        760 * 32 + 238 * 32,
        32 * d,
        32 * d,
    ]
    # An index costs half as much beside a value of 16 bits as beside one of 32.
    assert isinstance(ladder.member(1, d, jnp.bfloat16), Identity)


def test_small_energies_are_not_lost_beside_large_ones():
    d = 1 << 16
    x = jnp.asarray(np.r_[np.full(16, 1e4), np.full(d - 16, 1e-4)], jnp.float32)
    ladder = TopKLadder((16 / d, 0.25, 0.5))
    errors = np.asarray(ladder.errors(x, key=KEY), np.float64)
    small = float(np.float32(1e-4)) ** 2
    expected = [(d - 16) * small, 0.75 * d * small, 0.5 * d * small]
    np.testing.assert_allclose(errors, expected, rtol=1e-5)
